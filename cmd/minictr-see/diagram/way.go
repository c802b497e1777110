package diagram

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Way is how packets of one room get out, and which get in. Its JSON form has these
// names.
type Way struct {
	Room string `json:"room"` // its ID
	Out  []Hop  `json:"out"`
	In   []Hop  `json:"in"`
	// Ends says why the way out ends before the outside; empty if it does not.
	Ends string `json:"ends,omitempty"`
}

// The kinds of hops.
const (
	HopInterface   = "interface"   // out of it, or into it
	HopBridge      = "bridge"      // a switch on the way, or a room's own address on it
	HopRoute       = "route"       // by which a room decides where it goes
	HopForwarding  = "forwarding"  // a room passes it on
	HopTranslation = "translation" // it gets another address
	HopGateway     = "gateway"     // the first machine that is not in the picture
)

// A Hop is one place on a way.
type Hop struct {
	Kind      string         `json:"kind"`
	Room      string         `json:"room,omitempty"` // its name
	Interface string         `json:"interface,omitempty"`
	Words     string         `json:"words"` // what is there to say of it
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Rule      *Rule          `json:"rule,omitempty"`
	// Wrong says that packets do not pass here, or not now.
	Wrong string `json:"wrong,omitempty"`
}

// farthest is how many rooms a way may lead through.
const farthest = 16

// Way follows the default route of the room from hop to hop.
func (p *Picture) Way(room *Room) *Way {
	w := &walker{layout: newLayout(p), way: &Way{Room: room.ID, Out: []Hop{}, In: []Hop{}}}
	w.out(room)
	w.in(room)
	return w.way
}

type walker struct {
	*layout
	way    *Way
	source netip.Addr // of the packet, as it is now
}

func (w *walker) hop(h Hop) { w.way.Out = append(w.way.Out, h) }

func (w *walker) end(format string, args ...any) { w.way.Ends = fmt.Sprintf(format, args...) }

// out goes from room to room.
func (w *walker) out(r *Room) {
	is6 := false
	if routes := r.defaults(); len(routes) > 0 {
		is6 = routes[0].To.Addr().Is6()
	}
	first := true
	for range farthest {
		face, route := w.leaving(r, is6)
		if face == nil {
			w.end("%s has no default route: packets to the outside go no further", shown(r.Name))
			return
		}
		if first {
			w.face(r, face)
			w.source = addressOf(face, is6)
		}
		w.route(r, route)
		if !first {
			w.translate(r, face, is6)
			w.face(r, face)
		}
		if face.Uplink {
			w.gateway(route)
			return
		}
		first = false
		if r = w.cross(r, face, route); r == nil {
			return
		}
		if !w.forwards(r, is6) {
			return
		}
	}
	w.end("the way goes in a circle")
}

// route is a hop where a room decides by its routes.
func (w *walker) route(r *Room, route Route) {
	h := Hop{Kind: HopRoute, Room: r.Name, Interface: route.Interface, Words: routeWords(route)}
	if face := r.Interface(route.Interface); route.isSilent() && face != nil && !face.Uplink { // of an uplink's the last hop says it
		h.Wrong = "does not answer"
	}
	w.hop(h)
	if words := policyWords(r); words != "" {
		w.hop(Hop{Kind: HopRoute, Room: r.Name, Words: words + " shows them; the way may be another"})
	}
}

// isSilent reports whether the gateway was asked for, and has not answered.
func (r *Route) isSilent() bool { return r.Neighbour == "failed" || r.Neighbour == "incomplete" }

// forwards is a hop where a room passes on what is not for it.
func (w *walker) forwards(r *Room, is6 bool) bool {
	parameter, on := "net.ipv4.ip_forward", r.Forwarding
	if is6 {
		parameter, on = "net.ipv6.conf.all.forwarding", r.Forwarding6
	}
	if !on {
		w.end("%s is 0 in %s: packets that are not for it go no further", parameter, shown(r.Name))
		return false
	}
	w.hop(Hop{Kind: HopForwarding, Room: r.Name, Words: "passes packets on: " + parameter + " is 1"})
	return true
}

func (w *walker) leaving(r *Room, is6 bool) (*Interface, Route) {
	for _, route := range r.defaults() {
		if route.To.Addr().Is6() == is6 {
			return r.Interface(route.Interface), route
		}
	}
	return nil, Route{}
}

