package trace

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A story is what was seen and heard of the probe, sorted.
type story struct {
	*world
	there, back leg
	isn         uint32 // the number with which a TCP connection begins
	isnKnown    bool
	flows       map[*ground][]Flow // of the probe on its way there
	notes       []string
	timedOut    bool
}

// A leg is one direction: what was seen on links, and heard from rules.
type leg struct {
	seen    []located
	passes  map[*ground][]*pass
	arrived bool          // back at the sender
	took    time.Duration // until then
	answer  *packet       // what arrived
	strange *packet       // came to the sender from an address that it has not asked
}

// located is a sighting with its place.
type located struct {
	sighting
	ground *ground
}

func (l *leg) dropped() bool {
	for _, list := range l.passes {
		if slices.ContainsFunc(list, (*pass).dropped) {
			return true
		}
	}
	return false
}

// classify sorts everything anew into the two legs.
func (s *story) classify() {
	s.there, s.back, s.flows = leg{passes: map[*ground][]*pass{}}, leg{passes: map[*ground][]*pass{}}, map[*ground][]Flow{}
	s.findISN()
	s.collectLeg(&s.there, s.from, s.isProbe)
	for _, l := range s.there.seen {
		s.flows[l.ground] = append(s.flows[l.ground], l.packet.flow)
	}
	for g, list := range s.there.passes {
		for _, p := range list {
			s.flows[g] = append(s.flows[g], p.packet.flow)
		}
	}
	s.collectLeg(&s.back, nil, s.isAnswer)
	for _, l := range s.back.seen {
		switch {
		case l.ground != s.from || l.outgoing || s.back.arrived:
		case l.packet.quoted == 0 && !s.asked(l.packet):
			s.back.strange = l.packet
		default:
			s.back.arrived, s.back.took, s.back.answer = true, l.at.Sub(s.probe.sent), l.packet
		}
	}
}

// asked is true for an answer that comes from where the probe was sent to, as the
// sender's namespace sees it. Another one the socket does not take.
func (s *story) asked(p *packet) bool { return slices.Contains(s.flows[s.from], p.flow.reversed()) }

// findISN learns it from the first SYN that the sender's namespace has.
func (s *story) findISN() {
	if s.isnKnown || s.probe.protocol != tcp {
		return
	}
	try := func(p *packet) {
		if !s.isnKnown && p != nil && p.protocol == unix.IPPROTO_TCP && p.flags&(tcpSYN|tcpACK) == tcpSYN && p.flow.Source.Port() == s.probe.flow.Source.Port() {
			s.isn, s.isnKnown = p.seq, true
		}
	}
	for _, p := range s.from.passes.list {
		try(p.packet)
	}
	for _, x := range s.from.seen {
		try(x.packet)
	}
}

// collectLeg takes the packets of one kind in the order of their passing, which
// begins at first. What comes a second time, as TCP's repetition, is left out.
func (s *story) collectLeg(l *leg, first *ground, belongs func(*ground, *packet) bool) {
	type passage struct {
		link     int
		outgoing bool
	}
	queues := map[*ground][]sighting{}
	for _, g := range s.grounds {
		before := map[passage]bool{}
		for _, x := range g.seen {
			p := passage{x.link, x.outgoing}
			// A copy that a bridge has sent to all ports is for nobody there.
			if x.packet == nil || before[p] || x.others && !s.passesOn(g, g.link(x.link)) || !belongs(g, x.packet) {
				continue
			}
			before[p] = true
			queues[g] = append(queues[g], x)
		}
		l.passes[g] = s.firstPasses(g, belongs)
	}
	l.seen = s.inOrder(queues, first)
}

// passesOn is true for a link that takes frames which are for others: a port of
// a bridge, the parent of a macvlan link.
func (w *world) passesOn(g *ground, l link) bool {
	if l.master != 0 {
		return true
	}
	for _, other := range w.grounds {
		for _, child := range other.links {
			if parent, where, ok := w.parentOf(other, child); ok && where == g && parent.index == l.index {
				return true
			}
		}
	}
	return false
}

func (s *story) firstPasses(g *ground, belongs func(*ground, *packet) bool) (list []*pass) {
	type passage struct {
		family, table, base string
		in, out             int
	}
	before := map[passage]bool{}
	for _, p := range g.passes.list {
		at := passage{p.family, p.table, p.base, p.in, p.out}
		if p.packet == nil || !belongs(g, p.packet) || before[at] {
			continue
		}
		before[at] = true
		if !strings.HasPrefix(p.table, tablePrefix) { // ours, or another trace's
			list = append(list, p)
		}
	}
	return list
}

