package diagram

import (
	"fmt"
	"strings"
)

// TextOptions say how a picture is drawn for a terminal.
type TextOptions struct {
	Columns int  // of the terminal
	ASCII   bool // no other characters
	Colour  bool
}

const (
	minColumns  = 40
	gap         = 4  // columns between the wall of a room and that of the one behind it
	minSideRoom = 24 // narrower than this a room is not drawn beside another
)

// Text draws the picture with characters. No line is longer than the terminal is
// wide, unless that is less than 40 columns.
func (p *Picture) Text(o TextOptions) string {
	t := &texter{layout: newLayout(p), canvas: &canvas{ascii: o.ASCII}, columns: max(o.Columns, minColumns)}
	for i, root := range t.roots {
		if i == 0 || len(t.below[root.ID]) > 0 {
			if i > 0 {
				t.y++
			}
			t.bands(root)
		}
	}
	t.loose()
	text := t.canvas.text(o.Colour)
	if o.ASCII {
		text = plainASCII(text)
	}
	return text
}

// A texter draws a picture from the top down: a band for each room that has rooms
// behind it, with those to the right of it.
type texter struct {
	*layout
	canvas  *canvas
	columns int
	y       int // the next free line
}

// line is text as this canvas can have it.
func (t *texter) line(pieces ...piece) line {
	var l line
	for _, p := range pieces {
		if p.text == "" {
			continue
		}
		if t.canvas.ascii {
			p.text = plainASCII(p.text)
		}
		l = append(l, p)
	}
	return l
}

// cut is a line of at most so many columns.
func (t *texter) cut(l line, columns int) line {
	if !t.canvas.ascii || l.width() <= columns {
		return l.cut(columns)
	}
	short := l.cut(columns - len("..") - 1)
	return append(short[:len(short)-1:len(short)-1], t.line(short[len(short)-1])...)
}

