package ip

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// A routeFilter is a SELECTOR of ip-route(8).
type routeFilter struct {
	dst, mode                                      string // exact, root, match
	table, device, via, protocol, scope, kind, src string
}

func (f *routeFilter) keys(w *words) []key {
	destination := func(mode string) func(string) error {
		return func(word string) error { f.mode = mode; return once(&f.dst, "to")(word) }
	}
	to := func(word string) error {
		if word == "root" || word == "match" || word == "exact" {
			value, err := w.need()
			if err != nil {
				return err
			}
			return destination(word)(value)
		}
		return destination("exact")(word)
	}
	return []key{
		{names: []string{"to"}, set: to},
		{names: []string{"exact"}, set: destination("exact")},
		{names: []string{"root"}, set: destination("root")},
		{names: []string{"match"}, set: destination("match")},
		{names: []string{"table"}, set: text(&f.table)},
		{names: []string{"dev", "oif"}, set: text(&f.device)},
		{names: []string{"via"}, set: text(&f.via)},
		{names: []string{"proto", "protocol"}, set: text(&f.protocol)},
		{names: []string{"scope"}, set: text(&f.scope)},
		{names: []string{"type"}, set: text(&f.kind)},
		{names: []string{"src"}, set: text(&f.src)},
	}
}

// routes reads the routes that pass the SELECTOR that follows, of a family or of all.
func (c *command) routes(f *routeFilter) ([]rtnl.Route, error) {
	err := c.words.parse(f.keys(&c.words), func(word string) error { f.mode = "exact"; return once(&f.dst, "to")(word) })
	if err == nil {
		err = c.readLinks()
	}
	if err != nil || f.dst == "cache" { // which Linux has none of since 3.6
		return nil, err
	}
	if f.device != "" {
		if _, err := c.index(f.device); err != nil {
			return nil, err
		}
	}
	family := c.family
	if family == unix.AF_UNSPEC && f.table != "all" {
		family = unix.AF_INET
		if p, err := prefix(f.dst, unix.AF_UNSPEC); err == nil {
			family = familyOf(p.Addr())
		}
	}
	list, err := c.conn.Routes(family)
	if err != nil {
		return nil, answered(err)
	}
	passes, err := f.compile(c)
	if err != nil {
		return nil, err
	}
	var found []rtnl.Route
	for i := range list {
		if passes(&list[i]) {
			found = append(found, list[i])
		}
	}
	return found, nil
}

// compile turns the words into a test.
func (f *routeFilter) compile(c *command) (func(*rtnl.Route) bool, error) {
	tables := uint32(unix.RT_TABLE_MAIN)
	if f.table != "" && f.table != "all" {
		n, ok := routeTables.number(f.table)
		if !ok {
			return nil, fail(255, "Error: argument %q is wrong: table id value is invalid", f.table)
		}
		tables = n
	}
	var dst netip.Prefix
	if f.dst != "" && f.dst != "default" && f.dst != "all" && f.dst != "any" {
		var err error
		if dst, err = prefix(f.dst, c.family); err != nil {
			return nil, err
		}
	}
	return func(r *rtnl.Route) bool {
		if r.Family != unix.AF_INET && r.Family != unix.AF_INET6 || r.Flags&unix.RTM_F_CLONED != 0 || f.table != "all" && r.Table != tables {
			return false
		}
		same := func(word string, t table, n uint8) bool {
			want, _ := t.number(word)
			return word == "" || want == uint32(n)
		}
		return f.destinationPasses(r, dst) && same(f.protocol, protocols, r.Protocol) && same(f.scope, scopes, r.Scope) && same(f.kind, routeTypes, r.Type) &&
			(f.src == "" || f.src == maybe(r.PrefSrc)) && (f.via == "" || f.via == maybe(r.Gateway)) && (f.device == "" || f.device == c.links.name(r.Out))
	}, nil
}

func (f *routeFilter) destinationPasses(r *rtnl.Route, dst netip.Prefix) bool {
	if f.dst == "" {
		return true
	}
	a := r.Dst
	if !a.IsValid() {
		a = map[uint8]netip.Addr{unix.AF_INET: netip.IPv4Unspecified(), unix.AF_INET6: netip.IPv6Unspecified()}[r.Family]
	}
	own := netip.PrefixFrom(a, int(r.DstLen))
	if !dst.IsValid() { // default
		return r.DstLen == 0
	}
	switch f.mode {
	case "root":
		return own.Bits() >= dst.Bits() && dst.Overlaps(own)
	case "match":
		return own.Bits() <= dst.Bits() && dst.Overlaps(own)
	}
	return own == dst.Masked()
}

func showRoutes(c *command) error {
	c.words.next() // show
	var f routeFilter
	list, err := c.routes(&f)
	if err != nil {
		return err
	}
	var views []routeView
	for i := range list {
		views = append(views, c.viewRoute(&list[i], &f))
	}
	return print(c, views, routeText)
}

func flushRoutes(c *command) error {
	c.words.next() // flush
	if len(c.words.list) == 0 {
		return fail(1, "\"ip route flush\" requires arguments.")
	}
	var f routeFilter
	list, err := c.routes(&f)
	if err != nil {
		return err
	}
	for _, r := range list {
		if _, err := c.conn.Do(rtnl.Request{Kind: unix.RTM_DELROUTE, Header: r.Raw}); err != nil && !gone(err) {
			return answered(err)
		}
	}
	return nil
}
