package diagram

// Text draws the way for a terminal, from the room down to the outside.
func (w *Way) Text(p *Picture, o TextOptions) string {
	t := &texter{layout: newLayout(p), canvas: &canvas{ascii: o.ASCII}, columns: max(o.Columns, minColumns)}
	name := ""
	if r := p.Room(w.Room); r != nil {
		name = r.Name
	}
	t.put(0, t.line(piece{shown(name), title}, piece{" to the outside", plain}))
	room := ""
	for i := range w.Out {
		h := &w.Out[i]
		if h.Kind != HopGateway && h.Room != room {
			room = h.Room
			t.bar(i > 0)
			t.put(2, t.line(piece{shown(room), title}))
		}
		t.hop(h)
	}
	if w.Ends != "" {
		t.bar(len(w.Out) > 0)
		t.put(4, t.line(piece{"× " + w.Ends, wrong}))
	}
	for i := range w.In {
		h := &w.In[i]
		if i == 0 {
			t.y++
			t.put(0, t.line(piece{"from the outside to ", plain}, piece{shown(name), title}))
		}
		t.put(4, t.line(piece{shown(h.Room) + " ", plain}, piece{h.Words, incoming}, piece{ruleWords(h.Rule), faint}))
	}
	text := t.canvas.text(o.Colour)
	if o.ASCII {
		text = plainASCII(text)
	}
	return text
}

// put writes a line, in as many as it needs.
func (t *texter) put(x int, l line) {
	for i, part := range l.wrap(t.columns-x, 4) {
		t.canvas.write(x, t.y, part)
		if i > 0 && x == 6 {
			t.canvas.join(4, t.y, north|south, plain)
		}
		t.y++
	}
}

// bar draws the way on.
func (t *texter) bar(draw bool) {
	if draw {
		t.canvas.join(4, t.y, north|south, plain)
		t.y++
	}
}

func ruleWords(r *Rule) string {
	if r == nil {
		return ""
	}
	return "  (table " + shown(r.Table) + ", chain " + shown(r.Chain) + ", by " + shown(r.Owner) + ")"
}

func (t *texter) hop(h *Hop) {
	wrongWords := piece{}
	if h.Wrong != "" {
		wrongWords = piece{" " + h.Wrong, wrong}
	}
	switch h.Kind {
	case HopInterface, HopBridge:
		s := plain
		if h.Kind == HopBridge {
			s = switchName
		}
		t.put(4, t.line(piece{shown(h.Interface), s}, piece{"  " + h.Words, addressStyle}, wrongWords))
	case HopGateway:
		t.bar(true)
		t.put(4, t.line(piece{"▼ ", outside}, piece{h.Words, outside}, wrongWords))
		if h.Words != "the internet" {
			t.put(4, t.line(piece{"▼ the internet", outside}))
		}
	default:
		s := faint
		if h.Kind == HopTranslation {
			s = outgoing
		}
		y := t.y
		t.put(6, t.line(piece{h.Words, s}, piece{ruleWords(h.Rule), faint}, wrongWords))
		t.canvas.join(4, y, north|south, plain)
	}
}
