package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/firewall"
)

// outsideReason marks the hop by which a packet leaves what is seen.
const outsideReason = "outside"

// samplePort stands for the port that the kernel would choose.
const samplePort = 40000

// sample is the packet as the firewall's interpreter takes it.
func (p *planner) sample(g *ground, in, out link) firewall.Packet {
	s := firewall.Packet{
		In: firewall.Link{Name: in.name, Index: in.index}, Out: firewall.Link{Name: out.name, Index: out.index},
		Source: p.flow.Source.Addr(), Destination: p.flow.Destination.Addr(), Protocol: p.probe.number(),
		SourcePort: p.flow.Source.Port(), DestinationPort: p.flow.Destination.Port(), DNAT: p.dnat, Mark: p.mark,
		SourceLocal: g.isLocal(p.flow.Source.Addr()), DestinationLocal: g.isLocal(p.flow.Destination.Addr()),
	}
	if p.direction == Back {
		s.State, s.Reply = firewall.Established, true
		s.DNAT = p.marks[g].before.Destination != p.marks[g].after.Destination
		if s.DestinationPort == 0 {
			s.DestinationPort = samplePort
		}
	} else if s.SourcePort == 0 {
		s.SourcePort = samplePort
	}
	return s
}

// chains tells what each base chain of the place would do.
func (p *planner) chains(g *ground, at firewall.Place, in, out link) {
	if p.ended() {
		return
	}
	var verdicts []firewall.Verdict
	err := g.do(func() error {
		verdicts = g.rules.Chains(at, p.sample(g, in, out))
		return nil
	})
	if err != nil {
		p.doubts = append(p.doubts, err.Error())
	}
	hook := at.Hook
	if at.Bridge {
		hook = "bridge " + hook
	}
	for _, v := range verdicts {
		p.untracked, p.mark = p.untracked || v.Untracked, v.Mark
		if !v.MarkKnown {
			p.doubts = appendNew(p.doubts, fmt.Sprintf("which mark the rules of %s set is not known", g.Name))
		}
		p.chainHop(g, hook, v)
	}
}

func (p *planner) chainHop(g *ground, hook string, v firewall.Verdict) {
	c := &Chain{Family: v.Family, Table: v.Table, Name: v.Base, Owner: firewall.Owner(v.Family, v.Table, v.Base), Result: v.Kind.String()}
	for _, b := range g.rules.Bases() {
		if b.Family == v.Family && b.Table == v.Table && b.Name == v.Base {
			c.Owner, c.Priority = b.Owner, b.Priority
		}
	}
	if v.Rule != "" {
		c.Rules = []Rule{{
			Chain: v.Chain, Handle: v.Handle, Text: strings.TrimSuffix(v.Rule, fmt.Sprintf(" comment %q", v.Comment)), Comment: v.Comment,
			Owner: firewall.Owner(v.Family, v.Table, v.Chain), Verdict: v.Kind.String(),
		}}
	} else if v.Kind != firewall.Unknown {
		c.Policy = v.Kind.String()
	}
	h := Hop{Event: Filtered, Hook: hook, Chain: c, Words: fmt.Sprintf("%s: %s", hook, c.words())}
	switch v.Kind {
	case firewall.Drop:
		h.Event = Dropped
		p.verdict = Verdict{Outcome: DroppedByUs, Place: g.Name, Chain: c, Words: fmt.Sprintf("%swould be dropped in %s by the policy of %s", p.whose(), g.Name, c.name())}
		if len(c.Rules) > 0 {
			p.verdict.Rule = &c.Rules[0]
			p.verdict.Words = fmt.Sprintf("%swould be dropped in %s by %s: %s", p.whose(), g.Name, c.name(), c.Rules[0].words(c.Name))
		}
	case firewall.Unknown:
		h.Words += fmt.Sprintf(", where %s is not known", v.Why)
		p.doubts = append(p.doubts, fmt.Sprintf("in %s %s, where %s is not known", g.Name, c.words(), v.Why))
	}
	p.add(g, h)
}

// translate does what chains of type nat do to the first packet, and what
// connection tracking does to an answer.
func (p *planner) translate(g *ground, hook firewall.Hook, in, out link) bool {
	before := p.flow
	if p.direction == Back {
		p.untranslate(g, hook)
	} else if r, ok := g.rules.Translate(hook, p.sample(g, in, out)); ok {
		p.rewrite(g, r, in, out)
		if !r.Certain {
			p.doubts = append(p.doubts, fmt.Sprintf("what %s in %s makes of the address", hook, g.Name))
		}
	}
	for _, kind := range []string{"destination", "source"} {
		from, to := before.Destination, p.flow.Destination
		if kind == "source" {
			from, to = before.Source, p.flow.Source
		}
		if from != to {
			p.add(g, Hop{Event: Translated, Translation: &Translation{Kind: kind, Before: before, After: p.flow}, Words: fmt.Sprintf("%s %s becomes %s", kind, p.probe.end(from), p.probe.end(to))})
		}
	}
	return p.flow != before
}

