package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// probes are what works with a healthy container web, by the words of docs/faults.md.
// What is sent from inside is sent by a program of the host's in its network
// namespace, unless the container's files or cgroup matter.
func (l *lab) probes() map[string]*exec.Cmd {
	base := filepath.Join(l.programs, "minictr-base")
	inside := func(words ...string) *exec.Cmd {
		return exec.Command("nsenter", append([]string{"-t", fmt.Sprint(l.pids["web"]), "-n", base}, words...)...)
	}
	lan := []string{"netns", "exec", "lan", base, "wget", "-qO-", "-T", "1"}
	return map[string]*exec.Cmd{
		"itself":                 inside("ping", "-c1", "-W1", "127.0.0.1"),
		"the gateway":            inside("ping", "-c1", "-W1", "172.17.0.1"),
		"its neighbours":         inside("ping", "-c1", "-W1", "172.17.0.3"),
		"the way out":            inside("ping", "-c1", "-W1", "198.51.100.2"),
		"full-sized packets":     inside("ping", "-c1", "-W1", "-s", "1400", "198.51.100.2"),
		"its own published port": inside("wget", "-qO-", "-T", "1", "http://192.0.2.10:8080"),
		"names":                  l.minictr("exec", "web", "wget", "-qO-", "-T", "1", "http://db"),
		"sending":                l.minictr("exec", "web", "ping", "-c1", "-W1", "127.0.0.1"),
		"its name":               l.minictr("exec", "db", "wget", "-qO-", "-T", "1", "http://web"),
		"answers to ping":        l.command(base, "ping", "-c1", "-W1", "172.17.0.2"),
		"answers to the host":    l.command(base, "wget", "-qO-", "-T", "1", "http://172.17.0.2"),
		"published ports":        l.command("ip", append(lan, "http://192.0.2.10:8080")...),
		"published at 127.0.0.1": l.command(base, "wget", "-qO-", "-T", "1", "http://127.0.0.1:8080"),
		"HTTP to its neighbours": inside("wget", "-qO-", "-T", "1", "http://172.17.0.3"),
	}
}

// breaks is what no longer works with a fault: the nearest of the probes. A fault
// without one shows in time only, or by who looks.
func breaks(name string) string {
	return map[string]string{
		"lo-down": "itself", "link-down": "the gateway", "link-deleted": "the gateway",
		"mac-duplicate": "its neighbours", "mac-of-bridge": "the gateway", "arp-off": "the gateway",
		"mtu-container": "full-sized packets", "queue-empty": "the gateway",
		"address-missing": "the gateway", "address-wrong": "the gateway", "prefix-wrong": "the way out",
		"address-extra": "its own published port", "gateway-own": "names",
		"address-on-host": "the gateway", "neighbour-wrong": "the gateway", "neighbour-host": "the gateway",
		"route-missing": "the way out", "gateway-wrong": "the way out", "route-blackhole": "the way out", "route-thief": "the way out",
		"gateway-unreachable": "the gateway", "rule-prohibit": "the gateway", "rule-detour": "the gateway",
		"firewall-out": "the gateway", "firewall-in": "the gateway", "ping-ignored": "answers to ping",
		"resolv-empty": "names", "resolv-wrong": "names",
		"frozen": "answers to the host", "init-stopped": "answers to the host", "cgroup-egress": "sending",
		"peer-down": "the gateway", "peer-unplugged": "the gateway", "peer-elsewhere": "the gateway", "peer-moved": "the gateway",
		"port-disabled": "the gateway", "port-locked": "the gateway", "port-isolated": "its neighbours",
		"hairpin-off": "its own published port", "throttle": "the gateway", "ingress-drop": "the gateway", "xdp-drop": "the gateway",
		"mtu-peer": "full-sized packets", "bridge-down": "its neighbours", "bridge-address": "the gateway",
		"bridge-readdressed": "the gateway", "bridge-deleted": "its neighbours", "fdb-static": "the gateway",
		"forwarding-bridge": "the way out", "localnet-off": "published at 127.0.0.1",
		"name-server-stopped": "names", "name-record": "its name",
		"forward-policy": "the way out", "forward-rule": "the way out", "raw-drop": "the gateway", "bridge-drop": "the gateway",
		"netdev-drop": "the gateway", "bridged-drop": "its neighbours", "input-dns": "names", "input-drop": "the gateway",
		"nat-foreign": "HTTP to its neighbours", "published-stolen": "published ports", "published-dropped": "published ports",
		"masquerade-missing": "the way out", "masquerade-rule": "the way out", "table-deleted": "published ports",
		"table-flushed": "published ports", "rule-inserted": "the way out", "element-missing": "its neighbours",
		"published-missing": "published ports", "published-wrong": "published ports",
		"host-blackhole": "the gateway", "host-route": "the gateway", "host-rule": "the way out", "host-rule-to": "the gateway",
		"forwarding-off": "the way out", "forwarding-uplink": "the way out", "default-missing": "the way out",
		"uplink-down": "the way out", "uplink-gateway": "the way out", "mtu-uplink": "full-sized packets",
	}[name]
}

// breaksIt runs the probe of the fault, in the background: it must fail.
func (l *lab) breaksIt(name string) (done chan error) {
	done = make(chan error, 1)
	probe := breaks(name)
	unseen := []string{"nat-foreign", "hairpin-off", "element-missing"} // they break what goes from port to port of a bridge
	if probe == "" || slices.Contains(unseen, name) && !seesFrames() {
		done <- nil
		return done
	}
	c := l.probes()[probe]
	go func() {
		if _, _, err := output(c); err == nil {
			done <- fmt.Errorf("%s: %s still works", name, probe)
			return
		}
		done <- nil
	}()
	return done
}

// works waits until the probe of the fault succeeds: what the kernel has learnt of
// neighbours while the fault was there has to go first.
func (l *lab) works(name string) (err error) {
	probe := breaks(name)
	if probe == "" {
		return nil
	}
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); {
		if _, _, err = output(l.probes()[probe]); err == nil {
			return nil
		}
	}
	return fmt.Errorf("after %s was cleared, %s does not work: %w", name, probe, err)
}

// seesFrames reports whether the rules of IP see what goes from port to port of a
// bridge: without that, what a foreign table does to it is of no consequence.
func seesFrames() bool {
	on, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && strings.TrimSpace(string(on)) == "1"
}
