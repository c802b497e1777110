package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A Ruleset is what one network namespace has in nf_tables, as far as Read was
// asked for it.
type Ruleset struct {
	tables map[tableKey]*table
	bases  []*chain // of families ip, ip6 and inet, by hook and priority
	others []*chain // of the families that only ReadEvery reads, and at the ingress of a device
}

type tableKey struct {
	family uint8 // unix.NFPROTO_IPV4, …
	name   string
}

// String is the table as nft(8) names it: "ip filter".
func (k tableKey) String() string { return familyName(k.family) + " " + k.name }

type table struct {
	tableKey
	chains map[string]*chain
	sets   map[string]*set
}

type chain struct {
	table    *table
	name     string
	base     bool
	kind     string // of a base chain: "filter", "nat" or "route"
	hook     Hook
	priority int32
	policy   uint32   // nfAccept or nfDrop
	devices  []string // of a base chain that hangs at links
	rules    []*rule
}

type rule struct {
	chain       *chain
	handle      uint64
	expressions []expression
	comment     string
}

// An expression is one instruction of a rule.
type expression struct {
	name string // "payload", "cmp", …
	data attributes
}

// Hook is a place in the kernel where chains hang, with its number there
// (linux/netfilter.h, enum nf_inet_hooks).
type Hook uint8

// The hooks of families ip, ip6 and inet.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
)

func (h Hook) String() string {
	names := [...]string{"prerouting", "input", "forward", "output", "postrouting"}
	if int(h) < len(names) {
		return names[h]
	}
	return fmt.Sprintf("hook %d", uint8(h))
}

// familyName is nft's name of a family that IP packets pass.
func familyName(family uint8) string {
	switch family {
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_IPV6:
		return "ip6"
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_BRIDGE:
		return "bridge"
	case unix.NFPROTO_NETDEV:
		return "netdev"
	case unix.NFPROTO_ARP:
		return "arp"
	}
	return fmt.Sprintf("family %d", family)
}

// Read reads all tables of families ip, ip6 and inet in the network namespace
// of the calling thread.
func Read() (*Ruleset, error) { return read(func(k tableKey) bool { return k.isIP() }) }

// ReadForeign reads the tables that have a base chain and are not of minictr.
// Where there are none it costs one short question to the kernel.
func ReadForeign() (*Ruleset, error) {
	return read(func(k tableKey) bool { return k.isIP() && k.name != ours })
}

// isIP is true for the families whose hooks are those of IP packets.
func (k tableKey) isIP() bool {
	return k.family == unix.NFPROTO_IPV4 || k.family == unix.NFPROTO_IPV6 || k.family == unix.NFPROTO_INET
}

// attempts is how often a reading is begun again because the rules changed.
const attempts = 10

func read(wanted func(tableKey) bool) (r *Ruleset, err error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("read firewall: %w", err)
	}
	defer c.close()
	for range attempts {
		r, err = c.ruleset(wanted)
		// A table that was there a moment ago is gone: the same as a change.
		if !errors.Is(err, errChanged) && !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read firewall: %w", err)
	}
	return r, nil
}

func (c *conn) ruleset(wanted func(tableKey) bool) (*Ruleset, error) {
	r := &Ruleset{tables: map[tableKey]*table{}}
	if err := c.chains(r, wanted); err != nil {
		return nil, err
	}
	for key, t := range r.tables {
		if !slices.ContainsFunc(slices.Concat(r.bases, r.others), func(b *chain) bool { return b.table == t }) {
			delete(r.tables, key)
			continue
		}
		if err := c.rules(t); err != nil {
			return nil, err
		}
		if err := c.sets(t); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (c *conn) chains(r *Ruleset, wanted func(tableKey) bool) error {
	err := c.dump(unix.NFT_MSG_GETCHAIN, unix.NFPROTO_UNSPEC, nil, func(family uint8, a attributes) {
		key := tableKey{family, a.text(unix.NFTA_CHAIN_TABLE)}
		if !wanted(key) {
			return
		}
		t := r.tables[key]
		if t == nil {
			t = &table{tableKey: key, chains: map[string]*chain{}, sets: map[string]*set{}}
			r.tables[key] = t
		}
		b := parseChain(t, a)
		t.chains[b.name] = b
		switch {
		case b.base:
			r.bases = append(r.bases, b)
		case b.kind != "":
			r.others = append(r.others, b)
		}
	})
	if errors.Is(err, unix.EINVAL) { // nfnetlink without nf_tables: there are no rules
		return nil
	}
	slices.SortStableFunc(r.bases, func(a, b *chain) int {
		return cmp.Or(cmp.Compare(a.hook, b.hook), cmp.Compare(a.priority, b.priority))
	})
	return err
}

func parseChain(t *table, a attributes) *chain {
	c := &chain{table: t, name: a.text(unix.NFTA_CHAIN_NAME), policy: nfAccept}
	hook := a.get(unix.NFTA_CHAIN_HOOK)
	if hook == nil {
		return c
	}
	c.kind, c.devices = a.text(unix.NFTA_CHAIN_TYPE), hookDevices(hook)
	c.hook, c.priority = Hook(hook.u32(unix.NFTA_HOOK_HOOKNUM)), int32(hook.u32(unix.NFTA_HOOK_PRIORITY))
	// An inet chain at the ingress of a device sees packets before all this.
	c.base = t.isIP() && c.hook <= Postrouting
	if a.has(unix.NFTA_CHAIN_POLICY) {
		c.policy = a.u32(unix.NFTA_CHAIN_POLICY)
	}
	return c
}

func (c *conn) rules(t *table) error {
	return c.dump(unix.NFT_MSG_GETRULE, t.family, appendText(nil, unix.NFTA_RULE_TABLE, t.name), func(family uint8, a attributes) {
		home := t.chains[a.text(unix.NFTA_RULE_CHAIN)]
		// Linux before 4.17 does not filter the dump.
		if home == nil || family != t.family || a.text(unix.NFTA_RULE_TABLE) != t.name {
			return
		}
		r := &rule{chain: home, handle: a.u64(unix.NFTA_RULE_HANDLE)}
		a.get(unix.NFTA_RULE_EXPRESSIONS).nested(func(e attributes) {
			r.expressions = append(r.expressions, expression{name: e.text(unix.NFTA_EXPR_NAME), data: e.get(unix.NFTA_EXPR_DATA)})
		})
		r.comment = ruleComment(r, a.get(unix.NFTA_RULE_USERDATA))
		home.rules = append(home.rules, r)
	})
}

// ruleComment finds the comment where nft puts it, in the user data (a byte of
// type, 0 for a comment, a byte of length, the text), or iptables, in a match.
func ruleComment(r *rule, userdata []byte) string {
	for len(userdata) >= 2 && len(userdata) >= 2+int(userdata[1]) {
		value := userdata[2 : 2+int(userdata[1])]
		if userdata[0] == 0 {
			return unix.ByteSliceToString(value)
		}
		userdata = userdata[2+len(value):]
	}
	for _, e := range r.expressions {
		if e.name == "match" && e.data.text(unix.NFTA_MATCH_NAME) == "comment" {
			return e.data.text(unix.NFTA_MATCH_INFO)
		}
	}
	return ""
}
