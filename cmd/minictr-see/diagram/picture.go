package diagram

import (
	"net/netip"
	"slices"
)

// A Picture is everything there is to draw. Its JSON form has these names.
type Picture struct {
	Rooms []Room `json:"rooms"` // the first is where the picture is drawn from
	// Cables are veth pairs, and links that lie on another link.
	Cables    []Cable   `json:"cables"`
	Outgoing  []NAT     `json:"outgoing"`  // masquerade and snat
	Published []Publish `json:"published"` // dnat and redirect
}

// The kinds of rooms that are not containers. Of a container it is the name of
// its runtime: "minictr", "docker", "podman", "kubernetes", ….
const (
	KindHost  = "host"  // where the picture is drawn from
	KindNetns = "netns" // named by ip-netns(8)
	KindVM    = "vm"    // no namespace: a process that holds the other end of a tap
	KindOther = ""      // a namespace of some processes
)

// A Room is a network namespace.
type Room struct {
	// ID is unique in the picture: the kind and the name, "minictr:web", or
	// "net:4026532471" where there is no name or another room has it too.
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Inode   uint64 `json:"inode,omitempty"` // the number in "net:[4026531840]"
	Pid     int    `json:"pid,omitempty"`   // of a process in it
	Command string `json:"command,omitempty"`
	// Forwarding is net.ipv4.ip_forward, Forwarding6 net.ipv6.conf.all.forwarding.
	Forwarding  bool        `json:"forwarding"`
	Forwarding6 bool        `json:"forwarding6"`
	Interfaces  []Interface `json:"interfaces"` // by index
	Routes      []Route     `json:"routes"`     // of the main table

	// PolicyRules are how many rules of ip-rule(8) there are beside the usual ones. They
	// may lead packets by other routes than those of the main table.
	PolicyRules int `json:"policyRules,omitempty"`

	Members []string `json:"members,omitempty"` // of a room that stands for several: their names
}

// The states of an interface.
const (
	Up        = "up"
	Down      = "down"       // nobody switched it on
	NoCarrier = "no-carrier" // it is up, and its cable's other end is not
)

// An Interface is a link in a room.
type Interface struct {
	Index     int            `json:"index"`
	Name      string         `json:"name"`
	Kind      string         `json:"kind"` // "bridge", "veth", …; empty for hardware
	State     string         `json:"state"`
	MAC       string         `json:"mac,omitempty"`
	MTU       int            `json:"mtu"`
	Addresses []netip.Prefix `json:"addresses"`
	Master    string         `json:"master,omitempty"` // the bridge that it is a port of
	VLAN      int            `json:"vlan,omitempty"`
	// PortState is of a port what its bridge does with it: "forwarding", "blocking", ….
	PortState string `json:"portState,omitempty"`
	Isolated  bool   `json:"isolated,omitempty"` // it reaches no other isolated port
	// Uplink says that a default route leaves by it, and that its other end is
	// out of sight.
	Uplink bool `json:"uplink,omitempty"`

	// Of an interface that stands for several: what the last one has.
	LastName      string         `json:"lastName,omitempty"`
	LastAddresses []netip.Prefix `json:"lastAddresses,omitempty"`
}

// A Route says where packets to a range of addresses go.
type Route struct {
	To        netip.Prefix `json:"to"`
	Via       netip.Addr   `json:"via,omitzero"` // the gateway
	Interface string       `json:"interface,omitempty"`
	Source    netip.Addr   `json:"source,omitzero"`
	Metric    int          `json:"metric,omitempty"`
	Type      string       `json:"type"` // "unicast", "blackhole", …
	// Connected says that the kernel made it with an address.
	Connected bool `json:"connected,omitempty"`
	// Neighbour is what the kernel knows of the gateway: "reachable", "stale",
	// "failed", …; empty if nothing.
	Neighbour string `json:"neighbour,omitempty"`
}

// A Cable joins two interfaces.
type Cable struct {
	// Kind is "veth"; of a link that lies on another one its own kind: "macvlan",
	// "ipvlan", "vlan". Then A is the one below. "tap" leads to a VM.
	Kind string `json:"kind"`
	A    End    `json:"a"`
	B    End    `json:"b"`

	Count int `json:"count,omitempty"` // of a cable that stands for several
}

