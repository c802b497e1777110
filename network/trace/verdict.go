package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// kernelDrop tells of a packet that the kernel threw away, where rules do not
// explain it. A closed port is none: it is answered.
func (t *teller) kernelDrop() {
	if t.ended {
		return
	}
	for _, d := range t.kernelDrops(t.direction == There) {
		if d.reason == "NO_SOCKET" {
			continue
		}
		g := t.inNetns(d.netns)
		if g == nil || t.last != nil && g != t.last.ground {
			continue // a copy that somebody else had; the packet itself went on
		}
		v := t.last
		if v == nil {
			v = &visit{ground: g}
		}
		t.ended, t.reason, t.place, t.why = true, d.reason, g.Name, t.whyDropped(v, d)
		h := Hop{Event: Dropped, Reason: d.reason, Words: "the kernel drops it: " + t.why}
		if d.link != 0 {
			h.Link = g.link(d.link).name
		}
		t.add(v, h)
		return
	}
}

// whyDropped prefers what is known of the place to the kernel's word.
func (t *teller) whyDropped(v *visit, d drop) string {
	g := v.ground
	if t.routed != nil && t.routedIn == g && t.routed.Error != "" {
		return fmt.Sprintf("%s (%s)", t.routed.Error, d.reason)
	}
	if port := t.cur.Source.Port(); d.reason == "NETFILTER_DROP" && t.direction == There && port != t.probe.flow.Source.Port() {
		return fmt.Sprintf("by a rule that nftrace could not show, since the probe's port became %d on the way; --static may name it (%s)", port, d.reason)
	}
	if len(v.ins) > 0 && len(v.outs) == 0 {
		l := g.link(v.ins[len(v.ins)-1].link)
		if bridge, isPort := g.bridge(l); isPort && !bridge.up {
			return fmt.Sprintf("bridge %s is down (%s)", bridge.name, d.reason)
		}
	}
	return reasonWords(d.reason)
}

// reasonWords explain the kernel's words that occur on the way of a packet;
// include/net/dropreason-core.h has them all.
func reasonWords(reason string) string {
	words := map[string]string{
		"IP_RPFILTER": "its source has another way back than the link where it came in (rp_filter)", "NETFILTER_DROP": "by a rule that nftrace does not show: of iptables-legacy, or an eBPF program",
		"IP_OUTNOROUTES": "no route leads there", "IP_INNOROUTES": "no route leads there", "IP_INADDRERRORS": "its address may not come in here", "NEIGH_FAILED": "nobody on the link answers for the next address",
		"NEIGH_QUEUEFULL": "too many packets wait for the next address", "NEIGH_DEAD": "the entry of the neighbour is gone", "NO_SOCKET": "nobody has the port open", "PKT_TOO_BIG": "it is larger than the next link takes",
		"UNICAST_IN_L2_MULTICAST": "its hardware address is for many, its IP address for one", "OTHERHOST": "its hardware address is another one's", "IP_NOPROTO": "the protocol is not known here",
		"IP_LOCAL_SOURCE": "its source is an address of this host", "IP_INVALID_SOURCE": "its source cannot be one", "IP_LOCALNET": "127.0.0.0/8 may not come by a wire", "IP_INVALID_DEST": "its destination cannot be one",
		"TC_INGRESS": "by a filter of tc at the ingress", "TC_EGRESS": "by a filter of tc at the egress", "QDISC_DROP": "the queue of the link threw it away", "XDP": "by an XDP program", "FULL_RING": "the queue of the other end is full",
		"DEV_READY": "the link is not ready", "BRIDGE_INGRESS_STP_STATE": "the bridge port is not forwarding", "BRIDGE_NON_FORWARDING": "the bridge port is not forwarding", "LOCAL_MAC": "its source is a hardware address of the bridge",
		"BRIDGE_INVALID_SOURCE": "the bridge port may not pass it on", "BPF_CGROUP_EGRESS": "by an eBPF program of a cgroup", "SOCKET_FILTER": "by a filter of the socket", "SOCKET_RCVBUFF": "the socket's buffer is full",
		"TCP_LISTEN_OVERFLOW": "the listener's queue is full", "TCP_OVERWINDOW": "it is outside of the connection's window", "IPV6DISABLED": "IPv6 is disabled there", "CPU_BACKLOG": "the queue of the processor is full",
		"IP_INHDR": "its header is wrong", "IP_CSUM": "its checksum is wrong", "VXLAN_NO_REMOTE": "the tunnel has no other end for it", "HOST_UNREACHABLE": "the route says unreachable", "TCP_MINTTL": "it came from too far",
		"NOT_SPECIFIED": "the code gives no reason",
	}
	if text, ok := words[reason]; ok {
		return text + " (" + reason + ")"
	}
	return reason
}

