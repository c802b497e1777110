package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A taken is a part of the address space that is somebody's already.
type taken struct {
	prefix netip.Prefix
	owner  string // "network blue"; empty: it is the route's, or else the link's
	route  *route
	link   int
}

// taken lists what the host has in use: the subnets of the networks, whether they
// are up or not; addresses, which have no route while their link is down; the
// destinations of all routes, in every table (a VPN's are often not in main); and
// the name servers, which a host may reach by nothing but its default route.
func (c *conn) taken(networks []*Network) (list []taken, err error) {
	for _, n := range networks {
		for _, g := range n.gateways() {
			list = append(list, taken{prefix: g.Masked(), owner: "network " + n.Name})
		}
	}
	addresses, err := c.addresses(unix.AF_UNSPEC, 0)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		list = append(list, taken{prefix: a.prefix.Masked(), link: a.index})
	}
	routes, err := c.routes(unix.AF_UNSPEC, unix.RT_TABLE_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	servers, err := nameServers("/")
	if err != nil {
		return nil, err
	}
	list = append(list, takenByServers(servers, routes)...)
	for _, r := range routes {
		if !r.vague() {
			list = append(list, taken{prefix: r.to, route: &r})
		}
	}
	return list, nil
}

// vague reports whether the route is too short to say whose an address is. It is
// the default route, perhaps in pieces (OpenVPN's redirect-gateway makes
// 0.0.0.0/1 and 128.0.0.0/1). No site has a prefix of IPv6 shorter than /32.
func (r route) vague() bool {
	if r.to.Addr().Is4() {
		return r.to.Bits() < 8
	}
	return r.to.Bits() < 32
}

// takenByServers are the addresses of the name servers that a route leads to which
// is too short to keep a network from getting their addresses.
func takenByServers(servers []netip.Addr, routes []route) (list []taken) {
	for _, s := range servers {
		if slices.ContainsFunc(routes, func(r route) bool { return r.vague() && r.to.Contains(s) }) {
			list = append(list, taken{prefix: netip.PrefixFrom(s, s.BitLen()), owner: "the host's name server"})
		}
	}
	return list
}

// nameServers are those that the host asks, by /etc/resolv.conf or by way of
// systemd-resolved. Root is "/", but in tests.
func nameServers(root string) ([]netip.Addr, error) {
	var files ResolvRequest
	if err := files.ReadResolvConf(root); err != nil {
		return nil, err
	}
	list := slices.Concat(ParseResolvConf(files.Host).Servers, ParseResolvConf(files.Upstream).Servers)
	for i, s := range list {
		list[i] = s.WithZone("").Unmap()
	}
	return slices.DeleteFunc(list, netip.Addr.IsLoopback), nil
}

// overlaps are those of the list that overlap the prefix.
func overlaps(p netip.Prefix, list []taken) (found []taken) {
	for _, t := range list {
		if t.prefix.Overlaps(p) {
			found = append(found, t)
		}
	}
	return found
}

// mostNamed is how many things are named in one line.
const mostNamed = 4

// describe names what is taken, in one line. Of what lies within something that is
// named (the address of a network's bridge, its route), nothing is said.
func (c *conn) describe(list []taken) string {
	var named []netip.Prefix
	var words []string
	more := 0
	for _, t := range list {
		within := func(p netip.Prefix) bool { return p.Bits() <= t.prefix.Bits() && p.Overlaps(t.prefix) }
		switch {
		case slices.ContainsFunc(named, within):
		case len(words) == mostNamed:
			more++
		default:
			named = append(named, t.prefix)
			words = append(words, c.words(t))
		}
	}
	if more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}

// words names one, as "the route 10.1.0.0/16 via 10.1.2.1 dev eth1".
func (c *conn) words(t taken) string {
	switch {
	case t.owner != "":
		return fmt.Sprintf("%s (%s)", t.owner, t.prefix)
	case t.route == nil:
		return fmt.Sprintf("an address of %s (%s)", c.nameOf(t.link), t.prefix)
	}
	text := "the route " + t.prefix.String()
	if t.route.gateway.IsValid() {
		text += " via " + t.route.gateway.String()
	}
	if t.route.index != 0 {
		text += " dev " + c.nameOf(t.route.index)
	}
	switch t.route.table {
	case unix.RT_TABLE_MAIN:
	case unix.RT_TABLE_LOCAL:
		text += " table local"
	default:
		text += fmt.Sprintf(" table %d", t.route.table)
	}
	return text
}

// nameOf is the link's name, or its number when it is gone.
func (c *conn) nameOf(index int) string {
	l, err := c.linkAt(index)
	if err != nil {
		return fmt.Sprintf("link %d", index)
	}
	return l.name
}
