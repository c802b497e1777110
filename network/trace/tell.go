package trace

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A teller writes down the hops of one direction.
type teller struct {
	*story
	direction Direction
	leg       *leg
	hops      []Hop
	ended     bool   // the packet was dropped; nothing comes behind
	last      *visit // the last one told
	cur       Flow   // the packet's addresses at the moment
	told      map[*pass]bool
	routed    *Route  // the last route
	routedIn  *ground // where
	chain     *Chain  // that dropped it
	rule      *Rule   // of chain
	reason    string  // the kernel's
	why       string  // in words
	place     string  // where it was dropped
	delivered bool
}

// tell makes the journey of what was seen.
func (s *story) tell() *Journey {
	s.classify()
	j := &Journey{Protocol: s.probe.protocol, From: s.fromEnd(), To: s.toEnd()}
	there := &teller{story: s, direction: There, leg: &s.there, told: map[*pass]bool{}}
	there.run(there.leg.visits(s.from), s.probe.flow)
	back := &teller{story: s, direction: Back, leg: &s.back, told: map[*pass]bool{}}
	if first := s.answerer(there); first != nil {
		visits := back.leg.visits(nil)
		if len(visits) == 0 || visits[0].ground != first {
			visits = back.leg.visits(first)
		}
		back.run(visits, Flow{})
	} else {
		back.run(back.leg.visits(nil), Flow{})
	}
	j.Hops = append(there.hops, back.hops...)
	j.Verdict = s.verdict(there, back)
	j.Notes = s.notes
	return j
}

func (s *story) fromEnd() End {
	return End{Name: s.from.Name, Address: s.probe.flow.Source.Addr(), Port: s.probe.flow.Source.Port()}
}

func (s *story) toEnd() End {
	name := s.request.ToName
	if name == "" {
		name = s.request.To.String()
	}
	return End{Name: name, Address: s.request.To, Port: s.probe.flow.Destination.Port()}
}

// answerer is the place where an answer began that was seen on no link: its own
// rules dropped it.
func (s *story) answerer(there *teller) *ground {
	if len(s.back.seen) > 0 || there.last == nil {
		return nil
	}
	if len(s.back.passes[there.last.ground]) > 0 {
		return there.last.ground
	}
	return nil
}

func (t *teller) run(visits []*visit, flow Flow) {
	for _, v := range visits {
		if t.ended {
			return
		}
		t.last, t.cur = v, v.first(flow)
		t.visit(v)
		flow = t.cur
	}
	t.kernelDrop()
}

// add writes a hop down.
func (t *teller) add(v *visit, h Hop) {
	h.Direction, h.Place, h.Netns = t.direction, v.ground.Name, v.ground.inode
	t.hops = append(t.hops, h)
}

// visit tells what happens in one namespace. Whatever chains saw the packet on
// its way out, where no link saw it any more, comes last.
func (t *teller) visit(v *visit) {
	if v.origin {
		t.add(v, Hop{Event: Sent, Words: t.sentWords(v, t.cur)})
	}
	for i, x := range v.ins {
		t.in(v, x, i)
	}
	switch {
	case t.ended:
	case v.switched():
		t.switchedBy(v)
	default:
		t.through(v)
	}
	t.filter(v, v.passes)
}

func (t *teller) sentWords(v *visit, f Flow) string {
	what := map[string]string{tcp: "a TCP SYN", udp: "a UDP datagram", icmp: "an ICMP echo request"}[t.probe.protocol]
	if t.direction == Back {
		what = "the answer"
		if p := t.firstPacket(v); p != nil {
			what = "the answer, " + p.words()
		}
	}
	return t.probe.sentWords(what, f)
}

func (p *probe) sentWords(what string, f Flow) string {
	if f.Source.Addr().IsUnspecified() {
		return fmt.Sprintf("%s to %s", what, p.end(f.Destination))
	}
	return fmt.Sprintf("%s from %s to %s", what, p.end(f.Source), p.end(f.Destination))
}

func (t *teller) firstPacket(v *visit) *packet {
	if len(v.outs) > 0 {
		return v.outs[0].packet
	}
	if len(v.passes) > 0 {
		return v.passes[0].packet
	}
	return nil
}

// words say what kind of answer a packet is.
func (p *packet) words() string {
	switch {
	case p.quoted != 0:
		return "an ICMP error: " + p.icmpWords()
	case p.protocol == unix.IPPROTO_TCP && p.flags&tcpRST != 0:
		return "a TCP RST"
	case p.protocol == unix.IPPROTO_TCP:
		return "a TCP SYN-ACK"
	case p.isEchoReply():
		return "an ICMP echo reply"
	}
	return "a UDP datagram"
}

