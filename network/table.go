package network

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// Our table, all of it, as nft -f - would read it:
//
//	table ip minictr {
//	    set bridges    { type ifname }               every bridge of ours
//	    set internal   { type ifname }               those of networks without a way out
//	    set same       { type ifname . ifname }      each bridge with itself
//	    set subnets    { type ipv4_addr; interval }  what leaves with the host's address
//	    set hairpin    { address . ifname; interval } each subnet with its bridge
//	    set services   { protocol . address . port } ours on the gateways: the name servers
//	    map published  { protocol . address . port : address . port }     one port of one address
//	    map everywhere { protocol . port           : address . port }     one port of all of them
//	    map ranges     { protocol . address . port : address; interval }  many, kept as they are
//
//	    chain prerouting  what comes to an address of the host is looked up in the maps
//	    chain output      the same for what the host sends to itself
//	    chain forward     who may talk to whom
//	    chain postrouting who gets the host's address as its source
//	    chain raw         127.0.0.0/8 is for the host alone
//	}
//
// The rules never change. A network is an element in some of the sets, a
// published port is one in a map, and a container without is none. An element
// says in its comment whose it is.
//
// A packet's way to a published port is one lookup or three, whatever the number
// of ports. The two hash maps are not one with intervals, because adding to a map
// of concatenated intervals (pipapo) copies all of it: 0.7 ms with 10,000 in it,
// and a second for 5,000 at a time; a hash takes 0.15 ms and 13. Only a range whose
// ports are the same on both sides is one interval, since nftables cannot count.
//
// The family is ip and not inet, because a nat chain of family inet would
// switch on connection tracking of the whole host's IPv6 traffic
// (nf_ct_netns_inet_get), for containers that have no IPv6. With the first network
// that has it, a table ip6 minictr stands beside this one.
const (
	tableName   = "minictr"
	layoutSet   = "layout"
	bridgesSet  = "bridges"
	internalSet = "internal"
	sameSet     = "same"
	subnetsSet  = "subnets"
	hairpinSet  = "hairpin"
	servicesSet = "services"

	publishedMap  = "published"
	everywhereMap = "everywhere"
	rangesMap     = "ranges"

	rawChain    = "raw"
	prerouting  = "prerouting"
	output      = "output"
	published   = "published"
	forward     = "forward"
	postrouting = "postrouting"
)

// layout numbers the tables that minictr has ever made. It is the one element of
// the set layout, so that one look tells an older table, whose chains are then
// made anew. Who changes a set, a chain or a rule takes the next number.
const layout = 2

// A family is the IP version of one of our tables, an address family of nfnetlink.
type family uint8

const (
	ipv4 family = unix.NFPROTO_IPV4
	ipv6 family = unix.NFPROTO_IPV6
)

func families() []family { return []family{ipv4, ipv6} }

func (f family) is4() bool { return f == ipv4 }

