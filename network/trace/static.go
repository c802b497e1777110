package trace

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/minictr/minictr/network/firewall"
)

// Static tells the way from cables, routes and rules, and sends nothing. A From
// without a path is outside of the machine: the packet comes in at the link by
// which the host would answer it.
func Static(r Request) (*Journey, error) {
	began := time.Now()
	outside := r.From.Path == ""
	if outside {
		r.From.Path = r.Host.Path
	}
	w, err := newWorld(r)
	if err != nil {
		return nil, err
	}
	defer w.close()
	p := newPlanner(w)
	if outside {
		p.comeIn(r.Source)
	} else {
		p.there()
	}
	if p.verdict.Outcome == "" {
		p.back()
	}
	j := &Journey{Static: true, Protocol: r.Protocol, Hops: p.hops, Notes: p.notes, Verdict: p.result()}
	j.From = End{Name: r.From.Name, Address: p.origin.Source.Addr()}
	j.To = (&story{world: w}).toEnd()
	j.Took = time.Since(began)
	return j, nil
}

// A planner walks with a sample packet.
type planner struct {
	*world
	hops      []Hop
	notes     []string
	direction Direction
	flow      Flow // as it is at the moment
	origin    Flow // as it was sent
	nextHop   netip.Addr
	dnat      bool
	untracked bool            // a rule of this place keeps it from connection tracking
	mark      uint32          // that rules of this place have set
	marks     map[*ground]nat // what each place has translated
	last      station         // where the packet ended
	left      bool            // by a link behind which nothing is seen
	verdict   Verdict         // how it ended, if not well
	doubts    []string
}

// nat is the packet as it came into a place, and as it left.
type nat struct{ before, after Flow }

// A station is a place and the link by which the packet came; 0: it begins here.
type station struct {
	ground *ground
	in     int
}

// maxStations ends a walk in a ring.
const maxStations = 32

func newPlanner(w *world) *planner {
	return &planner{world: w, direction: There, marks: map[*ground]nat{}}
}

// there walks from the sender's socket.
func (p *planner) there() {
	source := p.request.Source
	if !source.IsValid() {
		r := p.from.lookup(query{flow: Flow{Destination: p.probe.flow.Destination}, protocol: p.probe.number()})
		if source = r.Source; !source.IsValid() {
			source = p.unspecified()
		}
	}
	p.flow = Flow{netip.AddrPortFrom(source, 0), p.probe.flow.Destination}
	p.origin = p.flow
	p.walk(station{ground: p.from})
}

// comeIn walks from a sender outside.
func (p *planner) comeIn(source netip.Addr) {
	p.flow = Flow{netip.AddrPortFrom(source, 0), p.probe.flow.Destination}
	p.origin = p.flow
	r := p.host.lookup(query{flow: Flow{Destination: p.flow.Source}, protocol: p.probe.number()})
	l, ok := p.host.linkNamed(r.Link)
	if r.Error != "" || !ok {
		p.verdict = Verdict{Outcome: Undeliver, Place: p.host.Name, Words: fmt.Sprintf("%s would not know where to answer: %s", p.host.Name, r.words())}
		return
	}
	p.nextHop = p.flow.Destination.Addr()
	p.walk(station{p.host, l.index})
}

// back walks with the answer, from where the packet ended.
func (p *planner) back() {
	p.direction, p.dnat = Back, false
	p.flow = p.flow.reversed()
	if p.left {
		p.left = false
		p.nextHop = p.flow.Destination.Addr()
		p.walk(station{p.last.ground, p.last.in})
		return
	}
	p.walk(station{ground: p.last.ground})
}

func (p *planner) unspecified() netip.Addr { return p.probe.unspecified() }

func (p *planner) add(g *ground, h Hop) {
	h.Direction, h.Place, h.Netns = p.direction, g.Name, g.inode
	p.hops = append(p.hops, h)
}

func (p *planner) ended() bool { return p.verdict.Outcome != "" }

// arrived tells whether the walk ended at a place that was seen, or by a link to
// the outside.
func (p *planner) arrived() bool {
	return p.left || len(p.hops) > 0 && p.hops[len(p.hops)-1].Event == Delivered
}

// walk goes from station to station.
func (p *planner) walk(at station) {
	for range maxStations {
		p.last = at
		next, more := p.station(at)
		if p.ended() || !more {
			return
		}
		at = next
	}
	p.verdict = Verdict{Outcome: NotCertain, Place: at.ground.Name, Words: "it goes in a ring"}
}

