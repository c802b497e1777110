package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/minictr/minictr/network/packet"
)

// A Tuple is what conntrack knows a packet by. Of ICMP the source port is the id of an
// echo.
type Tuple struct {
	Protocol uint8
	From, To netip.AddrPort

	kind uint8 // of ICMP: the type
}

func (t Tuple) String() string {
	if t.isICMP() {
		return fmt.Sprintf("%s > %s, id %d", t.From.Addr(), t.To.Addr(), t.From.Port())
	}
	return fmt.Sprintf("%s.%d > %s.%d", t.From.Addr(), t.From.Port(), t.To.Addr(), t.To.Port())
}

// Reply is what an answer to the packet has.
func (t Tuple) Reply() Tuple {
	r := Tuple{Protocol: t.Protocol, From: t.To, To: t.From}
	if t.isICMP() {
		r.kind = echoes[t.kind]
		r.From, r.To = netip.AddrPortFrom(t.To.Addr(), t.From.Port()), netip.AddrPortFrom(t.From.Addr(), 0)
	}
	return r
}

func (t Tuple) isICMP() bool { return t.Protocol == packet.ICMP || t.Protocol == packet.ICMP6 }

// echoes are the types of ICMP and ICMPv6 that conntrack follows here, and those that
// answer them.
var echoes = map[uint8]uint8{0: 8, 8: 0, 128: 129, 129: 128}

// TupleOf finds the tuple of a packet; not all have one: fragments, ARP, errors.
func TupleOf(p *packet.Packet) (Tuple, bool) {
	if !p.Src.IsValid() || p.EtherType != packet.IPv4 && p.EtherType != packet.IPv6 {
		return Tuple{}, false
	}
	t := Tuple{Protocol: p.Protocol}
	switch {
	case p.HasPorts:
		t.From, t.To = netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
		return t, true
	case t.isICMP() && len(p.Transport) >= 8:
		t.kind = p.Transport[0]
		_, ok := echoes[t.kind]
		t.From, t.To = netip.AddrPortFrom(p.Src, binary.BigEndian.Uint16(p.Transport[4:])), netip.AddrPortFrom(p.Dst, 0)
		return t, ok
	}
	return Tuple{}, false
}

// Rewrite returns the frame as it would be if the packet in it had the tuple: with its
// addresses and ports, and with the old checksums.
func Rewrite(frame []byte, p *packet.Packet, t Tuple) []byte {
	b := append([]byte(nil), frame...)
	network := b[len(b)-len(p.Network):]
	src, dst := 12, 16
	if p.EtherType == packet.IPv6 {
		src, dst = 8, 24
	}
	copy(network[src:], t.From.Addr().AsSlice())
	copy(network[dst:], t.To.Addr().AsSlice())
	if at := p.TransportAt; at > 0 && p.HasPorts {
		binary.BigEndian.PutUint16(network[at:], t.From.Port())
		binary.BigEndian.PutUint16(network[at+2:], t.To.Port())
	}
	return b
}
