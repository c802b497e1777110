package trace

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A packet is what the headers say that tell one of ours from others.
type packet struct {
	protocol uint8
	flow     Flow   // the identifier of an echo stands in both ports
	flags    byte   // of TCP
	seq, ack uint32 // of TCP
	kind     byte   // of ICMP
	code     byte
	inner    *packet // what an ICMP error is about
	quoted   uint8   // its protocol, also where too little of it was kept
	payload  []byte  // as far as it was kept
}

// Bits of TCP's flags.
const (
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpACK = 0x10
)

// parseIP reads an IP packet, of which the end may be cut off. It is nil for
// bytes that are none, and for later fragments.
func parseIP(b []byte) *packet {
	if len(b) < 1 {
		return nil
	}
	switch b[0] >> 4 {
	case 4:
		return parseIPv4(b)
	case 6:
		return parseIPv6(b)
	}
	return nil
}

func parseIPv4(b []byte) *packet {
	const fragmentOffset = 0x1fff
	header := int(b[0]&0xf) * 4
	if len(b) < 20 || header < 20 || len(b) < header || binary.BigEndian.Uint16(b[6:])&fragmentOffset != 0 {
		return nil
	}
	source, destination := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	return parseTransport(b[9], source, destination, b[header:])
}

func parseIPv6(b []byte) *packet {
	const header = 40
	if len(b) < header {
		return nil
	}
	source, destination := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	return parseTransport(b[6], source, destination, b[header:])
}

// parseTransport reads the header behind the IP header. Of what a router
// quotes, only the first eight bytes may be there.
func parseTransport(protocol uint8, source, destination netip.Addr, b []byte) *packet {
	p := &packet{protocol: protocol}
	p.flow.Source, p.flow.Destination = netip.AddrPortFrom(source, 0), netip.AddrPortFrom(destination, 0)
	if len(b) < 8 {
		return nil
	}
	switch protocol {
	case unix.IPPROTO_TCP:
		p.ports(b)
		p.seq = binary.BigEndian.Uint32(b[4:])
		if len(b) >= 14 {
			p.ack, p.flags = binary.BigEndian.Uint32(b[8:]), b[13]
		}
	case unix.IPPROTO_UDP:
		p.ports(b)
		p.payload = b[8:]
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		p.icmp(b)
	default:
		return nil
	}
	return p
}

func (p *packet) ports(b []byte) {
	p.setPorts(binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
}

func (p *packet) setPorts(source, destination uint16) {
	p.flow.Source = netip.AddrPortFrom(p.flow.Source.Addr(), source)
	p.flow.Destination = netip.AddrPortFrom(p.flow.Destination.Addr(), destination)
}

// Types of ICMP and ICMPv6, RFC 792 and 4443.
const (
	echoReply4, echoRequest4 = 0, 8
	echoRequest6, echoReply6 = 128, 129

	unreachable4, timeExceeded4, parameterProblem4   = 3, 11, 12
	unreachable6, tooBig6, exceeded6, badParameters6 = 1, 2, 3, 4
)

func (p *packet) icmp(b []byte) {
	p.kind, p.code = b[0], b[1]
	v6 := p.protocol == unix.IPPROTO_ICMPV6
	switch {
	case p.isEchoRequest() || p.isEchoReply():
		id := binary.BigEndian.Uint16(b[4:])
		p.setPorts(id, id)
		p.payload = b[8:]
	case !v6 && (p.kind == unreachable4 || p.kind == timeExceeded4 || p.kind == parameterProblem4), v6 && p.kind >= unreachable6 && p.kind <= badParameters6:
		p.inner, p.quoted = parseIP(b[8:]), quotedProtocol(b[8:])
	}
}

func quotedProtocol(b []byte) uint8 {
	switch {
	case len(b) >= 10 && b[0]>>4 == 4:
		return b[9]
	case len(b) >= 7 && b[0]>>4 == 6:
		return b[6]
	}
	return 0
}

func (p *packet) isEchoRequest() bool {
	return p.protocol == unix.IPPROTO_ICMP && p.kind == echoRequest4 || p.protocol == unix.IPPROTO_ICMPV6 && p.kind == echoRequest6
}

func (p *packet) isEchoReply() bool {
	return p.protocol == unix.IPPROTO_ICMP && p.kind == echoReply4 || p.protocol == unix.IPPROTO_ICMPV6 && p.kind == echoReply6
}

// icmpWords says what an ICMP error says.
func (p *packet) icmpWords() string {
	v6 := p.protocol == unix.IPPROTO_ICMPV6
	switch {
	case !v6 && p.kind == unreachable4:
		names := map[byte]string{
			0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 4: "packet too big for the next link",
			9: "network administratively prohibited", 10: "host administratively prohibited", 13: "administratively prohibited",
		}
		if name, ok := names[p.code]; ok {
			return name
		}
	case v6 && p.kind == unreachable6:
		names := map[byte]string{
			0: "no route", 1: "administratively prohibited", 2: "beyond the scope of the source address", 3: "address unreachable", 4: "port unreachable",
			5: "source address failed a policy", 6: "route rejected",
		}
		if name, ok := names[p.code]; ok {
			return name
		}
	case v6 && p.kind == tooBig6:
		return "packet too big for the next link"
	case p.kind == timeExceeded4 || v6 && p.kind == exceeded6:
		return "time to live exceeded"
	}
	return "an ICMP error"
}

// portUnreachable is what a kernel says of a UDP port that nobody has open.
func (p *packet) portUnreachable() bool {
	return p.protocol == unix.IPPROTO_ICMP && p.kind == unreachable4 && p.code == 3 ||
		p.protocol == unix.IPPROTO_ICMPV6 && p.kind == unreachable6 && p.code == 4
}