// station is one place. It is false behind the last one.
func (p *planner) station(at station) (next station, more bool) {
	g, first := at.ground, p.flow
	p.untracked, p.mark = false, 0
	if names := g.legacyTables(p.v6()); len(names) > 0 {
		p.notes = appendNew(p.notes, fmt.Sprintf("iptables-legacy has tables in %s (%s): what rules they have is not known here", g.Name, strings.Join(names, ", ")))
	}
	if at.in != 0 {
		l := g.link(at.in)
		bridge, isPort := g.bridge(l)
		words := "in at " + l.name
		if isPort {
			words += ", a port of bridge " + bridge.name
		}
		p.add(g, Hop{Event: In, Link: l.name, Words: words})
		p.chains(g, firewall.Place{Hook: "ingress", Device: l.name}, l, link{})
		if isPort {
			p.chains(g, firewall.Place{Hook: "prerouting", Bridge: true}, l, link{})
			if !g.isLocal(p.nextHop) {
				return p.switched(g, l, bridge)
			}
			p.chains(g, firewall.Place{Hook: "input", Bridge: true}, l, link{})
			if p.ended() {
				return next, false
			}
			at.in = bridge.index
			p.add(g, Hop{Event: In, Link: bridge.name, Words: fmt.Sprintf("up from bridge %s to the IP of %s", bridge.name, g.Name)})
		} else if child, ok := p.childWith(g, l); ok {
			return child, !p.ended()
		}
	} else {
		p.add(g, Hop{Event: Sent, Words: p.sentWords()})
	}
	if p.ended() {
		return next, false
	}
	return p.routed(g, at.in, first)
}

// childWith is the macvlan link on this one that has the next hop's address.
func (p *planner) childWith(g *ground, l link) (station, bool) {
	if !p.nextHop.IsValid() || g.isLocal(p.nextHop) {
		return station{}, false
	}
	for _, other := range p.grounds {
		at, ok := other.addresses[p.nextHop]
		if !ok {
			continue
		}
		if parent, where, ok := p.parentOf(other, other.link(at.link)); ok && where == g && parent.index == l.index {
			return station{other, at.link}, true
		}
	}
	return station{}, false
}

func (p *planner) sentWords() string {
	what := map[string]string{tcp: "a TCP SYN", udp: "a UDP datagram", icmp: "an ICMP echo request"}[p.probe.protocol]
	if p.direction == Back {
		what = "the answer"
	}
	return p.probe.sentWords(what, p.flow)
}

// routed is the IP of a place: from prerouting or output to the link that the
// route names.
func (p *planner) routed(g *ground, in int, first Flow) (next station, more bool) {
	inLink := link{}
	hook, where := firewall.Output, "output"
	var r Route
	if in != 0 {
		inLink, hook, where = g.link(in), firewall.Prerouting, "prerouting"
	} else if r = p.route(g, 0); p.ended() {
		return next, false
	}
	out, _ := g.linkNamed(r.Link)
	mark := p.mark
	changed := p.rewritten(g, hook, where, inLink, out) || p.mark != mark
	if p.ended() {
		return next, false
	}
	if in != 0 {
		return p.onward(g, in, first)
	}
	if changed {
		r = p.route(g, 0)
	}
	if p.ended() {
		return next, false
	}
	return p.leave(g, inLink, r, first)
}

// onward is the IP of a place behind prerouting: what came in is for the place
// itself, or is passed on.
func (p *planner) onward(g *ground, in int, first Flow) (next station, more bool) {
	inLink := g.link(in)
	r := p.route(g, in)
	if p.ended() {
		return next, false
	}
	if r.Type == "local" {
		p.rewritten(g, firewall.Input, "input", inLink, link{})
		if p.direction == There {
			p.marks[g] = nat{first, p.flow}
		}
		if !p.ended() {
			p.deliver(g)
		}
		return next, false
	}
	return p.leave(g, inLink, r, first)
}

