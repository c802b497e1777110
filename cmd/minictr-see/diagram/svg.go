package diagram

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// SVG draws the picture for a browser or a slide. All text that somebody else chose
// is set in a font whose characters are equally wide, so that what fits here fits
// everywhere. It is light or dark as the reader's screen is.
func (p *Picture) SVG() string {
	s := &svger{layout: newLayout(p), rooms: map[string]*svgRoom{}, sockets: map[plug]point{}, cursor: map[int]int{}}
	s.arrange()
	var body strings.Builder
	s.body = &body
	s.draw()
	return s.head() + body.String() + "</svg>\n"
}

// Sizes in pixels. A character of the fixed font is 0.6 times as wide as it is high.
const (
	fontSize   = 13
	charWidth  = 8 // rounded up
	lineHeight = 18
	margin     = 24
	padding    = 14 // inside rooms and cards
	roomHead   = 50 // for a room's name and number
	cardHead   = 26
	portPitch  = 26 // between ports of a switch
	columnGap  = 72 // between rooms, for the cables
	trackPitch = 14
	rowGap     = 22 // between rooms of a column
	cloudWidth = 150
	skyWidth   = cloudWidth + 150 // the internet, and the line to it
	maxName    = 44               // columns of a name
)

type point struct{ x, y int }

// A svger places everything first, and draws then.
type svger struct {
	*layout
	rooms   map[string]*svgRoom
	columns []svgColumn
	cursor  map[int]int // by column: from here down it is free
	sockets map[plug]point
	width   int
	height  int
	body    *strings.Builder
}

type svgColumn struct {
	x, width int
	tracks   int // of the gap to the right of it
}

// A svgRoom is a room with its place.
type svgRoom struct {
	*Room
	x, y, width, height int
	left                []*svgCard // what cables from the left lead to, and uplinks
	right               []*svgCard
	leftWidth           int
	middle              int // between left and right: for the arrows of translations
	foot                []svgLine
	footY               int
}

// A svgCard is an interface, or a bridge with its ports.
type svgCard struct {
	block               *block
	face                *Interface
	x, y, width, height int
	lines               []svgLine
	ports               []svgPort
	out, in             []string // labels of the arrows
	outY, inY           int
}

type svgPort struct {
	port
	label string
	y     int
}

// A svgLine is a line of text, and the class of it.
type svgLine struct{ text, class string }

func widest(lines []svgLine) (w int) {
	for _, l := range lines {
		w = max(w, width(l.text))
	}
	return w * charWidth
}

// leftward reports whether a cable of the room goes to the column before its own.
func (s *svger) leftward(r *Room, p port) bool {
	return p.cable != nil && p.far.Room != r.ID && s.depth[p.far.Room] < s.depth[r.ID] && s.Room(p.far.Room) != nil
}

// roomOf says what stands in a room, and how wide it is.
func (s *svger) roomOf(r *Room) *svgRoom {
	q := &svgRoom{Room: r}
	for _, b := range s.place[r.ID] {
		card := s.card(q, b)
		if b.face.Uplink && len(card.ports) == 0 && !b.bridge() || !b.bridge() && len(b.ports) > 0 && len(card.ports) == 0 {
			q.left = append(q.left, card)
			continue
		}
		q.right = append(q.right, card)
	}
	if len(q.right) > 0 && q.isPlain() {
		q.left, q.right = append(q.left, q.right...), nil
	}
	s.translations(q)
	s.footOf(q)
	q.measure()
	return q
}

// isPlain reports that nothing of the room has to stand at its right.
func (q *svgRoom) isPlain() bool {
	for _, c := range q.right {
		if len(c.ports) > 0 || c.block.bridge() {
			return false
		}
	}
	return true
}

func (s *svger) card(q *svgRoom, b *block) *svgCard {
	c := &svgCard{block: b, face: b.face}
	c.lines = s.faceLines(q.Room, b.face)
	for _, p := range b.ports {
		switch {
		case s.leftward(q.Room, p) && p.face != b.face: // a port of a bridge whose cable comes from the left
			q.left = append(q.left, &svgCard{block: b, face: p.face, lines: append(s.faceLines(q.Room, p.face), svgLine{"port of " + cut(shown(b.face.Name), maxName), "faint"})})
		case s.leftward(q.Room, p):
		default:
			c.ports = append(c.ports, svgPort{port: p, label: s.portLabel(b, p)})
		}
	}
	return c
}

