package diagram

import "slices"

// arrange gives everything its place: the columns first, then from the top down.
func (s *svger) arrange() {
	for i := range s.Rooms {
		r := &s.Rooms[i]
		q := s.roomOf(r)
		s.rooms[r.ID] = q
		if s.isLoose(r) {
			continue
		}
		for len(s.columns) <= s.depth[r.ID] {
			s.columns = append(s.columns, svgColumn{})
		}
		s.columns[s.depth[r.ID]].width = max(s.columns[s.depth[r.ID]].width, q.width)
	}
	s.countTracks()
	x := margin
	if len(s.roots) > 0 && s.internet(s.roots[0]) {
		x += skyWidth
	}
	for i := range s.columns {
		c := &s.columns[i]
		c.x = x
		x += c.width + columnGap + c.tracks*trackPitch
	}
	for _, root := range s.roots {
		if s.isLoose(root) {
			continue
		}
		s.room(s.rooms[root.ID], max(s.bottom(), margin))
	}
	s.loose()
	s.width, s.height = 0, s.bottom()-rowGap+margin
	for _, q := range s.rooms {
		s.width = max(s.width, q.x+q.width+margin)
	}
	for _, c := range s.columns { // cables that turn at the right of the last column
		if c.tracks > 0 {
			s.width = max(s.width, c.x+c.width+columnGap/2+c.tracks*trackPitch+margin)
		}
	}
	s.height = max(s.height, margin+240)
}

// isLoose reports whether no cable leads to or from a room, which is not the first.
func (s *svger) isLoose(r *Room) bool {
	return r != s.roots[0] && s.way[r.ID] == nil && len(s.below[r.ID]) == 0
}

// bottom is where nothing is any more.
func (s *svger) bottom() int {
	y := 0
	for _, below := range s.cursor {
		y = max(y, below)
	}
	return y
}

// isStraight reports whether a cable needs no track: the tree's cables, of which the
// far room is placed so that they are level.
func (s *svger) isStraight(c *Cable) bool { return s.way[c.A.Room] == c || s.way[c.B.Room] == c }

// gapOf is the column to the right of which the cable turns.
func (s *svger) gapOf(c *Cable) int { return min(s.depth[c.A.Room], s.depth[c.B.Room]) }

func (s *svger) turning() (list []*Cable) {
	for i := range s.Cables {
		c := &s.Cables[i]
		if !c.within() && !s.isStraight(c) && s.Room(c.A.Room) != nil && s.Room(c.B.Room) != nil {
			list = append(list, c)
		}
	}
	return list
}

func (s *svger) countTracks() {
	for _, c := range s.turning() {
		s.columns[s.gapOf(c)].tracks++
	}
}

// room places a room and all that is behind it, from y down.
func (s *svger) room(q *svgRoom, y int) {
	column := s.depth[q.ID]
	q.x, q.y = s.columns[column].x, y
	q.width = max(q.width, s.columns[column].width)
	yLeft := s.leftCards(q)
	yRight := y + roomHead
	for _, c := range q.right {
		c.x, c.y = q.x+q.width-padding-c.width, yRight
		s.rightCard(q, c, column)
		yRight = c.y + c.height + padding
	}
	if len(q.left) > 0 && len(q.right) > 0 && q.left[len(q.left)-1].face.Uplink { // level with the first arrows
		main, first := q.left[len(q.left)-1], q.right[0]
		main.height = max(main.height, min(first.arrowsHeight(), first.height))
		yLeft = max(yLeft, main.y+main.height+padding)
	}
	q.footY = max(yLeft, yRight) + 2
	q.height = q.footY - y + len(q.foot)*lineHeight + padding/2
	s.cursor[column] = max(s.cursor[column], q.y+q.height+rowGap)
}

