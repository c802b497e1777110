// Package network gives a container its network, the way Docker made popular:
// a bridge on the host, a pair of virtual Ethernet devices for each container,
// a private address, and a door to the outside that hides it.
//
//	    container                 host
//	┌───────────────┐
//	│ eth0          │     veth1f3c…        minictr0           eth0
//	│ 172.17.0.2/16 ├──────┤ port ├──┤ 172.17.0.1/16 ├ ─ ─ ┤ uplink ├── outside
//	└───────────────┘     (a cable)   (switch + gateway)  ^
//	                                                      │ ip_forward lets it through,
//	                                                      │ masquerade (nftables) rewrites the
//	                                                      │ source to the host's own address
//
// # Resolve, plan, apply
//
// Resolve is the only reader of the host: it finds a subnet that overlaps
// nothing, leases an address, and returns a Config, plain data that is kept in
// the container's state. Shared and Endpoint turn a Config into steps
// (package step) without looking at anything: plan.go is the whole topology on
// one screen. A step applies itself, undoes itself, checks itself against the
// kernel, and prints itself as the ip, sysctl or nft command that does the
// same. Inspect and List read back what the kernel has now.
//
// # What belongs to whom
//
// The bridge, its address, ip_forward and the nftables table are shared by all
// containers of a network. They are made by the first launch that misses
// them and stay; a launch that fails takes away only what it made itself, and
// only while no other container holds a lease. What belongs to one container
// lives in its network namespace and dies with it: when the kernel destroys
// the namespace it destroys eth0, and with eth0 the host's end of the pair. A
// container without published ports has no state in nftables at all.
//
// What else a container has on the host is taken back by whoever ends it: its
// lease, its published ports (publish.go), its names (namesplan.go, package names).
// A running container is connected and disconnected by the steps of Change; where
// they were broken off, Settle leaves what is in both the old and the new. Reload
// puts back what others have taken away.
//
// # Speaking to the kernel
//
// Links, addresses and routes go over rtnetlink(7), the firewall over
// nfnetlink; no ip, nft or iptables is ever executed. nft changes are single
// transactions in tables of our own, ip minictr and, with the first network that
// has IPv6, ip6 minictr (table.go). What others have in nf_tables is read by package
// firewall and never changed. Requests are put together
// with github.com/vishvananda/netlink/nl and sent over a socket that the steps
// of one plan share (netlink.go says why not over the library's own).
package network
