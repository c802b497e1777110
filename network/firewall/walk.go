package firewall

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A Kind is what becomes of a packet.
type Kind uint8

// The kinds of a verdict.
const (
	Accept Kind = iota
	Drop
	Unknown
)

func (k Kind) String() string { return [...]string{"accept", "drop", "unknown"}[k] }

// Verdicts of a rule, linux/netfilter.h. The upper bytes of a queue verdict are
// the number of the queue.
const (
	nfDrop      = 0
	nfAccept    = 1
	nfQueue     = 3
	verdictMask = 0xff
)

// A Verdict is what the chains of a hook do with a packet. Accept has no more
// than its kind: it takes all chains.
type Verdict struct {
	Kind    Kind
	Family  string // "ip", "ip6" or "inet", of the table
	Table   string
	Base    string // the base chain
	Chain   string // the chain with the rule that dropped it, or that is in doubt
	Rule    string // in nft's language; empty for the policy of Base
	Handle  uint64
	Comment string // of the rule
	Why     string // what is not known, if Kind is Unknown: an expression
	// Chains tells in these what the rules have set by then: that the packet is kept
	// from connection tracking, and its mark.
	Untracked, MarkKnown bool
	Mark                 uint32

	base *chain
}

// String says where and by what the packet ends: "chain FORWARD of table ip
// filter, policy drop".
func (v Verdict) String() string {
	switch {
	case v.Kind == Accept:
		return "accept"
	case v.Rule == "":
		return fmt.Sprintf("chain %s of table %s %s, policy drop", v.Base, v.Family, v.Table)
	case v.Kind == Unknown:
		return fmt.Sprintf("chain %s of table %s %s, rule: %s, where %s is not known", v.Chain, v.Family, v.Table, v.Rule, v.Why)
	}
	return fmt.Sprintf("chain %s of table %s %s, rule: %s", v.Chain, v.Family, v.Table, v.Rule)
}

// Walk takes the packet through the base chains of the hook, and says the
// first drop that is certain, or else the first that is possible. Chains of type
// nat are left out: they see only the first packet of a connection, and what
// they do to it is in the sample already.
func (r *Ruleset) Walk(hook Hook, p Packet) Verdict {
	w := newWalk(p)
	doubt := Verdict{Kind: Accept}
	for _, base := range r.bases {
		if base.hook != hook || base.kind == "nat" || !base.sees(p) {
			continue
		}
		v := w.base(base)
		if v.Kind == Drop {
			return v
		}
		if v.Kind == Unknown && doubt.Kind == Accept {
			doubt = v
		}
	}
	return doubt
}

func newWalk(p Packet) *walk {
	w := &walk{packet: p, network: p.network(), transport: p.transport(), mark: known(hostOrder(p.Mark)), ctMark: known(hostOrder(0))}
	if p.State != New {
		w.ctMark = unknown(4)
	}
	return w
}

func (c *chain) sees(p Packet) bool {
	switch c.table.family {
	case unix.NFPROTO_IPV4:
		return !p.v6()
	case unix.NFPROTO_IPV6:
		return p.v6()
	}
	return true
}

// A walk is one packet on its way through the chains of a hook.
type walk struct {
	packet    Packet
	network   bits // its headers
	transport bits
	chain     *chain // the base chain
	mark      bits   // rules can set it
	ctMark    bits   // and that of the connection
	registers registers
	doubts    int    // how many of the decisions on the way here may have been others
	unsure    bool   // the rule at hand may not have come this far
	why       string // the last expression whose result is not known
	steps     int
	rewrite   *Rewrite // what a rule of nat made of it
	untracked bool     // a rule keeps it from connection tracking
}

// maxSteps ends a walk through chains that jump to each other in too many ways.
const maxSteps = 1 << 20

// An outcome is everything that may become of a packet in a chain.
type outcome struct {
	accept, fall bool  // fall: it reaches the end of the chain
	by           *rule // the first that accepts
	drop         *rule // by this rule
	queue        *rule // a program decides
	doubt        *rule // the first rule that may match or not, and decides something
	why          string
}

