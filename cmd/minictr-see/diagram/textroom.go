package diagram

import (
	"fmt"
	"strings"
)

// An item is a block as it is drawn with characters.
type item struct {
	title  line
	framed bool
	how    uint8
	style  style
	lines  []line
	indent int // of what does not fit into a line
	ports  []textPort
	exits  []exit // where cables leave the frame
}

type exit struct{ row int }

type textPort struct {
	port
	label     line
	reference line // in place of the room, where that is drawn elsewhere
	live      bool
}

// width is what the item needs between the walls of its room.
func (it *item) width() int {
	w := it.title.width()
	for _, l := range it.lines {
		w = max(w, l.width())
	}
	for _, p := range it.ports {
		w = max(w, p.label.width()+1)
	}
	if it.framed {
		w += 4
	}
	return w
}

// items lists what is drawn in a room at the left.
func (t *texter) items(r *Room) (list []*item) {
	blocks := t.place[r.ID]
	uplinks := 0
	for _, b := range blocks {
		if b.face.Uplink {
			uplinks++
		}
	}
	for _, b := range blocks[:uplinks] {
		list = append(list, t.itemOf(r, b))
	}
	for _, b := range append([]*block{nil}, blocks...) {
		if lines := t.arrows(r, b); len(lines) > 0 {
			list = append(list, &item{lines: lines, indent: 4})
		}
	}
	for _, b := range blocks[uplinks:] {
		list = append(list, t.itemOf(r, b))
	}
	if routes := t.extraRoutes(r); len(routes) > 0 {
		list = append(list, &item{lines: routes, indent: 2})
	}
	return list
}

// arrows are the translations between a block and the uplink.
func (t *texter) arrows(r *Room, b *block) (lines []line) {
	for _, n := range t.natOf(r, b) {
		lines = append(lines, t.line(piece{"  ▲ " + natText(n), outgoing}))
	}
	for _, x := range t.publishedTo(r, b) {
		lines = append(lines, t.line(piece{"  ▼ " + x.from() + " → " + t.target(x), incoming}))
	}
	return lines
}

// extraRoutes are the room's routes but the default ones of its uplinks.
func (t *texter) extraRoutes(r *Room) (lines []line) {
	for _, route := range routesWorth(r) {
		if face := r.Interface(route.Interface); route.To.Bits() == 0 && face != nil && face.Uplink {
			continue
		}
		lines = append(lines, t.routeLine(r, route))
	}
	if words := policyWords(r); words != "" {
		lines = append(lines, t.line(piece{words, faint}))
	}
	return lines
}

func (t *texter) routeLine(r *Room, route Route) line {
	l := t.line(piece{r.routeWords(route), faint})
	if route.isSilent() {
		l = append(l, t.line(piece{" (does not answer)", wrong})...)
	}
	return l
}

func (t *texter) itemOf(r *Room, b *block) *item {
	it := &item{indent: 2}
	switch {
	case b.bridge():
		it.framed, it.how, it.style = true, heavy, switchName
		it.title = t.line(piece{" " + faceName(b.face) + " ", switchName}, piece{"─ bridge ", faint}, t.state(b.face))
	case b.face.Uplink && len(b.ports) == 0:
		it.framed, it.style = true, outside
		it.title = t.line(piece{" " + faceName(b.face) + " ", title}, t.kind(r, b.face), t.state(b.face))
	}
	if it.framed {
		for _, a := range addressWords(b.face) {
			it.lines = append(it.lines, t.line(piece{a, addressStyle}))
		}
		if route, ok := r.gateway(b.face); ok {
			it.lines = append(it.lines, t.line(piece{routeWords(route), faint}))
		}
	}
	if !it.framed && len(b.ports) == 0 {
		it.lines = append(it.lines, t.faceLine(r, b.face))
	}
	for _, p := range b.ports {
		it.ports = append(it.ports, t.portOf(r, b, p))
	}
	return it
}

func (t *texter) portOf(r *Room, b *block, p port) textPort {
	q := textPort{port: p, live: stateWords(p.face) == ""}
	if p.face == b.face {
		q.label = t.faceLine(r, p.face)
		if b.bridge() { // something lies on the bridge
			q.label = t.line(piece{p.cable.Kind, faint})
		}
	} else {
		q.label = t.line(piece{faceName(p.face), plain})
		if p.face.Isolated {
			q.label = append(t.line(piece{"isolated ", faint}), q.label...)
		}
		if !q.live {
			q.label = append(t.line(piece{stateWords(p.face) + " ", wrong}), q.label...)
		}
	}
	if p.cable != nil && p.cable.Count > 1 {
		q.label = append(t.line(piece{fmt.Sprintf("%d × ", p.cable.Count), faint}), q.label...)
	}
	if p.cable != nil && p.child == nil {
		q.reference = t.line(piece{"▶ ", plain}, piece{t.farWords(p), faint})
	}
	return q
}

