package fault

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// route is a route of a namespace.
type route struct {
	Netns       network.Netns
	Type        string // "unicast" when empty; blackhole, unreachable, prohibit
	Destination netip.Prefix
	Gateway     netip.Addr // none: the zero Addr
	Index       int        // of the link; 0 for none
	Link        string
	Table       int // 0: main
	Metric      int
}

func routeTypes() map[string]int {
	return map[string]int{"": unix.RTN_UNICAST, "blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT}
}

func (s *route) table() int {
	if s.Table == 0 {
		return unix.RT_TABLE_MAIN
	}
	return s.Table
}

func (s *route) netlink() *netlink.Route {
	r := &netlink.Route{
		LinkIndex: s.Index, Table: s.table(), Priority: s.Metric, Type: routeTypes()[s.Type],
		Dst: ipNet(s.Destination), Family: family(s.Destination.Addr()),
	}
	if s.Gateway.IsValid() {
		r.Gw = s.Gateway.AsSlice()
	} else if s.Index != 0 {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

func (s *route) has() (has bool, err error) {
	err = in(s.Netns, func() error {
		filter := &netlink.Route{Table: s.table()}
		list, err := routes(family(s.Destination.Addr()), filter, netlink.RT_FILTER_TABLE)
		for _, r := range list {
			has = has || s.is(r)
		}
		return err
	})
	return has, err
}

func (s *route) is(r netlink.Route) bool {
	destination := netip.PrefixFrom(unspecified(s.Destination.Addr()), 0)
	if r.Dst != nil {
		a, _ := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		destination = netip.PrefixFrom(a.Unmap(), bits)
	}
	gateway, _ := netip.AddrFromSlice(r.Gw)
	return destination == s.Destination && gateway.Unmap() == s.Gateway && r.Priority == s.Metric &&
		r.Type == routeTypes()[s.Type] && (s.Index == 0 || r.LinkIndex == s.Index)
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (s *route) put() error {
	return in(s.Netns, func() error { return netlink.RouteAdd(s.netlink()) })
}

func (s *route) take() error {
	return in(s.Netns, func() error { return netlink.RouteDel(s.netlink()) })
}

func (s *route) what() string { return "route to " + s.destination() + where(s.Netns) }

func (s *route) destination() string {
	if s.Destination.Bits() == 0 {
		return "default"
	}
	return s.Destination.String()
}

func (s *route) command(put bool) string {
	words := []string{ip(s.Netns), "route", word(put, "add", "del")}
	if s.Type != "" {
		words = append(words, s.Type)
	}
	words = append(words, s.destination())
	if s.Gateway.IsValid() {
		words = append(words, "via", s.Gateway.String())
	}
	if s.Link != "" {
		words = append(words, "dev", s.Link)
	}
	if s.Table != 0 {
		words = append(words, "table", strconv.Itoa(s.Table))
	}
	if s.Metric != 0 {
		words = append(words, "metric", strconv.Itoa(s.Metric))
	}
	return strings.Join(words, " ")
}

// rule is a rule of policy routing.
type rule struct {
	Netns    network.Netns
	Priority int
	Type     string // as of routes; a rule that looks into a table has none
	From, To netip.Prefix
	Table    int
}

func (s *rule) netlink() *netlink.Rule {
	r := netlink.NewRule()
	r.Priority, r.Family = s.Priority, unix.AF_INET
	r.Src, r.Dst = ipNet(s.From), ipNet(s.To)
	if s.Table != 0 {
		r.Table = s.Table
	}
	if s.Type != "" {
		r.Type = uint8(routeTypes()[s.Type])
		r.Table = unix.RT_TABLE_UNSPEC
	}
	return r
}

func (s *rule) has() (has bool, err error) {
	err = in(s.Netns, func() error {
		list, err := rules()
		for _, r := range list {
			has = has || r.Priority == s.Priority && sameNet(r.Src, s.From) && sameNet(r.Dst, s.To) && (s.Table == 0 || r.Table == s.Table)
		}
		return err
	})
	return has, err
}

func (s *rule) put() error {
	return in(s.Netns, func() error { return netlink.RuleAdd(s.netlink()) })
}

func (s *rule) take() error {
	return in(s.Netns, func() error { return netlink.RuleDel(s.netlink()) })
}

func (s *rule) what() string {
	return "rule of priority " + strconv.Itoa(s.Priority) + where(s.Netns)
}

func (s *rule) command(put bool) string {
	words := []string{ip(s.Netns), "rule", word(put, "add", "del"), "priority", strconv.Itoa(s.Priority)}
	if s.From.IsValid() {
		words = append(words, "from", s.From.Addr().String())
	}
	if s.To.IsValid() {
		words = append(words, "to", s.To.Addr().String())
	}
	if s.Type != "" {
		return strings.Join(append(words, s.Type), " ")
	}
	return fmt.Sprintf("%s lookup %d", strings.Join(words, " "), s.Table)
}

func sameNet(n fmt.Stringer, p netip.Prefix) bool {
	text := n.String()
	if text == "<nil>" {
		return !p.IsValid()
	}
	return p.IsValid() && text == p.Masked().String()
}

// uplinkMetric is the metric of the host's default route.
func (v *view) uplinkMetric() (int, error) {
	list, err := routes(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN, LinkIndex: v.uplink.Index}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	for _, r := range list {
		if r.Dst == nil || r.Dst.String() == "0.0.0.0/0" {
			return r.Priority, err
		}
	}
	return 0, err
}
