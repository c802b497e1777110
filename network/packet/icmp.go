package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// icmpText decodes ICMP, RFC 792.
func icmpText(b []byte, length int) string {
	if len(b) < 8 {
		return "[|icmp]"
	}
	kind, code := b[0], b[1]
	end := fmt.Sprintf(", length %d", length)
	switch kind {
	case 0, 8:
		return fmt.Sprintf("echo %s, id %d, seq %d", map[byte]string{0: "reply", 8: "request"}[kind], binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])) + end
	case 3:
		return unreachableText(code, b) + end
	case 5:
		return fmt.Sprintf("redirect %s to host %s", quoted(b[8:]).Dst, netip.AddrFrom4([4]byte(b[4:]))) + end
	case 11:
		return map[byte]string{0: "time exceeded in-transit", 1: "ip reassembly time exceeded"}[code] + end
	}
	return fmt.Sprintf("type %d code %d", kind, code) + end
}

func unreachableText(code byte, b []byte) string {
	q := quoted(b[8:])
	switch code {
	case 0:
		return fmt.Sprintf("net %s unreachable", q.Dst)
	case 1:
		return fmt.Sprintf("host %s unreachable", q.Dst)
	case 2:
		return fmt.Sprintf("%s protocol %d unreachable", q.Dst, q.Protocol)
	case 3:
		return fmt.Sprintf("%s %s port %d unreachable", q.Dst, map[uint8]string{TCP: "tcp", UDP: "udp"}[q.Protocol], q.DstPort)
	case 4:
		return fmt.Sprintf("%s unreachable - need to frag (mtu %d)", q.Dst, binary.BigEndian.Uint16(b[6:]))
	case 9, 10, 13:
		return fmt.Sprintf("host %s unreachable - admin prohibited filter", q.Dst)
	}
	return fmt.Sprintf("%s unreachable, code %d", q.Dst, code)
}

// quoted reads the packet that an error of IPv4 quotes.
func quoted(b []byte) Packet {
	p := Packet{Dst: netip.IPv4Unspecified()}
	if len(b) < ipv4Header {
		return p
	}
	p.Src, p.Dst, p.Protocol = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[9]
	if size := int(b[0]&15) * 4; len(b) >= size+4 {
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b[size:]), binary.BigEndian.Uint16(b[size+2:])
	}
	return p
}

func quoted6(b []byte) Packet {
	p := Packet{Dst: netip.IPv6Unspecified()}
	if len(b) < ipv6Header {
		return p
	}
	p.Dst, p.Protocol = netip.AddrFrom16([16]byte(b[24:])), b[6]
	if len(b) >= ipv6Header+4 {
		p.DstPort = binary.BigEndian.Uint16(b[ipv6Header+2:])
	}
	return p
}

// icmp6Text decodes ICMPv6 with neighbour discovery, RFC 4443 and 4861.
func icmp6Text(b []byte, length int) string {
	if len(b) < 8 {
		return "[|icmp6]"
	}
	end := fmt.Sprintf(", length %d", length)
	switch kind, code := b[0], b[1]; kind {
	case 1:
		q := quoted6(b[8:])
		if code == 4 {
			return fmt.Sprintf("destination unreachable, unreachable port, %s %s port %d", q.Dst, map[uint8]string{TCP: "tcp", UDP: "udp"}[q.Protocol], q.DstPort) + end
		}
		return fmt.Sprintf("destination unreachable, %s %s", map[byte]string{0: "unreachable route", 1: "unreachable prohibited", 2: "beyond scope", 3: "unreachable address"}[code], q.Dst) + end
	case 2:
		return fmt.Sprintf("packet too big, mtu %d", binary.BigEndian.Uint32(b[4:])) + end
	case 3:
		return fmt.Sprintf("time exceeded in-transit for %s", quoted6(b[8:]).Dst) + end
	case 128, 129:
		return fmt.Sprintf("echo %s, id %d, seq %d", map[byte]string{128: "request", 129: "reply"}[kind], binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])) + end
	case 133:
		return "router solicitation" + linkAddress(b[8:]) + end
	case 134:
		return "router advertisement" + routerText(b) + end
	case 135, 136:
		if len(b) < 24 {
			return "[|icmp6]"
		}
		words := map[byte]string{135: "neighbor solicitation, who has ", 136: "neighbor advertisement, tgt is "}[kind]
		return words + netip.AddrFrom16([16]byte(b[8:])).String() + linkAddress(b[24:]) + end
	case 143:
		return fmt.Sprintf("multicast listener report v2, %d group record(s)", binary.BigEndian.Uint16(b[6:])) + end
	default:
		return fmt.Sprintf("type %d code %d", kind, code) + end
	}
}

// linkAddress finds the option with the sender's or the target's link address.
func linkAddress(b []byte) string {
	for len(b) >= 8 && b[1] > 0 {
		size := int(b[1]) * 8
		if size > len(b) {
			break
		}
		if (b[0] == 1 || b[0] == 2) && size == 8 {
			return ", link address " + net.HardwareAddr(b[2:8]).String()
		}
		b = b[size:]
	}
	return ""
}

func routerText(b []byte) string {
	if len(b) < 16 {
		return " [|icmp6]"
	}
	text := fmt.Sprintf(", hop limit %d, lifetime %ds", b[4], binary.BigEndian.Uint16(b[6:]))
	for b = b[16:]; len(b) >= 8 && b[1] > 0 && int(b[1])*8 <= len(b); b = b[int(b[1])*8:] {
		if b[0] == 3 && len(b) >= 32 {
			text += fmt.Sprintf(", prefix %s/%d", netip.AddrFrom16([16]byte(b[16:])), b[2])
		}
	}
	return text
}
