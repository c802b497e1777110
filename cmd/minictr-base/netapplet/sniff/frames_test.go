package sniff

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// Frames are built here from the layers' layouts, not by what decodes them.

var (
	macA = []byte{2, 0, 0, 0, 0, 0xa}
	macB = []byte{2, 0, 0, 0, 0, 0xb}
)

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func u16(n uint16) []byte  { return binary.BigEndian.AppendUint16(nil, n) }
func u32(n uint32) []byte  { return binary.BigEndian.AppendUint32(nil, n) }
func addr(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func ether(kind uint16, payload ...[]byte) []byte {
	return join(macB, macA, u16(kind), join(payload...))
}

func ip4(protocol byte, src, dst string, payload ...[]byte) []byte {
	body := join(payload...)
	return join([]byte{0x45, 0}, u16(uint16(20+len(body))), u16(7), []byte{0x40, 0, 64, protocol, 0, 0}, addr(src), addr(dst), body)
}

func ip6(next byte, src, dst string, payload ...[]byte) []byte {
	body := join(payload...)
	return join([]byte{0x60, 0, 0, 0}, u16(uint16(len(body))), []byte{next, 255}, addr(src), addr(dst), body)
}

func tcpSegment(sport, dport uint16, seq, ack uint32, flags byte, options, data []byte) []byte {
	return join(u16(sport), u16(dport), u32(seq), u32(ack), []byte{byte(5+len(options)/4) << 4, flags}, u16(500), u16(0), u16(0), options, data)
}

func datagram(sport, dport uint16, data []byte) []byte {
	return join(u16(sport), u16(dport), u16(uint16(8+len(data))), u16(0), data)
}

func message(kind, code byte, rest uint32, body ...[]byte) []byte {
	return join([]byte{kind, code, 0, 0}, u32(rest), join(body...))
}

func arpPacket(operation uint16, senderMAC []byte, sender string, targetMAC []byte, target string) []byte {
	return join(u16(1), u16(typeIPv4), []byte{6, 4}, u16(operation), senderMAC, addr(sender), targetMAC, addr(target))
}

func dnsQuery() []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 1234, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("example.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, _ := m.Pack()
	return b
}

func dnsReply() []byte {
	name := dnsmessage.MustNewName("example.com.")
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 1234, Response: true}, Answers: []dnsmessage.Resource{
		{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("www.example.com.")}},
		{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
	}}
	b, _ := m.Pack()
	return b
}

func dhcp(operation, kind byte) []byte {
	fixed := join([]byte{operation, 1, 6, 0}, make([]byte, 12), addr("10.0.0.7"), make([]byte, 8), macA, make([]byte, 10+64+128))
	return join(fixed, u32(0x63825363), []byte{53, 1, kind, 54, 4, 10, 0, 0, 1, 12, 2, 'h', 'i', 255})
}