// verdict says in one line how it ended.
func (s *story) verdict(there, back *teller) Verdict {
	switch {
	case there.chain != nil:
		return s.byRule(there, "")
	case s.back.arrived && !back.ended:
		return s.answered(back)
	case back.chain != nil:
		return s.byRule(back, "the answer was ")
	case there.reason != "":
		if g, l, ok := there.lastLink(); ok && !l.wired {
			return unplugged("", g, l)
		}
		return Verdict{Outcome: DroppedByUs, Place: there.place, Reason: there.reason, Words: fmt.Sprintf("dropped in %s by the kernel: %s", there.place, there.why)}
	case back.reason != "":
		return Verdict{Outcome: DroppedByUs, Place: back.place, Reason: back.reason, Words: fmt.Sprintf("the answer was dropped in %s by the kernel: %s", back.place, back.why)}
	case s.probe.err != nil && len(s.there.seen) == 0:
		return s.notSent(there)
	}
	return s.silent(there, back)
}

// byRule names the rule or policy that dropped a packet. One that was refused
// with an answer is told from one that was lost without a word.
func (s *story) byRule(t *teller, whose string) Verdict {
	c := t.chain
	v := Verdict{Outcome: DroppedByUs, Place: t.place, Chain: c, Rule: t.rule}
	deed := "dropped"
	if t.direction == There && (s.back.answer != nil || len(s.back.seen) > 0) {
		v.Outcome, deed = Rejected, "rejected"
	}
	v.Words = fmt.Sprintf("%s%s in %s by the policy of %s", whose, deed, t.place, c.name())
	if t.rule != nil {
		v.Words = fmt.Sprintf("%s%s in %s by %s: %s", whose, deed, t.place, c.name(), t.rule.words(c.Name))
	}
	return v
}

func (s *story) answered(back *teller) Verdict {
	p, took := s.back.answer, short(s.back.took)
	who := s.ownerOf(back, p)
	switch {
	case p.inner != nil && p.portUnreachable() && s.probe.protocol == udp, p.protocol == unix.IPPROTO_TCP && p.flags&tcpRST != 0:
		return Verdict{Outcome: Refused, Place: who, Words: fmt.Sprintf("refused by %s after %s: nobody listens there", who, took)}
	case p.inner != nil:
		return Verdict{Outcome: Rejected, Place: who, Words: fmt.Sprintf("%s says after %s: %s", who, took, p.icmpWords())}
	}
	return Verdict{Outcome: Answered, Words: "answered after " + took}
}

// ownerOf is who sent an answer: a place that we know, or the address.
func (s *story) ownerOf(back *teller, p *packet) string {
	for _, h := range back.hops {
		if h.Event == Sent {
			return fmt.Sprintf("%s (%s)", h.Place, s.probe.end(s.firstSource(p)))
		}
	}
	return s.probe.end(p.flow.Source)
}

// firstSource is the answer's source before its translations.
func (s *story) firstSource(p *packet) netip.AddrPort {
	if len(s.back.seen) > 0 {
		return s.back.seen[0].packet.flow.Source
	}
	return p.flow.Source
}

// notSent is when the socket itself was refused.
func (s *story) notSent(there *teller) Verdict {
	v := Verdict{Outcome: Undeliver, Place: s.from.Name, Words: fmt.Sprintf("not sent: %s in %s", s.probe.err, s.from.Name)}
	if r := there.routed; r != nil && r.Error != "" {
		v.Words = fmt.Sprintf("not sent: in %s %s", s.from.Name, r.Error)
		v.Reason = r.Type
	}
	if errors.Is(s.probe.err, unix.EPERM) && (there.routed == nil || there.routed.Error == "") {
		v.Outcome = DroppedByUs
		v.Words = fmt.Sprintf("dropped in %s when it was sent: %s", s.from.Name, s.probe.err)
	}
	return v
}