// end is an address as it is spoken of: an echo has no ports.
func (t *teller) end(a netip.AddrPort) string { return t.probe.end(a) }

func (p *probe) end(a netip.AddrPort) string {
	if p.protocol == icmp || a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// in tells of the link by which the packet came, and of what hangs there.
func (t *teller) in(v *visit, x sighting, i int) {
	if t.ended {
		return
	}
	g, l := v.ground, v.ground.link(x.link)
	words := "in at " + l.name
	bridge, isPort := g.bridge(l)
	switch {
	case isPort:
		words = fmt.Sprintf("in at %s, a port of bridge %s", l.name, bridge.name)
	case l.isBridge() && i > 0:
		words = fmt.Sprintf("up from bridge %s to the IP of %s", l.name, g.Name)
	}
	t.add(v, Hop{Event: In, Link: l.name, Words: words})
	t.filter(v, v.at(x.link, "ingress"))
	if isPort {
		t.filter(v, v.at(0, "bridge prerouting"))
		t.filter(v, v.at(0, "bridge input"))
	}
}

// switchedBy tells of a frame that a bridge takes from port to port. Where
// br_netfilter is on, chains of IP see it, too, and may translate it.
func (t *teller) switchedBy(v *visit) {
	g := v.ground
	bridge, _ := g.bridge(g.link(v.ins[0].link))
	t.filter(v, v.at(0, "prerouting"))
	t.filter(v, v.at(0, "bridge forward"))
	t.filter(v, v.at(0, "forward"))
	if t.ended {
		return
	}
	if len(v.outs) > 0 {
		t.become(v, Flow{t.cur.Source, v.outs[0].packet.flow.Destination})
	}
	filtered := len(v.at(0, "prerouting", "forward", "postrouting")) > 0
	t.add(v, Hop{Event: Switched, Link: bridge.name, Words: switchedWords(bridge, filtered)})
	t.filter(v, v.at(0, "bridge postrouting"))
	t.filter(v, v.at(0, "postrouting"))
	t.out(v)
}

func switchedWords(bridge link, filtered bool) string {
	words := fmt.Sprintf("bridge %s passes it on by its hardware address", bridge.name)
	if filtered {
		words += "; the rules of IP see it (net.bridge.bridge-nf-call-iptables)"
	}
	return words
}

// through tells of the IP of a place.
func (t *teller) through(v *visit) {
	first, in := t.cur, 0
	if len(v.ins) > 0 {
		in = v.ins[len(v.ins)-1].link
		t.filter(v, v.at(0, "prerouting"))
		if _, isPort := v.ground.bridge(v.ground.link(in)); isPort && len(v.passes) == 0 && len(v.outs) == 0 {
			return // the bridge has let nobody have it
		}
		if v.ins[len(v.ins)-1].others && len(v.outs) == 0 {
			return // it is for a link that sits on this one
		}
	} else {
		t.route(v, first, 0)
		t.filter(v, v.at(0, "output"))
	}
	if t.ended {
		return
	}
	t.become(v, Flow{t.cur.Source, t.behind(v, first).Destination})
	if t.direction == Back && v.ground == t.from && t.leg.arrived && len(v.outs) == 0 && in != 0 { // nothing behind prerouting shows what it became
		t.become(v, Flow{t.cur.Source, netip.AddrPortFrom(t.probe.flow.Source.Addr(), t.cur.Destination.Port())})
	}
	if in != 0 || t.cur.Destination != first.Destination {
		t.route(v, t.cur, in)
	}
	t.filter(v, v.at(0, "input"))
	t.filter(v, v.at(0, "forward"))
	t.filter(v, v.at(0, "postrouting"))
	t.out(v)
	if !t.ended && len(v.outs) == 0 && t.routed != nil && t.routed.Type == "local" && in != 0 {
		t.delivered = true
		event := Delivered
		if t.direction == Back && t.back.strange != nil {
			event = Dropped
		}
		t.add(v, Hop{Event: event, Words: t.deliveredWords(v.ground, t.cur)})
	}
}

func (t *teller) deliveredWords(g *ground, f Flow) string {
	if t.direction == Back {
		if t.back.strange != nil {
			return fmt.Sprintf("the socket of %s has not asked %s", g.Name, t.end(f.Source))
		}
		return fmt.Sprintf("back at the socket of %s", g.Name)
	}
	if t.probe.protocol == icmp {
		return fmt.Sprintf("for %s itself", g.Name)
	}
	return fmt.Sprintf("for a socket of %s, at %s", g.Name, t.end(f.Destination))
}

// behind is the flow behind prerouting or output. Where nothing tells, what
// connection tracking knows does.
func (t *teller) behind(v *visit, first Flow) Flow {
	middle := v.middle(first)
	if middle.Destination == first.Destination && len(v.outs) == 0 && t.direction == There {
		if c, ok := v.ground.connection(t.probe, first); ok && c.translated() {
			middle.Destination = c.reply.Source
		}
	}
	return middle
}

func (t *teller) translated(v *visit, kind string, before, after Flow) {
	from, to := before.Source, after.Source
	if kind == "destination" {
		from, to = before.Destination, after.Destination
	}
	tr := &Translation{Kind: kind, Before: before, After: after}
	words := fmt.Sprintf("%s %s becomes %s", kind, t.end(from), t.end(to))
	if t.direction == Back {
		words += ", as connection tracking remembers"
	} else if c, ok := v.ground.connection(t.probe, v.first(before)); ok {
		tr.Conntrack = c.String()
	}
	t.add(v, Hop{Event: Translated, Translation: tr, Words: words})
}

// route tells which route the packet takes. A refusal ends its way.
func (t *teller) route(v *visit, f Flow, in int) {
	g := v.ground
	q := query{flow: f, protocol: t.probe.number(), in: in}
	for _, p := range v.at(0, "prerouting", "output") {
		q.mark = p.mark
	}
	r := g.lookup(q)
	onward := len(v.outs) > 0 || len(v.at(0, "input", "forward", "postrouting", "output")) > 0
	if r.Error != "" && onward { // it went on: by a mark, perhaps, which is not asked for here
		return
	}
	t.routed, t.routedIn = &r, g
	words := "route: " + r.words()
	if r.Table != "" && r.Table != "main" && r.Table != "local" {
		words += ", table " + r.Table
	}
	if r.Rule != "" {
		words += ", by policy rule " + r.Rule
	}
	t.add(v, Hop{Event: Routed, Route: &r, Link: r.Link, Words: words})
}

// out tells of the links by which the packet leaves.
func (t *teller) out(v *visit) {
	for _, x := range v.outs {
		if t.ended {
			return
		}
		t.become(v, x.packet.flow)
		g, l := v.ground, v.ground.link(x.link)
		bridge, isPort := g.bridge(l)
		if isPort {
			t.filter(v, v.at(0, "bridge output"))
			if !v.switched() {
				t.filter(v, v.at(0, "bridge postrouting"))
			}
		}
		t.filter(v, v.at(x.link, "egress"))
		if t.ended {
			return
		}
		words := "out of " + l.name
		if l.isBridge() {
			words = "out of bridge " + l.name
		}
		if isPort {
			words += fmt.Sprintf(", a port of bridge %s", bridge.name)
		}
		if parent, place, ok := t.parentOf(g, l); ok {
			words += fmt.Sprintf(", to %s of %s, on which it sits", parent.name, place.Name)
		}
		if peer, place, ok := t.peerOf(g, l); ok {
			words += fmt.Sprintf(", through the cable to %s of %s", peer.name, place.Name)
		}
		t.add(v, Hop{Event: Out, Link: l.name, Words: words})
	}
}

// parentOf is the link on which a macvlan link sits, if its place is looked at.
func (w *world) parentOf(g *ground, l link) (link, *ground, bool) {
	if l.kind != "macvlan" && l.kind != "ipvlan" {
		return link{}, nil, false
	}
	for _, other := range w.grounds {
		if l.nsid >= 0 && (other == g || g.nsidOf(other) != l.nsid) || l.nsid < 0 && other != g {
			continue
		}
		if parent, ok := other.links[l.peer]; ok {
			return parent, other, true
		}
	}
	return link{}, nil, false
}

// peerOf is the other end of a veth pair, if it is in a place that we look at.
func (w *world) peerOf(g *ground, l link) (link, *ground, bool) {
	if l.kind != "veth" {
		return link{}, nil, false
	}
	for _, other := range w.grounds {
		if l.nsid >= 0 && (other == g || g.nsidOf(other) != l.nsid) || l.nsid < 0 && other != g {
			continue
		}
		if peer, ok := other.links[l.peer]; ok && peer.kind == "veth" {
			return peer, other, true
		}
	}
	return link{}, nil, false
}
