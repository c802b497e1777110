package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A wire is a packet socket on a link: it can send whatever a container with
// CAP_NET_RAW can, and hears everything.
type wire struct {
	t     testing.TB
	fd    int
	index int
	mac   net.HardwareAddr
}

func openWire(t testing.TB, ns Netns, link string) *wire {
	t.Helper()
	w := &wire{t: t, fd: -1}
	err := ns.Do(func() error {
		l, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		w.index, w.mac = l.Index, l.HardwareAddr
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_IPV6)))
		if err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IPV6), Ifindex: l.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// evil is the address that advertises and asks in these tests.
func evil() netip.Addr { return netip.MustParseAddr("fe80::66") }

// send sends an ICMPv6 message, whose checksum it fills in, from evil to the
// multicast address.
func (w *wire) send(to netip.Addr, message []byte) {
	w.t.Helper()
	from, dst := evil().As16(), to.As16()
	sum := uint32(len(message)) + unix.IPPROTO_ICMPV6
	for _, part := range [][]byte{from[:], dst[:], message} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(message[2:], ^uint16(sum))
	frame := append([]byte{0x33, 0x33}, dst[12:]...)
	frame = append(frame, w.mac...)
	frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, 255)
	frame = append(frame, from[:]...)
	frame = append(frame, dst[:]...)
	frame = append(frame, message...)
	if err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index, Protocol: htons(unix.ETH_P_IPV6)}); err != nil {
		w.t.Fatal(err)
	}
}

// advertise says "I am a router, for so many seconds, and fd66::/64 is here".
func (w *wire) advertise(seconds uint16) {
	w.t.Helper()
	message := make([]byte, 16, 56)
	message[0], message[4] = 134, 64 // RFC 4861, 4.2
	binary.BigEndian.PutUint16(message[6:], seconds)
	prefix := make([]byte, 32)                                        // 4.6.2
	prefix[0], prefix[1], prefix[2], prefix[3] = 3, 4, 64, 0xc0       // on-link, autonomous
	binary.BigEndian.PutUint32(prefix[4:], 3600)                      // valid
	binary.BigEndian.PutUint32(prefix[8:], 3600)                      // preferred
	prefix[16], prefix[17] = 0xfd, 0x66                               // fd66::/64
	message = append(append(message, prefix...), 1, 1)                // 4.6.1
	w.send(netip.MustParseAddr("ff02::1"), append(message, w.mac...)) // all nodes
}

// solicit asks all nodes "who has the address?".
func (w *wire) solicit(target netip.Addr) {
	w.t.Helper()
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...) // 4.3
	w.send(netip.MustParseAddr("ff02::1"), append(append(message, 1, 1), w.mac...))
}

// ping asks all nodes for an echo.
func (w *wire) ping() {
	w.t.Helper()
	w.send(netip.MustParseAddr("ff02::1"), []byte{128, 0, 0, 0, 0, 1, 0, 1})
}

// heard returns the hardware addresses that have sent anything of IPv6 since.
func (w *wire) heard() string {
	var b strings.Builder
	frame := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(w.fd, frame, 0)
		if err != nil {
			return b.String()
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype != unix.PACKET_OUTGOING && n > 14 {
			fmt.Fprintln(&b, net.HardwareAddr(frame[6:12]))
		}
	}
}

// linkLocal is the address that a link of the hardware address gives itself.
func linkLocal(mac string) netip.Addr {
	hw, _ := net.ParseMAC(mac) // of this file's tests
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]})
}

// learnt is what the namespace has from evil: addresses and routes.
func learnt(t testing.TB, ns Netns) string {
	t.Helper()
	return sh(t, "nsenter --net="+ns.Path+" sh -c 'ip -6 addr; ip -6 route' | grep -e fd66: -e fe80::66 || true")
}

