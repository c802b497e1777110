package trace

import (
	"slices"

	"github.com/minictr/minictr/network/firewall"
)

// A visit is the packet in one namespace, from the link by which it came to the
// one by which it left.
type visit struct {
	ground    *ground
	origin    bool // it begins here, at a socket or in the kernel
	ins, outs []sighting
	passes    []*pass
}

// visits cuts a leg into them.
func (l *leg) visits(first *ground) (list []*visit) {
	if first != nil {
		list = append(list, &visit{ground: first, origin: true})
	}
	for _, x := range l.seen {
		last := (*visit)(nil)
		if len(list) > 0 {
			last = list[len(list)-1]
		}
		if last == nil || last.ground != x.ground || !x.outgoing && (last.origin || len(last.outs) > 0) {
			last = &visit{ground: x.ground, origin: last == nil}
			list = append(list, last)
		}
		if x.outgoing {
			last.outs = append(last.outs, x.sighting)
		} else {
			last.origin = false
			last.ins = append(last.ins, x.sighting)
		}
	}
	for g, passes := range l.passes {
		assign(list, g, passes)
	}
	return list
}

// assign gives the passes of one namespace to its visits. A hook that comes
// before the last one begins the next visit, as where a packet of the host to
// itself comes back by lo.
func assign(list []*visit, g *ground, passes []*pass) {
	var here []*visit
	for _, v := range list {
		if v.ground == g {
			here = append(here, v)
		}
	}
	if len(here) == 0 {
		return
	}
	at, last := 0, -1
	for _, p := range passes {
		r := g.rankOf(p)
		incoming := r < rank("", "output")
		if (r < last || incoming && here[at].origin) && at+1 < len(here) && g.baseOf(p).Hook != "ingress" {
			at++
		}
		last = r
		here[at].passes = append(here[at].passes, p)
	}
	for _, v := range here {
		byRank(g, v.passes)
	}
}

// baseOf is the base chain of the pass.
func (g *ground) baseOf(p *pass) firewall.Base {
	for _, b := range g.rules.Bases() {
		if b.Family == p.family && b.Table == p.table && b.Name == p.base {
			return b
		}
	}
	return firewall.Base{Family: p.family, Table: p.table, Name: p.base, Hook: "prerouting", Owner: firewall.Owner(p.family, p.table, p.base)}
}

// hookOf is the hook as it is told of.
func (g *ground) hookOf(p *pass) string {
	if p.family == "bridge" {
		return "bridge " + g.baseOf(p).Hook
	}
	return g.baseOf(p).Hook
}

// at are the passes of the hooks, and of devices those at the link.
func (v *visit) at(link int, hooks ...string) (list []*pass) {
	for _, p := range v.passes {
		hook := v.ground.hookOf(p)
		if !slices.Contains(hooks, hook) || hook == "ingress" && p.in != link || hook == "egress" && p.out != link {
			continue
		}
		list = append(list, p)
	}
	return list
}

// first is the flow as it came into the place.
func (v *visit) first(otherwise Flow) Flow {
	if len(v.ins) > 0 {
		return v.ins[0].packet.flow
	}
	if p := v.at(0, "output"); len(p) > 0 {
		return p[0].packet.flow
	}
	if len(v.outs) > 0 && otherwise == (Flow{}) {
		return v.outs[0].packet.flow
	}
	return otherwise
}

// middle is the flow behind the translation of destinations.
func (v *visit) middle(first Flow) Flow {
	hooks := []string{"input", "forward", "postrouting"}
	if p := v.at(0, hooks...); len(p) > 0 {
		return p[0].packet.flow
	}
	if len(v.outs) > 0 {
		return Flow{first.Source, v.outs[0].packet.flow.Destination}
	}
	return first
}

// switched is true when a bridge passed the frame on without the host's own IP.
func (v *visit) switched() bool {
	if len(v.ins) == 0 {
		return false
	}
	for _, x := range slices.Concat(v.ins, v.outs) {
		if v.ground.link(x.link).master == 0 {
			return false
		}
	}
	return len(v.outs) > 0 || len(v.at(0, "bridge forward", "bridge postrouting")) > 0
}

// bridge is the bridge whose port the link is.
func (g *ground) bridge(l link) (link, bool) {
	m, ok := g.links[l.master]
	return m, ok && m.isBridge()
}