// leave goes out by the link of the route.
func (p *planner) leave(g *ground, in link, r Route, first Flow) (next station, more bool) {
	out, ok := g.linkNamed(r.Link)
	if !ok {
		p.end(g, NotCertain, "the route names no link")
		return next, false
	}
	if in.index != 0 {
		p.chains(g, firewall.Place{Hook: "forward"}, in, out)
	}
	p.rewritten(g, firewall.Postrouting, "postrouting", in, out)
	if p.ended() {
		return next, false
	}
	if p.direction == There {
		p.marks[g] = nat{first, p.flow}
	}
	if p.nextHop = r.Gateway; !p.nextHop.IsValid() {
		p.nextHop = p.flow.Destination.Addr()
	}
	return p.out(g, out)
}

// rewritten goes through a hook in whose middle addresses are rewritten.
func (p *planner) rewritten(g *ground, hook firewall.Hook, name string, in, out link) (changed bool) {
	p.chains(g, firewall.Place{Hook: name, Part: firewall.BeforeNAT}, in, out)
	if p.ended() {
		return false
	}
	if !p.untracked {
		changed = p.translate(g, hook, in, out)
	}
	p.chains(g, firewall.Place{Hook: name, Part: firewall.BehindNAT}, in, out)
	return changed
}

func (p *planner) end(g *ground, o Outcome, words string) {
	p.verdict = Verdict{Outcome: o, Place: g.Name, Words: words}
}

// route looks the route up and tells of it.
func (p *planner) route(g *ground, in int) Route {
	r := g.lookup(query{flow: p.flow, protocol: p.probe.number(), in: in, mark: p.mark})
	words := "route: " + r.words()
	if r.Table != "" && r.Table != "main" && r.Table != "local" {
		words += ", table " + r.Table
	}
	if r.Rule != "" {
		words += ", by policy rule " + r.Rule
	}
	h := Hop{Event: Routed, Route: &r, Link: r.Link, Words: words}
	if r.Error != "" {
		h.Event = Dropped
		p.verdict = Verdict{Outcome: Undeliver, Place: g.Name, Reason: r.Type, Words: fmt.Sprintf("%sends in %s: %s", p.whose(), g.Name, r.Error)}
	}
	p.add(g, h)
	return r
}

func (p *planner) whose() string {
	if p.direction == Back {
		return "the answer "
	}
	return ""
}

// deliver ends a direction well, or says that nobody listens.
func (p *planner) deliver(g *ground) {
	if p.direction == Back && p.flow != p.origin.reversed() {
		p.add(g, Hop{Event: Dropped, Words: fmt.Sprintf("the socket of %s has not asked %s", g.Name, p.probe.end(p.flow.Source))})
		p.end(g, Unanswered, fmt.Sprintf("the answer would come from %s, but %s has asked %s and throws it away", p.probe.end(p.flow.Source), g.Name, p.probe.end(p.origin.Destination)))
		return
	}
	if p.direction == Back {
		p.add(g, Hop{Event: Delivered, Words: fmt.Sprintf("back at the socket of %s", g.Name)})
		return
	}
	if p.probe.protocol == icmp {
		p.add(g, Hop{Event: Delivered, Words: fmt.Sprintf("for %s itself", g.Name)})
		return
	}
	to := p.probe.end(p.flow.Destination)
	p.add(g, Hop{Event: Delivered, Words: fmt.Sprintf("for a socket of %s, at %s", g.Name, to)})
	switch open, err := g.listens(p.probe, p.flow.Destination); {
	case err != nil:
		p.notes = append(p.notes, fmt.Sprintf("whether somebody listens there is not known: %v", err))
	case !open:
		p.end(g, Refused, fmt.Sprintf("would be refused by %s (%s): nobody listens there", g.Name, to))
	}
}

// result is the verdict of the whole.
func (p *planner) result() Verdict {
	switch {
	case p.ended():
		return p.verdict
	case len(p.doubts) > 0:
		return Verdict{Outcome: NotCertain, Words: "not certain: " + p.doubts[0]}
	}
	for _, h := range p.hops {
		if h.Event == Out && h.Reason == outsideReason {
			return Verdict{Outcome: Passes, Place: h.Place, Words: fmt.Sprintf("would leave %s by %s, and the answer would come back; what is behind is not seen", h.Place, h.Link)}
		}
	}
	for _, h := range p.hops {
		if h.Event == Delivered {
			return Verdict{Outcome: Passes, Place: h.Place, Words: fmt.Sprintf("would reach %s, and the answer would come back", h.Place)}
		}
	}
	return Verdict{Outcome: NotCertain, Words: "not certain"}
}