// String is the family's name in nft's language: ip, ip6.
func (f family) String() string {
	if f == ipv4 {
		return "ip"
	}
	return "ip6"
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// unspecified is the address that stands for all of the family.
func (f family) unspecified() netip.Addr {
	if f == ipv4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// A table is our table of one family, as the library wants it.
type table struct {
	family family
	table  *nftables.Table
}

func newTable(f family) table {
	return table{f, &nftables.Table{Family: nftables.TableFamily(f), Name: tableName}}
}

// address is the type of the family's addresses.
func (t table) address() nftables.SetDatatype {
	if t.family == ipv4 {
		return nftables.TypeIPAddr
	}
	return nftables.TypeIP6Addr
}

// sets lists the sets and maps, in the order of their making.
func (t table) sets() []*nftables.Set {
	ifname, service, proto := nftables.TypeIFName, nftables.TypeInetService, nftables.TypeInetProto
	list := []*nftables.Set{
		// The byte order is for nft(8) only, which needs it to print the names.
		{Name: layoutSet, KeyType: nftables.TypeMark, KeyByteOrder: binaryutil.NativeEndian},
		{Name: bridgesSet, KeyType: ifname, KeyByteOrder: binaryutil.NativeEndian},
		{Name: internalSet, KeyType: ifname, KeyByteOrder: binaryutil.NativeEndian},
		{Name: sameSet, KeyType: nftables.MustConcatSetType(ifname, ifname)},
		{Name: subnetsSet, KeyType: t.address(), Interval: true},
		{Name: hairpinSet, Interval: true, Concatenation: true, KeyType: nftables.MustConcatSetType(t.address(), ifname)},
		{Name: servicesSet, KeyType: nftables.MustConcatSetType(proto, t.address(), service)},
		{
			Name: publishedMap, IsMap: true, KeyType: nftables.MustConcatSetType(proto, t.address(), service),
			DataType: nftables.MustConcatSetType(t.address(), service),
		},
		{
			Name: everywhereMap, IsMap: true, KeyType: nftables.MustConcatSetType(proto, service),
			DataType: nftables.MustConcatSetType(t.address(), service),
		},
		{
			Name: rangesMap, IsMap: true, Interval: true, Concatenation: true,
			KeyType: nftables.MustConcatSetType(proto, t.address(), service), DataType: t.address(),
		},
	}
	for i, set := range list {
		// Numbers of their own within the transaction: the library would count
		// them in a variable that all its users share.
		set.Table, set.ID = t.table, uint32(i+1)
		if t.family == ipv6 {
			set.ID += 100
		}
	}
	return list
}

// set is the set or map of the name.
func (t table) set(name string) *nftables.Set {
	for _, s := range t.sets() {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// chains lists the chains, those first that others jump to.
func (t table) chains() []*nftables.Chain {
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		return &nftables.Chain{Table: t.table, Name: name, Type: kind, Hooknum: hook, Priority: priority, Policy: &accept}
	}
	return []*nftables.Chain{
		{Table: t.table, Name: published},
		base(rawChain, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw),
		base(prerouting, nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest),
		base(output, nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest),
		base(forward, nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),
		base(postrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource),
	}
}

// ruleComment begins the comment of every rule of ours.
const ruleComment = "minictr: "

// rules lists the rules of all chains, in their order.
func (t table) rules() []*nftables.Rule {
	loopback := t.loopback
	list := append(t.loopbackRules(), []rule{
		{
			published, "the name servers on the gateways stay reachable where port 53 is published",
			join(t.service(), lookup(servicesSet), verdict(expr.VerdictReturn)),
		},
		{published, "a port of one address", join(t.service(), t.dnat(publishedMap, true))},
		{published, "a port of every address", join(l4proto(), dport(9), t.dnat(everywhereMap, true))},
		{published, "ranges of ports", join(t.service(), t.dnat(rangesMap, false))},

		{rawChain, "no container speaks to the host's loopback", join(iif(bridgesSet), loopback(destination), verdict(expr.VerdictDrop))},
		{rawChain, "no container poses as the host's loopback", join(iif(bridgesSet), loopback(source), verdict(expr.VerdictDrop))},

		{prerouting, "what comes by a wire is not for the loopback", join(loopback(destination), verdict(expr.VerdictReturn))},
		{prerouting, "published ports", join(isLocal(), jump(published))},
		{output, "published ports, from the host", join(isLocal(), jump(published))},

		{forward, "answers of what was let through", join(ct(expr.CtKeySTATE, ctEstablished|ctRelated), verdict(expr.VerdictAccept))},
		{forward, "within one network", join(links(), lookup(sameSet), verdict(expr.VerdictAccept))},
		{forward, "no way out of an internal network", join(iif(internalSet), verdict(expr.VerdictDrop))},
		{forward, "no way into an internal network", join(oif(internalSet), verdict(expr.VerdictDrop))},
		{
			forward, "what belongs to no connection would leave with the address of a container",
			join(iif(bridgesSet), ct(expr.CtKeySTATE, ctInvalid), verdict(expr.VerdictDrop)),
		},
		{forward, "published ports", join(oif(bridgesSet), ct(expr.CtKeySTATUS, ctDNAT), verdict(expr.VerdictAccept))},
		{forward, "nothing else from outside or from another network", join(oif(bridgesSet), verdict(expr.VerdictDrop))},

		{
			postrouting, "containers leave with the address of the host",
			join(t.addr(source), lookup(subnetsSet), notOif(bridgesSet), masquerade()),
		},
		{
			postrouting, "answers to a neighbour would not come back this way",
			join(t.addr(source), t.oifBehind(), lookup(hairpinSet), ct(expr.CtKeySTATUS, ctDNAT), masquerade()),
		},
	}...)
	chains := map[string]*nftables.Chain{}
	for _, c := range t.chains() {
		chains[c.Name] = c
	}
	var rules []*nftables.Rule
	for _, r := range list {
		rules = append(rules, &nftables.Rule{
			Table: t.table, Chain: chains[r.chain], Exprs: r.exprs,
			UserData: userdata.AppendString(nil, userdata.TypeComment, ruleComment+r.comment),
		})
	}
	return rules
}

// loopbackRules are about what the host sends from its loopback to published
// ports; AddBounce says how it comes back to ::1.
func (t table) loopbackRules() []rule {
	if t.family == ipv4 {
		return []rule{{
			postrouting, "answers to 127.0.0.1 would never come back",
			join(t.loopback(source), oif(bridgesSet), masquerade()),
		}}
	}
	return []rule{
		{
			rawChain, "answers to ::1 are translated by " + bounceOut + ", not on the bridge",
			join(iif(bridgesSet), t.equals(destination, bounceAddress()), []expr.Any{&expr.Notrack{}}),
		},
		{
			forward, "only containers answer to ::1",
			join(t.equals(destination, bounceAddress()), notIif(bridgesSet), verdict(expr.VerdictDrop)),
		},
		{
			postrouting, "answers to ::1 would never come back",
			join(t.loopback(source), oif(bridgesSet), snat(bounceAddress())),
		},
	}
}

type rule struct {
	chain, comment string
	exprs          []expr.Any
}
