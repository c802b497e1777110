package diagram

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

const (
	few       = 8 // rooms that are drawn one by one, however equal they are
	groupFrom = 3 // equal rooms that become one
)

// Collapse returns the picture with rooms that are equal but for names and addresses
// drawn as one: "web-1 … web-97". A picture of few rooms stays as it is.
func (p *Picture) Collapse() *Picture {
	if len(p.Rooms) <= few {
		return p
	}
	merged := &merger{from: p, ends: p.ends(), into: map[string]string{}}
	for _, members := range p.equals() {
		merged.group(members)
	}
	return merged.picture()
}

// equals finds groups of equal rooms. Those whose names differ only in their digits
// are a group of their own.
func (p *Picture) equals() [][]*Room {
	shapes, ends := map[string][]*Room{}, p.ends()
	var order []string
	for i := range p.Rooms {
		r := &p.Rooms[i]
		if i == 0 {
			continue
		}
		shape := p.shape(r, ends)
		if shapes[shape] == nil {
			order = append(order, shape)
		}
		shapes[shape] = append(shapes[shape], r)
	}
	var groups [][]*Room
	for _, shape := range order {
		groups = append(groups, byStem(shapes[shape])...)
	}
	return groups
}

func byStem(rooms []*Room) (groups [][]*Room) {
	stems := map[string][]*Room{}
	for _, r := range rooms {
		stems[stem(r.Name)] = append(stems[stem(r.Name)], r)
	}
	var rest []*Room
	for _, name := range sortedKeys(stems) {
		if len(stems[name]) < groupFrom {
			rest = append(rest, stems[name]...)
			continue
		}
		groups = append(groups, stems[name])
	}
	if len(rest) >= groupFrom {
		groups = append(groups, rest)
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b *Room) int { return compareNatural(a.Name, b.Name) })
	}
	return groups
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// stem is a name without its digits.
func stem(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, name)
}

