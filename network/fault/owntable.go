package fault

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"

	"github.com/minictr/minictr/network"
)

// ownName is the name of minictr's tables; the faults are about that of family ip.
const ownName = "minictr"

func ourTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyIPv4, Name: ownName}
}

// element is an element of a set or a map of minictr's table. An interval of a set is
// two: its first key, and the first one behind it.
type element struct {
	Set      string
	Elements []nftables.SetElement
	// Instead are elements with the same keys and other values, which are there when
	// these are not.
	Instead []nftables.SetElement
	Text    string // in nft's language, without the comment
	Value   string // of an element of a map that comes instead of others: comment and value
}

// elementsOf are those of the set that are wanted, and what follows each that is the
// end of an interval.
func elementsOf(set string, wanted func(nftables.SetElement) bool) (list []nftables.SetElement, err error) {
	c := &nftables.Conn{}
	s, err := c.GetSetByName(ourTable(), set)
	if err != nil {
		return nil, err
	}
	all, err := c.GetSetElements(s)
	for _, e := range all {
		if !e.IntervalEnd && wanted(e) {
			list = append(append(list, e), endOf(e, all)...)
		}
	}
	return list, err
}

// endOf is the end of the interval that the element begins: the first one behind it.
// Where another interval follows at once, that begins with the same key.
func endOf(e nftables.SetElement, all []nftables.SetElement) (end []nftables.SetElement) {
	for _, other := range all {
		if other.IntervalEnd && bytes.Compare(other.Key, e.Key) > 0 && (end == nil || bytes.Compare(other.Key, end[0].Key) < 0) {
			end = []nftables.SetElement{other}
		}
	}
	return end
}

func (s *element) has() (bool, error) {
	first := s.Elements[0]
	list, err := elementsOf(s.Set, func(e nftables.SetElement) bool {
		return bytes.Equal(e.Key, first.Key) && bytes.Equal(e.Val, first.Val)
	})
	return len(list) > 0, err
}

func (s *element) put() error  { return s.change(s.Instead, s.Elements) }
func (s *element) take() error { return s.change(s.Elements, s.Instead) }

// change takes some elements out and puts others in, at once.
func (s *element) change(out, in []nftables.SetElement) error {
	c := &nftables.Conn{}
	set, err := c.GetSetByName(ourTable(), s.Set)
	if err != nil {
		return err
	}
	if len(out) > 0 {
		err = c.SetDeleteElements(set, out)
	}
	if err == nil && len(in) > 0 {
		err = c.SetAddElements(set, in)
	}
	return errors.Join(err, c.Flush())
}

func (s *element) what() string {
	return "element " + s.Text + " of set " + s.Set + " in table ip minictr"
}

func (s *element) command(put bool) string {
	text := fmt.Sprintf("nft %s element ip minictr %s '{ %s }'", word(put && s.Value == "", "add", "delete"), s.Set, s.Text)
	if put && s.Value != "" {
		text += fmt.Sprintf("\nnft add element ip minictr %s '{ %s %s }'", s.Set, s.Text, s.Value)
	}
	return text
}

// ownTable is minictr's whole table. The rules and sets are as minictr makes them; the
// elements are remembered.
type ownTable struct {
	Sets []ownSet
}

type ownSet struct {
	Name     string
	Elements []nftables.SetElement
}

// readOwnTable reads all elements.
func readOwnTable() (*ownTable, error) {
	c := &nftables.Conn{}
	sets, err := c.GetSets(ourTable())
	if err != nil {
		return nil, err
	}
	t := &ownTable{}
	for _, s := range sets {
		all, err := c.GetSetElements(s)
		if err != nil {
			return nil, err
		}
		t.Sets = append(t.Sets, ownSet{s.Name, all})
	}
	return t, nil
}

func (s *ownTable) has() (bool, error) { return hasTable("ip", ownName) }

func (s *ownTable) put() error {
	if err := network.MakeRules(); err != nil {
		return err
	}
	c := &nftables.Conn{}
	for _, kept := range s.Sets {
		set, err := c.GetSetByName(ourTable(), kept.Name)
		if err == nil && len(kept.Elements) > 0 {
			err = c.SetAddElements(set, kept.Elements)
		}
		if err != nil {
			return err
		}
	}
	return c.Flush()
}

func (s *ownTable) take() error {
	c := &nftables.Conn{}
	c.DelTable(ourTable())
	return c.Flush()
}

func (s *ownTable) what() string { return "table ip minictr" }

func (s *ownTable) command(put bool) string {
	if put {
		return "minictr network reload"
	}
	return "nft delete table ip minictr"
}

// ownRules are the rules of minictr's table, as minictr makes them: they never change.
type ownRules struct {
	Chain   string // of which all rules go; empty for all chains, or
	Comment string // only the rule of Chain with the comment
	Insert  *match // a rule that comes first in Chain instead
}

// ours lists the rules of the chain.
func (s *ownRules) ours() (list []*nftables.Rule, err error) {
	c := &nftables.Conn{}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	for _, chain := range chains {
		if chain.Table.Name == ownName && (s.Chain == "" || chain.Name == s.Chain) {
			rules, err := c.GetRules(chain.Table, chain)
			if err != nil {
				return nil, err
			}
			list = append(list, rules...)
		}
	}
	return list, err
}

func comment(r *nftables.Rule) string {
	text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return text
}

// has tells whether the rules are as minictr makes them.
func (s *ownRules) has() (bool, error) {
	list, err := s.ours()
	if s.Insert != nil {
		return !slices.ContainsFunc(list, func(r *nftables.Rule) bool { return comment(r) == "" }), err
	}
	return slices.ContainsFunc(list, s.meant), err
}

func (s *ownRules) meant(r *nftables.Rule) bool { return s.Comment == "" || comment(r) == s.Comment }

func (s *ownRules) put() error { return network.MakeRules() }

func (s *ownRules) take() error {
	c := &nftables.Conn{}
	if s.Insert != nil {
		exprs, err := s.Insert.exprs()
		if err != nil {
			return err
		}
		c.InsertRule(&nftables.Rule{Table: ourTable(), Chain: &nftables.Chain{Table: ourTable(), Name: s.Chain}, Exprs: exprs})
		return c.Flush()
	}
	list, err := s.ours()
	if err != nil {
		return err
	}
	for _, r := range list {
		if s.meant(r) {
			if err := c.DelRule(r); err != nil {
				return err
			}
		}
	}
	return c.Flush()
}

func (s *ownRules) what() string {
	return strings.TrimSpace("rules of minictr's own in table ip minictr " + s.Chain)
}

func (s *ownRules) command(put bool) string {
	switch {
	case put:
		return "minictr network reload"
	case s.Insert != nil:
		return "nft insert rule ip minictr " + s.Chain + " " + s.Insert.String()
	case s.Comment != "":
		return fmt.Sprintf("nft delete rule ip minictr %s handle \"$(nft -a list chain ip minictr %s | sed -n 's/.*%s.*handle //p')\"", s.Chain, s.Chain, s.Comment)
	case s.Chain != "":
		return "nft flush chain ip minictr " + s.Chain
	}
	return "nft flush table ip minictr"
}