// silent is when nothing came back, and nobody says why.
func (s *story) silent(there, back *teller) Verdict {
	for _, t := range []*teller{back, there} {
		if v, ok := s.unresolved(t); ok {
			return v
		}
	}
	last := there.last
	switch {
	case s.back.strange != nil:
		return Verdict{Outcome: Unanswered, Place: s.from.Name, Reason: "NO_SOCKET", Words: s.strangeWords()}
	case there.routed != nil && there.routed.Error != "" && last != nil && len(last.outs) == 0:
		return Verdict{Outcome: Undeliver, Place: last.ground.Name, Reason: there.routed.Type, Words: fmt.Sprintf("ends in %s: %s", last.ground.Name, there.routed.Error)}
	case len(s.back.seen) > 0:
		x := s.back.seen[len(s.back.seen)-1]
		return Verdict{Outcome: Unanswered, Place: x.ground.Name, Words: fmt.Sprintf("answered, but the answer was last seen at %s of %s", x.ground.link(x.link).name, x.ground.Name)}
	case there.delivered && s.probe.protocol == udp:
		return Verdict{Outcome: DeliveredEnd, Place: last.ground.Name, Words: fmt.Sprintf("delivered to %s; no answer, as UDP needs none", last.ground.Name)}
	case there.delivered:
		return Verdict{Outcome: Unanswered, Place: last.ground.Name, Words: fmt.Sprintf("delivered to %s; no answer", last.ground.Name)}
	}
	if len(s.there.seen) == 0 {
		return Verdict{Outcome: Unanswered, Place: s.from.Name, Words: fmt.Sprintf("never seen on a link of %s", s.from.Name)}
	}
	x := s.there.seen[len(s.there.seen)-1]
	name := x.ground.link(x.link).name
	if x.outgoing {
		return Verdict{Outcome: Unanswered, Place: x.ground.Name, Words: fmt.Sprintf("left %s by %s; no answer within %s", x.ground.Name, name, s.request.Timeout)}
	}
	return Verdict{Outcome: Unanswered, Place: x.ground.Name, Words: fmt.Sprintf("came in at %s of %s and was seen no more", name, x.ground.Name)}
}

// strangeWords tell of an answer that nobody waits for: a translation was not
// undone on the way back.
func (s *story) strangeWords() string {
	return fmt.Sprintf("the answer comes from %s, but %s has asked %s and throws it away", s.probe.end(s.back.strange.flow.Source), s.from.Name, s.probe.end(s.probe.flow.Destination))
}

// unresolved is a packet that waits for the hardware address of the next place.
func (s *story) unresolved(t *teller) (Verdict, bool) {
	if t.last == nil || t.routed == nil || t.routedIn != t.last.ground || t.routed.Error != "" || t.routed.Type != "unicast" {
		return Verdict{}, false
	}
	g := t.last.ground
	next := t.routed.Gateway
	if !next.IsValid() {
		next = t.cur.Destination.Addr()
	}
	l, ok := g.linkNamed(t.routed.Link)
	if !ok {
		return Verdict{}, false
	}
	whose := ""
	if t.direction == Back {
		whose = "the answer "
	}
	if !l.up || !l.wired {
		return unplugged(whose, g, l), true
	}
	n, ok := g.neighbour(next, l.index)
	if !ok || n.resolved() || n.state == unix.NUD_NONE {
		return Verdict{}, false
	}
	return Verdict{
		Outcome: Undeliver, Place: g.Name, Reason: "NEIGH_FAILED",
		Words: fmt.Sprintf("%swaits in %s: nobody answers for %s on %s (%s)", whose, g.Name, next, l.name, s.questions(g, next)),
	}, true
}

// unplugged is what a link without a carrier does to a packet: it waits before it,
// or, until the kernel has noticed, is thrown away behind it.
func unplugged(whose string, g *ground, l link) Verdict {
	why := "the other end of its cable is down"
	if !l.up {
		why = "it is switched off"
	}
	return Verdict{Outcome: Undeliver, Place: g.Name, Reason: "no carrier", Words: fmt.Sprintf("%sends in %s: nothing leaves by %s, %s", whose, g.Name, l.name, why)}
}

// lastLink is the one by which the packet was seen to leave last.
func (t *teller) lastLink() (g *ground, l link, ok bool) {
	if t.last == nil || len(t.last.outs) == 0 {
		return nil, link{}, false
	}
	return t.last.ground, t.last.ground.link(t.last.outs[len(t.last.outs)-1].link), true
}

// questions counts those for a neighbour that went out.
func (s *story) questions(g *ground, about netip.Addr) string {
	count := 0
	for _, x := range g.seen {
		if x.arp != nil && x.arp.question && x.arp.about == about && x.outgoing && g.link(x.link).master == 0 {
			count++
		}
	}
	what := "ARP"
	if about.Is6() {
		what = "neighbour discovery"
	}
	if count == 0 {
		return what + " had failed before"
	}
	return fmt.Sprintf("asked by %s %d times", what, count)
}

// short is a duration that a person reads.
func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}
