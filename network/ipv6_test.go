package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// endpoint6 is container n on a bridge with the gateways, each of which may be "".
func endpoint6(t testing.TB, runroot string, n int, gateway, gateway6 string) (Endpoint, Netns) {
	t.Helper()
	e := Endpoint{Lease: Lease{File: filepath.Join(runroot, leasesDir, "six"), Owner: owner(n)}}
	e.Network = Network{Name: "six", Bridge: DefaultBridge, MAC: "02:42:00:00:00:01"}
	e.Interface = Interface{Name: "eth0", Host: fmt.Sprintf("veth%08x", n), MAC: fmt.Sprintf("02:42:00:00:01:%02x", n), MTU: 1500}
	for _, x := range []struct {
		text             string
		gateway, address *netip.Prefix
		route            *bool
	}{{gateway, &e.Network.Gateway, &e.Interface.Address, &e.Default}, {gateway6, &e.Network.Gateway6, &e.Interface.Address6, &e.Default6}} {
		if x.text == "" {
			continue
		}
		*x.gateway, *x.route = netip.MustParsePrefix(x.text), true
		a := x.gateway.Addr()
		for range n {
			a = a.Next()
		}
		*x.address = netip.PrefixFrom(a, x.gateway.Bits())
	}
	if n == 0 {
		return e, Netns{}
	}
	return e, freshNetns(t, "")
}

// host6 and inside6 are the plan of a network that may have IPv6.
func host6(e Endpoint) []step.Step {
	n := e.Network
	list := []step.Step{&AddBridge{Name: n.Bridge, MAC: n.MAC, Lease: e.Lease}}
	list = append(list, bridgeSysctls(n.Bridge, n.Gateway6.IsValid(), e.Lease)...)
	for _, a := range n.gateways() {
		list = append(list, &AddAddress{Link: n.Bridge, Address: a, Lease: e.Lease})
	}
	list = append(list, &SetLinkUp{Link: n.Bridge, Lease: e.Lease})
	if n.Gateway.IsValid() {
		list = append(list, &SetSysctl{Key: "net/ipv4/ip_forward", Value: "1", Lease: e.Lease})
	}
	if n.Gateway6.IsValid() {
		list = append(list, &ForwardIPv6{Lease: e.Lease})
	}
	return list
}

func inside6(e Endpoint, ns Netns) []step.Step {
	i, at := e.Interface, &place{netns: ns}
	list := []step.Step{
		&SetLinkDefaults{Link: i.Name, IPv6: i.Address6.IsValid(), Netns: ns, at: at.use()},
		&AddVeth{Host: i.Host, Bridge: e.Network.Bridge, Peer: i.Name, MAC: i.MAC, MTU: i.MTU, Netns: ns},
	}
	for _, a := range i.Addresses() {
		list = append(list, &AddAddress{Link: i.Name, Address: a, Netns: ns, at: at.use()})
	}
	list = append(list, &SetLinkUp{Link: "lo", Netns: ns, at: at.use()}, &SetLinkUp{Link: i.Name, Netns: ns, at: at.use()})
	list = append(list, routes(e, ns, at)...)
	return append(list, &SyncCarrier{Host: i.Host, Bridge: e.Network.Bridge})
}

func plan6(e Endpoint, ns Netns) []step.Step { return append(host6(e), inside6(e, ns)...) }

// sysctls6 are all sysctls of IPv6 that links have in the namespace of the thread.
func sysctls6(t testing.TB) string {
	return sh(t, "cd /proc/sys/net/ipv6/conf; grep -r . . 2>/dev/null | grep -v -e stable_secret -e /mtu: -e ./veth -e ./uplink | sort || true")
}

func dump6(t testing.TB) string { return snapshot(t) + sysctls6(t) }

func dump6In(t testing.TB, ns Netns) (text string) {
	t.Helper()
	if err := ns.Do(func() error { text = dump6(t); return nil }); err != nil {
		t.Fatal(err)
	}
	return text
}

// networksOfEachFamily are the kinds of networks by their gateways.
func networksOfEachFamily() map[string][2]string {
	return map[string][2]string{
		"v4":   {"172.30.0.1/24", ""},
		"v6":   {"", "fd00::1/64"},
		"dual": {"172.30.0.1/24", "fd00::1/64"},
	}
}

// TestScript6: the printed script makes the same as the steps, sysctls included.
func TestScript6(t *testing.T) {
	requireTools(t, "ip", "nft", "sysctl", "nsenter")
	for name, g := range networksOfEachFamily() {
		t.Run(name, func(t *testing.T) {
			freshHost(t)
			mountNetnsDir(t)
			e, _ := endpoint6(t, t.TempDir(), 1, g[0], g[1])
			full := append([]step.Step{&AddNetns{"applied"}}, plan6(e, Netns{Name: "applied"})...)
			golden(t, "ipv6-"+name, strings.ReplaceAll(step.Script(full), "applied", "web"))
			script := strings.ReplaceAll(step.Script(full), "applied", "printed")
			run(t, full)
			if err := step.Check(full); err != nil {
				t.Error(err)
			}
			other := freshNetns(t, "")
			for again, text := range []string{script, step.Script(host6(e))} {
				out, err := exec.Command("nsenter", "--net="+other.Path, "sh", "-c", text).CombinedOutput()
				if err != nil {
					t.Fatalf("%d: %v\n%s\n%s", again, err, out, text)
				}
				for where, ns := range map[string][2]Netns{"host": {{Path: self}, other}, "container": {{Name: "applied"}, {Name: "printed"}}} {
					diff := settle(func() string { return sameIn(t, ns[0]) }, func() string { return sameIn(t, ns[1]) })
					if diff != "" {
						t.Errorf("%d, %s: applied (-) and printed (+) differ:\n%s", again, where, diff)
					}
				}
			}
		})
	}
}

