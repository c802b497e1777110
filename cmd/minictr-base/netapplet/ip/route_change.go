package ip

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// A hop is a way that a route leads.
type hop struct {
	via    netip.Addr
	device string
	weight uint32
	onlink bool
}

// A routeSpec is a ROUTE of ip-route(8).
type routeSpec struct {
	family                uint8
	kind, table           uint32
	dst, src, from        string
	protocol, scope       uint32
	hasProtocol, hasScope bool
	metric, mtu, advmss   uint32
	pref                  string
	hop                   hop
	hops                  []hop
}

func (s *routeSpec) keys(c *command) []key {
	set := func(had *bool, to *uint32, t table, what string) func(string) error {
		return func(word string) error { *had = true; return t.set(to, what)(word) }
	}
	return append(s.hop.keys(&c.words),
		key{names: []string{"to"}, set: once(&s.dst, "to")}, key{names: []string{"src"}, set: text(&s.src)}, key{names: []string{"from"}, set: text(&s.from)},
		key{names: []string{"metric", "priority", "preference"}, set: number(&s.metric, "metric")},
		key{names: []string{"mtu"}, set: number(&s.mtu, "mtu")}, key{names: []string{"advmss"}, set: number(&s.advmss, "mss")},
		key{names: []string{"table"}, set: routeTables.set(&s.table, "table")},
		key{names: []string{"proto", "protocol"}, set: set(&s.hasProtocol, &s.protocol, protocols, "protocol")},
		key{names: []string{"scope"}, set: set(&s.hasScope, &s.scope, scopes, "scope")},
		key{names: []string{"pref"}, set: text(&s.pref)},
		key{names: []string{"nexthop"}, set: func(word string) error { c.words.list = append([]string{word}, c.words.list...); return s.parseHops(c) }})
}

func (h *hop) keys(w *words) []key {
	return []key{
		{names: []string{"via"}, set: func(word string) (err error) {
			if word == "inet" || word == "inet6" {
				if word, err = w.need(); err != nil {
					return err
				}
			}
			h.via, err = address(word, unix.AF_UNSPEC)
			return err
		}},
		{names: []string{"dev", "oif"}, set: text(&h.device)},
		{names: []string{"weight"}, set: number(&h.weight, "weight")},
		{names: []string{"onlink"}, flag: func() { h.onlink = true }},
	}
}

// parseHops reads "via A dev X weight N nexthop via B …" to the end.
func (s *routeSpec) parseHops(c *command) error {
	for {
		h := hop{weight: 1}
		end := len(c.words.list)
		for i, word := range c.words.list {
			if word == "nexthop" {
				end = i
				break
			}
		}
		one := words{list: c.words.list[:end]}
		if err := one.parse(h.keys(&one), func(word string) error {
			return fail(255, "Error: either \"nexthop\" is duplicate, or %q is a garbage.", word)
		}); err != nil {
			return err
		}
		s.hops = append(s.hops, h)
		if end == len(c.words.list) {
			c.words.list = nil
			return nil
		}
		c.words.list = c.words.list[end+1:]
	}
}

func changeRoute(c *command) error {
	verb, _ := c.words.next()
	s := routeSpec{family: c.family, kind: unix.RTN_UNICAST}
	rest := func(word string) error {
		if n, ok := routeTypes.number(word); ok && s.dst == "" && !strings.ContainsAny(word, "0123456789") {
			s.kind = n
			return nil
		}
		return once(&s.dst, "to")(word)
	}
	if err := c.words.parse(s.keys(c), rest); err != nil {
		return err
	}
	if s.dst == "" {
		return fail(255, "Not enough information: a destination is required (\"default\" or a prefix).")
	}
	r, err := s.request(c, verb == "delete")
	if err != nil {
		return err
	}
	switch verb {
	case "add":
		r.Flags = netlink.Create | netlink.Excl
	case "append":
		r.Flags = netlink.Create | netlink.Append
	case "replace":
		r.Flags = netlink.Create | netlink.Replace
	case "prepend":
		r.Flags = netlink.Create
	case "change", "chg":
		r.Flags = netlink.Replace
	}
	_, err = c.conn.Do(r)
	return answered(err)
}

