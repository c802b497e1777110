// Package trace follows one packet through the kernel and tells where it went.
//
// A packet's way between two network namespaces is a row of places, and each
// place has the same order:
//
//	in at a link ─ ingress ─ (bridge) ─ prerouting ─ route ─ input ─► a socket
//	                                                  │
//	                                                  └─ forward ─ postrouting ─ (bridge) ─ egress ─ out of a link
//	a socket ─ route ─ output ─ postrouting ─ (bridge) ─ egress ─ out of a link
//
// Run sends one real packet (a TCP SYN, a UDP datagram or an ICMP echo request)
// and asks the kernel in four ways what became of it:
//
//	AF_PACKET      which links it passed, and with which addresses (packet(7))
//	nftrace        which rules of nf_tables it met, and what they decided
//	RTM_GETROUTE   which route and policy rule led it on
//	kfree_skb      why the kernel threw it away, by an eBPF program of 40 instructions
//
// For nftrace it puts a table of its own, minictr-trace-PID, into each namespace
// on the way that has rules. It does nothing but mark the probe, by its ports. It
// belongs to a netlink socket (NFT_TABLE_F_OWNER, Linux 5.12) and dies with it,
// even if this process is killed. Nothing in it asks for connection tracking,
// which would be switched on by that.
//
// Static tells the same from routes, rules and cables alone and sends nothing.
// Both return a Journey: numbered hops and a verdict.
package trace
