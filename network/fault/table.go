package fault

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// table is a table of a firewall that is not minictr's, with one chain or more. All
// of it goes with the table.
type table struct {
	Netns  network.Netns
	Family string // ip, inet, bridge, netdev
	Name   string
	Chains []chain
}

// chain is a base chain.
type chain struct {
	Name     string
	Type     string // filter, nat
	Hook     string // a row of hooks
	Priority int
	Device   string // of family netdev
	Drop     bool   // its policy
	Rules    []match
}

// match is a rule: what it matches, and what becomes of that.
type match struct {
	In, Out             string // names of links
	NotIn               string
	Source, Destination netip.Addr
	EtherSource         string
	Protocol            string // tcp, udp
	Port                uint16 // the destination's
	To                  netip.AddrPort
	Verdict             string // drop, accept; or To
}

func tableFamilies() map[string]nftables.TableFamily {
	return map[string]nftables.TableFamily{
		"ip": nftables.TableFamilyIPv4, "inet": nftables.TableFamilyINet,
		"bridge": nftables.TableFamilyBridge, "netdev": nftables.TableFamilyNetdev,
	}
}

func hooks() map[string]*nftables.ChainHook {
	return map[string]*nftables.ChainHook{
		"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput, "forward": nftables.ChainHookForward,
		"output": nftables.ChainHookOutput, "postrouting": nftables.ChainHookPostrouting, "ingress": nftables.ChainHookIngress,
	}
}

func (s *table) has() (has bool, err error) {
	err = in(s.Netns, func() error {
		has, err = hasTable(s.Family, s.Name)
		return err
	})
	return has, err
}

func hasTable(family, name string) (bool, error) {
	list, err := (&nftables.Conn{}).ListTablesOfFamily(tableFamilies()[family])
	return slices.ContainsFunc(list, func(t *nftables.Table) bool { return t.Name == name }), err
}

func (s *table) put() error {
	return in(s.Netns, func() error {
		batch := &nftables.Conn{}
		t := batch.CreateTable(&nftables.Table{Family: tableFamilies()[s.Family], Name: s.Name})
		for _, c := range s.Chains {
			policy := nftables.ChainPolicyAccept
			if c.Drop {
				policy = nftables.ChainPolicyDrop
			}
			made := batch.AddChain(&nftables.Chain{
				Table: t, Name: c.Name, Type: nftables.ChainType(c.Type), Hooknum: hooks()[c.Hook],
				Priority: nftables.ChainPriorityRef(nftables.ChainPriority(c.Priority)), Policy: &policy, Device: c.Device,
			})
			for _, m := range c.Rules {
				exprs, err := m.exprs()
				if err != nil {
					return err
				}
				batch.AddRule(&nftables.Rule{Table: t, Chain: made, Exprs: exprs})
			}
		}
		return batch.Flush()
	})
}

func (s *table) take() error {
	return in(s.Netns, func() error {
		batch := &nftables.Conn{}
		batch.DelTable(&nftables.Table{Family: tableFamilies()[s.Family], Name: s.Name})
		return ignoreMissing(batch.Flush())
	})
}

func (s *table) what() string {
	return fmt.Sprintf("table %s %s%s", s.Family, s.Name, where(s.Netns))
}

func (s *table) command(put bool) string {
	nft := run(s.Netns) + "nft "
	if !put {
		return nft + "delete table " + s.Family + " " + s.Name
	}
	lines := []string{nft + "add table " + s.Family + " " + s.Name}
	for _, c := range s.Chains {
		head, device := s.Family+" "+s.Name+" "+c.Name, ""
		if c.Device != "" {
			device = " device " + c.Device
		}
		lines = append(lines, nft+"add chain "+step.Quote(fmt.Sprintf("%s { type %s hook %s%s priority %d; policy %s; }",
			head, c.Type, c.Hook, device, c.Priority, word(c.Drop, "drop", "accept"))))
		for _, m := range c.Rules {
			lines = append(lines, nft+"add rule "+head+" "+m.String())
		}
	}
	return strings.Join(lines, "\n")
}

// String is the rule in nft's language.
func (m match) String() string {
	var words []string
	say := func(yes bool, format string, args ...any) {
		if yes {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	say(m.In != "", "iifname %s", m.In)
	say(m.NotIn != "", "iifname != %s", m.NotIn)
	say(m.Out != "", "oifname %s", m.Out)
	say(m.EtherSource != "", "ether saddr %s", m.EtherSource)
	say(m.Source.IsValid(), "ip saddr %s", m.Source)
	say(m.Destination.IsValid(), "ip daddr %s", m.Destination)
	say(m.Protocol != "", "%s dport %d", m.Protocol, m.Port)
	say(m.To.IsValid(), "dnat to %s", m.To)
	say(m.Verdict != "", "%s", m.Verdict)
	return strings.Join(words, " ")
}

// exprs are the kernel's expressions for the rule. Those of the network layer hold in
// tables of family ip, and of netdev and bridge, where nothing but IPv4 is asked for.
func (m match) exprs() (list []expr.Any, err error) {
	equal := func(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	payload := func(base expr.PayloadBase, offset uint32, data []byte) {
		list = append(list, &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(data))}, equal(data))
	}
	if m.In != "" {
		list = append(list, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(ifname(m.In)))
	}
	if m.NotIn != "" {
		list = append(list, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: ifname(m.NotIn)})
	}
	if m.Out != "" {
		list = append(list, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal(ifname(m.Out)))
	}
	if m.EtherSource != "" {
		mac, err := net.ParseMAC(m.EtherSource)
		if err != nil {
			return nil, err
		}
		payload(expr.PayloadBaseLLHeader, 6, mac)
	}
	if m.Source.IsValid() {
		payload(expr.PayloadBaseNetworkHeader, 12, m.Source.AsSlice())
	}
	if m.Destination.IsValid() {
		payload(expr.PayloadBaseNetworkHeader, 16, m.Destination.AsSlice())
	}
	if m.Protocol != "" {
		number := byte(unix.IPPROTO_TCP)
		if m.Protocol == "udp" {
			number = unix.IPPROTO_UDP
		}
		list = append(list, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{number}))
		payload(expr.PayloadBaseTransportHeader, 2, binaryutil.BigEndian.PutUint16(m.Port))
	}
	return append(list, m.verdict()...), nil
}

func (m match) verdict() []expr.Any {
	switch {
	case m.To.IsValid():
		return []expr.Any{
			&expr.Immediate{Register: 1, Data: m.To.Addr().AsSlice()},
			&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(m.To.Port())},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
		}
	case m.Verdict == "accept":
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	}
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
}

// ifname is a link's name as the kernel compares it, 16 bytes.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