// An End is one end of a cable.
type End struct {
	Room      string `json:"room"` // its ID
	Index     int    `json:"index"`
	Interface string `json:"interface"`
}

// A Rule says where in the firewall something stands.
type Rule struct {
	Room   string `json:"room"`
	Table  string `json:"table"` // "ip minictr"
	Chain  string `json:"chain"`
	Handle uint64 `json:"handle"`
	Owner  string `json:"owner"`
}

// A NAT gives packets another source address when they leave.
type NAT struct {
	Kind    string         `json:"kind"`              // "masquerade" or "snat"
	Sources []netip.Prefix `json:"sources,omitempty"` // none: all
	Out     []string       `json:"out,omitempty"`     // interfaces by which they leave; none: all
	NotOut  []string       `json:"notOut,omitempty"`  // but these
	// Destinations are where they go; none: anywhere.
	Destinations []netip.Prefix `json:"destinations,omitempty"`
	// Conditional says that the rule has conditions that are not told here.
	Conditional bool       `json:"conditional,omitempty"`
	To          netip.Addr `json:"to,omitzero"` // of snat
	Rule
}

// A Publish leads packets that arrive at a port to another address.
type Publish struct {
	Protocol string         `json:"protocol,omitempty"` // "tcp", "udp", …; empty: any
	Address  []netip.Prefix `json:"address,omitempty"`  // none: all of the room's own
	First    uint16         `json:"first,omitempty"`    // port; 0: any
	Last     uint16         `json:"last,omitempty"`
	To       netip.Addr     `json:"to,omitzero"` // none: the room itself (redirect)
	ToPort   uint16         `json:"toPort,omitempty"`
	ToRoom   string         `json:"toRoom,omitempty"` // who has the address
	Rule
	Count int `json:"count,omitempty"` // of one that stands for several
}

// Room is the one with the ID, or nil.
func (p *Picture) Room(id string) *Room {
	for i := range p.Rooms {
		if p.Rooms[i].ID == id {
			return &p.Rooms[i]
		}
	}
	return nil
}

// Interface is the one with the name, or nil.
func (r *Room) Interface(name string) *Interface {
	for i := range r.Interfaces {
		if r.Interfaces[i].Name == name {
			return &r.Interfaces[i]
		}
	}
	return nil
}

func (r *Room) interfaceAt(index int) *Interface {
	for i := range r.Interfaces {
		if r.Interfaces[i].Index == index {
			return &r.Interfaces[i]
		}
	}
	return nil
}

// defaults are the default routes, the preferred one first.
func (r *Room) defaults() []Route {
	var list []Route
	for _, route := range r.Routes {
		if route.To.IsValid() && route.To.Bits() == 0 && route.Type == "unicast" {
			list = append(list, route)
		}
	}
	slices.SortStableFunc(list, func(a, b Route) int { return a.Metric - b.Metric })
	return list
}

// isContainer reports whether a container runtime made the room.
func (r *Room) isContainer() bool {
	return !slices.Contains([]string{KindHost, KindNetns, KindVM, KindOther, "unit"}, r.Kind)
}

// ends lists, for each interface of the rooms, the cables that are plugged in.
func (p *Picture) ends() map[plug][]*Cable {
	all := map[plug][]*Cable{}
	for i := range p.Cables {
		c := &p.Cables[i]
		all[c.A.plug()] = append(all[c.A.plug()], c)
		if c.A.plug() != c.B.plug() {
			all[c.B.plug()] = append(all[c.B.plug()], c)
		}
	}
	return all
}

// A plug is an interface of a room.
type plug struct {
	room  string
	index int
}

func (e End) plug() plug { return plug{e.Room, e.Index} }

// other is the cable's other end, seen from one.
func (c *Cable) other(from plug) End {
	if c.A.plug() == from {
		return c.B
	}
	return c.A
}

// within reports whether the cable is a link on top of another one of the same room:
// words say so, not a line.
func (c *Cable) within() bool { return c.A.Room == c.B.Room && c.Kind != "veth" }
