// Package frames builds frames for tests, from the layers' layouts and not by what
// decodes them.
package frames

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// Kinds of frames and of what IP carries.
const (
	typeIPv4, typeARP, typeVLAN, typeIPv6                    = 0x0800, 0x0806, 0x8100, 0x86dd
	protoHopByHop, protoICMP, protoTCP, protoUDP, protoICMP6 = 0, 1, 6, 17, 58
	protoGRE                                                 = 47
)

// The two stations.
var (
	MACA = []byte{2, 0, 0, 0, 0, 0xa}
	MACB = []byte{2, 0, 0, 0, 0, 0xb}
)

// Join puts the parts behind each other.
func Join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// U16 is a number in the order of the network.
func U16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// U32 is a number in the order of the network.
func U32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// Addr is an address.
func Addr(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// Ether is a frame from MACA to MACB.
func Ether(kind uint16, payload ...[]byte) []byte {
	return Join(MACB, MACA, U16(kind), Join(payload...))
}

// IPv4 is a packet with DF set.
func IPv4(protocol byte, src, dst string, payload ...[]byte) []byte {
	body := Join(payload...)
	return Join([]byte{0x45, 0}, U16(uint16(20+len(body))), U16(7), []byte{0x40, 0, 64, protocol, 0, 0}, Addr(src), Addr(dst), body)
}

// IPv6 is a packet.
func IPv6(next byte, src, dst string, payload ...[]byte) []byte {
	body := Join(payload...)
	return Join([]byte{0x60, 0, 0, 0}, U16(uint16(len(body))), []byte{next, 255}, Addr(src), Addr(dst), body)
}

// TCP is a segment without a checksum.
func TCP(sport, dport uint16, seq, ack uint32, flags byte, options, data []byte) []byte {
	return Join(U16(sport), U16(dport), U32(seq), U32(ack), []byte{byte(5+len(options)/4) << 4, flags}, U16(500), U16(0), U16(0), options, data)
}

// UDP is a datagram without a checksum.
func UDP(sport, dport uint16, data []byte) []byte {
	return Join(U16(sport), U16(dport), U16(uint16(8+len(data))), U16(0), data)
}

// ICMP is a message of ICMP or ICMPv6: its rest is what stands behind the checksum.
func ICMP(kind, code byte, rest uint32, body ...[]byte) []byte {
	return Join([]byte{kind, code, 0, 0}, U32(rest), Join(body...))
}

// ARP is a request (1) or a reply (2).
func ARP(operation uint16, senderMAC []byte, sender string, targetMAC []byte, target string) []byte {
	return Join(U16(1), U16(typeIPv4), []byte{6, 4}, U16(operation), senderMAC, Addr(sender), targetMAC, Addr(target))
}

// DNSQuery asks for the address of example.com.
func DNSQuery() []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 1234, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("example.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, _ := m.Pack()
	return b
}

// DNSReply answers it.
func DNSReply() []byte {
	name := dnsmessage.MustNewName("example.com.")
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 1234, Response: true}, Answers: []dnsmessage.Resource{
		{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("www.example.com.")}},
		{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
	}}
	b, _ := m.Pack()
	return b
}

// DHCP is a message of a client (1) or a server (2).
func DHCP(operation, kind byte) []byte {
	fixed := Join([]byte{operation, 1, 6, 0}, make([]byte, 12), Addr("10.0.0.7"), make([]byte, 8), MACA, make([]byte, 10+64+128))
	return Join(fixed, U32(0x63825363), []byte{53, 1, kind, 54, 4, 10, 0, 0, 1, 12, 2, 'h', 'i', 255})
}

// A Frame is one, with the line that it is shown as.
type Frame struct {
	Name  string
	Bytes []byte
	Line  string
}

