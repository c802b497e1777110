package lab

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

	"github.com/minictr/minictr/test/kernel"
)

// A forgery is a UDP packet with addresses as somebody likes them, put on a link
// as it is. The mark is what it carries.
type forgery struct {
	from, to netip.AddrPort
	mark     string
}

// send puts the forgeries on the place's eth0, for the link of the address.
func (p place) send(t testing.TB, to net.HardwareAddr, list ...forgery) {
	t.Helper()
	from := p.mac(t, "eth0")
	err := p.do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		for _, f := range list {
			frame := append(append([]byte{}, to...), from...)
			frame = append(frame, f.packet()...)
			if err := unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}); err != nil {
				return fmt.Errorf("send %s: %w", f.mark, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// packet is the frame's type and the packet.
func (f forgery) packet() []byte {
	from, to := f.from.Addr().AsSlice(), f.to.Addr().AsSlice()
	size := 8 + len(f.mark)
	udp := binary.BigEndian.AppendUint16(nil, f.from.Port())
	udp = binary.BigEndian.AppendUint16(udp, f.to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(size))
	udp = append(append(udp, 0, 0), f.mark...)
	pseudo := append(append([]byte{0, unix.IPPROTO_UDP}, binary.BigEndian.AppendUint16(nil, uint16(size))...), from...)
	binary.BigEndian.PutUint16(udp[6:], checksum(append(append(pseudo, to...), udp...)))
	if len(to) == net.IPv6len {
		head := append([]byte{0x86, 0xdd, 0x60, 0, 0, 0}, binary.BigEndian.AppendUint16(nil, uint16(size))...)
		head = append(head, unix.IPPROTO_UDP, 64)
		return append(append(append(head, from...), to...), udp...)
	}
	head := []byte{0x45, 0}
	head = binary.BigEndian.AppendUint16(head, uint16(20+size))
	head = append(head, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0)
	head = append(append(head, from...), to...)
	binary.BigEndian.PutUint16(head[10:], checksum(head))
	return append(append([]byte{0x08, 0x00}, head...), udp...)
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// loopbackPort is of services of the host that listen to 127.0.0.1 and ::1 only.
const loopbackPort = 9999

// A liar is a place that sends forgeries to the host's link with the address.
type liar struct {
	place
	mac     net.HardwareAddr
	own     string
	senders []string // the addresses that it says are its own
	targets []string
}

// checkForged sends forgeries from the LAN and from containers. None may arrive.
func (c *cast) checkForged(t *testing.T, l *lab) {
	servers := append(c.listeners,
		l.host.serve(t, fmt.Sprintf("127.0.0.1:%d", loopbackPort)), l.host.serve(t, fmt.Sprintf("[::1]:%d", loopbackPort)))
	e := c.server.on[c.network]
	sibling, other := c.own["sibling"], c.own["other"]
	wire, blue, green := l.host.mac(t, "eth0"), l.bridgeMAC(t, c.clients["other"]), l.bridgeMAC(t, c.clients["sibling"])
	for _, from := range []liar{
		{
			l.lan, wire, lanAddress,
			[]string{lanAddress, e.Gateway, sibling[0], other[0], "127.0.0.1", hostAddress, "203.0.113.9"},
			[]string{"127.0.0.1", "127.1.2.3", e.IPAddress},
		},
		{
			l.lan, wire, lanAddress6,
			[]string{lanAddress6, e.IPv6Gateway, sibling[1], other[1], "::1", hostAddress6},
			[]string{"::1", e.GlobalIPv6Address},
		},
		{
			c.clients["other"], blue, other[0],
			[]string{other[0], sibling[0], e.Gateway, "127.0.0.1", hostAddress, lanAddress},
			[]string{"127.0.0.1", e.IPAddress},
		},
		{
			c.clients["other"], blue, other[1],
			[]string{other[1], sibling[1], e.IPv6Gateway, "::1", hostAddress6},
			[]string{"::1", e.GlobalIPv6Address},
		},
		{c.clients["sibling"], green, sibling[0], []string{sibling[0], e.Gateway, "127.0.0.1"}, []string{"127.0.0.1"}},
		{c.clients["sibling"], green, sibling[1], []string{sibling[1], e.IPv6Gateway, "::1"}, []string{"::1"}},
	} {
		from.check(t, servers)
	}
}

// check sends all forgeries, and last an honest packet: when that has arrived
// there is nothing more to wait for.
func (from liar) check(t *testing.T, servers []*server) {
	t.Helper()
	var list []forgery
	for _, sender := range from.senders {
		for _, target := range from.targets {
			for _, port := range []uint16{loopbackPort, 9080, 9081, 9082, 80, 81, 82, 83} {
				list = append(list, forgery{
					addrPort(sender, uint16(20000+len(list))), addrPort(target, port),
					fmt.Sprintf("by %s, from %s to %s, port %d.", from.name, sender, target, port),
				})
			}
		}
	}
	to := hostAddress
	if strings.Contains(from.own, ":") {
		to = hostAddress6
	}
	honest := forgery{addrPort(from.own, 30000), addrPort(to, 9080), fmt.Sprintf("honest, by %s, from %s", from.name, from.own)}
	from.send(t, from.mac, append(list, honest)...)
	arrived := func(mark string) bool {
		return slices.ContainsFunc(servers, func(s *server) bool { return s.saw(mark) })
	}
	kernel.Eventually(t, patient, func() error {
		if !arrived(honest.mark) {
			return fmt.Errorf("%s: has not arrived", honest.mark)
		}
		return nil
	})
	time.Sleep(50 * time.Millisecond) // to a neighbour whose address is not known it takes longer
	for _, f := range list {
		if arrived(f.mark) {
			t.Errorf("arrived: %s", f.mark)
		}
	}
}

// bridgeMAC is the address of the host on the container's eth0: that of the
// neighbour who is its gateway.
func (l *lab) bridgeMAC(t *testing.T, from place) net.HardwareAddr {
	t.Helper()
	var last error
	for range 10 {
		out := from.must(t, "", "ip", "-4", "neigh", "show", "dev", "eth0")
		var address, lladdr string
		if _, err := fmt.Sscanf(out, "%s lladdr %s", &address, &lladdr); err == nil {
			mac, err := net.ParseMAC(lladdr)
			if err == nil {
				return mac
			}
			last = err
		} else {
			last = fmt.Errorf("%w: %s", err, out)
		}
		question{from, "udp", addrPort(hostAddress, 1)}.ask(quick)
	}
	t.Fatal(last)
	return nil
}
