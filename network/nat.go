package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Our table, all of it:
//
//	table ip minictr {
//	    set bridges { type ifname;                       elements = { "minictr0" } }
//	    set subnets { type ipv4_addr; flags interval;    elements = { 172.17.0.0/16 } }
//	    chain postrouting {
//	        type nat hook postrouting priority srcnat; policy accept;
//	        ip saddr @subnets oifname != @bridges masquerade
//	    }
//	}
//
// The rules never change: a network is one element in each set, whatever the
// number of networks, and a container is none.
//
// The family is ip and not inet, because a nat chain of family inet would
// switch on connection tracking of the whole host's IPv6 traffic
// (nf_ct_netns_inet_get), for containers that have no IPv6. When they get it,
// a table ip6 minictr stands beside this one; a transaction may span both.
const (
	tableName   = "minictr"
	bridgesSet  = "bridges"
	subnetsSet  = "subnets"
	postrouting = "postrouting"
)

// ruleComment begins the comment of every rule of ours.
const ruleComment = "minictr: "

// isOurs tells a rule of ours by its comment.
func isOurs(comment string) bool { return strings.HasPrefix(comment, ruleComment) }

// elementComment says in the element whose it is.
func elementComment(network string) string { return "network " + network }

// AddMasquerade lets a network's containers out: what leaves its subnet by
// another link than a bridge of ours gets the host's address as its source,
// and the answers find back. It makes the table if it is missing, and puts the
// network's bridge and subnet into the table's sets, all in one transaction.
type AddMasquerade struct {
	Network string       // "bridge"; named in the comments
	Bridge  string       // minictr0
	Subnet  netip.Prefix // 172.17.0.0/16
	Lease   Lease        // whose launch this is

	made bool
}

func (s *AddMasquerade) object() string { return s.Subnet.String() }

// Apply asks for the two elements and is done when they are there: the rules
// came with the first of them.
func (s *AddMasquerade) Apply() error {
	present, err := s.present()
	if err == nil && !present {
		err = s.add()
		s.made = err == nil
	}
	return explain("add masquerade", s.object(), err)
}

// present asks the kernel for both elements, without the library, which can
// only list whole sets.
func (s *AddMasquerade) present() (bool, error) {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return false, err
	}
	defer c.close()
	for set, key := range map[string][]byte{
		bridgesSet: ifname(s.Bridge),
		subnetsSet: s.Subnet.Addr().AsSlice(),
	} {
		err := c.do(getElement(set, key), nil)
		if errors.Is(err, unix.ENOENT) { // no table, no set or no element
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// getElement is the request NFT_MSG_GETSETELEM for one element, Linux 4.15.
func getElement(set string, key []byte) *nl.NetlinkRequest {
	elements := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
	elements.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil).
		AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil).
		AddRtAttr(unix.NFTA_DATA_VALUE, key)
	return request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, unix.NLM_F_ACK,
		&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_IPV4, Version: nl.NFNETLINK_V0},
		nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(tableName)),
		nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(set)),
		elements)
}

// ifname is the name as the kernel compares it: 16 bytes, padded with zeros.
func ifname(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

// add sends the transaction. Everything in it may be there already: where two
// launches race, both send it, and the chain is flushed before its rule is
// added, so that it ends with one.
func (s *AddMasquerade) add() error {
	c, t := &nftables.Conn{}, newTable()
	c.AddTable(t.table)
	for _, set := range t.sets() {
		if err := c.AddSet(set, nil); err != nil {
			return err
		}
	}
	c.AddChain(t.chain)
	c.FlushChain(t.chain)
	for _, r := range t.rules() {
		c.AddRule(r)
	}
	for set, elements := range s.elements(t) {
		if err := c.SetAddElements(set, elements); err != nil {
			return err
		}
	}
	return c.Flush()
}

// A ruleset is our table as the library wants it.
type ruleset struct {
	table            *nftables.Table
	bridges, subnets *nftables.Set
	chain            *nftables.Chain
}

func newTable() ruleset {
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	return ruleset{
		table: t,
		// Numbers of their own within the transaction: the library would count them
		// in a variable that all its users share. The byte order is for nft(8) only,
		// which needs it to print the names.
		bridges: &nftables.Set{Table: t, ID: 1, Name: bridgesSet, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian},
		subnets: &nftables.Set{Table: t, ID: 2, Name: subnetsSet, KeyType: nftables.TypeIPAddr, Interval: true},
		chain: &nftables.Chain{
			Table: t, Name: postrouting, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
			Policy: new(nftables.ChainPolicyAccept),
		},
	}
}

func (t ruleset) sets() []*nftables.Set { return []*nftables.Set{t.bridges, t.subnets} }

// rules are the rules of chain postrouting.
func (t ruleset) rules() []*nftables.Rule {
	return []*nftables.Rule{{
		Table: t.table, Chain: t.chain,
		Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
			&expr.Lookup{SourceRegister: 1, SetName: subnetsSet},
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Lookup{SourceRegister: 1, SetName: bridgesSet, Invert: true},
			&expr.Masq{},
		},
		UserData: userdata.AppendString(nil, userdata.TypeComment, ruleComment+"containers leave with the address of the host"),
	}}
}

