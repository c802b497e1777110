package firewall

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A State is what connection tracking says of a packet.
type State uint8

// The states of a sample packet. In chains before connection tracking (a
// priority below -200) every packet is Untracked.
const (
	New         State = iota // the first packet of a connection
	Established              // a later one
	Untracked
)

// A Link is a network device: the name that rules match, and its index, 0 if
// it is not there (then a rule that asks for the index is in doubt).
type Link struct {
	Name  string
	Index int
}

// A Packet is a sample: what becomes of one like this?
type Packet struct {
	In, Out                     Link // no name: none, as Out of a packet for the host
	Source, Destination         netip.Addr
	Protocol                    uint8 // unix.IPPROTO_TCP, …
	SourcePort, DestinationPort uint16
	State                       State
	Reply                       bool             // goes against the direction of the connection's first packet
	DNAT                        bool             // the destination was rewritten, as for a published port
	SourceLocal                 bool             // the source is an address of the host
	DestinationLocal            bool             // the destination is
	Mark                        uint32           // what iptables and nft call the mark
	SourceMAC, DestinationMAC   net.HardwareAddr // for rules that see frames; nil: not known
	ARP                         bool             // it is a question of ARP for Destination, and no IP
}

func (p Packet) String() string {
	text := fmt.Sprintf("%s -> %s %s", netip.AddrPortFrom(p.Source, p.SourcePort), netip.AddrPortFrom(p.Destination, p.DestinationPort), protocolName(p.Protocol))
	if p.In.Name != "" {
		text += " in " + p.In.Name
	}
	if p.Out.Name != "" {
		text += " out " + p.Out.Name
	}
	return text
}

func (p Packet) v6() bool { return p.Source.Is6() }

// ttl is the hop limit of a sample; forwarding makes one less of it, so rules
// that ask for it are answered only roughly.
const ttl = 64

// bits are bytes of which some bits may be unknown.
type bits struct{ value, known []byte }

func known(value []byte) bits { return bits{value, slices.Repeat([]byte{0xff}, len(value))} }

// unknown is no longer than all registers together.
func unknown(length int) bits {
	length = min(length, len(registers{}.value))
	return bits{make([]byte, length), make([]byte, length)}
}

// maskBits knows only what the mask has.
func maskBits(value []byte, mask ...byte) bits { return bits{value, mask} }

// join puts pieces of a header together.
func join(pieces ...bits) (all bits) {
	for _, p := range pieces {
		all.value, all.known = append(all.value, p.value...), append(all.known, p.known...)
	}
	return all
}

// certain is true if every bit is known.
func (b bits) certain() bool {
	for _, k := range b.known {
		if k != 0xff {
			return false
		}
	}
	return true
}

func port(p uint16) bits { return known(binary.BigEndian.AppendUint16(nil, p)) }

// frame is the header of Ethernet.
func (p Packet) frame() bits {
	mac := func(a net.HardwareAddr) bits {
		if len(a) != 6 {
			return unknown(6)
		}
		return known(a)
	}
	return join(mac(p.DestinationMAC), mac(p.SourceMAC), known(binary.BigEndian.AppendUint16(nil, p.etherType())))
}

// network is the packet's IP header: RFC 791, RFC 8200.
func (p Packet) network() bits {
	if p.ARP {
		return join(known([]byte{0, 1, 0x08, 0, 6, 4, 0, 1}), unknown(20))
	}
	if p.v6() {
		return join(known([]byte{0x60, 0, 0, 0}), unknown(2), known([]byte{p.Protocol, ttl}),
			known(p.Source.AsSlice()), known(p.Destination.AsSlice()))
	}
	return join(known([]byte{0x45, 0}), unknown(4), maskBits([]byte{0, 0}, 0xbf, 0xff), // may bear DF, is no fragment
		known([]byte{ttl, p.Protocol}), unknown(2), known(p.Source.AsSlice()), known(p.Destination.AsSlice()))
}

// transport is the header behind it.
func (p Packet) transport() bits {
	if p.ARP {
		return bits{}
	}
	switch p.Protocol {
	case unix.IPPROTO_TCP:
		const syn, ack = 0x02, 0x10
		flags := known([]byte{syn})
		if p.State == Established || p.Reply {
			flags = maskBits([]byte{ack}, 0x17) // not SYN, RST, FIN; others may be set
		}
		return join(port(p.SourcePort), port(p.DestinationPort), unknown(8), unknown(1), flags, unknown(2), unknown(2), known([]byte{0, 0}))
	case unix.IPPROTO_UDP:
		return join(port(p.SourcePort), port(p.DestinationPort), unknown(4))
	case unix.IPPROTO_SCTP:
		return join(port(p.SourcePort), port(p.DestinationPort), unknown(8))
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return join(known([]byte{p.icmpType(), 0}), unknown(6))
	}
	return bits{}
}

// icmpType makes an echo request of every sample, and of a reply its reply.
func (p Packet) icmpType() byte {
	switch {
	case p.Protocol == unix.IPPROTO_ICMP && p.Reply:
		return 0
	case p.Protocol == unix.IPPROTO_ICMP:
		return 8
	case p.Reply:
		return 129
	}
	return 128
}

// addressType is what the routing table says of an address, linux/rtnetlink.h.
func addressType(a netip.Addr, local bool) uint32 {
	switch {
	case local:
		return unix.RTN_LOCAL
	case a.IsMulticast():
		return unix.RTN_MULTICAST
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return unix.RTN_BROADCAST
	}
	return unix.RTN_UNICAST
}

func protocolName(protocol uint8) string {
	names := map[uint8]string{
		unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp", unix.IPPROTO_ICMP: "icmp",
		unix.IPPROTO_ICMPV6: "ipv6-icmp", unix.IPPROTO_IGMP: "igmp", unix.IPPROTO_ESP: "esp", unix.IPPROTO_AH: "ah",
		unix.IPPROTO_GRE: "gre", unix.IPPROTO_DCCP: "dccp", unix.IPPROTO_UDPLITE: "udplite",
	}
	if name, ok := names[protocol]; ok {
		return name
	}
	return fmt.Sprint(protocol)
}
