package survey

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// routeTypes are the values of rtm_type, linux/rtnetlink.h.
var routeTypes = map[uint8]string{
	unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast",
	unix.RTN_MULTICAST: "multicast", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable",
	unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw", unix.RTN_NAT: "nat",
}

// routeProtocols are the values of rtm_protocol that the kernel and iproute2 name.
var routeProtocols = map[uint8]string{
	unix.RTPROT_UNSPEC: "unspec", unix.RTPROT_REDIRECT: "redirect", unix.RTPROT_KERNEL: "kernel", unix.RTPROT_BOOT: "boot",
	unix.RTPROT_STATIC: "static", unix.RTPROT_RA: "ra", unix.RTPROT_DHCP: "dhcp", unix.RTPROT_BIRD: "bird", unix.RTPROT_ZEBRA: "zebra",
	unix.RTPROT_BGP: "bgp", unix.RTPROT_OSPF: "ospf", unix.RTPROT_KEEPALIVED: "keepalived",
}

// everywhere is the destination of a default route.
func everywhere(family uint8) netip.Prefix {
	if family == unix.AF_INET6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func (c *conn) routes(n *Netns) error {
	return c.dump(unix.RTM_GETROUTE, func() { n.Routes = nil }, func(m []byte) error {
		r, ip, err := parseRoute(m)
		if err == nil && ip {
			n.Routes = append(n.Routes, r)
		}
		return err
	}, &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_UNSPEC}})
}

// parseRoute reads a route. Those of multicast routing and of cached exceptions are
// none that ip-route(8) lists.
func parseRoute(m []byte) (r Route, ip bool, err error) {
	if len(m) < unix.SizeofRtMsg {
		return r, false, errShort
	}
	head := nl.DeserializeRtMsg(m)
	if head.Family != unix.AF_INET && head.Family != unix.AF_INET6 || head.Flags&unix.RTM_F_CLONED != 0 {
		return r, false, nil
	}
	r = Route{
		Table: int(head.Table), Type: named(routeTypes, head.Type), To: everywhere(head.Family),
		Scope: named(scopes, head.Scope), Protocol: named(routeProtocols, head.Protocol),
		Onlink: head.Flags&unix.RTNH_F_ONLINK != 0, Dead: head.Flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) != 0,
	}
	err = attributes(m, unix.SizeofRtMsg, func(kind uint16, b []byte) { r.attribute(kind, b, int(head.Dst_len)) })
	return r, true, err
}

func (r *Route) attribute(kind uint16, b []byte, bits int) {
	switch kind {
	case unix.RTA_DST:
		r.To = netip.PrefixFrom(address(b), bits)
	case unix.RTA_GATEWAY:
		r.Gateway = address(b)
	case unix.RTA_VIA: // struct rtvia: a gateway of another family
		if len(b) > 2 {
			r.Gateway = address(b[2:])
		}
	case unix.RTA_OIF:
		r.Link = int(number32(b))
	case unix.RTA_PREFSRC:
		r.Source = address(b)
	case unix.RTA_PRIORITY:
		r.Metric = int(number32(b))
	case unix.RTA_TABLE:
		r.Table = int(number32(b))
	case unix.RTA_METRICS:
		nested(b, func(kind uint16, b []byte) {
			if kind == unix.RTAX_MTU {
				r.MTU = int(number32(b))
			}
		})
	case unix.RTA_MULTIPATH:
		r.Hops = hops(b)
	}
}

// hops reads a list of struct rtnexthop, each with attributes of its own.
func hops(b []byte) (list []Hop) {
	for len(b) >= unix.SizeofRtNexthop {
		size := int(number16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			return list
		}
		h := Hop{Weight: int(b[3]) + 1, Link: int(int32(number32(b[4:])))}
		nested(b[unix.SizeofRtNexthop:size], func(kind uint16, b []byte) {
			if kind == unix.RTA_GATEWAY {
				h.Gateway = address(b)
			}
		})
		list = append(list, h)
		b = b[min((size+3)&^3, len(b)):]
	}
	return list
}

// ruleActions are the values of the action of a rule, linux/fib_rules.h.
var ruleActions = map[uint8]string{
	unix.FR_ACT_TO_TBL: "lookup", unix.FR_ACT_GOTO: "goto", unix.FR_ACT_NOP: "nop",
	unix.FR_ACT_BLACKHOLE: "blackhole", unix.FR_ACT_UNREACHABLE: "unreachable", unix.FR_ACT_PROHIBIT: "prohibit",
}

// sizeofRuleHeader is struct fib_rule_hdr, which is laid out as struct rtmsg is:
// the action is where that has its type.
const sizeofRuleHeader = unix.SizeofRtMsg

func (c *conn) rules(n *Netns) error {
	return c.dump(unix.RTM_GETRULE, func() { n.Rules = nil }, func(m []byte) error {
		if len(m) < sizeofRuleHeader {
			return errShort
		}
		head := nl.DeserializeRtMsg(m)
		if head.Family != unix.AF_INET && head.Family != unix.AF_INET6 {
			return nil
		}
		r := Rule{Family: int(head.Family), Table: int(head.Table), Action: named(ruleActions, head.Type), Invert: head.Flags&unix.FIB_RULE_INVERT != 0}
		err := attributes(m, sizeofRuleHeader, func(kind uint16, b []byte) { r.attribute(kind, b, head) })
		r.Usual = r.isUsual()
		n.Rules = append(n.Rules, r)
		return err
	}, &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_UNSPEC}})
}

func (r *Rule) attribute(kind uint16, b []byte, head *nl.RtMsg) {
	switch kind {
	case unix.FRA_PRIORITY:
		r.Priority = int(number32(b))
	case unix.FRA_SRC:
		r.From = netip.PrefixFrom(address(b), int(head.Src_len))
	case unix.FRA_DST:
		r.To = netip.PrefixFrom(address(b), int(head.Dst_len))
	case unix.FRA_IIFNAME:
		r.In = text(b)
	case unix.FRA_OIFNAME:
		r.Out = text(b)
	case unix.FRA_FWMARK:
		r.Mark = number32(b)
	case unix.FRA_FWMASK:
		r.Mask = number32(b)
	case unix.FRA_IP_PROTO:
		r.Protocol = number8(b)
	case unix.FRA_TABLE:
		r.Table = int(number32(b))
	case unix.FRA_GOTO:
		r.Goto = int(number32(b))
	}
}

// isUsual compares with the rules that every namespace begins with.
func (r *Rule) isUsual() bool {
	bare := Rule{Family: r.Family, Priority: r.Priority, Action: "lookup", Table: r.Table}
	switch r.Priority {
	case 0:
		return *r == bare && r.Table == unix.RT_TABLE_LOCAL
	case 32766:
		return *r == bare && r.Table == unix.RT_TABLE_MAIN
	case 32767:
		return *r == bare && r.Table == unix.RT_TABLE_DEFAULT
	}
	return false
}