// addressOf is the first address of the family that is good beyond the link.
func addressOf(f *Interface, is6 bool) netip.Addr {
	for _, a := range f.Addresses {
		if a.Addr().Is6() == is6 && !a.Addr().IsLinkLocalUnicast() {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// face is a hop of an interface.
func (w *walker) face(r *Room, f *Interface) {
	h := Hop{Kind: HopInterface, Room: r.Name, Interface: f.Name, Words: strings.Join(addressWords(f), " "), Addresses: f.Addresses, Wrong: stateWords(f)}
	if kind := w.kindOfFace(r, f); kind != "" {
		h.Words = strings.TrimSpace(kind + " " + h.Words)
	}
	if f.Kind == "bridge" {
		h.Kind = HopBridge
	}
	if f.Master != "" {
		h.Words = "port of " + shown(f.Master)
	}
	w.hop(h)
}

func (w *walker) gateway(route Route) {
	h := Hop{Kind: HopGateway, Words: "the internet"}
	if route.Via.IsValid() {
		h.Words = "gateway " + route.Via.String()
		if route.isSilent() {
			h.Wrong = "does not answer"
		}
	}
	w.hop(h)
}

// translate is a hop where packets of the source get another address on their way
// out by the interface.
func (w *walker) translate(r *Room, out *Interface, is6 bool) {
	for i := range w.Outgoing {
		n := &w.Outgoing[i]
		if n.Room != r.ID || !w.source.IsValid() || !n.applies(w.source, out.Name) {
			continue
		}
		to := n.To
		if !to.IsValid() {
			to = addressOf(out, is6)
		}
		w.hop(Hop{Kind: HopTranslation, Room: r.Name, Words: fmt.Sprintf("%s: %s leaves as %s", n.Kind, w.source, to), Rule: &n.Rule})
		w.source = to
		return
	}
}

func (n *NAT) applies(source netip.Addr, out string) bool {
	if len(n.Destinations) > 0 || n.Conditional && len(n.Sources) == 0 { // not whatever goes to the outside
		return false
	}
	table6 := strings.HasPrefix(n.Table, "ip6 ")
	if table6 != source.Is6() && !strings.HasPrefix(n.Table, "inet ") {
		return false
	}
	return (len(n.Sources) == 0 || slices.ContainsFunc(n.Sources, func(p netip.Prefix) bool { return p.Contains(source) })) &&
		(len(n.Out) == 0 || slices.ContainsFunc(n.Out, func(name string) bool { return matchesName(name, out) })) &&
		!slices.ContainsFunc(n.NotOut, func(name string) bool { return matchesName(name, out) })
}

// matchesName compares with the name of a rule, which may end in an asterisk.
func matchesName(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// cross follows the cables to whoever has the address of the gateway, and returns the
// room; nil where nobody has it.
func (w *walker) cross(r *Room, face *Interface, route Route) *Room {
	found := w.search(r, face, route.Via)
	if found == nil {
		if route.Via.IsValid() {
			w.end("nobody on this network has the address %s of the gateway: packets end here", route.Via)
		} else {
			w.end("%s has no cable that leads on", shown(face.Name))
		}
		return nil
	}
	for _, at := range found[1:] {
		if room := w.Room(at.room); room != nil {
			w.face(room, room.interfaceAt(at.index))
		}
	}
	return w.Room(found[len(found)-1].room)
}

// search goes by cables and bridges, the nearest first, from the interface to the one
// with the address, and returns all interfaces on that way. Without an address it is
// the other end of the cable.
func (w *walker) search(r *Room, face *Interface, wanted netip.Addr) []plug {
	start := plug{r.ID, face.Index}
	from := map[plug]plug{start: start}
	for queue := []plug{start}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at != start && w.has(at, wanted) {
			return pathTo(from, at)
		}
		for _, next := range w.beside(at, start) {
			if _, seen := from[next]; !seen {
				from[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func pathTo(from map[plug]plug, at plug) (path []plug) {
	for ; from[at] != at; at = from[at] {
		path = append(path, at)
	}
	path = append(path, at)
	slices.Reverse(path)
	return path
}

func (w *walker) has(at plug, wanted netip.Addr) bool {
	f := w.Room(at.room).interfaceAt(at.index)
	if !wanted.IsValid() {
		return f.Master == ""
	}
	return slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Addr() == wanted })
}

// beside are the interfaces to which a frame gets from one: by its cable, from a port
// to its bridge, from a bridge to its ports.
func (w *walker) beside(at, start plug) (list []plug) {
	r := w.Room(at.room)
	f := r.interfaceAt(at.index)
	for _, c := range w.ends[at] {
		far := c.other(at).plug()
		if room := w.Room(far.room); room != nil && room.interfaceAt(far.index) != nil {
			list = append(list, far)
		}
	}
	for i := range r.Interfaces {
		other := &r.Interfaces[i]
		if f.Master != "" && other.Name == f.Master || other.Master == f.Name && (f.Kind == "bridge" || at == start) {
			list = append(list, plug{r.ID, other.Index})
		}
	}
	return list
}

// in lists the ports that are published for the room.
func (w *walker) in(r *Room) {
	for i := range w.Published {
		x := &w.Published[i]
		if x.ToRoom != r.ID {
			continue
		}
		room := w.Room(x.Room)
		target := x.To.String()
		if x.ToPort != 0 {
			target = netip.AddrPortFrom(x.To, x.ToPort).String()
		}
		h := Hop{Kind: HopTranslation, Words: x.from() + " → " + target, Rule: &x.Rule}
		if room != nil {
			h.Room = room.Name
		}
		w.way.In = append(w.way.In, h)
	}
}