// elements are what the network adds to the sets. An interval is two elements,
// its first key and the first one behind it.
func (s *AddMasquerade) elements(t ruleset) map[*nftables.Set][]nftables.SetElement {
	comment := elementComment(s.Network)
	return map[*nftables.Set][]nftables.SetElement{
		t.bridges: {{Key: ifname(s.Bridge), Comment: comment}},
		t.subnets: {
			{Key: s.Subnet.Addr().AsSlice(), Comment: comment},
			{Key: broadcast(s.Subnet).Next().AsSlice(), IntervalEnd: true},
		},
	}
}

// Undo takes the network out of the table if this step put it in and no other
// container has a lease of the network.
func (s *AddMasquerade) Undo() error {
	if !s.made {
		return nil
	}
	s.made = false
	return explain("delete masquerade", s.object(),
		s.Lease.unused(false, func() error { return removeNetwork(s.Network) }))
}

// Check asks for the elements and for the rule.
func (s *AddMasquerade) Check() error {
	present, err := s.present()
	if err == nil && !present {
		err = fmt.Errorf("%s or %s is not in the sets of table ip %s", s.Bridge, s.Subnet, tableName)
	}
	if err == nil {
		err = checkRules()
	}
	return step.Fail("check masquerade", s.object(), err)
}

func checkRules() error {
	t := newTable()
	have, err := (&nftables.Conn{}).GetRules(t.table, t.chain)
	if err != nil {
		return err
	}
	for i, want := range t.rules() {
		if i >= len(have) || ruleText(have[i]) != ruleText(want) {
			return fmt.Errorf("chain %s does not have the rule: %s", postrouting, ruleText(want))
		}
	}
	return nil
}

// Words says the step in plain words.
func (s *AddMasquerade) Words() string {
	return fmt.Sprintf("let %s out: what leaves by another link than a bridge gets the address of the host", s.Subnet)
}

func (s *AddMasquerade) String() string {
	var b strings.Builder
	b.WriteString("nft -f - <<'END'\n")
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("add table ip %s", tableName)
	line("add set ip %s %s { type ifname; }", tableName, bridgesSet)
	line("add set ip %s %s { type ipv4_addr; flags interval; }", tableName, subnetsSet)
	line("add chain ip %s %s { type nat hook postrouting priority srcnat; policy accept; }", tableName, postrouting)
	line("flush chain ip %s %s", tableName, postrouting)
	for _, r := range newTable().rules() {
		line("add rule ip %s %s %s", tableName, postrouting, ruleText(r))
	}
	line("%s", elementText(bridgesSet, fmt.Sprintf("%q", s.Bridge), elementComment(s.Network)))
	line("%s", elementText(subnetsSet, s.Subnet.String(), elementComment(s.Network)))
	b.WriteString("END")
	return b.String()
}

// elementText is the command that adds the element.
func elementText(set, key, comment string) string {
	if comment != "" {
		key += fmt.Sprintf(" comment %q", comment)
	}
	return fmt.Sprintf("add element ip %s %s { %s }", tableName, set, key)
}
