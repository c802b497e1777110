package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestResolvePorts: ports that are chosen are free, and differ.
func TestResolvePorts(t *testing.T) {
	l := newLab(t)
	sh(t, "sysctl -q -w net.ipv4.ip_local_port_range='40000 40009'")
	l.publish(t, "a1", "40001:80")
	l.publish(t, "a1", "127.0.0.1:40002:80")
	l.publish(t, "a1", "40005-40006:40005-40006")
	busy, err := net.Listen("tcp6", "[::1]:40003")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	runroot := t.TempDir()
	resolve := func(texts ...string) string {
		t.Helper()
		var ports []Port
		for _, text := range texts {
			p, err := ParsePorts(text)
			if err != nil {
				t.Fatal(err)
			}
			ports = append(ports, p...)
		}
		dry, dryErr := ResolvePorts(runroot, ports, true)
		ports, err := ResolvePorts(runroot, ports, false)
		if err != nil {
			if dryErr == nil || dryErr.Error() != err.Error() {
				t.Errorf("dry: %v", dryErr)
			}
			return err.Error()
		}
		if fmt.Sprint(dry) != fmt.Sprint(ports) {
			t.Errorf("dry: %s", dry)
		}
		return fmt.Sprint(ports)
	}
	for _, c := range []struct{ ask, want string }{
		{"80", "[40000:80/tcp]"},
		{"80", "[40004:80/tcp]"}, // 1 to 3 are in use, and 0 was given a moment ago
		{"80/udp", "[40005:80/udp]"},
		{"127.0.0.1::80", "[127.0.0.1:40007:80/tcp]"}, // 5 and 6 are in use
		{"80-81", "[40008:80/tcp 40009:81/tcp]"},
		{"80", "[40000:80/tcp]"},
		{"8080:80", "[8080:80/tcp]"},
		{"40001-40003:80", "publish port 0.0.0.0:40001-40003/tcp: all of them are in use"},
		{"40001-40004:80", "[40004:80/tcp]"},
		{"8000-8002:80", "[8000:80/tcp]"},
		{"8000-8002:80", "[8001:80/tcp]"},
		{"80-89", "publish port 0.0.0.0:40000-40009/tcp: all of them are in use"},
	} {
		if got := resolve(c.ask); got != c.want {
			t.Errorf("%s: %s, want %s", c.ask, got, c.want)
		}
	}
	if got := resolve("40000:80", "81", "40007:82"); got != "[40000:80/tcp 40004:81/tcp 40007:82/tcp]" {
		t.Errorf("beside fixed ones: %s", got)
	}
}

// TestResolvePortsAtOnce: launches that choose at the same time choose differently.
func TestResolvePortsAtOnce(t *testing.T) {
	freshHost(t)
	host, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	runroot := t.TempDir()
	var all sync.WaitGroup
	var lock sync.Mutex
	seen := map[uint16]bool{}
	for range 20 {
		all.Go(func() {
			ns := Netns{Path: fdPath(host)}
			err := ns.Do(func() error {
				ports, err := ResolvePorts(runroot, []Port{{ContainerPort: 80, Count: 1, Protocol: "tcp"}}, false)
				if err == nil {
					lock.Lock()
					defer lock.Unlock()
					seen[ports[0].HostPort] = true
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(seen) != 20 {
		t.Errorf("20 launches have chosen %d ports", len(seen))
	}
}

// TestBindAll is the way without sock_diag: it finds what sock_diag finds.
func TestBindAll(t *testing.T) {
	newLab(t)
	for _, protocol := range []string{"tcp", "udp", "sctp"} {
		for _, f := range families() {
			p := Port{HostIP: f.unspecified(), HostPort: 70, Count: 40, Protocol: protocol}
			tried, err := bindAll(f, protocol, []Port{p})
			if err != nil {
				t.Fatal(err)
			}
			asked, err := diagnose(f, protocol)
			if err != nil && !isUnsupported(err) {
				t.Fatal(err)
			}
			if protocol == "sctp" && err != nil { // there are no sockets of it, then
				asked = nil
			}
			found := map[uint16]bool{}
			for _, s := range asked {
				found[s.HostPort] = true
			}
			for _, s := range tried {
				if !found[s.HostPort] {
					t.Errorf("%s %s: port %d cannot be bound, and nobody has it", f, protocol, s.HostPort)
				}
				delete(found, s.HostPort)
			}
			if len(found) > 0 {
				t.Errorf("%s %s: %v can be bound", f, protocol, found)
			}
		}
	}
	if err := tryBind(ipv4, Port{HostIP: ipv4.unspecified(), HostPort: 80, Protocol: "tcp"}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("port 80: %v", err)
	}
}
