// Package icmp is the applets ping and traceroute: both send packets to see who
// answers, and both live on what ICMP says, "echo reply" or "time exceeded".
//
// There are two ways to hear ICMP. A datagram socket of ICMP needs no privilege,
// only a group within net.ipv4.ping_group_range; the kernel gives it the answers
// to its own echoes, and errors by way of the error queue (IP_RECVERR, ip(7)). A
// raw socket needs CAP_NET_RAW, hears everything, and must pick out what is its.
package icmp