// farWords names the other end of a cable that is not drawn: "web eth1".
func (t *texter) farWords(p port) string {
	far := shown(p.far.Interface)
	if p.cable.Kind != "veth" {
		far += " (" + p.cable.Kind + ")"
	}
	return shown(t.nameOf(p.far)) + " " + far
}

func (t *texter) kind(r *Room, i *Interface) piece {
	if words := t.kindOfFace(r, i); words != "" {
		return piece{"─ " + words + " ", faint}
	}
	return piece{}
}

func (t *texter) state(i *Interface) piece {
	if words := stateWords(i); words != "" {
		return piece{"─ " + words + " ", wrong}
	}
	return piece{}
}

// faceLine is an interface with its addresses in one line.
func (t *texter) faceLine(r *Room, i *Interface) line {
	l := t.line(piece{faceName(i), plain})
	if words := t.kindOfFace(r, i); words != "" {
		l = append(l, t.line(piece{" " + words, faint})...)
	}
	if words := stateWords(i); words != "" {
		l = append(l, t.line(piece{" " + words, wrong})...)
	}
	for n, a := range addressWords(i) {
		space := " "
		if n == 0 {
			space = "  "
		}
		l = append(l, t.line(piece{space, plain}, piece{a, addressStyle})...)
	}
	return l
}

// sideLines are the lines of a room at the right, and for each interface the line in
// which its cable arrives.
func (t *texter) sideLines(r *Room, columns int) (lines []line, anchors map[int]int) {
	anchors = map[int]int{}
	add := func(indent int, l line) { lines = append(lines, l.wrap(columns, indent)...) }
	for i := range r.Interfaces {
		face := &r.Interfaces[i]
		if !worthDrawing(face, t.ends[plug{r.ID, face.Index}]) {
			continue
		}
		anchors[face.Index] = len(lines)
		l := t.faceLine(r, face)
		if face.Master != "" {
			l = append(l, t.line(piece{" port of " + shown(face.Master), faint})...)
		}
		add(width(faceName(face))+2, l)
		for _, c := range t.ends[plug{r.ID, face.Index}] {
			if t.way[r.ID] != c && t.way[c.other(plug{r.ID, face.Index}).Room] != c {
				far := c.other(plug{r.ID, face.Index})
				add(4, t.line(piece{"  ◀ ", plain}, piece{t.farWords(port{cable: c, far: far}), faint}))
			}
		}
	}
	for _, route := range routesWorth(r) {
		add(2, t.routeLine(r, route))
	}
	if words := policyWords(r); words != "" {
		add(2, t.line(piece{words, faint}))
	}
	for _, x := range t.Published {
		if x.ToRoom == r.ID {
			add(2, t.line(piece{"◀ " + x.from() + " → " + strings.TrimPrefix(fmt.Sprint(x.ToPort), "0"), incoming}))
		}
	}
	if len(t.below[r.ID]) > 0 && t.depth[r.ID] > 0 {
		add(2, t.line(piece{"(more behind it: below)", faint}))
	} else {
		for _, b := range append([]*block{nil}, t.place[r.ID]...) {
			for _, l := range t.arrows(r, b) {
				add(4, l)
			}
		}
	}
	return lines, anchors
}

const unlimited = 1 << 20

// sideWidth is what the room needs with its walls.
func (t *texter) sideWidth(r *Room) int {
	w := t.titleWidth(r)
	lines, _ := t.sideLines(r, unlimited)
	for _, l := range lines {
		w = max(w, l.width())
	}
	return w + 4
}

// anchor is the line of a room, from its upper wall, in which a cable arrives.
func (t *texter) anchor(r *Room, index, width int) int {
	_, anchors := t.sideLines(r, width-4)
	return 1 + anchors[index]
}

// room draws a room at the right, or below, and returns the line behind it.
func (t *texter) room(r *Room, x, y, width int) int {
	lines, _ := t.sideLines(r, width-4)
	t.frame(r, x, y, width, len(lines)+2)
	for i, l := range lines {
		t.canvas.write(x+2, y+1+i, l)
	}
	return y + len(lines) + 2
}