// sameIn is inDump and the sysctls.
func sameIn(t testing.TB, ns Netns) string {
	t.Helper()
	text := inDump(t, ns)
	path := ns.Path
	if path == "" {
		path = netnsDir + "/" + ns.Name
	}
	if path == self {
		return text + sysctls6(t)
	}
	return text + sh(t, "nsenter --net="+path+" sh -c 'cd /proc/sys/net/ipv6/conf; grep -r . . 2>/dev/null | grep -v -e stable_secret -e /mtu: -e ./veth -e ./uplink | sort'")
}

// TestUndo6 takes back every prefix of the plans, and fails at every step.
func TestUndo6(t *testing.T) {
	requireRoot(t)
	requireTools(t, "ip", "nft")
	want := dump6In(t, freshNetns(t, ""))
	for name, g := range networksOfEachFamily() {
		e, ns := endpoint6(t, "/none", 1, g[0], g[1])
		for i := range plan6(e, ns) {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				freshHost(t)
				runroot := t.TempDir()
				e, ns := endpoint6(t, runroot, 1, g[0], g[1])
				sockets := openSockets(t)
				err := step.Run(step.FailAt(plan6(e, ns), i, unix.EIO), nil)
				if !errors.Is(err, unix.EIO) || strings.Contains(err.Error(), "undo") {
					t.Errorf("got %v", err)
				}
				fixed := func() string { return want }
				if diff := settle(fixed, func() string { return dump6(t) }); diff != "" {
					t.Errorf("left on the host:\n%s", diff)
				}
				if diff := settle(fixed, func() string { return dump6In(t, ns) }); diff != "" {
					t.Errorf("left in the container:\n%s", diff)
				}
				if now := openSockets(t); now != sockets {
					t.Errorf("%d sockets are open, %d were", now, sockets)
				}
				if left, _ := filepath.Glob(runroot + "/sysctls/*"); len(left) > 0 {
					t.Errorf("left %s", left)
				}
			})
		}
	}
}

// serve6 answers every TCP connection to the port of any address in the
// namespace with the address that it comes from.
func serve6(t testing.TB, ns Netns) {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) { l, err = net.Listen("tcp", "[::]:80"); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprint(c, host)
			c.Close()
		}
	}()
}

// dial6 connects from the namespace and returns the answer.
func dial6(ns Netns, address string) (answer string, err error) {
	err = ns.Do(func() error {
		c, err := net.DialTimeout("tcp", address, 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		answer = string(text)
		return err
	})
	return answer, err
}

func thisHost() Netns {
	return Netns{Path: fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())}
}

// TestReach6: every address answers at once when the last step is done; nothing
// waits for duplicate address detection.
func TestReach6(t *testing.T) {
	for _, g := range [][2]string{networksOfEachFamily()["v6"], networksOfEachFamily()["dual"]} {
		freshHost(t)
		runroot := t.TempDir()
		serve6(t, thisHost())
		one, ns := endpoint6(t, runroot, 1, g[0], g[1])
		run(t, plan6(one, ns))
		begin := time.Now()
		got, err := dial6(ns, "[fd00::1]:80")
		took := time.Since(begin)
		if err != nil || got != "fd00::2" {
			t.Errorf("the first container to the gateway: from %s, %v", got, err)
		}
		t.Logf("the first connection to fd00::1 took %v", took)
		// A lost solicitation is sent again after a second; half of that says that none was.
		if took > 500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		two, ns2 := endpoint6(t, runroot, 2, g[0], g[1])
		run(t, plan6(two, ns2))
		serve6(t, ns)
		serve6(t, ns2)
		for _, c := range []struct {
			from     Netns
			to, want string
		}{
			{ns2, "fd00::2", "fd00::3"},
			{ns, "fd00::3", "fd00::2"},
			{ns, "fd00::2", "fd00::2"},
			{ns, "::1", "::1"},
			{thisHost(), "fd00::3", "fd00::1"},
		} {
			begin := time.Now()
			got, err := dial6(c.from, "["+c.to+"]:80")
			if took := time.Since(begin); err != nil || got != c.want || took > 500*time.Millisecond {
				t.Errorf("to %s: from %q, %v, after %v; want %s", c.to, got, err, took, c.want)
			}
		}
		for _, s := range plan6(one, ns) {
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		}
		waitFor(t, "the bridge's carrier", func() bool {
			return strings.Contains(sh(t, "ip -6 addr show dev minictr0"), "fe80::")
		})
		if out := sh(t, "ip -6 addr show dev minictr0; nsenter --net="+ns2.Path+" ip -6 addr"); strings.Contains(out, "tentative") || strings.Count(out, "fe80::") != 2 {
			t.Errorf("not two link-local addresses, or not yet usable:\n%s", out)
		}
	}
}