// add joins what may become of the packet in another chain.
func (o *outcome) add(other outcome) {
	o.accept = o.accept || other.accept
	if o.by == nil {
		o.by = other.by
	}
	if o.drop == nil {
		o.drop = other.drop
	}
	if o.queue == nil {
		o.queue = other.queue
	}
	if o.doubt == nil {
		o.doubt, o.why = other.doubt, other.why
	}
}

func (w *walk) base(c *chain) Verdict {
	w.chain, w.doubts = c, 0
	o := w.through(c)
	v := Verdict{Family: familyName(c.table.family), Table: c.table.name, Base: c.name, Chain: c.name, base: c}
	byPolicy := o.fall && c.policy != nfAccept
	passes := o.accept || o.fall && !byPolicy
	drops := o.drop != nil || byPolicy
	switch {
	case w.steps > maxSteps:
		v.Kind, v.Why = Unknown, "the end of too many jumps"
		if o.doubt == nil && len(c.rules) > 0 {
			o.doubt = c.rules[0]
		}
		return v.at(o.doubt)
	case o.queue != nil:
		v.Kind, v.Why = Unknown, "the answer of a program"
		return v.at(o.queue)
	case passes && drops:
		v.Kind, v.Why = Unknown, o.why
		return v.at(o.doubt)
	case drops:
		v.Kind = Drop
		return v.at(o.drop)
	}
	return v.at(o.by)
}

// at puts the rule into the verdict; none means the policy.
func (v Verdict) at(r *rule) Verdict {
	if r != nil {
		v.Chain, v.Rule, v.Handle, v.Comment = r.chain.name, r.String(), r.handle, r.comment
	}
	return v
}

// through goes through the rules of a chain.
func (w *walk) through(c *chain) (o outcome) {
	for _, r := range c.rules {
		if w.steps++; w.steps > maxSteps {
			return o
		}
		choices, goesOn := w.rule(r)
		before, why := w.doubts, w.why
		if goesOn {
			w.doubts++
		}
		for _, v := range choices {
			if goesOn && o.doubt == nil {
				o.doubt, o.why = r, why
			}
			goesOn = w.decide(&o, r, v) || goesOn
		}
		w.doubts = before
		if !goesOn {
			return o
		}
	}
	o.fall = true
	return o
}

// decide adds what the verdict of a rule leads to, and is true if the next rule
// of the chain is reached by it.
func (w *walk) decide(o *outcome, r *rule, v choice) (goesOn bool) {
	switch v.code {
	case nfDrop:
		o.add(outcome{drop: r})
	case unix.NFT_RETURN:
		o.fall = true
	case unix.NFT_JUMP, unix.NFT_GOTO:
		target := w.chain.table.chains[v.chain]
		if target == nil { // the kernel lets nobody delete it
			return true
		}
		inside := w.through(target)
		o.add(inside)
		if v.code == unix.NFT_JUMP {
			return inside.fall
		}
		o.fall = o.fall || inside.fall
	case unix.NFT_CONTINUE, unix.NFT_BREAK:
		return true
	default:
		if v.code&verdictMask == nfQueue {
			o.add(outcome{queue: r})
			return false
		}
		o.add(outcome{accept: true, by: r}) // and NF_STOLEN, which no rule has
	}
	return false
}

// rule runs the expressions of a rule. It returns the verdicts that it may come
// to, and whether it may come to none.
func (w *walk) rule(r *rule) (choices []choice, goesOn bool) {
	w.registers, w.unsure = registers{}, false
	for i := range r.expressions {
		switch result := w.run(&r.expressions[i]); result.answer {
		case no:
			return choices, true
		case maybe:
			w.unsure = true
			if result.choices == nil {
				continue
			}
			choices = append(choices, result.choices...)
		case yes:
			if result.choices != nil {
				return append(choices, result.choices...), w.unsure
			}
		}
	}
	return choices, true
}
