package firewall

import (
	"cmp"
	"slices"
)

// A Table is a table as it is listed.
type Table struct {
	Family, Name string
	Owner        string // see the function Owner
	Chains       []Chain
}

// A Chain is a chain as it is listed. The fields from Type on are of base chains.
type Chain struct {
	Name     string
	Owner    string
	Base     bool
	Type     string // "filter", "nat" or "route"
	Hook     Hook
	Priority int
	Policy   Kind // Accept or Drop
	Rules    []Rule
}

// A Rule is a rule as it is listed.
type Rule struct {
	Handle      uint64
	Text        string // in nft's language
	Comment     string
	Translation *Translation // if it is one of address translation
}

// A Translation is what a rule makes of addresses.
type Translation struct {
	Kind string // "masquerade", "snat", "dnat" or "redirect"
	To   string // "172.17.0.2:80"; empty where it is not constant
}

// Tables lists what was read, ordered by family and name; base chains come first in
// each table, in the order in which packets meet them.
func (r *Ruleset) Tables() []Table {
	var list []Table
	for _, t := range r.tables {
		list = append(list, t.list())
	}
	slices.SortFunc(list, func(a, b Table) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func (t *table) list() Table {
	family := familyName(t.family)
	listed := Table{Family: family, Name: t.name, Owner: Owner(family, t.name, "")}
	for _, c := range t.chains {
		listed.Chains = append(listed.Chains, c.list())
	}
	slices.SortFunc(listed.Chains, func(a, b Chain) int {
		if a.Base != b.Base {
			return map[bool]int{true: -1, false: 1}[a.Base]
		}
		return cmp.Or(cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Name, b.Name))
	})
	return listed
}

func (c *chain) list() Chain {
	listed := Chain{Name: c.name, Owner: Owner(familyName(c.table.family), c.table.name, c.name), Base: c.base}
	if c.base {
		listed.Type, listed.Hook, listed.Priority = c.kind, c.hook, int(c.priority)
		if c.policy == nfDrop {
			listed.Policy = Drop
		}
	}
	for _, r := range c.rules {
		listed.Rules = append(listed.Rules, r.list())
	}
	return listed
}

func (r *rule) list() Rule {
	return Rule{Handle: r.handle, Text: r.String(), Comment: r.comment, Translation: r.translation()}
}

// Rule finds a rule by its handle, as a trace event names it; nil without one.
func (r *Ruleset) Rule(family, table, chain string, handle uint64) *Rule {
	for key, t := range r.tables {
		if familyName(key.family) != family || key.name != table || t.chains[chain] == nil {
			continue
		}
		for _, rule := range t.chains[chain].rules {
			if rule.handle == handle {
				listed := rule.list()
				return &listed
			}
		}
	}
	return nil
}