// All is one of each kind.
func All() []Frame {
	synOptions := Join([]byte{2, 4}, U16(1460), []byte{4, 2, 8, 10}, U32(5), U32(0), []byte{1, 3, 3, 7})
	cause := IPv4(protoUDP, "10.0.0.1", "10.0.0.2", UDP(4000, 33434, nil))
	return []Frame{
		{"arp request", Ether(typeARP, ARP(1, MACA, "10.0.0.1", make([]byte, 6), "10.0.0.2")), "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"},
		{"arp reply", Ether(typeARP, ARP(2, MACB, "10.0.0.2", MACA, "10.0.0.1")), "ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:0b, length 28"},
		{"arp announcement", Ether(typeARP, ARP(1, MACB, "10.0.0.2", MACA, "10.0.0.2")), "ARP, Announcement 10.0.0.2, length 28"},
		{"arp cut", Ether(typeARP, []byte{0, 1}), "ARP, [|arp]"},
		{"echo request", Ether(typeIPv4, IPv4(protoICMP, "10.0.0.1", "10.0.0.2", ICMP(8, 0, 9<<16|3, make([]byte, 56)))), "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 9, seq 3, length 64"},
		{"port unreachable", Ether(typeIPv4, IPv4(protoICMP, "10.0.0.2", "10.0.0.1", ICMP(3, 3, 0, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP 10.0.0.2 udp port 33434 unreachable, length 36"},
		{"fragmentation needed", Ether(typeIPv4, IPv4(protoICMP, "10.0.0.2", "10.0.0.1", ICMP(3, 4, 1400, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP 10.0.0.2 unreachable - need to frag (mtu 1400), length 36"},
		{"time exceeded", Ether(typeIPv4, IPv4(protoICMP, "10.0.0.2", "10.0.0.1", ICMP(11, 0, 0, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP time exceeded in-transit, length 36"},
		{"redirect", Ether(typeIPv4, IPv4(protoICMP, "10.0.0.2", "10.0.0.1", ICMP(5, 1, 0x0a000003, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP redirect 10.0.0.2 to host 10.0.0.3, length 36"},
		{"syn", Ether(typeIPv4, IPv4(protoTCP, "10.0.0.1", "10.0.0.2", TCP(4000, 80, 100, 0, 2, synOptions, nil))), "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [S], seq 100, win 500, options [mss 1460,sackOK,TS val 5 ecr 0,nop,wscale 7], length 0"},
		{"syn ack", Ether(typeIPv4, IPv4(protoTCP, "10.0.0.2", "10.0.0.1", TCP(80, 4000, 700, 101, 0x12, nil, nil))), "IP 10.0.0.2.80 > 10.0.0.1.4000: Flags [S.], seq 700, ack 1, win 500, length 0"},
		{"data", Ether(typeIPv4, IPv4(protoTCP, "10.0.0.1", "10.0.0.2", TCP(4000, 80, 101, 701, 0x18, nil, []byte("GET / HTTP/1.1\r\n\r\n")))), "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [P.], seq 1:19, ack 1, win 500, length 18: HTTP: GET / HTTP/1.1"},
		{"reset", Ether(typeIPv4, IPv4(protoTCP, "10.0.0.1", "10.0.0.3", TCP(4000, 80, 5, 0, 4, nil, nil))), "IP 10.0.0.1.4000 > 10.0.0.3.80: Flags [R], seq 5, win 500, length 0"},
		{"padded", Ether(typeIPv4, IPv4(protoTCP, "10.0.0.1", "10.0.0.3", TCP(4000, 80, 5, 6, 16, nil, nil)), make([]byte, 6)), "IP 10.0.0.1.4000 > 10.0.0.3.80: Flags [.], ack 6, win 500, length 0"},
		{"udp", Ether(typeIPv4, IPv4(protoUDP, "10.0.0.1", "10.0.0.2", UDP(4000, 9, make([]byte, 5)))), "IP 10.0.0.1.4000 > 10.0.0.2.9: UDP, length 5"},
		{"dns query", Ether(typeIPv4, IPv4(protoUDP, "10.0.0.1", "10.0.0.2", UDP(4000, 53, DNSQuery()))), "IP 10.0.0.1.4000 > 10.0.0.2.53: 1234+ A? example.com. (29)"},
		{"dns reply", Ether(typeIPv4, IPv4(protoUDP, "10.0.0.2", "10.0.0.1", UDP(53, 4000, DNSReply()))), "IP 10.0.0.2.53 > 10.0.0.1.4000: 1234 2/0/0 CNAME www.example.com., A 192.0.2.1 (57)"},
		{"dhcp", Ether(typeIPv4, IPv4(protoUDP, "0.0.0.0", "255.255.255.255", UDP(68, 67, DHCP(1, 1)))), `IP 0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request from 02:00:00:00:00:0a, your address 10.0.0.7, Discover, server 10.0.0.1, host name "hi", length 254`},
		{"neighbor solicitation", Ether(typeIPv6, IPv6(protoICMP6, "fe80::a", "ff02::1:ff00:b", ICMP(135, 0, 0, Addr("fd00::b"), []byte{1, 1}, MACA))), "IP6 fe80::a > ff02::1:ff00:b: ICMP6, neighbor solicitation, who has fd00::b, link address 02:00:00:00:00:0a, length 32"},
		{"neighbor advertisement", Ether(typeIPv6, IPv6(protoICMP6, "fd00::b", "fe80::a", ICMP(136, 0, 0, Addr("fd00::b"), []byte{2, 1}, MACB))), "IP6 fd00::b > fe80::a: ICMP6, neighbor advertisement, tgt is fd00::b, link address 02:00:00:00:00:0b, length 32"},
		{"router advertisement", Ether(typeIPv6, IPv6(protoICMP6, "fe80::b", "ff02::1", ICMP(134, 0, 64<<24|1800, U32(0), U32(0), []byte{3, 4, 64, 0xc0}, make([]byte, 12), Addr("fd00::")))), "IP6 fe80::b > ff02::1: ICMP6, router advertisement, hop limit 64, lifetime 1800s, prefix fd00::/64, length 48"},
		{"hop by hop", Ether(typeIPv6, IPv6(protoHopByHop, "fe80::a", "ff02::16", []byte{protoICMP6, 0, 5, 2, 0, 0, 1, 0}, ICMP(143, 0, 2))), "IP6 fe80::a > ff02::16: HBH ICMP6, multicast listener report v2, 2 group record(s), length 8"},
		{"vlan", Ether(typeVLAN, U16(0x2005), U16(typeIPv4), IPv4(protoUDP, "10.0.0.1", "10.0.0.2", UDP(1, 2, nil))), "vlan 5, IP 10.0.0.1.1 > 10.0.0.2.2: UDP, length 0"},
		{"vxlan", Ether(typeIPv4, IPv4(protoUDP, "10.0.0.1", "10.0.0.2", UDP(4000, 4789, Join([]byte{8, 0, 0, 0}, U32(42<<8), Ether(typeARP, ARP(1, MACA, "10.9.0.1", MACB, "10.9.0.2")))))), "IP 10.0.0.1.4000 > 10.0.0.2.4789: VXLAN vni 42, ARP, Request who-has 10.9.0.2 tell 10.9.0.1, length 28"},
		{"spanning tree", Ether(38, []byte{0x42, 0x42, 3}), "STP 802.1d, length 3"},
		{"unknown", Ether(0x9000, []byte{1}), "ethertype Unknown (0x9000), length 1"},
		{"short", []byte{1, 2, 3}, "[|ether]"},
		{"short ip", Ether(typeIPv4, []byte{0x45}), "IP [|ip]"},
		{"short tcp", Ether(typeIPv4, IPv4(protoTCP, "10.0.0.1", "10.0.0.2", U16(1), U16(2))), "IP 10.0.0.1.1 > 10.0.0.2.2: [|tcp]"},
		{"other protocol", Ether(typeIPv4, IPv4(protoGRE, "10.0.0.1", "10.0.0.2", make([]byte, 4))), "IP 10.0.0.1 > 10.0.0.2: GRE, length 4"},
	}
}
