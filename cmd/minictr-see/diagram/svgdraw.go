package diagram

import (
	"fmt"
	"strings"
)

// styleSheet has the colours, twice: for light and for dark screens.
const styleSheet = `
text{font:13px "DejaVu Sans Mono",Menlo,Consolas,"Liberation Mono",monospace;fill:#1f2328}
.title{font-size:16px;font-weight:bold}.name{font-weight:bold}.label{font-size:13px}
.bg{fill:#ffffff}.room{fill:#f6f8fa;stroke:#818b98;stroke-width:1.5}.host{fill:#eef2f7}.card{fill:#ffffff;stroke:#afb8c1}
.switch{fill:#ddf4ff;stroke:#0969da;stroke-width:2}.pill{fill:#e7ecf0}
.faint{fill:#59636e}.address{fill:#116329}.wrong{fill:#cf222e}.out{fill:#9a6700}.in{fill:#8250df}.sky{fill:#0550ae}
.cable{fill:none;stroke:#424a53;stroke-width:2}.halo{fill:none;stroke:#ffffff;stroke-width:7}.dead{stroke:#cf222e;stroke-dasharray:5 4}.many{stroke-width:4}.upper{stroke-dasharray:2 3}
.socket{fill:#424a53}.cloud{fill:#ddf4ff;stroke:#0550ae;stroke-width:1.5}.skyline{fill:none;stroke:#0550ae;stroke-width:2}.tip{fill:#0550ae}
.arrowout{fill:none;stroke:#bf8700;stroke-width:2}.tipout{fill:#bf8700}.arrowin{fill:none;stroke:#8250df;stroke-width:2}.tipin{fill:#8250df}.wire{fill:none;stroke:#818b98;stroke-width:1.5}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}.bg{fill:#0d1117}.room{fill:#151b23;stroke:#656c76}.host{fill:#1a222d}.card{fill:#0d1117;stroke:#3d444d}
.switch{fill:#12304f;stroke:#4493f8}.pill{fill:#2a313c}
.faint{fill:#9198a1}.address{fill:#56d364}.wrong{fill:#ff7b72}.out{fill:#e3b341}.in{fill:#bc8cff}.sky{fill:#79c0ff}
.cable{stroke:#c9d1d9}.halo{stroke:#0d1117}.dead{stroke:#ff7b72}.socket{fill:#c9d1d9}.cloud{fill:#12304f;stroke:#79c0ff}.skyline{stroke:#79c0ff}.tip{fill:#79c0ff}
.arrowout{stroke:#d29922}.tipout{fill:#d29922}.arrowin{stroke:#a371f7}.tipin{fill:#a371f7}.wire{stroke:#656c76}}
`

func (s *svger) head() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">
<title>network namespaces and the cables between them</title>
<style>%s</style>
<rect class="bg" width="%d" height="%d"/>
`, s.width, s.height, s.width, s.height, styleSheet, s.width, s.height)
}

// draw draws the rooms, then what crosses their walls.
func (s *svger) draw() {
	for i := range s.Rooms {
		s.drawRoom(s.rooms[s.Rooms[i].ID])
	}
	for i := range s.Rooms {
		s.drawWires(s.rooms[s.Rooms[i].ID])
	}
	tracks := map[int]int{}
	for _, c := range s.turning() {
		s.drawTurning(c, tracks)
	}
	for i := range s.Cables {
		if c := &s.Cables[i]; s.isStraight(c) {
			s.drawStraight(c)
		}
	}
	for i := range s.Rooms {
		s.drawSockets(s.rooms[s.Rooms[i].ID])
		s.drawArrows(s.rooms[s.Rooms[i].ID])
	}
	if len(s.roots) > 0 {
		s.drawSky(s.rooms[s.roots[0].ID])
	}
}

func (s *svger) drawRoom(q *svgRoom) {
	class := "room"
	if s.depth[q.ID] == 0 && q.Kind == KindHost {
		class = "room host"
	}
	if len(q.Members) > 0 {
		for _, behind := range []int{8, 4} {
			s.f(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="10"/>`, class, q.x+behind, q.y+behind, q.width, q.height)
		}
	}
	s.f(`<g class="place" data-room="%s"><rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="10"/>`, escape(q.ID), class, q.x, q.y, q.width, q.height)
	s.text(q.x+padding, q.y+24, "title", cut(shown(q.Name), maxName))
	words := kindWords(q.Room)
	if len(q.Members) > 0 {
		words = strings.TrimSpace(fmt.Sprintf("%d × %s", len(q.Members), words))
	}
	if words != "" {
		w := width(words)*charWidth + 16
		s.f(`<rect class="pill" x="%d" y="%d" width="%d" height="20" rx="10"/>`, q.x+q.width-padding-w, q.y+9, w)
		s.text(q.x+q.width-padding-w+8, q.y+24, "faint", words)
	}
	if q.Inode != 0 && len(q.Members) == 0 {
		s.text(q.x+padding, q.y+42, "faint", fmt.Sprintf("net:[%d]", q.Inode))
	}
	for _, c := range q.left {
		s.drawCard(c)
	}
	for _, c := range q.right {
		s.drawCard(c)
	}
	for i, l := range q.foot {
		s.text(q.x+padding, q.footY+12+i*lineHeight, l.class, l.text)
	}
	s.f(`</g>`)
}

