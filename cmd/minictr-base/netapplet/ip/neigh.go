package ip

import (
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// neighStates are the NUD_* bits of linux/neighbour.h in ip's order.
var neighStates = []struct {
	bit  uint16
	name string
}{
	{unix.NUD_INCOMPLETE, "INCOMPLETE"},
	{unix.NUD_REACHABLE, "REACHABLE"},
	{unix.NUD_STALE, "STALE"},
	{unix.NUD_DELAY, "DELAY"},
	{unix.NUD_PROBE, "PROBE"},
	{unix.NUD_FAILED, "FAILED"},
	{unix.NUD_NOARP, "NOARP"},
	{unix.NUD_PERMANENT, "PERMANENT"},
}

// A neighView is a neighbour as -j prints it.
type neighView struct {
	Dst      string    `json:"dst"`
	Dev      string    `json:"dev,omitempty"`
	LinkAddr string    `json:"lladdr,omitempty"`
	Router   *struct{} `json:"router,omitempty"`
	Proxy    *struct{} `json:"proxy,omitempty"`
	RefCount uint32    `json:"refcnt,omitempty"`
	Used     *uint32   `json:"used,omitempty"`
	Confirm  *uint32   `json:"confirmed,omitempty"`
	Updated  *uint32   `json:"updated,omitempty"`
	Probes   *uint32   `json:"probes,omitempty"`
	State    []string  `json:"state,omitempty"`
}

// A neighFilter says which neighbours are shown or flushed.
type neighFilter struct {
	device, to, state string
	proxy             bool
	all               bool // of a flush
}

func (f *neighFilter) keys() []key {
	return []key{
		{names: []string{"dev"}, set: text(&f.device)},
		{names: []string{"to"}, set: once(&f.to, "to")},
		{names: []string{"nud"}, set: text(&f.state)},
		{names: []string{"proxy"}, flag: func() { f.proxy = true }},
		{names: []string{"all"}, flag: func() { f.all = true }},
	}
}

func stateBit(word string) (uint16, error) {
	for _, s := range neighStates {
		if strings.EqualFold(s.name, word) {
			return s.bit, nil
		}
	}
	return map[string]uint16{"all": 0xffff, "none": 0}[word], map[bool]error{false: fail(255, "Error: argument %q is wrong: nud state is bad", word)}[word == "all" || word == "none"]
}

// neighs reads those that pass; hidden are the states that are not shown unless asked for.
func (c *command) neighs(f *neighFilter, hidden uint16) ([]rtnl.Neigh, error) {
	if err := c.words.parse(f.keys(), once(&f.to, "to")); err != nil {
		return nil, err
	}
	if err := c.readLinks(); err != nil {
		return nil, err
	}
	wanted := ^hidden
	if f.state != "" {
		bit, err := stateBit(f.state)
		if err != nil {
			return nil, err
		}
		wanted = bit
	}
	device := 0
	if f.device != "" {
		var err error
		if device, err = c.index(f.device); err != nil {
			return nil, err
		}
	}
	list, err := c.conn.Neighs(c.family)
	if err != nil {
		return nil, answered(err)
	}
	var found []rtnl.Neigh
	for _, n := range list {
		if n.Family != unix.AF_INET && n.Family != unix.AF_INET6 || n.State&wanted == 0 || device != 0 && n.Index != device || !f.within(n) {
			continue
		}
		found = append(found, n)
	}
	return found, nil
}

func (f *neighFilter) within(n rtnl.Neigh) bool {
	if f.to == "" {
		return true
	}
	p, err := prefix(f.to, unix.AF_UNSPEC)
	return err == nil && p.Masked().Contains(n.Dst)
}

func showNeighs(c *command) error {
	c.words.next() // show
	var f neighFilter
	list, err := c.neighs(&f, unix.NUD_NOARP)
	if err != nil {
		return err
	}
	var views []neighView
	for i := range list {
		v := c.viewNeigh(&list[i])
		if f.device != "" {
			v.Dev = ""
		}
		views = append(views, v)
	}
	if c.brief && !c.json {
		return print(c, views, func(v *neighView) string {
			return fmt.Sprintf("%-40s%-17s%s\n", v.Dst+" ", v.Dev+" ", v.LinkAddr)
		})
	}
	return print(c, views, neighText)
}

const ticks = 100 // USER_HZ

func (c *command) viewNeigh(n *rtnl.Neigh) neighView {
	v := neighView{Dst: n.Dst.String(), Dev: c.links.name(n.Index)}
	if n.LinkAddr != nil {
		v.LinkAddr = n.LinkAddr.String()
	}
	if n.Flags&unix.NTF_ROUTER != 0 {
		v.Router = &struct{}{}
	}
	if n.Flags&unix.NTF_PROXY != 0 {
		v.Proxy = &struct{}{}
	}
	if c.stats > 0 && n.HasCache {
		v.RefCount, v.Used, v.Confirm, v.Updated = n.Refs, new(n.Used/ticks), new(n.Confirmed/ticks), new(n.Updated/ticks)
	}
	if c.stats > 0 && n.HasProbes {
		v.Probes = &n.Probes
	}
	for _, s := range neighStates {
		if n.State&s.bit != 0 {
			v.State = append(v.State, s.name)
		}
	}
	return v
}

func neighText(v *neighView) string {
	s := v.Dst + " "
	if v.Dev != "" {
		s += "dev " + v.Dev + " "
	}
	if v.LinkAddr != "" {
		s += "lladdr " + v.LinkAddr + " "
	}
	if v.Router != nil {
		s += "router "
	}
	if v.Proxy != nil {
		s += "proxy "
	}
	if v.Used != nil {
		if v.RefCount != 0 {
			s += fmt.Sprintf(" ref %d", v.RefCount)
		}
		s += fmt.Sprintf(" used %d/%d/%d", *v.Used, *v.Confirm, *v.Updated)
	}
	if v.Probes != nil {
		s += fmt.Sprintf("probes %d ", *v.Probes)
	}
	for _, state := range v.State {
		s += state + " "
	}
	return s + "\n"
}

func flushNeighs(c *command) error {
	c.words.next() // flush
	if len(c.words.list) == 0 {
		return fail(1, "Flush requires arguments.")
	}
	var f neighFilter
	list, err := c.neighs(&f, unix.NUD_PERMANENT|unix.NUD_NOARP)
	if err != nil {
		return err
	}
	for _, n := range list {
		attrs := netlink.NewAttributeEncoder()
		attrs.Bytes(unix.NDA_DST, n.Dst.AsSlice())
		body, err := attrs.Encode()
		if err != nil {
			return err
		}
		_, err = c.conn.Do(rtnl.Request{Kind: unix.RTM_DELNEIGH, Header: rtnl.NeighHeader(n.Family, n.Index, n.State, n.Flags), Attrs: body})
		if err != nil && !gone(err) {
			return answered(err)
		}
	}
	return nil
}

func changeNeigh(c *command) error {
	verb, _ := c.words.next()
	var device, to, state string
	var mac []byte
	proxy, router := false, false
	keys := []key{
		{names: []string{"dev"}, set: text(&device)},
		{names: []string{"to"}, set: once(&to, "to")},
		{names: []string{"lladdr"}, set: hardware(&mac)},
		{names: []string{"nud"}, set: text(&state)},
		{names: []string{"proxy"}, flag: func() { proxy = true }},
		{names: []string{"router"}, flag: func() { router = true }},
	}
	if err := c.words.parse(keys, once(&to, "to")); err != nil {
		return err
	}
	if device == "" || to == "" {
		return fail(255, "Device and destination are required arguments.")
	}
	dst, err := address(to, c.family)
	if err != nil {
		return err
	}
	index, err := c.index(device)
	if err != nil {
		return err
	}
	bits := uint16(unix.NUD_PERMANENT)
	if state != "" {
		if bits, err = stateBit(state); err != nil {
			return err
		}
	}
	flags := uint8(0)
	if proxy {
		flags |= unix.NTF_PROXY
	}
	if router {
		flags |= unix.NTF_ROUTER
	}
	attrs := netlink.NewAttributeEncoder()
	attrs.Bytes(unix.NDA_DST, dst.AsSlice())
	if mac != nil {
		attrs.Bytes(unix.NDA_LLADDR, mac)
	}
	body, err := attrs.Encode()
	if err != nil {
		return err
	}
	r := rtnl.Request{Kind: unix.RTM_NEWNEIGH, Header: rtnl.NeighHeader(familyOf(dst), index, bits, flags), Attrs: body}
	switch verb {
	case "delete":
		r.Kind = unix.RTM_DELNEIGH
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
