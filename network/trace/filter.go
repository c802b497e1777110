package trace

import (
	"fmt"
	"strings"

	"github.com/minictr/minictr/network/firewall"
)

// filter tells of the chains of a hook, one hop each, and of what was rewritten
// before. A drop ends the way.
func (t *teller) filter(v *visit, passes []*pass) {
	for _, p := range passes {
		if t.ended || t.told[p] {
			continue
		}
		t.told[p] = true
		if p.packet.quoted == 0 { // of an error nftrace keeps the outer addresses only, as they are
			t.become(v, p.packet.flow)
		}
		c := v.ground.chain(p)
		hook := v.ground.hookOf(p)
		h := Hop{Event: Filtered, Hook: hook, Chain: c, Words: fmt.Sprintf("%s: %s", hook, c.words())}
		if p.dropped() {
			h.Event = Dropped
			t.ended, t.chain, t.place = true, c, v.ground.Name
			if len(c.Rules) > 0 && !p.byPolicy {
				t.rule = &c.Rules[len(c.Rules)-1]
			}
		}
		t.add(v, h)
	}
}

// become tells of the addresses that are others now.
func (t *teller) become(v *visit, now Flow) {
	if now.Destination != t.cur.Destination {
		t.translated(v, "destination", t.cur, Flow{t.cur.Source, now.Destination})
	}
	if now.Source != t.cur.Source {
		t.translated(v, "source", Flow{t.cur.Source, now.Destination}, now)
	}
	t.cur = now
}

// chain is the pass with the texts of its rules. They are written in the
// namespace, whose links they name.
func (g *ground) chain(p *pass) *Chain {
	b := g.baseOf(p)
	c := &Chain{Family: p.family, Table: p.table, Name: p.base, Owner: b.Owner, Priority: b.Priority, Result: match{verdict: p.verdict}.words()}
	if p.byPolicy {
		c.Policy = c.Result
	}
	err := g.do(func() error {
		for _, m := range p.matches {
			if m.handle == 0 { // the end of a chain that was jumped to
				continue
			}
			r := Rule{Chain: m.chain, Handle: m.handle, Verdict: m.words(), Owner: b.Owner}
			if known := g.rules.Rule(p.family, p.table, m.chain, m.handle); known != nil {
				r.Text, r.Comment = strings.TrimSuffix(known.Text, fmt.Sprintf(" comment %q", known.Comment)), known.Comment
				r.Owner = firewall.Owner(p.family, p.table, m.chain)
			}
			c.Rules = append(c.Rules, r)
		}
		return nil
	})
	if err != nil { // the namespace is open; only a lack of threads keeps us out
		c.Owner = b.Owner
	}
	return c
}

// name is the chain as one finds it: "chain forward of table ip minictr".
func (c *Chain) name() string {
	text := fmt.Sprintf("table %s %s, chain %s", c.Family, c.Table, c.Name)
	if c.Owner != "" && c.Owner != "table "+c.Family+" "+c.Table {
		text += " (" + c.Owner + ")"
	}
	return text
}

// words tell what the chain did, with the rules that matched.
func (c *Chain) words() string {
	var parts []string
	for _, r := range c.Rules {
		parts = append(parts, r.words(c.Name))
	}
	switch {
	case c.Policy != "" && len(parts) == 0:
		parts = append(parts, "no rule matches, policy "+c.Policy)
	case c.Policy != "":
		parts = append(parts, "then policy "+c.Policy)
	}
	return c.name() + ": " + strings.Join(parts, "; ")
}

// words are the rule, and the chain if it is another than base.
func (r Rule) words(base string) string {
	text := "rule " + r.Text
	if r.Text == "" {
		text = "a rule that is gone by now"
	}
	if r.Chain != base {
		text = fmt.Sprintf("in chain %s %s", r.Chain, text)
	}
	text += fmt.Sprintf(" (handle %d", r.Handle)
	if r.Comment != "" {
		text += fmt.Sprintf(", %q", r.Comment)
	}
	text += ")"
	if r.Verdict != "continue" && !strings.HasSuffix(r.Text, r.Verdict) {
		text += ": " + r.Verdict
	}
	return text
}