// leftCards places what stands at the left wall, the uplink with the arrows last.
func (s *svger) leftCards(q *svgRoom) int {
	y := q.y + roomHead
	if defaults := q.defaults(); len(defaults) > 0 && len(q.right) > 0 {
		slices.SortStableFunc(q.left, func(a, b *svgCard) int {
			main := defaults[0].Interface
			return boolRank(a.face.Uplink && a.face.Name == main) - boolRank(b.face.Uplink && b.face.Name == main)
		})
	}
	for _, c := range q.left {
		c.x, c.y = q.x+padding, y
		c.height = len(c.lines)*lineHeight + padding
		y += c.height + padding
		s.sockets[plug{q.ID, c.face.Index}] = point{c.x, c.y + cardHead/2 + 2}
	}
	return y
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// anchor is how far below a room's top a cable from the left arrives.
func (s *svger) anchor(q *svgRoom, index int) int {
	s.leftCards(q) // once more with its true place
	for _, c := range q.left {
		if c.face.Index == index {
			return c.y + cardHead/2 + 2 - q.y
		}
	}
	return roomHead
}

// rightCard places a card, its ports, and the rooms behind these.
func (s *svger) rightCard(q *svgRoom, c *svgCard, column int) {
	y := c.y + len(c.lines)*lineHeight + padding + 12
	if !c.block.bridge() && len(c.ports) > 0 { // its cable leaves beside its name
		y = c.y + cardHead/2 + 2
	}
	for i := range c.ports {
		p := &c.ports[i]
		p.y = y
		if p.child != nil {
			far := s.rooms[p.child.ID]
			offset := s.anchor(far, p.far.Index)
			top := max(s.cursor[column+1], y-offset, margin)
			s.room(far, top)
			p.y = top + offset
			if !c.block.bridge() && len(c.ports) == 1 { // the card goes down with its cable
				c.y = p.y - cardHead/2 - 2
			}
		}
		s.sockets[s.socketOf(q, p)] = point{c.x + c.width, p.y}
		y = p.y + portPitch
	}
	c.height = max(len(c.lines)*lineHeight+padding, c.arrowsHeight())
	if n := len(c.ports); n > 0 {
		c.height = max(c.height, c.ports[n-1].y+portPitch/2+2-c.y)
	}
}

// socketOf names the place of a port. Of several cables of one interface (macvlan)
// each has its own: the number is made different.
func (s *svger) socketOf(q *svgRoom, p *svgPort) plug {
	at := plug{q.ID, p.face.Index}
	if p.cable != nil && p.cable.Kind != "veth" && p.cable.A.plug() == at {
		return s.lower(p.cable)
	}
	return at
}

// lower is the name of the place at which a cable of a link with several leaves.
func (s *svger) lower(c *Cable) plug {
	i := slices.IndexFunc(s.Cables, func(x Cable) bool { return x.A == c.A && x.B == c.B })
	return plug{c.A.Room, -1 - i}
}

// arrowsHeight is what the labels beside a card need, and says where the arrows are.
func (c *svgCard) arrowsHeight() int {
	y := c.y + 4
	if len(c.out) > 0 {
		y += len(c.out)*lineHeight + 6
		c.outY = y
	}
	if len(c.in) > 0 {
		y += len(c.in)*lineHeight + 10
		c.inY = y
	}
	if y == c.y+4 {
		return 0
	}
	return y + padding - c.y
}

// loose places the rooms that no cable leads to below all others, beside each other.
func (s *svger) loose() {
	left, right := margin, margin
	for _, c := range s.columns {
		right = max(right, c.x+c.width)
	}
	x, y, below := left, s.bottom(), s.bottom()
	for _, r := range s.roots {
		if !s.isLoose(r) {
			continue
		}
		q := s.rooms[r.ID]
		if x > left && x+q.width > right {
			x, y = left, below
		}
		q.x, q.y = x, y
		q.footY = s.leftCards(q)
		for _, c := range q.right { // bridges without a port
			c.x, c.y = q.x+padding, q.footY
			c.height = len(c.lines)*lineHeight + padding
			q.footY += c.height + padding
		}
		q.height = q.footY - q.y + len(q.foot)*lineHeight + padding/2
		below = max(below, q.y+q.height+rowGap)
		x += q.width + rowGap
	}
	s.cursor[0] = max(s.cursor[0], below)
}
