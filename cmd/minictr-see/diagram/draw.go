package diagram

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/firewall"
	"github.com/minictr/minictr/network/survey"
)

// Facts are what a picture is made of. All maps are by the inodes of namespaces.
type Facts struct {
	Host   *survey.Host
	Owners map[uint64]Owner
	NAT    map[uint64][]firewall.NAT
	// Forwarding and Forwarding6 say whether it passes on packets of others.
	Forwarding, Forwarding6 map[uint64]bool
	// Taps are the holders of taps in the first namespace, by the link's name.
	Taps map[string]Owner
	// Everything draws all namespaces; else those that cables join with the first
	// one, and whose owner is Here.
	Everything bool
}

// An Owner is what a namespace, or a virtual machine, was made for.
type Owner struct {
	Kind    string // a room's kind
	Name    string
	Pid     int
	Command string // of a process in it
	Here    bool   // it belongs into the picture, with cables or without
}

// Draw makes the picture.
func Draw(f Facts) *Picture {
	d := &drawer{Facts: f, picture: &Picture{Rooms: []Room{}, Cables: []Cable{}, Outgoing: []NAT{}, Published: []Publish{}}, ids: map[uint64]string{}}
	for i, n := range f.Host.Namespaces {
		d.name(i, n)
	}
	for _, n := range f.Host.Namespaces {
		d.picture.Rooms = append(d.picture.Rooms, d.room(n))
	}
	for _, n := range f.Host.Namespaces {
		d.cables(n)
	}
	d.taps()
	d.uplinks()
	d.keep()
	for _, n := range f.Host.Namespaces {
		if d.picture.Room(d.ids[n.Inode]) != nil {
			d.translations(n)
		}
	}
	d.order()
	return d.picture
}

type drawer struct {
	Facts
	picture *Picture
	ids     map[uint64]string // of the rooms
}

// name gives a namespace an ID that no other has.
func (d *drawer) name(i int, n *survey.Netns) {
	owner, id := d.Owners[n.Inode], fmt.Sprintf("net:%d", n.Inode)
	switch {
	case i == 0:
		id = KindHost
	case owner.Name != "" && owner.Kind != KindOther:
		id = owner.Kind + ":" + owner.Name
	}
	for _, other := range d.ids {
		if other == id {
			id = fmt.Sprintf("net:%d", n.Inode)
		}
	}
	d.ids[n.Inode] = id
}

