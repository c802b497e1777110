package firewall

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// ReadEvery reads all tables of all families that an IP packet may pass: those of
// Read, bridge and netdev. Walk goes by the chains that Read reads, of any.
func ReadEvery() (*Ruleset, error) {
	return read(func(k tableKey) bool {
		return k.isIP() || k.family == unix.NFPROTO_BRIDGE || k.family == unix.NFPROTO_NETDEV
	})
}

const hookDevs = 4 // NFTA_HOOK_DEVS, a list of names; linux/netfilter/nf_tables.h

// hookDevices are the links that a chain hangs at.
func hookDevices(hook attributes) (names []string) {
	if name := hook.text(unix.NFTA_HOOK_DEV); name != "" {
		return []string{name}
	}
	hook.get(hookDevs).nested(func(name attributes) { names = append(names, unix.ByteSliceToString(name)) })
	return names
}

// A Base is a base chain: where packets enter a table.
type Base struct {
	Family   string // "ip", "ip6", "inet", "bridge" or "netdev"
	Table    string
	Name     string
	Kind     string // "filter", "nat" or "route"
	Hook     string // "prerouting", …, "ingress" or "egress"
	Priority int32
	Drops    bool     // its policy is drop
	Devices  []string // of hooks ingress and egress
	Owner    string   // as Owner says
}

// Bases lists the base chains, those of one hook in the order of their priority.
func (r *Ruleset) Bases() []Base {
	var list []Base
	for _, c := range r.inOrder() {
		list = append(list, c.listed())
	}
	slices.SortStableFunc(list, func(a, b Base) int { return cmp.Compare(a.Hook, b.Hook) })
	return list
}

// inOrder are all base chains in the order in which a packet meets those of its
// hook. Of equal priority the youngest comes first (nf_hook_entries_grow), and the
// kernel lists the oldest table first.
func (r *Ruleset) inOrder() []*chain {
	list := slices.Concat(r.bases, r.others)
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b *chain) int { return cmp.Compare(a.priority, b.priority) })
	return list
}

func (c *chain) listed() Base {
	v := Verdict{Family: familyName(c.table.family), Table: c.table.name, Chain: c.name, base: c}
	return Base{
		Family: v.Family, Table: v.Table, Name: c.name, Kind: c.kind, Hook: c.hookName(), Priority: c.priority,
		Drops: c.policy != nfAccept, Devices: c.devices, Owner: v.owner(),
	}
}

// hookName is nft's name of the hook, whose number means another one in family
// netdev, and behind the last of family inet.
func (c *chain) hookName() string {
	const inetIngress = 5 // NF_INET_INGRESS, linux/netfilter.h
	switch {
	case c.table.family == unix.NFPROTO_NETDEV && c.hook == 0, c.table.family == unix.NFPROTO_INET && c.hook == inetIngress:
		return "ingress"
	case c.table.family == unix.NFPROTO_NETDEV:
		return "egress"
	}
	return c.hook.String()
}
