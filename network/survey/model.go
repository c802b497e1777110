// Package survey reads what the kernel has in network namespaces: links, addresses,
// routes, policy rules, neighbours and forwarding entries of bridges, and which link
// is at the other end of a cable, in whatever namespace that end lies.
//
//	       namespace of the host                     namespace of a container
//	┌─────────────────────────────────┐          ┌────────────────────────────┐
//	│ minictr0 (bridge) ── veth12ab ──┼──────────┼── eth0                     │
//	│              index 7: link 2, ──┼─ netnsid ┼─▶ index 2: link 7,         │
//	│              netnsid 0          │  0 there │   netnsid 0                │
//	└─────────────────────────────────┘          └────────────────────────────┘
//
// A link of a pair tells the index of its peer and, where that is elsewhere, the
// namespace as a number that is good in its own namespace only. Read asks the kernel
// for these numbers of all namespaces that it surveys, and so joins the ends.
//
// It changes nothing, and remembers nothing. All of it comes by rtnetlink(7).
package survey

import (
	"net/netip"
	"time"
)

// A Host is what several network namespaces have. The first is the caller's.
type Host struct {
	Namespaces []*Netns
}

// A Netns is what one network namespace has.
type Netns struct {
	Inode      uint64 // its number: net:[4026531840]
	Path       string // by which it was opened
	Links      []Link
	Routes     []Route
	Rules      []Rule
	Neighbours []Neighbour // ARP and neighbour discovery
	FDB        []FDBEntry  // which MAC is behind which bridge port

	// NSIDs gives the inodes of surveyed namespaces by their numbers in this one
	// (ip-netns(8), list-id). A number of one that was not surveyed is not here.
	NSIDs map[int]uint64
}

// A Link is a network device.
type Link struct {
	Index    int
	Name     string
	AltNames []string
	Alias    string
	Kind     string // "veth", "bridge", "vlan", …; empty for hardware and lo
	Type     uint16 // unix.ARPHRD_ETHER, …
	MAC      string
	MTU      int    // bytes
	Up       bool   // switched on: IFF_UP
	Running  bool   // there is a carrier: IFF_LOWER_UP
	NoARP    bool   // IFF_NOARP
	Held     bool   // somebody keeps its carrier off: IFLA_PROTO_DOWN
	State    string // the operational state, RFC 2863: "up", "down", "lowerlayerdown", "unknown", …
	Master   int    // the index of the bridge or bond it is a port of; 0 for none
	TxQueue  int    // packets
	Qdisc    string // "noqueue", "fq_codel", …
	XDP      bool   // a program sees its packets first

	// Peer is the index of the link at the other end of a veth pair, or below a
	// macvlan or vlan; 0 for none. PeerNSID is the number of the namespace it is in;
	// -1: the same one.
	Peer     int
	PeerNSID int

	VLAN      uint16      // the id of a vlan link
	Mode      string      // of a macvlan or ipvlan: "bridge", "private", …
	Bridge    *Bridge     // of a bridge
	Port      *BridgePort // of a bridge's port
	Addresses []Address
	Stats     Stats
}

// Loopback reports whether it is lo.
func (l *Link) Loopback() bool { return l.Type == loopback }

// An Address is an IP address of a link.
type Address struct {
	Prefix    netip.Prefix // the address, and the length of its subnet
	Peer      netip.Addr   // of a point-to-point link
	Broadcast netip.Addr
	Scope     string // "global", "link", "host"
	Label     string // of IPv4: "eth0", "eth0:1"
	Permanent bool
	Tentative bool // duplicate address detection is not through
	Failed    bool // it has found a duplicate
}

// A Bridge is what a bridge has beyond a link.
type Bridge struct {
	ID            string // "8000.0242ac110001", as brctl(8) prints it
	STP           bool
	VLANFiltering bool
	DefaultPVID   uint16
	PVID          uint16        // of the bridge itself, where it filters by VLAN
	Ageing        time.Duration // after which a MAC is forgotten
}

// A BridgePort is what a bridge says of a port.
type BridgePort struct {
	Number    uint16
	State     string // "forwarding", "disabled", "blocking", "learning", "listening"
	Cost      uint32
	Priority  uint16
	Hairpin   bool
	Isolated  bool
	Learning  bool
	Flood     bool // of frames whose receiver it does not know
	Broadcast bool // frames to everybody are sent there
	Multicast bool // and those to groups
	Locked    bool // only known senders may send
	Guard     bool
	RootBlock bool
	ProxyARP  bool
	VLANs     []PortVLAN // of a bridge that filters by VLAN; others do not ask
}

