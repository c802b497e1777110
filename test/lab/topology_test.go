// Package lab tests minictr's networks from the places where packets come from
// and go to. Every test has a small world of its own, of network namespaces:
//
//	   containers                                 "internet"
//	─┬────┬────┬─ bridges                             │ 198.51.100.2, 2001:db8:2::2
//	 └── host ──┐                       ┌── router ───┘
//	            ├── one segment: 192.0.2.0/24, 2001:db8:1::/64
//	   LAN ─────┘
//
// The host (.1) is where minictr runs. The LAN neighbour (.3) sends everything
// for private addresses to the host, as somebody would who wants to get in. The
// router (.254) knows no way to private addresses. Nothing leaves this world, and
// nothing of it is there when the test has ended.
package lab

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// The addresses of the world.
const (
	hostAddress      = "192.0.2.1"
	hostAddress6     = "2001:db8:1::1"
	lanAddress       = "192.0.2.3"
	lanAddress6      = "2001:db8:1::3"
	internetAddress  = "198.51.100.2"
	internetAddress6 = "2001:db8:2::2"
)

// A place is a network namespace from which packets are sent, and its names
// in messages.
type place struct {
	name string
	ns   *os.File
}

// open opens a namespace for the time of the test.
func open(t testing.TB, name, path string) place {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	return place{name, file}
}

func newPlace(t testing.TB, name string) place {
	t.Helper()
	return open(t, name, kernel.NewNetns(t).Path())
}

// do runs f in the place, on a thread that comes back or dies. Unlike the
// method of kernel.Netns it may be called by any goroutine.
func (p place) do(f func() error) error {
	runtime.LockOSThread()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer back.Close()
	if err := unix.Setns(int(p.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", p.name, err)
	}
	err = f()
	if unix.Setns(int(back.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// path is a name of the namespace for other programs.
func (p place) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), p.ns.Fd()) }

// output runs a command in the place, with stdin as its input.
func (p place) output(stdin, name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &out
	err := p.do(c.Start)
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		err = fmt.Errorf("in %s: %s: %w: %s", p.name, c, err, out.String())
	}
	return out.String(), err
}

// must is output of a command that has to succeed.
func (p place) must(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	out, err := p.output(stdin, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// world is the places outside of containers.
type world struct{ host, lan, router, internet place }

// newWorld makes them. The host knows nothing of the others but its neighbours
// and its default routes.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{host: newPlace(t, "host"), lan: newPlace(t, "LAN"), router: newPlace(t, "router"), internet: newPlace(t, "internet")}
	for _, p := range []place{w.host, w.lan, w.router, w.internet} {
		p.must(t, "link set lo up\n", "ip", "-batch", "-")
	}
	w.router.must(t, fmt.Sprintf(`link add segment type bridge
link add tohost type veth peer name eth0 netns %s
link add tolan type veth peer name eth0 netns %s
link add outside type veth peer name eth0 netns %s
link set tohost master segment up
link set tolan master segment up
link set segment up
link set outside up
address add 192.0.2.254/24 dev segment
address add 2001:db8:1::254/64 dev segment nodad
address add 198.51.100.254/24 dev outside
address add 2001:db8:2::254/64 dev outside nodad
`, w.host.path(), w.lan.path(), w.internet.path()), "ip", "-batch", "-")
	w.router.must(t, "", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	for _, p := range []place{w.host, w.lan, w.internet} { // no addresses that are tentative for a second
		p.must(t, "", "sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=0")
	}
	w.host.must(t, ends(hostAddress+"/24", hostAddress6+"/64", "192.0.2.254", "2001:db8:1::254"), "ip", "-batch", "-")
	w.internet.must(t, ends(internetAddress+"/24", internetAddress6+"/64", "198.51.100.254", "2001:db8:2::254"), "ip", "-batch", "-")
	w.lan.must(t, ends(lanAddress+"/24", lanAddress6+"/64", "192.0.2.254", "2001:db8:1::254")+
		"route add 10.0.0.0/8 via "+hostAddress+"\n"+
		"route add 172.16.0.0/12 via "+hostAddress+"\n"+
		"route add 192.168.0.0/16 via "+hostAddress+"\n"+
		"route add fc00::/7 via "+hostAddress6+"\n", "ip", "-batch", "-")
	kernel.Eventually(t, patient, func() error { // the kernel makes them in the background
		routes := w.host.must(t, "", "ip", "-6", "route", "show", "table", "local")
		if !strings.Contains(routes, hostAddress6) || !strings.Contains(routes, "fe80::") {
			return fmt.Errorf("the host has not all its addresses yet: %s", routes)
		}
		return nil
	})
	return w
}

// ends configures an eth0.
func ends(address, address6, gateway, gateway6 string) string {
	return fmt.Sprintf(`link set eth0 up
address add %s dev eth0
address add %s dev eth0 nodad
route add default via %s
route add default via %s
`, address, address6, gateway, gateway6)
}

// mac is the address of a link of the place.
func (p place) mac(t testing.TB, link string) net.HardwareAddr {
	t.Helper()
	var found *net.Interface
	err := p.do(func() (err error) {
		found, err = net.InterfaceByName(link)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found.HardwareAddr
}

func addrPort(address string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(address), port)
}