// plainASCII replaces what ASCII does not have.
func plainASCII(s string) string {
	s = strings.NewReplacer("…", "...", "→", "->", "▲", "^", "▼", "v", "◀", "<", "▶", ">", "×", "x", "─", "-").Replace(s)
	return strings.Map(func(r rune) rune {
		if r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// bands draws the room with those behind it, then each of these that has more behind it.
func (t *texter) bands(r *Room) {
	t.band(r)
	for _, child := range t.below[r.ID] {
		if len(t.below[child.ID]) > 0 {
			t.y++
			t.bands(child)
		}
	}
}

func (t *texter) band(r *Room) {
	items := t.items(r)
	left := t.titleWidth(r)
	if t.internet(r) {
		left = max(left, t.shaft(r))
	}
	for _, it := range items {
		left = max(left, it.width())
	}
	left += 4 // the walls, and a column inside each
	right, beside := 0, 0
	for _, it := range items {
		for _, p := range it.ports {
			if p.child != nil {
				right = max(right, t.sideWidth(p.child))
				beside++
			}
			right = max(right, p.reference.width()-1)
		}
	}
	if beside == 0 && right == 0 {
		t.alone(r, items, min(left, t.columns))
		return
	}
	if left+gap+right > t.columns {
		right = max(minSideRoom, t.columns-gap-left)
		if left = min(left, t.columns-gap-right); left < minSideRoom {
			t.stacked(r, items)
			return
		}
	}
	t.pair(r, items, left, right)
}

func (t *texter) titleWidth(r *Room) int { return t.title(r).width() + 2 }

// title is what is written into the upper wall of a room.
func (t *texter) title(r *Room) line {
	l := t.line(piece{" " + shown(r.Name) + " ", title})
	if len(r.Members) > 0 {
		l = append(l, t.line(piece{fmt.Sprintf("(%d) ", len(r.Members)), title})...)
	}
	if words := kindWords(r); words != "" {
		l = append(l, t.line(piece{"─ " + words + " ", faint})...)
	}
	return l
}

// frame draws a room's walls and its name.
func (t *texter) frame(r *Room, x, y, width, height int) {
	t.canvas.box(x, y, width, height, 0, faint)
	t.canvas.write(x+1, y, t.cut(t.title(r), width-3))
}

// pair draws a room at the left, and those behind it at the right, so that the
// cables are straight.
func (t *texter) pair(r *Room, items []*item, left, right int) {
	top := t.y
	t.sky(r)
	wall := t.y
	leftY, rightY := wall+1, wall
	for i, it := range items {
		if i > 0 && it.framed {
			leftY++
		}
		leftY, rightY = t.item(it, leftY, rightY, left, right)
	}
	bottom := max(leftY, wall+2)
	t.walls(r, wall, left, bottom-wall+1)
	t.y = max(bottom+1, rightY, top)
}

// walls draws the room's frame around what is in it, which is drawn already.
func (t *texter) walls(r *Room, y, width, height int) {
	t.frame(r, 0, y, width, height)
	if t.internet(r) {
		x := t.shaft(r)
		t.canvas.join(x, y, north|south, outside)
		t.canvas.join(x, y+1, north, outside)
	}
}

// shaft is the column in which the way to the internet goes up.
func (t *texter) shaft(r *Room) int {
	x := t.title(r).width() + 4
	for _, b := range t.place[r.ID] {
		if b.face.Uplink {
			return max(x, t.itemOf(r, b).title.width()+4)
		}
	}
	return x
}

// sky draws the internet above a room that has a way to it.
func (t *texter) sky(r *Room) {
	if !t.internet(r) {
		return
	}
	x := t.shaft(r)
	t.canvas.write(max(0, x-6), t.y, t.line(piece{"the internet", outside}))
	end := t.canvas.write(x, t.y+1, t.line(piece{"▲", outside}))
	for _, b := range t.place[r.ID] {
		if route, ok := r.gateway(b.face); ok && b.face.Uplink {
			words := ""
			if route.Via.IsValid() {
				words = "gateway " + route.Via.String()
			}
			if route.isSilent() {
				words += " does not answer"
			}
			t.canvas.write(end+1, t.y+1, t.line(piece{words, faint}))
			break
		}
	}
	t.y += 2
}

// item draws a block at the left, with the rooms behind its ports.
func (t *texter) item(it *item, leftY, rightY, left, right int) (nextLeft, nextRight int) {
	inner := left - 4
	top := leftY
	if it.framed {
		leftY++
		inner -= 4
	}
	x := 2
	if it.framed {
		x = 4
	}
	for _, l := range it.lines {
		for _, part := range l.wrap(inner, it.indent) {
			t.canvas.write(x, leftY, part)
			leftY++
		}
	}
	for _, p := range it.ports {
		leftY, rightY = t.port(it, p, leftY, rightY, left, right)
	}
	if it.framed {
		t.canvas.box(2, top, left-4, leftY-top+1, it.how, it.style)
		t.canvas.write(3, top, t.cut(it.title, left-6))
		for _, y := range it.exits {
			t.canvas.join(left-3, y.row, east, it.style)
		}
		leftY++
	}
	return leftY, rightY
}

// port draws a cable from the left room to what is behind it.
func (t *texter) port(it *item, p textPort, leftY, rightY, left, right int) (nextLeft, nextRight int) {
	from := 2 + p.label.width() + 1
	y := leftY
	how := uint8(0)
	s := plain
	if !p.live {
		how, s = dotted, wrong
	}
	to := left - 1
	switch {
	case p.child != nil:
		offset := t.anchor(p.child, p.far.Index, right)
		y = max(leftY, rightY+offset)
		rightY = t.room(p.child, left+gap-1, y-offset, right)
		to = left + gap - 1
	case p.reference.width() > 0:
		y = max(leftY, rightY)
		part := t.cut(p.reference, t.columns-left-1)
		t.canvas.write(left, y, part)
		rightY = y + 1
	default:
		t.canvas.write(from+1, y, nil)
	}
	if it.framed {
		label := t.cut(p.label, left-8)
		t.canvas.write(left-4-label.width(), y, label)
		from = left - 3
		it.exits = append(it.exits, exit{y})
	} else {
		t.canvas.write(2, y, t.cut(p.label, left-5))
	}
	if p.child != nil || p.reference.width() > 0 {
		t.canvas.horizontal(min(from, left-2), to, y, how, s)
		t.canvas.join(left-1, y, east, s)
	} else if it.framed {
		it.exits = it.exits[:len(it.exits)-1]
	}
	return y + 1, rightY
}

// alone draws a room with nothing to the right of it.
func (t *texter) alone(r *Room, items []*item, width int) {
	t.sky(r)
	y, wall := t.y+1, t.y
	for i, it := range items {
		if i > 0 && it.framed {
			y++
		}
		y, _ = t.item(it, y, 0, width, 0)
	}
	t.walls(r, wall, width, max(y, wall+1)-wall+1)
	t.y = max(y, wall+1) + 1
}

// stacked draws the rooms below each other, where the terminal is too narrow: ports
// tell where their cables lead.
func (t *texter) stacked(r *Room, items []*item) {
	width := 0
	for _, it := range items {
		for i := range it.ports {
			p := &it.ports[i]
			if p.child != nil {
				p.label, p.child = append(p.label, t.line(piece{" ─ ", plain}, piece{shown(t.nameOf(p.far)), title})...), nil
			}
			p.label, p.reference = t.joined(p.label, p.reference), nil
		}
		width = max(width, it.width())
	}
	t.alone(r, items, min(max(width, t.titleWidth(r))+4, t.columns))
	for _, child := range t.below[r.ID] {
		t.y = t.room(child, 0, t.y, t.columns)
	}
}

// loose draws the rooms that no cable leads to, beside each other.
func (t *texter) loose() {
	x, bottom := 0, t.y
	for i, r := range t.roots {
		if i == 0 || len(t.below[r.ID]) > 0 {
			continue
		}
		width := min(t.sideWidth(r), t.columns)
		if x > 0 && x+width > t.columns {
			x, t.y = 0, bottom
		}
		bottom = max(bottom, t.room(r, x, t.y, width))
		x += width + 1
	}
	t.y = bottom
}

// joined is both lines in one.
func (t *texter) joined(a, b line) line {
	if b.width() == 0 {
		return a
	}
	return append(append(a, piece{" ", plain}), b...)
}