// destinationOf reads the prefix, and learns the family from it or from the gateway.
func (s *routeSpec) destinationOf() (netip.Prefix, error) {
	if s.dst != "default" && s.dst != "any" && s.dst != "all" {
		p, err := prefix(s.dst, s.family)
		if err == nil {
			s.family = familyOf(p.Addr())
		}
		return p, err
	}
	if s.family == unix.AF_UNSPEC {
		s.family = unix.AF_INET
		for _, h := range append([]hop{s.hop}, s.hops...) {
			if h.via.Is6() {
				s.family = unix.AF_INET6
			}
		}
	}
	return netip.Prefix{}, nil
}

func (s *routeSpec) request(c *command, remove bool) (rtnl.Request, error) {
	dst, err := s.destinationOf()
	if err != nil {
		return rtnl.Request{}, err
	}
	attrs := netlink.NewAttributeEncoder()
	length := 0
	if dst.IsValid() {
		length = dst.Bits()
		attrs.Bytes(unix.RTA_DST, dst.Addr().AsSlice())
	}
	if err := s.addHops(c, attrs); err != nil {
		return rtnl.Request{}, err
	}
	if s.src != "" {
		a, err := address(s.src, s.family)
		if err != nil {
			return rtnl.Request{}, err
		}
		attrs.Bytes(unix.RTA_PREFSRC, a.AsSlice())
	}
	if s.metric != 0 {
		attrs.Uint32(unix.RTA_PRIORITY, s.metric)
	}
	s.addTable(attrs)
	if s.mtu != 0 || s.advmss != 0 {
		attrs.Nested(unix.RTA_METRICS, func(n *netlink.AttributeEncoder) error {
			for kind, value := range map[uint16]uint32{unix.RTAX_MTU: s.mtu, unix.RTAX_ADVMSS: s.advmss} {
				if value != 0 {
					n.Uint32(kind, value)
				}
			}
			return nil
		})
	}
	body, err := attrs.Encode()
	r := rtnl.Request{Kind: unix.RTM_NEWROUTE, Header: s.header(uint8(length), remove), Attrs: body}
	if remove {
		r.Kind = unix.RTM_DELROUTE
	}
	return r, err
}

// addTable names the table: local for what is the kernel's own, else main.
func (s *routeSpec) addTable(attrs *netlink.AttributeEncoder) {
	n := s.table
	if n == 0 {
		n = unix.RT_TABLE_MAIN
		if s.kind == unix.RTN_LOCAL || s.kind == unix.RTN_BROADCAST || s.kind == unix.RTN_ANYCAST || s.kind == unix.RTN_NAT {
			n = unix.RT_TABLE_LOCAL
		}
	}
	attrs.Uint32(unix.RTA_TABLE, n)
}

// header fills protocol and scope: a route without a gateway reaches no further
// than its link. A route to delete is any that fits what was said.
func (s *routeSpec) header(length uint8, remove bool) []byte {
	protocol, scope := uint32(unix.RTPROT_BOOT), uint32(unix.RT_SCOPE_UNIVERSE)
	kind, flags := s.kind, uint32(0)
	local := s.kind == unix.RTN_LOCAL || s.kind == unix.RTN_NAT
	direct := !s.hop.via.IsValid() && len(s.hops) == 0 && s.kind == unix.RTN_UNICAST || s.kind == unix.RTN_BROADCAST || s.kind == unix.RTN_MULTICAST || s.kind == unix.RTN_ANYCAST
	switch {
	case local:
		scope = unix.RT_SCOPE_HOST
	case remove:
		scope = unix.RT_SCOPE_NOWHERE
	case direct && s.family == unix.AF_INET:
		scope = unix.RT_SCOPE_LINK
	}
	if remove {
		protocol = 0
		if s.kind == unix.RTN_UNICAST {
			kind = 0
		}
	}
	if s.hasScope {
		scope = s.scope
	}
	if s.hasProtocol {
		protocol = s.protocol
	}
	if s.hop.onlink {
		flags |= unix.RTNH_F_ONLINK
	}
	return rtnl.RouteHeader(s.family, length, uint8(protocol), uint8(scope), uint8(kind), flags)
}