func (p *planner) untranslate(g *ground, hook firewall.Hook) {
	done, ok := p.marks[g]
	switch {
	case !ok || hook == firewall.Output:
	case hook == firewall.Prerouting && p.flow.Destination.Addr() == done.after.Source.Addr():
		p.flow.Destination = done.before.Source
	case (hook == firewall.Postrouting || hook == firewall.Input) && p.flow.Source == done.after.Destination:
		p.flow.Source = done.before.Destination
	}
}

func (p *planner) rewrite(g *ground, r firewall.Rewrite, in, out link) {
	end := &p.flow.Source
	switch r.Kind {
	case "dnat", "redirect":
		end, p.dnat = &p.flow.Destination, true
	}
	address, port := end.Addr(), end.Port()
	switch {
	case r.Address.IsValid():
		address = r.Address
	case r.Kind == "masquerade":
		address = g.addressOn(out, p.v6(), address)
	case r.Kind == "redirect" && in.index == 0:
		address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if p.v6() {
			address = netip.IPv6Loopback()
		}
	case r.Kind == "redirect":
		address = g.addressOn(in, p.v6(), address)
	}
	if r.Port != 0 && p.probe.protocol != icmp {
		port = r.Port
	}
	*end = netip.AddrPortFrom(address, port)
}

func (p *planner) v6() bool { return p.probe.v6() }

