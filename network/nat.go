package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// AddFirewall puts a network into our nftables tables: that of IPv4 when the
// network has an IPv4 subnet, that of IPv6 when it has an IPv6 one. From then on
// its containers leave with the host's address, or not at all where the network
// is internal; nobody else reaches them but by published ports. It makes a table
// that is missing or of an older layout, all in one transaction.
type AddFirewall struct {
	Network  string       // "bridge"; named in the comments
	Bridge   string       // minictr0
	Gateway  netip.Prefix // 172.17.0.1/16; the zero Prefix without IPv4
	Gateway6 netip.Prefix // fd4d:…::1/64; the zero Prefix without IPv6
	Internal bool         // without a way out
	Lease    Lease        // whose launch this is

	made, madeTable bool
}

// MadeTable reports whether Apply found no table. When other containers run,
// somebody has taken it away, and what they had in it has to be put back.
func (s *AddFirewall) MadeTable() bool { return s.madeTable }

func (s *AddFirewall) object() string { return "of network " + s.Network }

// gateways are the network's gateways by the family of the table.
func (s *AddFirewall) gateways() map[family]netip.Prefix {
	g := map[family]netip.Prefix{}
	if s.Gateway.IsValid() {
		g[ipv4] = s.Gateway
	}
	if s.Gateway6.IsValid() {
		g[ipv6] = s.Gateway6
	}
	return g
}

// Apply asks for the network's elements and is done when they are there: the
// rules came with the first of them.
func (s *AddFirewall) Apply() error {
	err := s.apply()
	return explain("add firewall", s.object(), err)
}

func (s *AddFirewall) apply() error {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer c.close()
	batch := &nftables.Conn{}
	for _, f := range families() {
		gateway, has := s.gateways()[f]
		if !has {
			continue
		}
		t := newTable(f)
		wanted := s.elements(gateway)
		missing, err := c.missing(t, append([]element{layoutElement()}, wanted...))
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			continue
		}
		s.made = true
		if missing[0].set == layoutSet {
			s.madeTable = true
			if err := t.addAll(batch); err != nil {
				return err
			}
		}
		if err := t.addElements(batch, wanted); err != nil {
			return err
		}
	}
	if err := batch.Flush(); err != nil {
		s.made = false
		return err
	}
	return nil
}

// addAll makes the table with all that never changes. Everything may be there
// already: where two launches race, both send it, and a chain is flushed before
// its rules are added, so that it has each once.
func (t table) addAll(batch *nftables.Conn) error {
	batch.AddTable(t.table)
	for _, set := range t.sets() {
		if err := batch.AddSet(set, nil); err != nil {
			return err
		}
	}
	for _, chain := range t.chains() {
		batch.AddChain(chain)
		batch.FlushChain(chain)
	}
	for _, r := range t.rules() {
		batch.AddRule(r)
	}
	batch.FlushSet(t.set(layoutSet))
	return t.addElements(batch, []element{layoutElement()})
}

// MakeRules makes our table of IPv4 with all that never changes, sets, chains and
// rules, or puts those of a table back that somebody has changed. Elements stay.
func MakeRules() error {
	batch := &nftables.Conn{}
	err := newTable(ipv4).addAll(batch)
	if err == nil {
		err = batch.Flush()
	}
	return explain("make the rules of", "table ip "+tableName, err)
}

// layoutElement is what tells a table of this layout.
func layoutElement() element {
	return element{set: layoutSet, key: binaryutil.NativeEndian.PutUint32(layout)}
}

// elements are what the network adds to the sets of one table.
func (s *AddFirewall) elements(gateway netip.Prefix) []element {
	comment := elementComment(s.Network)
	name := ifname(s.Bridge)
	subnet := gateway.Masked()
	list := []element{
		{set: bridgesSet, key: name},
		{set: sameSet, key: append(ifname(s.Bridge), name...)},
		{set: hairpinSet, key: append(subnet.Addr().AsSlice(), name...), end: append(lastOf(subnet).AsSlice(), name...)},
	}
	if s.Internal {
		list = append(list, element{set: internalSet, key: name})
	} else {
		list = append(list, element{set: subnetsSet, key: subnet.Addr().AsSlice(), end: lastOf(subnet).Next().AsSlice()})
	}
	for _, protocol := range []string{"udp", "tcp"} {
		service := Port{HostIP: gateway.Addr(), HostPort: nameServerPort, Protocol: protocol}
		list = append(list, element{set: servicesSet, key: service.key()})
	}
	for i := range list {
		list[i].comment = comment
	}
	return list
}

