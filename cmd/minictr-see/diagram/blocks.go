package diagram

import (
	"cmp"
	"net/netip"
	"slices"
)

// A layout is the order in which all formats draw a picture: which room is behind
// which, as a tree from the first room on, and what stands in each room.
type layout struct {
	*Picture
	ends map[plug][]*Cable
	// roots are the rooms that stand in front: the first of the picture, and of what
	// no cable joins with it one each.
	roots []*Room
	depth map[string]int      // of a room, in cables from its root
	below map[string][]*Room  // the rooms behind a room
	way   map[string]*Cable   // the cable by which a room was reached
	place map[string][]*block // what stands in a room
}

// A block is a bridge with its ports, or an interface that is no port.
type block struct {
	face  *Interface
	ports []port
}

func (b *block) bridge() bool { return b.face.Kind == "bridge" }

// A port is where a cable leaves a block.
type port struct {
	face  *Interface
	cable *Cable // nil: nothing that is in the picture
	far   End
	child *Room // the room behind it, if it was reached by this cable
}

func newLayout(p *Picture) *layout {
	l := &layout{Picture: p, ends: p.ends(), depth: map[string]int{}, below: map[string][]*Room{}, way: map[string]*Cable{}, place: map[string][]*block{}}
	for i := range p.Rooms {
		l.place[p.Rooms[i].ID] = l.blocks(&p.Rooms[i])
	}
	for _, r := range l.byDegree() {
		if _, seen := l.depth[r.ID]; !seen {
			l.roots = append(l.roots, r)
			l.walk(r)
		}
	}
	for _, blocks := range l.place {
		for _, b := range blocks {
			for i := range b.ports {
				b.ports[i].child = l.childBy(b.ports[i])
			}
		}
	}
	return l
}

// byDegree lists the first room, then those with the most cables.
func (l *layout) byDegree() []*Room {
	degree := map[string]int{}
	for i := range l.Cables {
		degree[l.Cables[i].A.Room]++
		degree[l.Cables[i].B.Room]++
	}
	rooms := make([]*Room, len(l.Rooms))
	for i := range l.Rooms {
		rooms[i] = &l.Rooms[i]
	}
	if len(rooms) > 0 {
		slices.SortStableFunc(rooms[1:], func(a, b *Room) int { return cmp.Compare(degree[b.ID], degree[a.ID]) })
	}
	return rooms
}

// walk finds all rooms that cables lead to, the nearest first.
func (l *layout) walk(root *Room) {
	l.depth[root.ID] = 0
	for queue := []*Room{root}; len(queue) > 0; queue = queue[1:] {
		r := queue[0]
		for _, b := range l.place[r.ID] {
			for _, p := range b.ports {
				next := l.Room(p.far.Room)
				if p.cable == nil || next == nil {
					continue
				}
				if _, seen := l.depth[next.ID]; !seen {
					l.depth[next.ID], l.way[next.ID] = l.depth[r.ID]+1, p.cable
					l.below[r.ID] = append(l.below[r.ID], next)
					queue = append(queue, next)
				}
			}
		}
	}
}

func (l *layout) childBy(p port) *Room {
	if p.cable == nil || l.way[p.far.Room] != p.cable {
		return nil
	}
	return l.Room(p.far.Room)
}

