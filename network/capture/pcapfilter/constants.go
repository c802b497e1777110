package pcapfilter

// Names of numbers in arithmetic: places in a header, and what stands there.
var constants = map[string]*uint32{
	"tcpflags": at(13), "tcp-fin": at(1), "tcp-syn": at(2), "tcp-rst": at(4), "tcp-push": at(8), "tcp-ack": at(16), "tcp-urg": at(32), "tcp-ece": at(64), "tcp-cwr": at(128),

	"icmptype": at(0), "icmpcode": at(1),
	"icmp-echoreply": at(0), "icmp-unreach": at(3), "icmp-sourcequench": at(4), "icmp-redirect": at(5), "icmp-echo": at(8), "icmp-routeradvert": at(9),
	"icmp-routersolicit": at(10), "icmp-timxceed": at(11), "icmp-paramprob": at(12), "icmp-tstamp": at(13), "icmp-tstampreply": at(14), "icmp-ireq": at(15),
	"icmp-ireqreply": at(16), "icmp-maskreq": at(17), "icmp-maskreply": at(18),

	"icmp6type": at(0), "icmp6code": at(1),
	"icmp6-destinationrunreach": at(1), "icmp6-packettoobig": at(2), "icmp6-timeexceeded": at(3), "icmp6-parameterproblem": at(4), "icmp6-echo": at(128),
	"icmp6-echoreply": at(129), "icmp6-multicastlistenerquery": at(130), "icmp6-multicastlistenerreportv1": at(131), "icmp6-multicastlistenerdone": at(132),
	"icmp6-routersolicit": at(133), "icmp6-routeradvert": at(134), "icmp6-neighborsolicit": at(135), "icmp6-neighboradvert": at(136), "icmp6-redirect": at(137),
	"icmp6-multicastlistenerreportv2": at(143),
}

func at(n uint32) *uint32 { return &n }

// etherTypes are the protocols that have a number in Ethernet's header.
var etherTypes = map[string]uint32{
	"ip": 0x0800, "ip6": 0x86dd, "arp": 0x0806, "rarp": 0x8035, "atalk": 0x809b, "aarp": 0x80f3, "decnet": 0x6003, "lat": 0x6004, "loopback": 0x9000,
	"moprc": 0x6002, "mopdl": 0x6001, "pppoed": 0x8863, "pppoes": 0x8864,
}

// A transport is a protocol that has a number in IP's header.
type transport struct {
	number     uint32
	ipv4, ipv6 bool // in which of them its name finds it
}

var transports = map[string]transport{
	"icmp": {1, true, false}, "igmp": {2, true, false}, "tcp": {6, true, true}, "udp": {17, true, true}, "icmp6": {58, false, true}, "ah": {51, true, true},
	"esp": {50, true, true}, "pim": {103, true, true}, "vrrp": {112, true, false}, "carp": {112, true, false}, "igrp": {9, true, false}, "sctp": {132, true, true},
}

// withPorts are the transports that have ports.
var withPorts = []string{"tcp", "udp", "sctp"}

// elsewhere are words of pcap-filter(7) that are not here, with the reason.
var elsewhere = map[string]string{
	"gateway": "name its two halves: ether host MAC and not host ADDRESS", "protochain": "it needs a loop, which the kernel's filter has not",
	"mpls": "not supported", "geneve": "not supported", "vxlan": "not supported", "wlan": "not supported", "fddi": "not supported", "tr": "not supported", "ppp": "not supported",
	"link": "write ether", "iso": "not supported", "stp": "not supported", "ipx": "not supported", "netbeui": "not supported", "llc": "not supported",
	"inbound": "the list shows each direction; name the source or the destination", "outbound": "the list shows each direction; name the source or the destination",
	"ifname": "name the places on the command line", "on": "name the places on the command line", "rnr": "not supported", "rulenum": "not supported",
}