func (d *drawer) room(n *survey.Netns) Room {
	owner := d.Owners[n.Inode]
	r := Room{
		ID: d.ids[n.Inode], Kind: owner.Kind, Name: owner.Name, Inode: n.Inode, Pid: owner.Pid, Command: owner.Command,
		Forwarding: d.Forwarding[n.Inode], Forwarding6: d.Forwarding6[n.Inode], Interfaces: []Interface{}, Routes: []Route{},
	}
	if r.ID == KindHost {
		if r.Kind != KindNetns && !r.isContainer() || r.Name == "" {
			r.Name = "host"
		}
		r.Kind = KindHost
	}
	for i := range n.Links {
		r.Interfaces = append(r.Interfaces, d.face(n, &n.Links[i]))
	}
	slices.SortFunc(r.Interfaces, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	for _, rule := range n.Rules {
		if !rule.Usual {
			r.PolicyRules++
		}
	}
	for i := range n.Routes {
		r.Routes = append(r.Routes, routesOf(n, &n.Routes[i])...)
	}
	return r
}

func (d *drawer) face(n *survey.Netns, l *survey.Link) Interface {
	f := Interface{
		Index: l.Index, Name: l.Name, Kind: l.Kind, MAC: l.MAC, MTU: l.MTU, VLAN: int(l.VLAN), State: Down, Addresses: []netip.Prefix{},
	}
	switch {
	case l.Up && l.Running:
		f.State = Up
	case l.Up:
		f.State = NoCarrier
	}
	if l.Loopback() {
		f.Kind = "lo"
	}
	if l.Port != nil {
		f.PortState, f.Isolated = l.Port.State, l.Port.Isolated
	}
	if master := n.Link(l.Master); master != nil {
		f.Master = master.Name
	}
	for _, a := range l.Addresses {
		f.Addresses = append(f.Addresses, a.Prefix)
	}
	return f
}

// routesOf are the routes of a main table's entry, one a way.
func routesOf(n *survey.Netns, r *survey.Route) (list []Route) {
	if r.Table != unix.RT_TABLE_MAIN || r.Type == "multicast" || r.Type == "local" || r.Type == "broadcast" || r.Type == "anycast" {
		return nil
	}
	hops := r.Hops
	if len(hops) == 0 {
		hops = []survey.Hop{{Gateway: r.Gateway, Link: r.Link}}
	}
	for _, h := range hops {
		route := Route{
			To: r.To, Via: h.Gateway, Source: r.Source, Metric: r.Metric, Type: r.Type,
			Connected: r.Protocol == "kernel" && !h.Gateway.IsValid(),
		}
		if l := n.Link(h.Link); l != nil {
			route.Interface = l.Name
		}
		for _, v := range n.Neighbours {
			if v.Link == h.Link && v.Address == h.Gateway && h.Gateway.IsValid() {
				route.Neighbour = v.State
			}
		}
		list = append(list, route)
	}
	return list
}

// lying are the kinds of links that lie on another one, which IFLA_LINK names.
var lying = []string{"macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"}

func (d *drawer) cables(n *survey.Netns) {
	for i := range n.Links {
		l := &n.Links[i]
		isPair := l.Kind == "veth" || l.Kind == "netkit"
		if !isPair && !slices.Contains(lying, l.Kind) {
			continue
		}
		home, peer := d.Host.Peer(n, l)
		if peer == nil {
			continue
		}
		here, there := End{d.ids[n.Inode], l.Index, l.Name}, End{d.ids[home.Inode], peer.Index, peer.Name}
		switch {
		case !isPair:
			d.picture.Cables = append(d.picture.Cables, Cable{Kind: l.Kind, A: there, B: here})
		case peer.Peer == l.Index && d.first(n, l, home, peer): // each pair once
			d.picture.Cables = append(d.picture.Cables, Cable{Kind: "veth", A: here, B: there})
		}
	}
}

// first says which end of a pair is named first: that in the namespace that comes
// first, and in one namespace that with the lower index.
func (d *drawer) first(n *survey.Netns, l *survey.Link, home *survey.Netns, peer *survey.Link) bool {
	if n == home {
		return l.Index < peer.Index
	}
	return slices.Index(d.Host.Namespaces, n) < slices.Index(d.Host.Namespaces, home)
}

// taps gives each tap of the first room that a process holds a room behind it.
func (d *drawer) taps() {
	if len(d.picture.Rooms) == 0 {
		return
	}
	host := d.picture.Rooms[0]
	for _, f := range host.Interfaces {
		owner, held := d.Taps[f.Name]
		if f.Kind != "tun" || !held {
			continue
		}
		vm := Room{
			ID: KindVM + ":" + f.Name, Kind: KindVM, Name: owner.Name, Pid: owner.Pid, Command: owner.Command, Routes: []Route{},
			Interfaces: []Interface{{Index: 1, Name: "network card", State: Up, Addresses: []netip.Prefix{}}},
		}
		d.picture.Rooms = append(d.picture.Rooms, vm)
		d.picture.Cables = append(d.picture.Cables, Cable{Kind: "tap", A: End{host.ID, f.Index, f.Name}, B: End{vm.ID, 1, "network card"}})
	}
}

// uplinks marks the interfaces by which a default route leaves the picture.
func (d *drawer) uplinks() {
	ends := d.picture.ends()
	for i := range d.picture.Rooms {
		r := &d.picture.Rooms[i]
		for _, route := range r.defaults() {
			if f := r.Interface(route.Interface); f != nil && r.leadsOut(f, ends, 0) {
				f.Uplink = true
			}
		}
	}
}

// leadsOut reports whether what is behind an interface is out of sight. A bridge or a
// bond leads out by a port, a link that lies on another one by that.
func (r *Room) leadsOut(f *Interface, ends map[plug][]*Cable, depth int) bool {
	const deepest = 8 // VLANs on bonds on …
	at := plug{r.ID, f.Index}
	if depth > deepest || f.Kind == "lo" {
		return false
	}
	for _, c := range ends[at] {
		if c.Kind == "veth" || c.Kind == "tap" {
			return false
		}
		if c.B.plug() == at { // it lies on A
			below := r.interfaceAt(c.A.Index)
			return c.A.Room == r.ID && below != nil && r.leadsOut(below, ends, depth+1)
		}
	}
	ports := 0
	for i := range r.Interfaces {
		if p := &r.Interfaces[i]; p.Master == f.Name {
			ports++
			if r.leadsOut(p, ends, depth+1) {
				return true
			}
		}
	}
	return ports == 0 && f.Kind != "bridge"
}

func (d *drawer) translations(n *survey.Netns) {
	for _, x := range d.NAT[n.Inode] {
		rule := Rule{Room: d.ids[n.Inode], Table: x.Family + " " + x.Table, Chain: x.Chain, Handle: x.Handle, Owner: x.Owner}
		if x.Kind == "masquerade" || x.Kind == "snat" {
			d.picture.Outgoing = append(d.picture.Outgoing, NAT{
				Kind: x.Kind, Sources: x.Sources, Destinations: x.Destination, Conditional: x.Conditional, Out: linkNames(n, x.Out), NotOut: linkNames(n, x.NotOut), To: x.To, Rule: rule,
			})
			continue
		}
		d.picture.Published = append(d.picture.Published, Publish{
			Protocol: x.Protocol, Address: x.Destination, First: x.First, Last: x.Last, To: x.To, ToPort: x.ToPort, ToRoom: d.holder(rule.Room, x.To), Rule: rule,
		})
	}
}

func linkNames(n *survey.Netns, list []firewall.Link) (names []string) {
	for _, l := range list {
		name := l.Name
		if found := n.Link(l.Index); name == "" && found != nil {
			name = found.Name
		}
		names = append(names, name)
	}
	return names
}

// holder is the room that has the address, of several the one to which the fewest
// cables lead from the room that asks: in networks that are not joined the same
// addresses are used.
func (d *drawer) holder(from string, a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	found, own := "", ""
	for _, id := range d.picture.nearest(from) {
		for _, f := range d.picture.Room(id).Interfaces {
			switch has := slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Addr() == a }); {
			case has && id == from:
				own = id
			case has && found == "":
				found = id
			}
		}
	}
	return cmp.Or(found, own)
}

