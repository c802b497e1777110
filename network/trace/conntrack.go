package trace

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A connection is what connection tracking knows of the probe in one namespace:
// its first packet as it came in, and an answer as it will come in. Where they are
// not each other's reverse, addresses are translated.
type connection struct {
	original, reply Flow
	protocol        uint8
}

// Attributes of ctnetlink, linux/netfilter/nfnetlink_conntrack.h.
const (
	ctGet = 1 // IPCTNL_MSG_CT_GET

	ctaTupleOrig, ctaTupleReply = 1, 2
	ctaTupleIP, ctaTupleProto   = 1, 2
	ctaIPv4Src, ctaIPv4Dst      = 1, 2
	ctaIPv6Src, ctaIPv6Dst      = 3, 4

	ctaProtoNum, ctaProtoSrcPort, ctaProtoDstPort = 1, 2, 3
	ctaICMPID, ctaICMPType, ctaICMPCode           = 4, 5, 6
	ctaICMPv6ID, ctaICMPv6Type, ctaICMPv6Code     = 7, 8, 9
)

// connection looks the probe up by its addresses as they came into the place. Of
// what was dropped before its end there is none. It asks a table that is there
// anyway, and does not switch tracking on.
func (g *ground) connection(p *probe, f Flow) (found connection, ok bool) {
	var tuple attributes
	tuple.nest(ctaTupleOrig, tupleOf(p, f))
	err := g.do(func() error {
		s, err := dial(unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer s.close()
		family := uint8(unix.AF_INET)
		if p.v6() {
			family = unix.AF_INET6
		}
		bodies, err := s.ask(unix.NFNL_SUBSYS_CTNETLINK<<8|ctGet, 0, append(nfnetlink(family, 0), tuple...))
		for _, b := range bodies {
			if len(b) > 4 {
				a := attributes(b[4:])
				found = connection{parseTuple(a.get(ctaTupleOrig)), parseTuple(a.get(ctaTupleReply)), p.number()}
				ok = true
			}
		}
		return err
	})
	return found, ok && err == nil
}

func tupleOf(p *probe, f Flow) (a attributes) {
	var ip, proto attributes
	source, destination := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if p.v6() {
		source, destination = ctaIPv6Src, ctaIPv6Dst
	}
	ip.add(source, f.Source.Addr().AsSlice()...)
	ip.add(destination, f.Destination.Addr().AsSlice()...)
	proto.add(ctaProtoNum, p.number())
	switch {
	case p.protocol != icmp:
		proto.add(ctaProtoSrcPort, networkOrder(f.Source.Port())...)
		proto.add(ctaProtoDstPort, networkOrder(f.Destination.Port())...)
	case p.v6():
		proto.add(ctaICMPv6ID, networkOrder(f.Source.Port())...)
		proto.add(ctaICMPv6Type, p.echo())
		proto.add(ctaICMPv6Code, 0)
	default:
		proto.add(ctaICMPID, networkOrder(f.Source.Port())...)
		proto.add(ctaICMPType, p.echo())
		proto.add(ctaICMPCode, 0)
	}
	a.nest(ctaTupleIP, ip)
	a.nest(ctaTupleProto, proto)
	return a
}

func parseTuple(a attributes) Flow {
	ip, proto := a.get(ctaTupleIP), a.get(ctaTupleProto)
	address := func(v4, v6 uint16) netip.Addr {
		value := ip.get(v4)
		if value == nil {
			value = ip.get(v6)
		}
		found, _ := netip.AddrFromSlice(value)
		return found
	}
	port := func(kinds ...uint16) uint16 {
		for _, k := range kinds {
			if proto.get(k) != nil {
				return uint16(proto.big(k))
			}
		}
		return 0
	}
	return Flow{
		netip.AddrPortFrom(address(ctaIPv4Src, ctaIPv6Src), port(ctaProtoSrcPort, ctaICMPID, ctaICMPv6ID)),
		netip.AddrPortFrom(address(ctaIPv4Dst, ctaIPv6Dst), port(ctaProtoDstPort, ctaICMPID, ctaICMPv6ID)),
	}
}

// translated tells whether an address is rewritten.
func (c connection) translated() bool { return c.reply != c.original.reversed() }

// String is both tuples as conntrack(8) prints them.
func (c connection) String() string { return c.tuple(c.original) + " " + c.tuple(c.reply) }

func (c connection) tuple(f Flow) string {
	text := fmt.Sprintf("src=%s dst=%s", f.Source.Addr(), f.Destination.Addr())
	if c.protocol == unix.IPPROTO_TCP || c.protocol == unix.IPPROTO_UDP {
		return text + fmt.Sprintf(" sport=%d dport=%d", f.Source.Port(), f.Destination.Port())
	}
	return text + fmt.Sprintf(" id=%d", f.Source.Port())
}