func (s *svger) drawCard(c *svgCard) {
	class := "card"
	if c.face.Kind == "bridge" {
		class = "switch"
	}
	s.f(`<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`, class, c.x, c.y, c.width, c.height)
	for i, l := range c.lines {
		s.text(c.x+padding, c.y+cardHead/2+7+i*lineHeight, l.class, l.text)
	}
	for _, p := range c.ports {
		if p.label != "" {
			s.text(c.x+c.width-padding-4-width(p.label)*78/10, p.y+4, "label", p.label)
		}
	}
}

// drawSockets draws where cables are plugged in.
func (s *svger) drawSockets(q *svgRoom) {
	for _, c := range q.right {
		for _, p := range c.ports {
			s.f(`<rect class="socket" x="%d" y="%d" width="8" height="10" rx="2"/>`, c.x+c.width-4, p.y-5)
		}
	}
	for _, c := range q.left {
		if len(s.ends[plug{q.ID, c.face.Index}]) > 0 {
			s.f(`<rect class="socket" x="%d" y="%d" width="8" height="10" rx="2"/>`, c.x-4, c.y+cardHead/2+2-5)
		}
	}
}

// drawWires joins ports at the left wall with their bridge.
func (s *svger) drawWires(q *svgRoom) {
	for _, c := range q.left {
		if c.face == c.block.face {
			continue
		}
		for _, b := range q.right {
			if b.block == c.block {
				y, to, x := c.y+c.height/2, b.y+cardHead/2, (c.x+c.width+b.x)/2
				s.f(`<path class="wire" d="M%d %dH%dV%dH%d"/>`, c.x+c.width, y, x, to, b.x)
			}
		}
	}
}

func cableClass(c *Cable, live bool) string {
	class := "cable"
	if !live {
		class += " dead"
	}
	if c.Count > 1 {
		class += " many"
	}
	if c.Kind != "veth" {
		class += " upper"
	}
	return class
}

// socketsOf are the places of a cable's ends.
func (s *svger) socketsOf(c *Cable) (a, b point, ok bool) {
	a, found := s.sockets[s.lower(c)]
	if !found {
		a, found = s.sockets[c.A.plug()]
	}
	b, ok = s.sockets[c.B.plug()]
	return a, b, ok && found
}

func (s *svger) drawStraight(c *Cable) {
	a, b, ok := s.socketsOf(c)
	if !ok {
		return
	}
	// Between the walls it passes over those that turn there.
	gap := s.columns[s.gapOf(c)]
	s.f(`<path class="halo" d="M%d %dH%d"/>`, gap.x+gap.width+8, a.y, max(a.x, b.x)-padding-8)
	s.f(`<path class="%s" d="M%d %dL%d %d"/>`, cableClass(c, s.live(c)), a.x, a.y, b.x, b.y)
}

// drawTurning draws a cable that goes up or down in the gap behind its column.
func (s *svger) drawTurning(c *Cable, tracks map[int]int) {
	a, b, ok := s.socketsOf(c)
	if !ok {
		return
	}
	column := s.columns[s.gapOf(c)]
	x := column.x + column.width + columnGap/2 + tracks[s.gapOf(c)]*trackPitch
	tracks[s.gapOf(c)]++
	s.f(`<path class="%s" d="M%d %d%sH%d"/>`, cableClass(c, s.live(c)), a.x, a.y, corner(a, b, x), b.x)
}