// nearest lists the rooms that cables join with one, that first.
func (p *Picture) nearest(id string) []string {
	list, beside := []string{id}, map[string][]string{}
	for _, c := range p.Cables {
		beside[c.A.Room], beside[c.B.Room] = append(beside[c.A.Room], c.B.Room), append(beside[c.B.Room], c.A.Room)
	}
	seen := map[string]bool{id: true}
	for i := 0; i < len(list); i++ {
		for _, next := range beside[list[i]] {
			if !seen[next] && p.Room(next) != nil {
				seen[next] = true
				list = append(list, next)
			}
		}
	}
	return list
}

// keep leaves out the rooms that have nothing to do with the first one.
func (d *drawer) keep() {
	if d.Everything || len(d.picture.Rooms) == 0 {
		return
	}
	joined := d.picture.nearest(d.picture.Rooms[0].ID)
	gone := func(id string) bool {
		r := d.picture.Room(id)
		return r == nil || !slices.Contains(joined, id) && !d.Owners[r.Inode].Here
	}
	p := d.picture
	p.Cables = slices.DeleteFunc(p.Cables, func(c Cable) bool { return gone(c.A.Room) || gone(c.B.Room) })
	var kept []Room
	for _, r := range p.Rooms {
		if !gone(r.ID) {
			kept = append(kept, r)
		}
	}
	p.Rooms = kept
}

// order puts containers of minictr first, then those of others, then what else there is.
func (d *drawer) order() {
	rank := func(r Room) int {
		switch {
		case r.Kind == "minictr":
			return 0
		case r.isContainer():
			return 1
		case r.Kind == KindNetns:
			return 2
		case r.Kind == KindVM:
			return 3
		}
		return 4
	}
	if len(d.picture.Rooms) > 1 {
		slices.SortStableFunc(d.picture.Rooms[1:], func(a, b Room) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), compareNatural(a.Name, b.Name), cmp.Compare(a.Inode, b.Inode))
		})
	}
}
