package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Protocol numbers of IP.
const (
	ICMP  = 1
	TCP   = 6
	UDP   = 17
	ICMP6 = 58

	protoHopByHop, protoIGMP, protoIPIP                        = 0, 2, 4
	protoIPv6, protoRouting, protoFragment, protoGRE, protoESP = 41, 43, 44, 47, 50
	protoNoNext, protoDestination, protoSCTP                   = 59, 60, 132
)

var protocolNames = map[uint8]string{ICMP: "ICMP", protoIGMP: "IGMP", protoIPIP: "IPIP", TCP: "TCP", UDP: "UDP", protoIPv6: "IPv6", protoGRE: "GRE", protoESP: "ESP", ICMP6: "ICMPv6", protoSCTP: "SCTP", 89: "OSPF", 112: "VRRP"}

func protocolName(n uint8) string {
	if name, ok := protocolNames[n]; ok {
		return name
	}
	return fmt.Sprintf("protocol %d", n)
}

const (
	ipv4Header = 20
	ipv6Header = 40
)

func (d *Decoder) ipv4(p *Packet, b []byte) {
	size := 0
	if len(b) > 0 {
		size = int(b[0]&15) * 4
	}
	if len(b) < ipv4Header || size < ipv4Header || len(b) < size {
		p.text = "[|ip]"
		return
	}
	total := int(binary.BigEndian.Uint16(b[2:]))
	p.Src, p.Dst, p.Protocol = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[9]
	fragment := binary.BigEndian.Uint16(b[6:])
	offset, more := int(fragment&0x1fff)*8, fragment&0x2000 != 0
	flags := "none"
	switch {
	case fragment&0x4000 != 0:
		flags = "DF"
	case more:
		flags = "+"
	}
	p.header = fmt.Sprintf("(tos 0x%x, ttl %d, id %d, offset %d, flags [%s], proto %s (%d), length %d)",
		b[1], b[8], binary.BigEndian.Uint16(b[4:]), offset, flags, protocolName(p.Protocol), p.Protocol, total)
	payload := b[size:]
	if total >= size && total-size < len(payload) { // behind it lies the padding of a short frame
		payload = payload[:total-size]
	}
	if offset > 0 {
		p.text = fmt.Sprintf("%s > %s: %s fragment at %d, length %d", p.Src, p.Dst, protocolName(p.Protocol), offset, len(payload))
		return
	}
	d.transport(p, payload, total-size)
}

// ipv6 walks along the extension headers, RFC 8200, to the transport.
func (d *Decoder) ipv6(p *Packet, b []byte) {
	if len(b) < ipv6Header {
		p.text = "[|ip6]"
		return
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	next := b[6]
	p.header = fmt.Sprintf("(flowlabel 0x%05x, hlim %d, next-header %s (%d), payload length %d)", binary.BigEndian.Uint32(b)&0xfffff, b[7], protocolName(next), next, length)
	payload := b[ipv6Header:]
	if length < len(payload) {
		payload = payload[:length]
	}
	prefix := ""
	for {
		size, ok := extension(next, payload)
		if !ok {
			break
		}
		if len(payload) < size || size == 0 {
			p.Protocol, p.text = next, fmt.Sprintf("%s > %s: [|ip6 extension]", p.Src, p.Dst)
			return
		}
		if next == protoFragment {
			where := binary.BigEndian.Uint16(payload[2:])
			if offset := where &^ 7; offset > 0 {
				p.Protocol = payload[0]
				p.text = fmt.Sprintf("%s > %s: frag (%d|%d)", p.Src, p.Dst, offset, len(payload)-size)
				return
			}
		}
		prefix += map[uint8]string{protoHopByHop: "HBH ", protoRouting: "RT ", protoFragment: "frag ", protoDestination: "DSTOPT "}[next]
		next, payload, length = payload[0], payload[size:], length-size
	}
	p.Protocol = next
	d.transport(p, payload, length)
	p.text = strings.Replace(p.text, ": ", ": "+prefix, 1)
}

// extension is the size of an extension header, if it is one.
func extension(next uint8, b []byte) (size int, ok bool) {
	switch next {
	case protoFragment:
		return 8, true
	case protoHopByHop, protoRouting, protoDestination:
		if len(b) < 2 {
			return 0, true
		}
		return int(b[1])*8 + 8, true
	}
	return 0, false
}

// transport decodes what IP carries; length is what its header says.
func (d *Decoder) transport(p *Packet, b []byte, length int) {
	p.Transport, p.TransportAt = b, cap(p.Network)-cap(b) // both end where the frame ends
	switch {
	case p.Protocol == TCP:
		d.tcp(p, b, length)
	case p.Protocol == UDP:
		d.udp(p, b, length)
	case p.Protocol == ICMP && p.Src.Is4():
		p.text = p.ends() + "ICMP " + icmpText(b, length)
	case p.Protocol == ICMP6 && p.Src.Is6():
		p.text = p.ends() + "ICMP6, " + icmp6Text(b, length)
	case p.Protocol == protoNoNext:
		p.text = p.ends() + "no next header"
	default:
		p.text = p.ends() + fmt.Sprintf("%s, length %d", protocolName(p.Protocol), length)
	}
}