// nameServerPort is where the name server of a network listens on its gateway.
const nameServerPort = 53

// elementComment says in the element whose it is.
func elementComment(network string) string { return "network " + network }

// ifname is the name as the kernel compares it: 16 bytes, padded with zeros.
func ifname(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

// lastOf is the last address of the subnet, of either family.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// key is the first port as the sets have it: protocol . address . port, each
// padded to 4 bytes.
func (p Port) key() []byte {
	key := append([]byte{protocols()[p.Protocol], 0, 0, 0}, p.HostIP.AsSlice()...)
	return append(key, portKey(p.HostPort)...)
}

func portKey(port uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, port), 0, 0) }

// Undo takes the network out of the tables if this step put it in and no other
// container has a lease of the network.
func (s *AddFirewall) Undo() error {
	if !s.made {
		return nil
	}
	s.made = false
	return explain("delete firewall", s.object(),
		s.Lease.unused(false, func() error { return removeNetwork(s.Network) }))
}

// Words says the step in plain words.
func (s *AddFirewall) Words() string {
	if s.Internal {
		return fmt.Sprintf("keep network %s to itself: nothing gets in or out, but within it", s.Network)
	}
	return fmt.Sprintf("let network %s out with the address of the host, and nobody in but to published ports", s.Network)
}

func (s *AddFirewall) String() string {
	var b strings.Builder
	b.WriteString("nft -f - <<'END'\n")
	for _, f := range families() {
		if gateway, has := s.gateways()[f]; has {
			t := newTable(f)
			b.WriteString(t.script())
			for _, e := range s.elements(gateway) {
				b.WriteString(t.command(e) + "\n")
			}
		}
	}
	return b.String() + "END"
}

// script is addAll in nft's language.
func (t table) script() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("add table %s %s", t.family, tableName)
	for _, set := range t.sets() {
		line("%s", setText(t.family, set))
	}
	for _, chain := range t.chains() {
		line("add chain %s %s %s%s", t.family, tableName, chain.Name, hookText(chain))
		line("flush chain %s %s %s", t.family, tableName, chain.Name)
	}
	for _, r := range t.rules() {
		line("%s", ruleCommand(r))
	}
	line("flush set %s %s %s", t.family, tableName, layoutSet)
	line("%s", t.command(layoutElement()))
	return b.String()
}

func ruleCommand(r *nftables.Rule) string {
	return fmt.Sprintf("add rule %s %s %s %s", family(r.Table.Family), tableName, r.Chain.Name, ruleText(r))
}

// setText is the command that makes the set or map.
func setText(f family, set *nftables.Set) string {
	kind, of := "set", set.KeyType.Name
	if set.IsMap {
		kind, of = "map", of+" : "+set.DataType.Name
	}
	if set.Interval {
		of += "; flags interval"
	}
	return fmt.Sprintf("add %s %s %s %s { type %s; }", kind, f, tableName, set.Name, of)
}

// hookText is where a base chain hangs.
func hookText(c *nftables.Chain) string {
	if c.Hooknum == nil {
		return ""
	}
	hook := map[uint32]string{
		unix.NF_INET_PRE_ROUTING: "prerouting", unix.NF_INET_FORWARD: "forward",
		unix.NF_INET_LOCAL_OUT: "output", unix.NF_INET_POST_ROUTING: "postrouting",
	}[uint32(*c.Hooknum)]
	return fmt.Sprintf(" { type %s hook %s priority %d; policy accept; }", c.Type, hook, *c.Priority)
}

// isOurs tells a rule of ours by its comment.
func isOurs(r *nftables.Rule) bool {
	comment, ok := userdata.GetString(r.UserData, userdata.TypeComment)
	return ok && strings.HasPrefix(comment, ruleComment)
}