// frames are one of each kind, with the line that they are shown as.
func frames() []struct {
	name string
	b    []byte
	want string
} {
	synOptions := join([]byte{2, 4}, u16(1460), []byte{4, 2, 8, 10}, u32(5), u32(0), []byte{1, 3, 3, 7})
	cause := ip4(protoUDP, "10.0.0.1", "10.0.0.2", datagram(4000, 33434, nil))
	return []struct {
		name string
		b    []byte
		want string
	}{
		{"arp request", ether(typeARP, arpPacket(1, macA, "10.0.0.1", make([]byte, 6), "10.0.0.2")), "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"},
		{"arp reply", ether(typeARP, arpPacket(2, macB, "10.0.0.2", macA, "10.0.0.1")), "ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:0b, length 28"},
		{"arp announcement", ether(typeARP, arpPacket(1, macB, "10.0.0.2", macA, "10.0.0.2")), "ARP, Announcement 10.0.0.2, length 28"},
		{"arp cut", ether(typeARP, []byte{0, 1}), "ARP, [|arp]"},
		{"echo request", ether(typeIPv4, ip4(protoICMP, "10.0.0.1", "10.0.0.2", message(8, 0, 9<<16|3, make([]byte, 56)))), "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 9, seq 3, length 64"},
		{"port unreachable", ether(typeIPv4, ip4(protoICMP, "10.0.0.2", "10.0.0.1", message(3, 3, 0, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP 10.0.0.2 udp port 33434 unreachable, length 36"},
		{"fragmentation needed", ether(typeIPv4, ip4(protoICMP, "10.0.0.2", "10.0.0.1", message(3, 4, 1400, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP 10.0.0.2 unreachable - need to frag (mtu 1400), length 36"},
		{"time exceeded", ether(typeIPv4, ip4(protoICMP, "10.0.0.2", "10.0.0.1", message(11, 0, 0, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP time exceeded in-transit, length 36"},
		{"redirect", ether(typeIPv4, ip4(protoICMP, "10.0.0.2", "10.0.0.1", message(5, 1, 0x0a000003, cause))), "IP 10.0.0.2 > 10.0.0.1: ICMP redirect 10.0.0.2 to host 10.0.0.3, length 36"},
		{"syn", ether(typeIPv4, ip4(protoTCP, "10.0.0.1", "10.0.0.2", tcpSegment(4000, 80, 100, 0, 2, synOptions, nil))), "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [S], seq 100, win 500, options [mss 1460,sackOK,TS val 5 ecr 0,nop,wscale 7], length 0"},
		{"syn ack", ether(typeIPv4, ip4(protoTCP, "10.0.0.2", "10.0.0.1", tcpSegment(80, 4000, 700, 101, 0x12, nil, nil))), "IP 10.0.0.2.80 > 10.0.0.1.4000: Flags [S.], seq 700, ack 1, win 500, length 0"},
		{"data", ether(typeIPv4, ip4(protoTCP, "10.0.0.1", "10.0.0.2", tcpSegment(4000, 80, 101, 701, 0x18, nil, []byte("GET / HTTP/1.1\r\n\r\n")))), "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [P.], seq 1:19, ack 1, win 500, length 18: HTTP: GET / HTTP/1.1"},
		{"reset", ether(typeIPv4, ip4(protoTCP, "10.0.0.1", "10.0.0.3", tcpSegment(4000, 80, 5, 0, 4, nil, nil))), "IP 10.0.0.1.4000 > 10.0.0.3.80: Flags [R], seq 5, win 500, length 0"},
		{"padded", ether(typeIPv4, ip4(protoTCP, "10.0.0.1", "10.0.0.3", tcpSegment(4000, 80, 5, 6, 16, nil, nil)), make([]byte, 6)), "IP 10.0.0.1.4000 > 10.0.0.3.80: Flags [.], ack 6, win 500, length 0"},
		{"udp", ether(typeIPv4, ip4(protoUDP, "10.0.0.1", "10.0.0.2", datagram(4000, 9, make([]byte, 5)))), "IP 10.0.0.1.4000 > 10.0.0.2.9: UDP, length 5"},
		{"dns query", ether(typeIPv4, ip4(protoUDP, "10.0.0.1", "10.0.0.2", datagram(4000, 53, dnsQuery()))), "IP 10.0.0.1.4000 > 10.0.0.2.53: 1234+ A? example.com. (29)"},
		{"dns reply", ether(typeIPv4, ip4(protoUDP, "10.0.0.2", "10.0.0.1", datagram(53, 4000, dnsReply()))), "IP 10.0.0.2.53 > 10.0.0.1.4000: 1234 2/0/0 CNAME www.example.com., A 192.0.2.1 (57)"},
		{"dhcp", ether(typeIPv4, ip4(protoUDP, "0.0.0.0", "255.255.255.255", datagram(68, 67, dhcp(1, 1)))), `IP 0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request from 02:00:00:00:00:0a, your address 10.0.0.7, Discover, server 10.0.0.1, host name "hi", length 254`},
		{"neighbor solicitation", ether(typeIPv6, ip6(protoICMP6, "fe80::a", "ff02::1:ff00:b", message(135, 0, 0, addr("fd00::b"), []byte{1, 1}, macA))), "IP6 fe80::a > ff02::1:ff00:b: ICMP6, neighbor solicitation, who has fd00::b, link address 02:00:00:00:00:0a, length 32"},
		{"neighbor advertisement", ether(typeIPv6, ip6(protoICMP6, "fd00::b", "fe80::a", message(136, 0, 0, addr("fd00::b"), []byte{2, 1}, macB))), "IP6 fd00::b > fe80::a: ICMP6, neighbor advertisement, tgt is fd00::b, link address 02:00:00:00:00:0b, length 32"},
		{"router advertisement", ether(typeIPv6, ip6(protoICMP6, "fe80::b", "ff02::1", message(134, 0, 64<<24|1800, u32(0), u32(0), []byte{3, 4, 64, 0xc0}, make([]byte, 12), addr("fd00::")))), "IP6 fe80::b > ff02::1: ICMP6, router advertisement, hop limit 64, lifetime 1800s, prefix fd00::/64, length 48"},
		{"hop by hop", ether(typeIPv6, ip6(protoHopByHop, "fe80::a", "ff02::16", []byte{protoICMP6, 0, 5, 2, 0, 0, 1, 0}, message(143, 0, 2))), "IP6 fe80::a > ff02::16: HBH ICMP6, multicast listener report v2, 2 group record(s), length 8"},
		{"vlan", ether(typeVLAN, u16(0x2005), u16(typeIPv4), ip4(protoUDP, "10.0.0.1", "10.0.0.2", datagram(1, 2, nil))), "vlan 5, IP 10.0.0.1.1 > 10.0.0.2.2: UDP, length 0"},
		{"vxlan", ether(typeIPv4, ip4(protoUDP, "10.0.0.1", "10.0.0.2", datagram(4000, 4789, join([]byte{8, 0, 0, 0}, u32(42<<8), ether(typeARP, arpPacket(1, macA, "10.9.0.1", macB, "10.9.0.2")))))), "IP 10.0.0.1.4000 > 10.0.0.2.4789: VXLAN vni 42, ARP, Request who-has 10.9.0.2 tell 10.9.0.1, length 28"},
		{"spanning tree", ether(38, []byte{0x42, 0x42, 3}), "STP 802.1d, length 3"},
		{"unknown", ether(0x9000, []byte{1}), "ethertype Unknown (0x9000), length 1"},
		{"short", []byte{1, 2, 3}, "[|ether]"},
		{"short ip", ether(typeIPv4, []byte{0x45}), "IP [|ip]"},
		{"short tcp", ether(typeIPv4, ip4(protoTCP, "10.0.0.1", "10.0.0.2", u16(1), u16(2))), "IP 10.0.0.1.1 > 10.0.0.2.2: [|tcp]"},
		{"other protocol", ether(typeIPv4, ip4(protoGRE, "10.0.0.1", "10.0.0.2", make([]byte, 4))), "IP 10.0.0.1 > 10.0.0.2: GRE, length 4"},
	}
}
