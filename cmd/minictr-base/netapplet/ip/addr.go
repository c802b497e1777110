package ip

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

var (
	scopes   = table{unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_SITE: "site", unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host", unix.RT_SCOPE_NOWHERE: "nowhere"}
	families = table{unix.AF_INET: "inet", unix.AF_INET6: "inet6"}
)

// An addrView is an address as -j prints it.
type addrView struct {
	Family     string  `json:"family"`
	Local      string  `json:"local"`
	Peer       string  `json:"address,omitempty"`
	PrefixLen  int     `json:"prefixlen"`
	Metric     uint32  `json:"metric,omitempty"`
	Broadcast  string  `json:"broadcast,omitempty"`
	Anycast    string  `json:"anycast,omitempty"`
	Scope      string  `json:"scope"`
	Secondary  bool    `json:"secondary,omitempty"`
	Temporary  bool    `json:"temporary,omitempty"`
	NoDAD      bool    `json:"nodad,omitempty"`
	Optimistic bool    `json:"optimistic,omitempty"`
	DADFailed  bool    `json:"dadfailed,omitempty"`
	Home       bool    `json:"home,omitempty"`
	Deprecated bool    `json:"deprecated,omitempty"`
	Tentative  bool    `json:"tentative,omitempty"`
	Dynamic    bool    `json:"dynamic,omitempty"`
	MngTmpAddr bool    `json:"mngtmpaddr,omitempty"`
	NoPrefix   bool    `json:"noprefixroute,omitempty"`
	AutoJoin   bool    `json:"autojoin,omitempty"`
	StablePriv bool    `json:"stable-privacy,omitempty"`
	Label      string  `json:"label,omitempty"`
	Valid      *uint32 `json:"valid_life_time,omitempty"`
	Preferred  *uint32 `json:"preferred_life_time,omitempty"`
}

type briefAddr struct {
	Local     string `json:"local"`
	Peer      string `json:"address,omitempty"`
	PrefixLen int    `json:"prefixlen"`
	Metric    uint32 `json:"metric,omitempty"`
}

func viewAddr(a *rtnl.Addr) addrView {
	has := func(bit uint32) bool { return a.Flags&bit != 0 }
	v6 := a.Family == unix.AF_INET6
	v := addrView{
		Family: families.name(uint32(a.Family)), Local: a.Local.String(), PrefixLen: a.PrefixLen, Metric: a.Metric,
		Broadcast: maybe(a.Broadcast), Anycast: maybe(a.Anycast), Scope: scopes.name(uint32(a.Scope)), Label: a.Label,
		Secondary: has(unix.IFA_F_SECONDARY) && !v6, Temporary: has(unix.IFA_F_SECONDARY) && v6, Dynamic: !has(unix.IFA_F_PERMANENT),
		NoDAD: has(unix.IFA_F_NODAD), Optimistic: has(unix.IFA_F_OPTIMISTIC), DADFailed: has(unix.IFA_F_DADFAILED), Home: has(unix.IFA_F_HOMEADDRESS),
		Deprecated: has(unix.IFA_F_DEPRECATED), Tentative: has(unix.IFA_F_TENTATIVE), MngTmpAddr: has(unix.IFA_F_MANAGETEMPADDR),
		NoPrefix: has(unix.IFA_F_NOPREFIXROUTE), AutoJoin: has(unix.IFA_F_MCAUTOJOIN), StablePriv: has(unix.IFA_F_STABLE_PRIVACY),
	}
	if a.Peer != a.Local {
		v.Peer = a.Peer.String()
	}
	if a.HasLife {
		v.Valid, v.Preferred = &a.Valid, &a.Preferred
	}
	return v
}

func maybe(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// prefix is "10.0.0.1/24 ", or with the other end of the line.
func (v *addrView) prefix() string {
	s := v.Local
	if v.Peer != "" {
		s += " peer " + v.Peer
	}
	s += fmt.Sprintf("/%d ", v.PrefixLen)
	if v.Metric != 0 {
		s += fmt.Sprintf("metric %d ", v.Metric)
	}
	return s
}

// line is what follows the indentation.
func (v *addrView) line() string {
	var b strings.Builder
	b.WriteString(v.Family + " " + v.prefix())
	if v.Broadcast != "" {
		b.WriteString("brd " + v.Broadcast + " ")
	}
	if v.Anycast != "" {
		b.WriteString("any " + v.Anycast + " ")
	}
	b.WriteString("scope " + v.Scope + " ")
	for _, f := range []struct {
		on   bool
		name string
	}{
		{v.Secondary, "secondary"},
		{v.Temporary, "temporary"},
		{v.NoDAD, "nodad"},
		{v.Optimistic, "optimistic"},
		{v.DADFailed, "dadfailed"},
		{v.Home, "home"},
		{v.Deprecated, "deprecated"},
		{v.Tentative, "tentative"},
		{v.Dynamic, "dynamic"},
		{v.MngTmpAddr, "mngtmpaddr"},
		{v.NoPrefix, "noprefixroute"},
		{v.AutoJoin, "autojoin"},
		{v.StablePriv, "stable-privacy"},
	} {
		if f.on {
			b.WriteString(f.name + " ")
		}
	}
	b.WriteString(v.Label)
	if v.Valid != nil {
		fmt.Fprintf(&b, "\n       valid_lft %s preferred_lft %s", lifetime(*v.Valid), lifetime(*v.Preferred))
	}
	return b.String()
}

func lifetime(seconds uint32) string {
	if seconds == rtnl.Forever {
		return "forever"
	}
	return fmt.Sprintf("%dsec", seconds)
}

// An addrFilter says which addresses are shown, and of which links.
type addrFilter struct {
	linkFilter
	scope, label, to string
	set, unset       uint32 // IFA_F_*
}

func (f *addrFilter) keys() []key {
	keys := append(f.linkFilter.keys(),
		key{names: []string{"scope"}, set: text(&f.scope)},
		key{names: []string{"label"}, set: text(&f.label)},
		key{names: []string{"to"}, set: text(&f.to)},
		key{names: []string{"primary"}, flag: func() { f.unset |= unix.IFA_F_SECONDARY }},
		key{names: []string{"dynamic"}, flag: func() { f.unset |= unix.IFA_F_PERMANENT }})
	for name, bit := range map[string]uint32{
		"secondary": unix.IFA_F_SECONDARY, "temporary": unix.IFA_F_SECONDARY, "permanent": unix.IFA_F_PERMANENT, "tentative": unix.IFA_F_TENTATIVE,
		"deprecated": unix.IFA_F_DEPRECATED, "dadfailed": unix.IFA_F_DADFAILED,
	} {
		keys = append(keys, key{names: []string{name}, flag: func() { f.set |= bit }})
	}
	return keys
}

func (f *addrFilter) pass(c *command, a *rtnl.Addr) bool {
	if c.family != unix.AF_UNSPEC && a.Family != c.family || a.Flags&f.set != f.set || a.Flags&f.unset != 0 {
		return false
	}
	if f.to != "" {
		to, err := prefix(f.to, unix.AF_UNSPEC)
		if err != nil || !to.Masked().Contains(a.Local) {
			return false
		}
	}
	return (f.scope == "" || f.scope == scopes.name(uint32(a.Scope))) && (f.label == "" || f.label == a.Label)
}

// narrow tells whether not all addresses pass.
func (f *addrFilter) narrow(c *command) bool {
	return c.family == unix.AF_INET || c.family == unix.AF_INET6 || f.scope != "" || f.label != "" || f.to != "" || f.set|f.unset != 0
}

func showAddrs(c *command) error {
	c.words.next() // show
	var f addrFilter
	if err := c.words.parse(f.keys(), once(&f.device, "dev")); err != nil {
		return err
	}
	if p, err := prefix(f.to, c.family); err == nil {
		c.family = familyOf(p.Addr())
	}
	found, err := c.find(f.linkFilter)
	if err != nil {
		return err
	}
	addrs, err := c.conn.Addrs(c.family)
	if err != nil {
		return answered(err)
	}
	var views []linkView
	for i := range found {
		v := c.view(&found[i])
		list := []addrView{}
		bare := c.family != unix.AF_INET && c.family != unix.AF_INET6
		for j := range addrs {
			if addrs[j].Index != found[i].Index {
				continue
			}
			bare = false
			if f.pass(c, &addrs[j]) {
				list = append(list, viewAddr(&addrs[j]))
			}
		}
		v.Mode, v.Addrs = "", &list
		c.lessOf(&v)
		if len(list) > 0 || bare { // all of its addresses filtered out: not shown
			views = append(views, v)
		}
	}
	return c.printAddrs(views, f.label == "")
}

// lessOf takes away what ip does not show of a link with addresses.
func (c *command) lessOf(v *linkView) {
	if !c.details {
		v.Alias = ""
	}
	if v.detailView != nil {
		v.AddrGenMode = ""
	}
	if c.family == unix.AF_INET6 { // the kernel's list of this family says less
		v.Qdisc, v.Group, v.Master = "", "", ""
	}
	if c.json && (c.family == unix.AF_INET || c.family == unix.AF_INET6) {
		v.Type, v.Address, v.Broadcast = "", "", ""
	}
}

// printAddrs prints addresses, each below its link; with a label asked for, by themselves.
func (c *command) printAddrs(views []linkView, withLinks bool) error {
	if c.brief {
		return c.printBrief(views, func(v *linkView) string {
			s := ""
			for _, a := range *v.Addrs {
				s += a.prefix()
			}
			return s
		})
	}
	if c.oneline && !c.json {
		for _, v := range views {
			for _, a := range *v.Addrs {
				fmt.Fprintf(c.Out, "%d: %s    %s\n", v.Index, v.Name, strings.ReplaceAll(a.line(), "\n", "\\"))
			}
		}
		return nil
	}
	return print(c, views, func(v *linkView) string {
		s := ""
		if withLinks {
			s = c.linkText(v, false)
		}
		for _, a := range *v.Addrs {
			s += "    " + a.line() + "\n"
		}
		if v.Stats != nil {
			s += strings.TrimPrefix(v.Stats.text(v.link, c.stats), "\n") + "\n"
		}
		return s
	})
}

func flushAddrs(c *command) error {
	c.words.next() // flush
	var f addrFilter
	if err := c.words.parse(f.keys(), once(&f.device, "dev")); err != nil {
		return err
	}
	if f.device == "" && !f.narrow(c) && !f.up {
		return fail(1, "Flush requires arguments.")
	}
	found, err := c.find(f.linkFilter)
	if err != nil {
		return err
	}
	addrs, err := c.conn.Addrs(c.family)
	if err != nil {
		return answered(err)
	}
	for i := range addrs {
		if found.at(addrs[i].Index) == nil || !f.pass(c, &addrs[i]) {
			continue
		}
		// Deleting a primary address takes its secondaries along.
		_, err := c.conn.Do(rtnl.Request{Kind: unix.RTM_DELADDR, Header: addrs[i].Raw})
		if err != nil && !gone(err) {
			return answered(err)
		}
	}
	return nil
}

// An addrSpec is an address to add or to delete.
type addrSpec struct {
	word, device, peer, broadcast, label, scope string
	valid, preferred                            string
	metric, flags                               uint32
}

func (s *addrSpec) keys() []key {
	keys := []key{
		{names: []string{"dev"}, set: text(&s.device)},
		{names: []string{"local"}, set: once(&s.word, "local")},
		{names: []string{"peer", "remote"}, set: text(&s.peer)},
		{names: []string{"broadcast", "brd"}, set: text(&s.broadcast)},
		{names: []string{"label"}, set: text(&s.label)},
		{names: []string{"scope"}, set: text(&s.scope)},
		{names: []string{"valid_lft"}, set: text(&s.valid)},
		{names: []string{"preferred_lft"}, set: text(&s.preferred)},
		{names: []string{"metric", "priority", "preference"}, set: number(&s.metric, "metric")},
	}
	for name, bit := range map[string]uint32{"nodad": unix.IFA_F_NODAD, "noprefixroute": unix.IFA_F_NOPREFIXROUTE, "home": unix.IFA_F_HOMEADDRESS, "mngtmpaddr": unix.IFA_F_MANAGETEMPADDR, "optimistic": unix.IFA_F_OPTIMISTIC} {
		keys = append(keys, key{names: []string{name}, flag: func() { s.flags |= bit }})
	}
	return keys
}

func changeAddr(c *command) error {
	verb, _ := c.words.next()
	var s addrSpec
	if err := c.words.parse(s.keys(), once(&s.word, "local")); err != nil {
		return err
	}
	if s.device == "" {
		return fail(1, "Not enough information: \"dev\" argument is required.")
	}
	if s.word == "" {
		return fail(1, "Not enough information: an address is required.")
	}
	index, err := c.index(s.device)
	if err != nil {
		return err
	}
	r, err := s.request(c, index)
	if err != nil {
		return err
	}
	switch verb {
	case "delete":
		r.Kind = unix.RTM_DELADDR
	case "add":
		r.Flags = netlink.Create | netlink.Excl
	case "replace":
		r.Flags = netlink.Create | netlink.Replace
	default:
		r.Flags = netlink.Replace
	}
	_, err = c.conn.Do(r)
	return answered(err)
}