// compareNatural puts web-9 before web-10.
func compareNatural(a, b string) int {
	if c := cmp.Compare(stem(a), stem(b)); c != 0 {
		return cmp.Compare(a, b)
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// shape is all of a room that has to be equal.
func (p *Picture) shape(r *Room, ends map[plug][]*Cable) string {
	var b strings.Builder
	fmt.Fprintln(&b, kindWords(r), r.Forwarding, r.Forwarding6, r.PolicyRules)
	for _, i := range r.Interfaces {
		fmt.Fprintf(&b, "%q %q %q %q %d %t", i.Name, i.Kind, i.State, i.Master, i.MTU, i.Uplink)
		b.WriteString(subnetsOf(&i))
		at := plug{r.ID, i.Index}
		for _, c := range ends[at] {
			far := c.other(at)
			master := ""
			if room := p.Room(far.Room); room != nil {
				if l := room.interfaceAt(far.Index); l != nil {
					master = fmt.Sprintf("%q %q %q %t%s", l.Master, l.State, l.PortState, l.Isolated, subnetsOf(l))
				}
			}
			fmt.Fprintf(&b, " %s %q %s", c.Kind, far.Room, master)
		}
		fmt.Fprintln(&b)
	}
	for _, route := range r.Routes {
		if !route.Connected {
			fmt.Fprintln(&b, route.To, route.Via, route.Interface, route.Type)
		}
	}
	for _, x := range p.Published {
		if x.ToRoom == r.ID {
			fmt.Fprintln(&b, x.Protocol, x.Address, x.ToPort, x.Table)
		}
		if x.Room == r.ID {
			fmt.Fprintln(&b, "has", x.Protocol, x.Address, x.First, x.ToPort, x.Table)
		}
	}
	for _, x := range p.Outgoing {
		if x.Room == r.ID {
			fmt.Fprintln(&b, x.Kind, x.Sources, x.Out, x.NotOut)
		}
	}
	return b.String()
}

// subnetsOf are the subnets that an interface has addresses of.
func subnetsOf(i *Interface) string {
	var b strings.Builder
	for _, a := range i.Addresses {
		if !a.Addr().IsLinkLocalUnicast() {
			fmt.Fprint(&b, " ", a.Masked())
		}
	}
	return b.String()
}

// A merger makes a picture in which some rooms stand for others.
type merger struct {
	from *Picture
	ends map[plug][]*Cable
	into map[string]string // a room's ID: the room that stands for it
	head []*Room           // the rooms that stand for others, changed
	gone map[plug]bool     // interfaces at the other ends of cables that are not drawn
	last map[plug]string   // the name of the last of them
}

func (m *merger) group(members []*Room) {
	head := *members[0]
	last := members[len(members)-1]
	head.Name = members[0].Name + " … " + last.Name
	head.Interfaces = slices.Clone(head.Interfaces)
	for i := range head.Interfaces {
		if n := &head.Interfaces[i]; len(n.Addresses) > 0 && i < len(last.Interfaces) {
			n.LastAddresses = last.Interfaces[i].Addresses
		}
	}
	for _, r := range members {
		head.Members = append(head.Members, r.Name)
		m.into[r.ID] = head.ID
	}
	m.head = append(m.head, &head)
	if m.gone == nil {
		m.gone, m.last = map[plug]bool{}, map[plug]string{}
	}
	for i, n := range head.Interfaces {
		for at, c := range m.ends[plug{head.ID, n.Index}] {
			far := c.other(plug{head.ID, n.Index})
			for _, r := range members[1:] {
				m.drop(r, i, at, far)
			}
		}
	}
}

// drop takes the other end of a member's cable out, which is named by that of the head.
func (m *merger) drop(r *Room, i, at int, of End) {
	if i >= len(r.Interfaces) {
		return
	}
	from := plug{r.ID, r.Interfaces[i].Index}
	if at >= len(m.ends[from]) {
		return
	}
	far := m.ends[from][at].other(from)
	if far.plug() == of.plug() { // a macvlan's parent is the same for all
		return
	}
	m.gone[far.plug()], m.last[of.plug()] = true, far.Interface
}

func (m *merger) picture() *Picture {
	q := &Picture{Outgoing: m.from.Outgoing}
	for _, r := range m.from.Rooms {
		if home, ok := m.into[r.ID]; ok {
			if home != r.ID {
				continue
			}
			r = *m.head[slices.IndexFunc(m.head, func(h *Room) bool { return h.ID == r.ID })]
		}
		var kept []Interface
		for _, i := range r.Interfaces {
			if at := (plug{r.ID, i.Index}); !m.gone[at] {
				i.LastName = m.last[at]
				kept = append(kept, i)
			}
		}
		r.Interfaces = kept
		q.Rooms = append(q.Rooms, r)
	}
	m.cables(q)
	m.published(q)
	return q
}

func (m *merger) cables(q *Picture) {
	for _, c := range m.from.Cables {
		count := 1
		for _, e := range []End{c.A, c.B} {
			home, grouped := m.into[e.Room]
			switch {
			case grouped && home != e.Room:
				count = 0
			case grouped && count > 0:
				count = len(q.Room(home).Members)
			}
		}
		if count > 1 {
			c.Count = count
		}
		if count > 0 {
			q.Cables = append(q.Cables, c)
		}
	}
}

func (m *merger) published(q *Picture) {
	places := map[string]int{}
	for _, x := range m.from.Published {
		home, grouped := m.into[x.ToRoom]
		if !grouped {
			q.Published = append(q.Published, x)
			continue
		}
		x.ToRoom = home
		key := fmt.Sprint(home, x.Protocol, x.Address, x.ToPort, x.Table, x.Room)
		i, ok := places[key]
		if !ok {
			places[key], x.Count = len(q.Published), 1
			q.Published = append(q.Published, x)
			continue
		}
		first := &q.Published[i]
		first.Count++
		first.First, first.Last = min(first.First, x.First), max(first.Last, x.Last)
	}
}