// blocks lists what stands in a room: uplinks, then bridges with their ports, then
// what else there is.
func (l *layout) blocks(r *Room) (list []*block) {
	for i := range r.Interfaces {
		face := &r.Interfaces[i]
		if !worthDrawing(face, l.ends[plug{r.ID, face.Index}]) || face.Master != "" && r.Interface(face.Master) != nil {
			continue
		}
		b := &block{face: face}
		b.ports = append(b.ports, l.portsOf(r, face)...)
		for j := range r.Interfaces {
			if p := &r.Interfaces[j]; p.Master == face.Name && face.Name != "" {
				b.ports = append(b.ports, l.portsOf(r, p)...)
				if len(l.ends[plug{r.ID, p.Index}]) == 0 {
					b.ports = append(b.ports, port{face: p})
				}
			}
		}
		slices.SortStableFunc(b.ports, func(x, y port) int { return compareNatural(l.nameOf(x.far), l.nameOf(y.far)) })
		list = append(list, b)
	}
	rank := func(b *block) int {
		switch {
		case b.face.Uplink:
			return 0
		case b.bridge():
			return 1
		case len(b.ports) > 0:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(list, func(a, b *block) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

func (l *layout) nameOf(e End) string {
	if r := l.Room(e.Room); r != nil {
		return r.Name
	}
	return ""
}

func (l *layout) portsOf(r *Room, face *Interface) (ports []port) {
	at := plug{r.ID, face.Index}
	for _, c := range l.ends[at] {
		if c.within() {
			continue
		}
		ports = append(ports, port{face: face, cable: c, far: c.other(at)})
	}
	return ports
}

// worthDrawing leaves out lo, unless somebody has done something to it, and the
// devices that modules of the kernel put into every namespace.
func worthDrawing(i *Interface, cables []*Cable) bool {
	if len(cables) > 0 || i.Uplink {
		return true
	}
	if i.Kind == "lo" {
		return i.State != Up || slices.ContainsFunc(i.Addresses, func(a netip.Prefix) bool { return !a.Addr().IsLoopback() })
	}
	fallback := []string{"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0", "teql0"}
	return i.State != Down || len(i.Addresses) > 0 || i.Master != "" || !slices.Contains(fallback, i.Name)
}

// natOf lists the translations that belong to a block of the room, each with those of
// its sources that the block's interface has addresses of. What belongs to no block is
// given for nil.
func (l *layout) natOf(r *Room, b *block) (list []NAT) {
	places := map[string]int{}
	for _, n := range l.Outgoing {
		if n.Room != r.ID || !l.leavesBy(r, n) {
			continue
		}
		var own []netip.Prefix
		for _, source := range n.Sources {
			if l.behind(r, source) == b && !source.Addr().IsLoopback() {
				own = append(own, source)
			}
		}
		if len(own) == 0 && (len(n.Sources) > 0 || b != nil) {
			continue
		}
		// TCP, UDP and the rest may have a rule each, and so may each container.
		n.Sources = nil
		i, ok := places[natText(n)]
		if !ok {
			i = len(list)
			places[natText(n)] = i
			list = append(list, n)
		}
		for _, p := range own {
			if !slices.Contains(list[i].Sources, p) {
				list[i].Sources = append(list[i].Sources, p)
			}
		}
	}
	return list
}

// behind is the block whose interface has an address of the subnet.
func (l *layout) behind(r *Room, source netip.Prefix) *block {
	for _, b := range l.place[r.ID] {
		if slices.ContainsFunc(b.face.Addresses, source.Overlaps) {
			return b
		}
	}
	return nil
}

// leavesBy reports whether packets that leave the room are translated: not its own
// from the loopback, nor those between two of its bridges' rooms, nor only those that
// somebody has marked.
func (l *layout) leavesBy(r *Room, n NAT) bool {
	inside := func(p netip.Prefix) bool { return l.behind(r, p) != nil }
	if len(n.Destinations) > 0 && !slices.ContainsFunc(n.Destinations, func(p netip.Prefix) bool { return !inside(p) }) || n.Conditional && len(n.Sources) == 0 {
		return false
	}
	if len(n.Sources) > 0 && !slices.ContainsFunc(n.Sources, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }) {
		return false
	}
	return !slices.ContainsFunc(n.Out, func(name string) bool {
		f := r.Interface(name)
		return f != nil && f.Kind == "bridge" && !f.Uplink
	})
}

// publishedTo lists what leads to a block's rooms; for nil what leads elsewhere.
func (l *layout) publishedTo(r *Room, b *block) (list []Publish) {
	seen := map[string]bool{}
	for _, x := range l.Published {
		if x.Room != r.ID || l.publishBlock(r, x) != b || seen[x.from()+l.target(x)] {
			continue
		}
		seen[x.from()+l.target(x)] = true // IPv4 and IPv6 may have a rule each
		list = append(list, x)
	}
	return list
}

func (l *layout) publishBlock(r *Room, x Publish) *block {
	for _, b := range l.place[r.ID] {
		if x.To.IsValid() && slices.ContainsFunc(b.face.Addresses, func(a netip.Prefix) bool { return a.Bits() > 0 && a.Masked().Contains(x.To) }) {
			return b
		}
	}
	for _, b := range l.place[r.ID] {
		for _, p := range b.ports {
			if x.ToRoom != "" && p.far.Room == x.ToRoom {
				return b
			}
		}
	}
	return nil
}

// internet reports whether a way leads out of the picture.
func (l *layout) internet(r *Room) bool {
	return slices.ContainsFunc(r.Interfaces, func(i Interface) bool { return i.Uplink })
}

// gateway is the first default route by the interface.
func (r *Room) gateway(face *Interface) (Route, bool) {
	for _, route := range r.defaults() {
		if route.Interface == face.Name {
			return route, true
		}
	}
	return Route{}, false
}

// kindWords says what a room is, beside its name.
func kindWords(r *Room) string {
	switch r.Kind {
	case KindHost, KindOther:
		return ""
	case KindNetns:
		return "ip netns"
	case KindVM:
		return "VM"
	}
	names := map[string]string{"docker": "Docker", "podman": "Podman", "kubernetes": "Kubernetes", "lxc": "LXC"}
	name, ok := names[r.Kind]
	if !ok {
		name = r.Kind
	}
	if r.isContainer() && r.Kind != "minictr" && r.Command != "" { // its name is but a number
		name += ": " + cut(shown(r.Command), 20)
	}
	return name
}

// live reports whether both ends are up.
func (l *layout) live(c *Cable) bool {
	for _, e := range []End{c.A, c.B} {
		if r := l.Room(e.Room); r != nil {
			if i := r.interfaceAt(e.Index); i != nil && stateWords(i) != "" {
				return false
			}
		}
	}
	return true
}