// A PortVLAN is a VLAN that a port takes part in.
type PortVLAN struct {
	ID       uint16
	PVID     bool // what comes untagged is of it
	Untagged bool // leaves untagged
}

// Stats are a link's counters.
type Stats struct {
	RxPackets, TxPackets uint64
	RxBytes, TxBytes     uint64
	RxErrors, TxErrors   uint64
	RxDropped, TxDropped uint64
}

// A Route is an entry of a routing table.
type Route struct {
	Table    int          // unix.RT_TABLE_MAIN, …
	Type     string       // "unicast", "local", "broadcast", "blackhole", "unreachable", "prohibit", …
	To       netip.Prefix // 0.0.0.0/0 is a default route
	Gateway  netip.Addr   // of none: on the link
	Link     int          // index; 0 for a blackhole, say
	Source   netip.Addr   // preferred for packets that begin here
	Scope    string       // "global", "link", "host"
	Protocol string       // who made it: "kernel", "static", "boot", "dhcp", "ra", …
	Metric   int
	MTU      int // bytes; 0: the link's
	Onlink   bool
	Dead     bool // its link is down or has no carrier
	Hops     []Hop
}

// Default reports whether it is a route to everywhere.
func (r *Route) Default() bool { return r.To.Bits() == 0 && r.Type == "unicast" }

// A Hop is one way of a route that has several.
type Hop struct {
	Gateway netip.Addr
	Link    int
	Weight  int
}

// A Rule is an entry of the routing policy, ip-rule(8).
type Rule struct {
	Family     int // unix.AF_INET, unix.AF_INET6
	Priority   int
	Invert     bool
	From, To   netip.Prefix // the zero Prefix: all
	In, Out    string       // links
	Mark, Mask uint32
	Protocol   uint8  // of the packet: unix.IPPROTO_TCP, …
	Action     string // "lookup", "unreachable", "prohibit", "blackhole", "goto", "nop"
	Table      int    // of lookup
	Goto       int    // the priority of goto
	Usual      bool   // one of those that every namespace has: local, main, default
}

// A Neighbour is an entry of the ARP or neighbour discovery table.
type Neighbour struct {
	Link    int
	Address netip.Addr
	MAC     string
	State   string // "reachable", "stale", "delay", "probe", "failed", "incomplete", "permanent", "noarp"
	Proxy   bool
	Router  bool
}

// An FDBEntry says behind which port of a bridge a MAC is.
type FDBEntry struct {
	Link    int // the port, or the bridge itself
	Master  int // the bridge; 0: the entry is of the device itself
	MAC     string
	VLAN    uint16
	State   string        // "permanent": the port's own; "static": by hand; "reachable", "stale": learnt
	Local   bool          // it is the host's
	Updated time.Duration // since it was learnt or seen
	Used    time.Duration // since it was used
}

// Link finds a link by its index; nil without one.
func (n *Netns) Link(index int) *Link {
	for i := range n.Links {
		if n.Links[i].Index == index {
			return &n.Links[i]
		}
	}
	return nil
}

// LinkNamed finds a link by its name; nil without one.
func (n *Netns) LinkNamed(name string) *Link {
	for i := range n.Links {
		if n.Links[i].Name == name {
			return &n.Links[i]
		}
	}
	return nil
}

// Ports lists the links that have the master.
func (n *Netns) Ports(master int) (list []*Link) {
	for i := range n.Links {
		if master != 0 && n.Links[i].Master == master {
			list = append(list, &n.Links[i])
		}
	}
	return list
}

// Namespace finds a namespace by its inode; nil if it was not surveyed.
func (h *Host) Namespace(inode uint64) *Netns {
	for _, n := range h.Namespaces {
		if n.Inode == inode {
			return n
		}
	}
	return nil
}

// Peer finds the other end of a veth pair, or what is below a macvlan or vlan link:
// the namespace and the link. Both are nil where the link has none, or where it is in
// a namespace that was not surveyed; the link alone is nil where it was not read in
// time.
func (h *Host) Peer(n *Netns, l *Link) (*Netns, *Link) {
	if l.Peer == 0 {
		return nil, nil
	}
	home := n
	if l.PeerNSID >= 0 {
		inode, known := n.NSIDs[l.PeerNSID]
		if !known {
			return nil, nil
		}
		home = h.Namespace(inode)
	}
	if home == nil {
		return nil, nil
	}
	return home, home.Link(l.Peer)
}