// corner goes by way of the column x from the height of a to that of b.
func corner(a, b point, x int) string {
	const r = 6
	if a.y == b.y {
		return fmt.Sprintf("H%d", x)
	}
	down := r
	if b.y < a.y {
		down = -r
	}
	in, out := r, r
	if a.x > x {
		in = -r
	}
	if b.x < x {
		out = -r
	}
	return fmt.Sprintf("H%dQ%d %d %d %dV%dQ%d %d %d %d", x-in, x, a.y, x, a.y+down, b.y-down, x, b.y, x+out, b.y)
}

// drawArrows draws the translations: to the uplink, and from it.
func (s *svger) drawArrows(q *svgRoom) {
	elbows := 0
	for _, c := range q.right {
		if len(c.out)+len(c.in) == 0 {
			continue
		}
		from := c.x - q.middle + 4
		for i, label := range c.out {
			s.text(from+18, c.outY-7-(len(c.out)-1-i)*lineHeight, "out", label)
		}
		for i, label := range c.in {
			s.text(from+18, c.inY-7-(len(c.in)-1-i)*lineHeight, "in", label)
		}
		target := q.uplink()
		if len(c.out) > 0 {
			s.arrow(q, c, target, c.outY, true, &elbows)
		}
		if len(c.in) > 0 {
			s.arrow(q, c, target, c.inY, false, &elbows)
		}
	}
}

// uplink is the card that the arrows lead to.
func (q *svgRoom) uplink() *svgCard {
	if n := len(q.left); n > 0 && q.left[n-1].face.Uplink {
		return q.left[n-1]
	}
	return nil
}

// arrow joins a card with the uplink: level, where that is beside it, or else from below.
func (s *svger) arrow(q *svgRoom, c, target *svgCard, y int, out bool, elbows *int) {
	class, end := "arrowin", c.x
	if out {
		class = "arrowout"
	}
	switch {
	case target == nil:
		end = c.x - q.middle + 10
		s.f(`<path class="%s" d="M%d %dH%d"/>`, class, c.x, y, end)
	case y < target.y+target.height:
		end = target.x + target.width
		s.f(`<path class="%s" d="M%d %dH%d"/>`, class, c.x, y, end)
	default:
		x := target.x + target.width - 18 - *elbows*trackPitch
		*elbows++
		bottom := target.y + target.height
		s.f(`<path class="%s" d="M%d %dH%dQ%d %d %d %dV%d"/>`, class, c.x, y, x+6, x, y, x, y-6, bottom)
		if out {
			s.f(`<path class="tipout" d="M%d %dl-5 9h10z"/>`, x, bottom)
			return
		}
	}
	if out {
		s.f(`<path class="tipout" d="M%d %dl9 -5v10z"/>`, end, y)
		return
	}
	s.f(`<path class="tipin" d="M%d %dl-9 -5v10z"/>`, c.x, y)
}

// drawSky draws the internet at the left of the first room, and the line to it.
func (s *svger) drawSky(q *svgRoom) {
	if !s.internet(q.Room) {
		return
	}
	first := true
	for _, c := range append(append([]*svgCard{}, q.left...), q.right...) {
		if !c.face.Uplink {
			continue
		}
		y, x, middle := c.y+cardHead/2+2, margin+cloudWidth-8, margin+cloudWidth+16
		if first {
			s.cloud(margin, y-40)
		}
		from := fmt.Sprintf("M%d %d", x, y)
		if !first {
			from = fmt.Sprintf("M%d %dV%d", middle, q.y+roomHead+cardHead/2+2, y)
		}
		s.f(`<path class="skyline" d="%sH%d"/>`, from, c.x)
		s.f(`<path class="tip" d="M%d %dl-8 -5v10z"/>`, c.x, y)
		if first {
			s.f(`<path class="tip" d="M%d %dl8 -5v10z"/>`, x, y)
		}
		if route, ok := q.gateway(c.face); ok && route.Via.IsValid() {
			s.text(middle+4, y-22, "faint", "gateway")
			s.text(middle+4, y-7, "sky", cut(route.Via.String(), 15))
		}
		first = false
	}
}

func (s *svger) cloud(x, y int) {
	s.f(`<path class="cloud" transform="translate(%d %d)" d="M30 76a26 26 0 0 1 -6 -51a34 34 0 0 1 62 -8a24 24 0 0 1 36 12a24 24 0 0 1 2 47z"/>`, x, y)
	s.text(x+24, y+52, "sky", "the internet")
}