func (s *routeSpec) addHops(c *command, attrs *netlink.AttributeEncoder) error {
	addGateway := func(to *netlink.AttributeEncoder, via netip.Addr) {
		switch {
		case !via.IsValid():
		case familyOf(via) == s.family:
			to.Bytes(unix.RTA_GATEWAY, via.AsSlice())
		default: // an IPv4 route by an IPv6 gateway, Linux 5.2
			to.Bytes(unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, uint16(familyOf(via))), via.AsSlice()...))
		}
	}
	addGateway(attrs, s.hop.via)
	if s.hop.device != "" {
		index, err := c.index(s.hop.device)
		if err != nil {
			return err
		}
		attrs.Uint32(unix.RTA_OIF, uint32(index))
	}
	var all []byte
	for _, h := range s.hops {
		own := netlink.NewAttributeEncoder()
		addGateway(own, h.via)
		index := 0
		if h.device != "" {
			var err error
			if index, err = c.index(h.device); err != nil {
				return err
			}
		}
		body, err := own.Encode()
		if err != nil {
			return err
		}
		flags := uint8(0)
		if h.onlink {
			flags = unix.RTNH_F_ONLINK
		}
		all = binary.NativeEndian.AppendUint16(all, uint16(unix.SizeofRtNexthop+len(body)))
		all = append(all, flags, uint8(max(h.weight, 1)-1))
		all = binary.NativeEndian.AppendUint32(all, uint32(index))
		all = append(all, body...)
	}
	if all != nil {
		attrs.Bytes(unix.RTA_MULTIPATH, all)
	}
	return nil
}

// getRoute asks which route a packet would take.
func getRoute(c *command) error {
	c.words.next() // get
	var to, from, in, out string
	var mark uint32
	flags := uint32(unix.RTM_F_LOOKUP_TABLE)
	keys := []key{
		{names: []string{"fibmatch"}, flag: func() { flags |= unix.RTM_F_FIB_MATCH }},
		{names: []string{"to"}, set: once(&to, "to")},
		{names: []string{"from"}, set: text(&from)},
		{names: []string{"mark"}, set: number(&mark, "mark")},
		{names: []string{"iif"}, set: text(&in)},
		{names: []string{"oif", "dev"}, set: text(&out)},
	}
	if err := c.words.parse(keys, once(&to, "to")); err != nil {
		return err
	}
	if to == "" {
		return fail(1, "need at least a destination address")
	}
	dst, err := prefix(to, c.family)
	if err != nil {
		return err
	}
	attrs := netlink.NewAttributeEncoder()
	attrs.Bytes(unix.RTA_DST, dst.Addr().AsSlice())
	header := rtnl.RouteHeader(familyOf(dst.Addr()), uint8(dst.Bits()), 0, 0, 0, flags)
	if from != "" {
		src, err := prefix(from, familyOf(dst.Addr()))
		if err != nil {
			return err
		}
		header[2] = uint8(src.Bits())
		attrs.Bytes(unix.RTA_SRC, src.Addr().AsSlice())
	}
	if mark != 0 {
		attrs.Uint32(unix.RTA_MARK, mark)
	}
	for kind, name := range map[uint16]string{unix.RTA_IIF: in, unix.RTA_OIF: out} {
		if name == "" {
			continue
		}
		index, err := c.index(name)
		if err != nil {
			return err
		}
		attrs.Uint32(kind, uint32(index))
	}
	return c.showOneRoute(header, attrs)
}

func (c *command) showOneRoute(header []byte, attrs *netlink.AttributeEncoder) error {
	body, err := attrs.Encode()
	if err == nil {
		err = c.readLinks()
	}
	if err != nil {
		return err
	}
	messages, err := c.conn.Ask(rtnl.Request{Kind: unix.RTM_GETROUTE, Header: header, Attrs: body})
	if err != nil {
		return answered(err)
	}
	var views []routeView
	for _, m := range messages {
		r, err := rtnl.ParseRoute(m)
		if err != nil {
			return err
		}
		views = append(views, c.viewRoute(&r, &routeFilter{table: "all"}))
	}
	return print(c, views, routeText)
}
