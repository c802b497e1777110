package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A FirewallDrift is what one of our tables lacks of a network, or has too much.
type FirewallDrift struct {
	Family  string // "ip" or "ip6"
	NoTable bool   // all of it is missing
	Missing []Piece
	Foreign []Piece // that are not ours, or do not belong there
}

// A Piece is an element of a set, a rule of a chain, or a chain.
type Piece struct {
	Set, Chain string // one of them
	Text       string
	// Masquerade says that it gives what leaves the address of the host.
	Masquerade bool
	Handle     uint64 // of a rule
	Delete     string // the command of nft(8) that takes away what is foreign
}

func (d *FirewallDrift) Error() string {
	table := "table " + d.Family + " " + tableName
	if d.NoTable {
		return "there is no " + table
	}
	switch {
	case len(d.Missing) > 0 && d.Missing[0].Set != "":
		return fmt.Sprintf("%s is not in the set %s of %s", d.Missing[0].Text, d.Missing[0].Set, table)
	case len(d.Missing) > 0:
		return fmt.Sprintf("chain %s of %s does not have the rule: %s", d.Missing[0].Chain, table, d.Missing[0].Text)
	case len(d.Foreign) > 0 && d.Foreign[0].Set != "":
		return fmt.Sprintf("%s is in the set %s of %s and should not be", d.Foreign[0].Text, d.Foreign[0].Set, table)
	case len(d.Foreign) > 0:
		return fmt.Sprintf("chain %s of %s has what is not ours: %s", d.Foreign[0].Chain, table, d.Foreign[0].Text)
	}
	return table + " is as it should be"
}

// Check asks for the elements and for the rules. What differs is a FirewallDrift, of
// each family one.
func (s *AddFirewall) Check() error {
	var errs []error
	for _, f := range families() {
		if gateway, has := s.gateways()[f]; has {
			errs = append(errs, s.check(newTable(f), gateway))
		}
	}
	return step.Fail("check firewall", s.object(), errors.Join(errs...))
}

func (s *AddFirewall) check(t table, gateway netip.Prefix) error {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer c.close()
	d := &FirewallDrift{Family: t.family.String()}
	wanted := append([]element{layoutElement()}, s.elements(gateway)...)
	missing, err := c.missing(t, wanted)
	if err != nil {
		return err
	}
	if len(missing) > 0 && missing[0].set == layoutSet {
		d.NoTable = true
		return d
	}
	for _, e := range missing {
		d.Missing = append(d.Missing, Piece{Set: e.set, Text: t.keyText(e), Masquerade: e.set == subnetsSet})
	}
	if err := errors.Join(s.wrong(c, t, d), t.compareChains(d)); err != nil {
		return err
	}
	if len(d.Missing)+len(d.Foreign) == 0 {
		return nil
	}
	return d
}

// wrong looks for the network among those that have no way out.
func (s *AddFirewall) wrong(c *conn, t table, d *FirewallDrift) error {
	if s.Internal {
		return nil
	}
	e := element{set: internalSet, key: ifname(s.Bridge)}
	missing, err := c.missing(t, []element{e})
	if err == nil && len(missing) == 0 {
		d.Foreign = append(d.Foreign, Piece{Set: e.set, Text: t.keyText(e), Delete: "nft '" + t.change("delete", e) + "'"})
	}
	return err
}

// compareChains wants each chain to have its rules, no other ones, and to let pass what
// none of them is about; and no chains that are not ours.
func (t table) compareChains(d *FirewallDrift) error {
	want := map[string][]string{}
	for _, r := range t.rules() {
		want[r.Chain.Name] = append(want[r.Chain.Name], ruleText(r))
	}
	all, err := (&nftables.Conn{}).ListChainsOfTableFamily(nftables.TableFamily(t.family))
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	for _, chain := range all {
		if chain.Table.Name != tableName {
			continue
		}
		ours := slices.ContainsFunc(t.chains(), func(c *nftables.Chain) bool { return c.Name == chain.Name })
		if !ours && chain.Hooknum != nil {
			d.Foreign = append(d.Foreign, Piece{Chain: chain.Name, Text: "the chain itself", Delete: fmt.Sprintf("nft 'flush chain %[1]s %[2]s %[3]s; delete chain %[1]s %[2]s %[3]s'", t.family, tableName, chain.Name)})
		}
		if ours && chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop {
			d.Foreign = append(d.Foreign, Piece{Chain: chain.Name, Text: "policy drop", Delete: fmt.Sprintf("nft 'chain %s %s %s { policy accept; }'", t.family, tableName, chain.Name)})
		}
	}
	for _, chain := range t.chains() {
		have, err := (&nftables.Conn{}).GetRules(t.table, chain)
		if err != nil {
			return fmt.Errorf("list chain %s: %w", chain.Name, err)
		}
		t.compareRules(d, chain.Name, want[chain.Name], have)
	}
	return nil
}

// compareRules finds what of the wanted rules is missing, in their order, and what is
// there beside them.
func (t table) compareRules(d *FirewallDrift, chain string, want []string, have []*nftables.Rule) {
	for _, r := range have {
		text := ruleText(r)
		if i := slices.Index(want, text); i >= 0 {
			for _, missing := range want[:i] {
				d.lacks(chain, missing)
			}
			want = want[i+1:]
			continue
		}
		d.Foreign = append(d.Foreign, Piece{
			Chain: chain, Text: text, Handle: r.Handle,
			Delete: fmt.Sprintf("nft delete rule %s %s %s handle %d", t.family, tableName, chain, r.Handle),
		})
	}
	for _, missing := range want {
		d.lacks(chain, missing)
	}
}

func (d *FirewallDrift) lacks(chain, rule string) {
	d.Missing = append(d.Missing, Piece{Chain: chain, Text: rule, Masquerade: chain == postrouting})
}

// Renew makes all of our tables that the network is in anew: the rules that somebody has
// taken away or added, too, which Apply does not look at.
func (s *AddFirewall) Renew() error {
	batch := &nftables.Conn{}
	for _, f := range families() {
		gateway, has := s.gateways()[f]
		if !has {
			continue
		}
		t := newTable(f)
		if err := errors.Join(t.addAll(batch), t.addElements(batch, s.elements(gateway))); err != nil {
			return err
		}
	}
	return explain("renew firewall", s.object(), batch.Flush())
}
