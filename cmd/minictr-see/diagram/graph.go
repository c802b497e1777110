package diagram

import (
	"fmt"
	"strings"
)

// A graph is the picture for programs that find the places themselves. Its names are
// numbers, so that none of ours has to be escaped.
type graph struct {
	rooms    []graphRoom
	edges    []edge
	internet bool
}

type graphRoom struct {
	label string
	nodes []node
}

type node struct {
	id, label string
	bridge    bool
	blank     bool // a room with nothing in it
}

type edgeKind int

const (
	cableEdge edgeKind = iota
	deadEdge
	portEdge
	skyEdge
	outEdge
	publishEdge
)

type edge struct {
	from, to, label string
	kind            edgeKind
}

func newGraph(p *Picture) *graph {
	l := newLayout(p)
	g := &graph{}
	names := map[plug]string{} // of the interfaces that have a node
	for i := range p.Rooms {
		g.addRoom(l, i, names)
	}
	for i := range p.Rooms {
		g.addPorts(&p.Rooms[i], names)
	}
	for i := range p.Cables {
		g.addCable(l, &p.Cables[i], names)
	}
	for i := range p.Rooms {
		g.addTranslations(l, &p.Rooms[i], names)
	}
	return g
}

func (g *graph) addRoom(l *layout, i int, names map[plug]string) {
	r := &l.Rooms[i]
	room := graphRoom{label: shown(r.Name)}
	if words := kindWords(r); words != "" {
		room.label += " (" + words + ")"
	}
	for _, route := range routesWorth(r) {
		room.label += "\n" + r.routeWords(route)
	}
	if words := policyWords(r); words != "" {
		room.label += "\n" + words
	}
	for j := range r.Interfaces {
		face := &r.Interfaces[j]
		at := plug{r.ID, face.Index}
		if !worthDrawing(face, l.ends[at]) {
			continue
		}
		names[at] = fmt.Sprintf("r%d_%d", i, face.Index)
		room.nodes = append(room.nodes, node{id: names[at], label: faceLabel(l, r, face), bridge: face.Kind == "bridge"})
	}
	if len(room.nodes) == 0 {
		room.nodes = append(room.nodes, node{id: fmt.Sprintf("r%d", i), label: "lo", blank: true})
	}
	g.rooms = append(g.rooms, room)
}

func faceLabel(l *layout, r *Room, face *Interface) string {
	words := []string{faceName(face)}
	if kind := l.kindOfFace(r, face); kind != "" {
		words[0] += " (" + kind + ")"
	}
	if face.Isolated {
		words[0] += " isolated"
	}
	if state := stateWords(face); state != "" {
		words[0] += " " + state
	}
	return strings.Join(append(words, addressWords(face)...), "\n")
}

// addPorts joins bridges with their ports, and uplinks with the internet.
func (g *graph) addPorts(r *Room, names map[plug]string) {
	for i := range r.Interfaces {
		face := &r.Interfaces[i]
		at := plug{r.ID, face.Index}
		if master := r.Interface(face.Master); face.Master != "" && master != nil {
			g.edges = append(g.edges, edge{names[plug{r.ID, master.Index}], names[at], "", portEdge})
		}
		if face.Uplink {
			g.internet = true
			label := ""
			if route, ok := r.gateway(face); ok && route.Via.IsValid() {
				label = "gateway " + route.Via.String()
			}
			g.edges = append(g.edges, edge{"internet", names[at], label, skyEdge})
		}
	}
}

func (g *graph) addCable(l *layout, c *Cable, names map[plug]string) {
	a, b := names[c.A.plug()], names[c.B.plug()]
	if a == "" || b == "" {
		return
	}
	e := edge{from: a, to: b, kind: cableEdge}
	if c.Kind != "veth" {
		e.label = c.Kind
	}
	if c.Count > 1 {
		e.label = strings.TrimSpace(fmt.Sprintf("%d × %s", c.Count, e.label))
	}
	if !l.live(c) {
		e.kind = deadEdge
	}
	g.edges = append(g.edges, e)
}

func (g *graph) addTranslations(l *layout, r *Room, names map[plug]string) {
	var uplink *Interface
	for i := range r.Interfaces {
		if r.Interfaces[i].Uplink {
			uplink = &r.Interfaces[i]
			break
		}
	}
	if uplink == nil {
		return
	}
	up := names[plug{r.ID, uplink.Index}]
	for _, b := range l.place[r.ID] {
		at := names[plug{r.ID, b.face.Index}]
		for _, n := range l.natOf(r, b) {
			g.edges = append(g.edges, edge{at, up, natText(n), outEdge})
		}
	}
	for _, x := range l.Published {
		to := ""
		if room := l.Room(x.ToRoom); room != nil {
			for _, face := range room.Interfaces {
				if to == "" && names[plug{room.ID, face.Index}] != "" {
					to = names[plug{room.ID, face.Index}]
				}
			}
		}
		if x.Room == r.ID && to != "" {
			g.edges = append(g.edges, edge{up, to, x.from() + " → " + l.target(x), publishEdge})
		}
	}
}