func (s *svger) faceLines(r *Room, face *Interface) (lines []svgLine) {
	name := cut(faceName(face), maxName)
	lines = append(lines, svgLine{name, "name"})
	if words := s.kindOfFace(r, face); words != "" {
		lines = append(lines, svgLine{cut(words, maxName), "faint"})
	}
	if words := stateWords(face); words != "" {
		lines = append(lines, svgLine{words, "wrong"})
	}
	for _, a := range addressWords(face) {
		lines = append(lines, svgLine{a, "address"})
	}
	return lines
}

func (s *svger) portLabel(b *block, p port) string {
	label := cut(faceName(p.face), maxName)
	if p.face == b.face {
		label = ""
		if p.cable.Kind != "veth" {
			label = p.cable.Kind
		}
	}
	if p.cable != nil && p.cable.Count > 1 {
		label = fmt.Sprintf("%d × %s", p.cable.Count, label)
	}
	if p.face.Isolated {
		label = "isolated " + label
	}
	if words := stateWords(p.face); words != "" && p.face != b.face {
		label = words + " " + label
	}
	return label
}

const mostLabels = 6

// translations gives each card the labels of its arrows, and the room the rest.
func (s *svger) translations(q *svgRoom) {
	done := map[*block]bool{}
	for _, c := range append(q.right, q.left...) {
		if done[c.block] {
			continue
		}
		done[c.block] = true
		for _, n := range s.natOf(q.Room, c.block) {
			c.out = append(c.out, cut(natText(n), 60))
		}
		for _, x := range s.publishedTo(q.Room, c.block) {
			c.in = append(c.in, cut(x.from()+" → "+s.target(x), 60))
		}
		if more := len(c.in) - mostLabels; more > 1 {
			c.in = append(c.in[:mostLabels], fmt.Sprintf("and %d more", more))
		}
	}
}

// footOf lists what is written at the foot of a room: its routes, what is published
// of it, and translations that no card has an arrow for.
func (s *svger) footOf(q *svgRoom) {
	for _, route := range routesWorth(q.Room) {
		q.foot = append(q.foot, svgLine{q.routeWords(route), "faint"})
	}
	if words := policyWords(q.Room); words != "" {
		q.foot = append(q.foot, svgLine{words, "faint"})
	}
	for _, n := range s.natOf(q.Room, nil) {
		q.foot = append(q.foot, svgLine{"▲ " + cut(natText(n), 60), "out"})
	}
	for _, x := range s.publishedTo(q.Room, nil) {
		q.foot = append(q.foot, svgLine{"▼ " + cut(x.from()+" → "+s.target(x), 60), "in"})
	}
	if q.Forwarding && s.depth[q.ID] == 0 {
		q.foot = append(q.foot, svgLine{"forwarding is on", "faint"})
	}
}

// measure finds the widths of the cards and of the room.
func (q *svgRoom) measure() {
	for _, c := range q.left {
		c.width = widest(c.lines) + 2*padding
		q.leftWidth = max(q.leftWidth, c.width)
	}
	rightWidth := 0
	for _, c := range q.right {
		c.width = widest(c.lines) + 2*padding
		for _, p := range c.ports {
			beside := 2
			if !c.block.bridge() { // the label stands in the line of the name
				beside += width(c.lines[0].text)
			}
			c.width = max(c.width, (width(p.label)+beside)*charWidth+2*padding)
		}
		rightWidth = max(rightWidth, c.width)
		for _, label := range append(c.out, c.in...) {
			q.middle = max(q.middle, width(label)*charWidth+40)
		}
	}
	for _, c := range q.left {
		c.width = q.leftWidth
	}
	for _, c := range q.right {
		c.width = rightWidth
	}
	if q.middle == 0 && q.leftWidth > 0 && rightWidth > 0 {
		q.middle = 40
	}
	head := (width(cut(shown(q.Name), maxName))+width(kindWords(q.Room))+7)*10 + 2*padding
	q.width = max(q.leftWidth+q.middle+rightWidth+2*padding, widest(q.foot)+2*padding, head, 190)
}

// escape makes text safe in the content and the attributes of XML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(shown(s))) // a Builder takes everything
	return b.String()
}

func (s *svger) f(format string, args ...any) { fmt.Fprintf(s.body, format+"\n", args...) }

func (s *svger) text(x, y int, class, text string) {
	s.f(`<text x="%d" y="%d" class="%s">%s</text>`, x, y, class, escape(text))
}