// isProbe knows the probe by what no translation changes: TCP's first number, or
// the bytes that it carries.
func (s *story) isProbe(_ *ground, p *packet) bool {
	if p.protocol != s.probe.number() || p.quoted != 0 {
		return false
	}
	switch s.probe.protocol {
	case tcp:
		return p.flags&(tcpSYN|tcpACK|tcpRST) == tcpSYN && s.isnKnown && p.seq == s.isn
	case udp:
		return s.hasCookie(p) && (p.flow.Source.Port() == s.probe.flow.Source.Port() || slices.Contains(s.probe.destinationPorts(), p.flow.Destination.Port()))
	}
	return p.isEchoRequest() && s.hasCookie(p)
}

// hasCookie compares as much as was kept of the packet.
func (s *story) hasCookie(p *packet) bool {
	n := min(len(p.payload), len(s.probe.cookie))
	return n >= 8 && bytes.Equal(p.payload[:n], s.probe.cookie[:n])
}

// isAnswer knows an answer by the number that it acknowledges, by the bytes that
// it sends back, or by addresses that are the probe's at the same place, turned
// round; and ICMP errors by what they quote.
func (s *story) isAnswer(g *ground, p *packet) bool {
	switch {
	case p.inner != nil:
		return s.quotesProbe(g, p.inner)
	case p.quoted != 0: // nftrace keeps 20 bytes of it, and the mark has seen the port
		return p.quoted == s.probe.number() && slices.ContainsFunc(s.flows[g], func(f Flow) bool { return f.Source.Addr() == p.flow.Destination.Addr() })
	}
	if p.protocol != s.probe.number() || s.isProbe(g, p) {
		return false
	}
	switch s.probe.protocol {
	case tcp:
		return s.isnKnown && p.flags&tcpACK != 0 && p.flags&(tcpSYN|tcpRST) != 0 && p.ack == s.isn+1
	case udp:
		return slices.Contains(s.flows[g], p.flow.reversed())
	}
	return p.isEchoReply() && s.hasCookie(p)
}

func (s *story) quotesProbe(g *ground, inner *packet) bool {
	switch {
	case inner.protocol != s.probe.number():
		return false
	case s.probe.protocol == tcp:
		return s.isnKnown && inner.seq == s.isn
	case s.probe.protocol == udp:
		return slices.Contains(s.flows[g], inner.flow)
	}
	return inner.isEchoRequest() && (s.hasCookie(inner) || slices.Contains(s.flows[g], inner.flow))
}

// kernelDrops are what the kernel threw away of the probe, or of the answer,
// without those that rules explain.
func (s *story) kernelDrops(there bool) (list []drop) {
	// Copies that listeners had, as tcpdump or we, and did not read.
	copies := []string{"QUEUE_PURGE", "PACKET_SOCK_ERROR"}
	for _, d := range s.drops.drops() {
		g := s.inNetns(d.netns)
		if slices.Contains(copies, d.reason) {
			continue
		}
		if d.reason == "NETFILTER_DROP" && g != nil && s.legOf(there).droppedIn(g) {
			continue
		}
		if there && s.isProbe(g, d.packet) || !there && s.isAnswer(g, d.packet) {
			list = append(list, d)
		}
	}
	return list
}

func (s *story) legOf(there bool) *leg {
	if there {
		return &s.there
	}
	return &s.back
}

func (l *leg) droppedIn(g *ground) bool { return slices.ContainsFunc(l.passes[g], (*pass).dropped) }

func (s *story) inNetns(inode uint64) *ground {
	for _, g := range s.grounds {
		if g.inode == inode {
			return g
		}
	}
	return nil
}

// rank is a hook's place on the way through a namespace.
func rank(family, hook string) int {
	order := []string{"ingress", "bridge prerouting", "bridge input", "bridge forward", "prerouting", "input", "forward", "output", "postrouting", "bridge output", "bridge postrouting", "egress"}
	if family == "bridge" {
		hook = "bridge " + hook
	}
	return slices.Index(order, hook)
}

// byRank puts the passes of one visit into the order of their hooks; those of one
// hook are in the order of their priority already.
func byRank(g *ground, list []*pass) {
	slices.SortStableFunc(list, func(a, b *pass) int { return cmp.Compare(g.rankOf(a), g.rankOf(b)) })
}

func (g *ground) rankOf(p *pass) int { return rank(p.family, g.baseOf(p).Hook) }