func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestRouterAdvertisement: a container poses as a router. Neither its neighbour nor
// the host believes it; a gullible container shows that the advertisement is good.
// On a network without IPv6 nobody even answers.
func TestRouterAdvertisement(t *testing.T) {
	requireTools(t, "ip", "nsenter", "sysctl")
	for name, g := range networksOfEachFamily() {
		t.Run(name, func(t *testing.T) {
			freshHost(t)
			sh(t, "sysctl -q -w net.ipv6.conf.default.accept_ra=2") // a gullible host
			runroot := t.TempDir()
			one, ns := endpoint6(t, runroot, 1, g[0], g[1])
			two, attacker := endpoint6(t, runroot, 2, g[0], g[1])
			three, gullible := endpoint6(t, runroot, 3, g[0], g[1])
			run(t, plan6(one, ns))
			run(t, plan6(two, attacker))
			run(t, plan6(three, gullible))
			sh(t, "nsenter --net="+gullible.Path+" sysctl -q -w net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.autoconf=1 net.ipv6.conf.eth0.disable_ipv6=0")
			w := openWire(t, attacker, "eth0")
			answers := ""
			waitFor(t, "the gullible container", func() bool {
				w.advertise(1800)
				for _, mac := range []string{one.Network.MAC, one.Interface.MAC, three.Interface.MAC} {
					w.solicit(linkLocal(mac))
				}
				w.ping()
				answers += w.heard()
				got := learnt(t, gullible)
				return strings.Contains(got, "default via fe80::66") && strings.Contains(got, "inet6 fd66:") && strings.Contains(answers, three.Interface.MAC)
			})
			time.Sleep(50 * time.Millisecond)
			answers += w.heard()
			for who, ns := range map[string]Netns{"the container": ns, "the host": thisHost()} {
				if got := learnt(t, ns); got != "" {
					t.Errorf("%s has learnt\n%s", who, got)
				}
			}
			for who, mac := range map[string]string{"the container": one.Interface.MAC, "the bridge": one.Network.MAC} {
				if strings.Contains(answers, mac) != (g[1] != "") {
					t.Errorf("%s has answered: %t", who, g[1] == "")
				}
			}
			if out := sh(t, "nsenter --net="+ns.Path+" ip -6 addr show dev eth0; ip -6 addr show dev minictr0"); g[1] == "" && out != "" {
				t.Errorf("IPv6 on a network without:\n%s", out)
			}
		})
	}
}

// TestForwardIPv6: a host that lives by router advertisements goes on doing so.
// The plain sysctl, which takes it off the net, shows that this is not for nothing.
func TestForwardIPv6(t *testing.T) {
	requireTools(t, "ip", "nsenter")
	for _, c := range []struct {
		name  string
		step  func(Lease) step.Step
		stays bool
	}{
		{"the plain sysctl", func(l Lease) step.Step { return &SetSysctl{Key: forwardIPv6, Value: "1", Lease: l} }, false},
		{"the step", func(l Lease) step.Step { return &ForwardIPv6{Lease: l} }, true},
		{"the command", func(l Lease) step.Step { return &shellStep{ForwardIPv6{Lease: l}, t} }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			freshHost(t)
			runroot := t.TempDir()
			outside := internet(t, 1500)
			sh(t, "ip link add idle type veth peer name other; sysctl -q -w net.ipv6.conf.other.accept_ra=0; ip link add br9 type bridge; ip link add port master br9 type veth peer name away")
			before := sysctls6(t) + sh(t, "cat /proc/sys/net/ipv6/conf/uplink/accept_ra")
			router := openWire(t, outside, "eth0")
			host := thisHost()
			has := func() bool { return strings.Contains(learnt(t, host), "default via fe80::66") }
			waitFor(t, "the host's route", func() bool { router.advertise(1800); return has() })

			s := c.step(Lease{File: runroot + "/leases/six", Owner: owner(1)})
			if err := s.Apply(); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(); err != nil {
				t.Error(err)
			}
			if has() != c.stays {
				t.Errorf("the route is there: %t", has())
			}
			router.advertise(0) // it goes out of service
			waitFor(t, "the end of the route", func() bool { return !has() })
			router.advertise(1800)
			time.Sleep(100 * time.Millisecond)
			if has() != c.stays {
				t.Errorf("after a new advertisement the route is there: %t", has())
			}
			if !c.stays {
				return
			}
			got := sh(t, "cd /proc/sys/net/ipv6/conf; grep . */accept_ra")
			want := "all/accept_ra:1\naway/accept_ra:2\nbr9/accept_ra:2\ndefault/accept_ra:1\nidle/accept_ra:2\nlo/accept_ra:1\nother/accept_ra:0\nport/accept_ra:1\nuplink/accept_ra:2\n"
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			f, ok := s.(*ForwardIPv6)
			if !ok {
				return
			}
			links, changed := f.Changed()
			slices.Sort(links)
			if !changed || strings.Join(links, " ") != "away br9 idle uplink" {
				t.Errorf("changed: %s %t", links, changed)
			}
			again := &ForwardIPv6{Lease: f.Lease}
			if err := again.Apply(); err != nil || again.done != nil {
				t.Errorf("again: %v, %v", err, again.done)
			}
			notes, err := RestoreSysctls(runroot)
			if err != nil || len(notes) != 5 {
				t.Errorf("restored %v, %v", notes, err)
			}
			if after := sysctls6(t) + sh(t, "cat /proc/sys/net/ipv6/conf/uplink/accept_ra"); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

// A shellStep is the step by its command.
type shellStep struct {
	ForwardIPv6
	t testing.TB
}

func (s *shellStep) Apply() error { sh(s.t, s.String()); return nil }