// addressOn is the link's first address, as masquerade takes it.
func (g *ground) addressOn(l link, v6 bool, otherwise netip.Addr) netip.Addr {
	var list []netip.Addr
	for a, where := range g.addresses {
		if where.link == l.index && a.Is6() == v6 && !a.IsLinkLocalUnicast() {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return otherwise
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list[0]
}

// switched takes a frame from port to port. Where br_netfilter is on, it goes
// through the rules of IP as well, which take the bridge for the link; one that
// they send elsewhere is routed.
func (p *planner) switched(g *ground, in, bridge link) (next station, more bool) {
	first, filtered := p.flow, g.filtersBridges(p.v6())
	if filtered && p.rewritten(g, firewall.Prerouting, "prerouting", bridge, link{}) && p.flow.Destination != first.Destination {
		return p.onward(g, bridge.index, first)
	}
	out, ok := p.portTo(g, bridge, p.nextHop)
	p.chains(g, firewall.Place{Hook: "forward", Bridge: true}, in, out)
	if filtered {
		p.chains(g, firewall.Place{Hook: "forward"}, bridge, bridge)
	}
	if p.ended() {
		return next, false
	}
	if !ok {
		p.end(g, NotCertain, fmt.Sprintf("not certain: behind which port of bridge %s of %s %s is, is not known", bridge.name, g.Name, p.nextHop))
		return next, false
	}
	p.add(g, Hop{Event: Switched, Link: bridge.name, Words: switchedWords(bridge, filtered && len(g.rules.Bases()) > 0)})
	p.chains(g, firewall.Place{Hook: "postrouting", Bridge: true}, in, out)
	if filtered {
		p.rewritten(g, firewall.Postrouting, "postrouting", bridge, bridge)
		if p.direction == There {
			p.marks[g] = nat{first, p.flow}
		}
	}
	if p.ended() {
		return next, false
	}
	return p.byLink(g, out)
}

// filtersBridges tells whether frames that bridges pass on go through the rules of
// IP (br_netfilter).
func (g *ground) filtersBridges(v6 bool) bool {
	if v6 {
		return g.sysctl("net/bridge/bridge-nf-call-ip6tables") == "1"
	}
	return g.sysctl("net/bridge/bridge-nf-call-iptables") == "1"
}

func appendNew(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// out leaves by the link of the route, and by the port if it is a bridge.
func (p *planner) out(g *ground, l link) (next station, more bool) {
	if !l.up {
		p.end(g, Undeliver, fmt.Sprintf("%sends in %s: %s is down", p.whose(), g.Name, l.name))
		return next, false
	}
	if !l.isBridge() {
		return p.byLink(g, l)
	}
	p.chains(g, firewall.Place{Hook: "egress", Device: l.name}, link{}, l)
	p.add(g, Hop{Event: Out, Link: l.name, Words: "out of bridge " + l.name})
	port, ok := p.portTo(g, l, p.nextHop)
	if !ok {
		p.end(g, Undeliver, fmt.Sprintf("%sends in %s: nobody on bridge %s is known to have %s", p.whose(), g.Name, l.name, p.nextHop))
		return next, false
	}
	p.chains(g, firewall.Place{Hook: "output", Bridge: true}, link{}, port)
	p.chains(g, firewall.Place{Hook: "postrouting", Bridge: true}, link{}, port)
	return p.byLink(g, port)
}

// byLink goes through the cable.
func (p *planner) byLink(g *ground, l link) (next station, more bool) {
	p.chains(g, firewall.Place{Hook: "egress", Device: l.name}, link{}, l)
	if p.ended() {
		return next, false
	}
	words := "out of " + l.name
	if bridge, isPort := g.bridge(l); isPort {
		words += ", a port of bridge " + bridge.name
	}
	if parent, other, ok := p.parentOf(g, l); ok {
		p.add(g, Hop{Event: Out, Link: l.name, Words: fmt.Sprintf("%s, to %s of %s, on which it sits", words, parent.name, other.Name)})
		return p.byLink(other, parent)
	}
	peer, other, ok := p.findPeer(g, l)
	switch {
	case l.name == "lo":
		p.add(g, Hop{Event: Out, Link: l.name, Words: words})
		return station{g, l.index}, true
	case ok:
		p.add(g, Hop{Event: Out, Link: l.name, Words: fmt.Sprintf("%s, through the cable to %s of %s", words, peer.name, other.Name)})
		if !peer.up {
			p.end(other, Undeliver, fmt.Sprintf("%sends in %s: %s is down", p.whose(), other.Name, peer.name))
		} else if !p.answersFor(g, l, other, peer) {
			p.end(g, Undeliver, fmt.Sprintf("%sends in %s: nobody is known on %s who has %s", p.whose(), g.Name, l.name, p.nextHop))
		}
		return station{other, peer.index}, !p.ended()
	}
	p.left, p.last = true, station{g, l.index}
	p.add(g, Hop{Event: Out, Link: l.name, Reason: outsideReason, Words: words + ", to what is not seen from here"})
	return next, false
}

// answersFor tells whether the other end of a cable takes packets for the next
// hop: it has its address, or may hand frames on to who has.
func (p *planner) answersFor(g *ground, l link, other *ground, peer link) bool {
	if !p.nextHop.IsValid() || other.isLocal(p.nextHop) || p.passesOn(other, peer) || l.master != 0 {
		return true
	}
	n, ok := g.neighbour(p.nextHop, l.index)
	return ok && n.resolved()
}

// portTo finds the port behind which the address is: by the neighbour table and
// the bridge's forwarding table, or by the addresses at the other ends.
func (p *planner) portTo(g *ground, bridge link, to netip.Addr) (link, bool) {
	if n, ok := g.neighbour(to, bridge.index); ok && n.resolved() {
		if port, ok := g.forwarding(bridge.index, n.mac); ok {
			return g.link(port), true
		}
	}
	var ports []link
	for _, l := range g.links {
		if l.master == bridge.index {
			ports = append(ports, l)
		}
	}
	slices.SortFunc(ports, func(a, b link) int { return a.index - b.index })
	for _, l := range ports {
		peer, other, ok := p.findPeer(g, l)
		if !ok {
			continue
		}
		if at, ok := other.addresses[to]; ok && at.link == peer.index {
			return l, true
		}
	}
	return link{}, false
}

// forwarding is the port of the bridge behind which the hardware address is.
func (g *ground) forwarding(bridge int, mac string) (int, bool) {
	const sizeofNdmsg = 12
	header := make([]byte, sizeofNdmsg)
	header[0] = unix.AF_BRIDGE
	bodies, err := g.route.ask(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, header)
	if err != nil {
		return 0, false
	}
	for _, b := range bodies {
		if len(b) < sizeofNdmsg {
			continue
		}
		a := attributes(b[sizeofNdmsg:])
		port := int(binary.NativeEndian.Uint32(b[4:]))
		if macText(a.get(unix.NDA_LLADDR)) == mac && int(a.native(unix.NDA_MASTER)) == bridge && port != bridge {
			return port, true
		}
	}
	return 0, false
}

// findPeer is peerOf that looks at places not seen yet, too.
func (w *world) findPeer(g *ground, l link) (link, *ground, bool) {
	if peer, other, ok := w.peerOf(g, l); ok || l.kind != "veth" || l.nsid < 0 {
		return peer, other, ok
	}
	for _, p := range w.places {
		f, err := os.Open(p.Path)
		if err != nil {
			continue // it is gone
		}
		id := g.nsidOfFile(f)
		_ = f.Close() // it was only asked for
		if id == l.nsid {
			w.add(p)
			return w.peerOf(g, l)
		}
	}
	return link{}, nil, false
}

// sysctl reads one of the namespace, "" if it is not there.
func (g *ground) sysctl(key string) (value string) {
	err := g.do(func() error {
		b, err := os.ReadFile("/proc/sys/" + key)
		value = strings.TrimSpace(string(b))
		return err
	})
	if err != nil {
		return ""
	}
	return value
}
