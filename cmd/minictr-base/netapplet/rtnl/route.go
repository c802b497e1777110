package rtnl

import (
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Route is a struct rtmsg and the attributes RTA_* of linux/rtnetlink.h.
type Route struct {
	Family, DstLen, SrcLen, TOS uint8
	Table                       uint32
	Protocol, Scope, Type       uint8
	Flags                       uint32
	Dst, Src                    netip.Addr // invalid: everything
	Gateway                     netip.Addr // may be of the other family
	ViaFamily                   bool       // the gateway came as RTA_VIA
	Out, In                     int        // links
	PrefSrc                     netip.Addr
	Priority                    uint32
	HasPriority                 bool
	UID                         uint32
	HasUID                      bool
	Mark                        uint32
	Pref                        uint8
	HasPref                     bool
	NexthopID                   uint32
	Expires                     int32 // clock ticks, of which userland sees 100 a second
	CacheError                  uint32
	HasCache                    bool
	Metrics                     []Metric
	Nexthops                    []Nexthop
	Raw                         []byte // as the kernel sent it: what deletes it, too
}

// A Metric is an attribute RTAX_*.
type Metric struct {
	Kind  uint16
	Value uint32
}

// A Nexthop is one of the ways of a multipath route.
type Nexthop struct {
	Flags   uint8
	Weight  int
	Out     int
	Gateway netip.Addr
	Via     bool
}

const (
	sizeofRtNexthop = 8
	rtaNexthopID    = 0x1e // RTA_NH_ID of linux/rtnetlink.h
)

// RouteHeader is a struct rtmsg; its table is in RTA_TABLE.
func RouteHeader(family, dstLen uint8, protocol, scope, kind uint8, flags uint32) []byte {
	h := make([]byte, unix.SizeofRtMsg)
	h[0], h[1], h[5], h[6], h[7] = family, dstLen, protocol, scope, kind
	order.PutUint32(h[8:], flags)
	return h
}

// Routes lists the routes of all tables of a family, or with AF_UNSPEC of all
// families.
func (c *Conn) Routes(family uint8) ([]Route, error) {
	messages, err := c.Dump(Request{Kind: unix.RTM_GETROUTE, Header: RouteHeader(family, 0, 0, 0, 0, 0)})
	return all(messages, err, ParseRoute)
}

// ParseRoute decodes an RTM_NEWROUTE or RTM_DELROUTE.
func ParseRoute(m netlink.Message) (Route, error) {
	h, attrs, err := split(m, unix.SizeofRtMsg)
	if err != nil {
		return Route{}, err
	}
	r := Route{Family: h[0], DstLen: h[1], SrcLen: h[2], TOS: h[3], Table: uint32(h[4]), Protocol: h[5], Scope: h[6], Type: h[7], Flags: order.Uint32(h[8:]), Raw: m.Data}
	for attrs.Next() {
		if !r.where(attrs) {
			r.more(attrs)
		}
	}
	return r, attrs.Err()
}

// where takes the attributes that say what the route is for and where it leads.
func (r *Route) where(a *netlink.AttributeDecoder) bool {
	switch a.Type() {
	case unix.RTA_DST:
		r.Dst = ip(a.Bytes())
	case unix.RTA_SRC:
		r.Src = ip(a.Bytes())
	case unix.RTA_GATEWAY:
		r.Gateway = ip(a.Bytes())
	case unix.RTA_VIA:
		r.Gateway, r.ViaFamily = via(a.Bytes()), true
	case unix.RTA_OIF:
		r.Out = int(a.Uint32())
	case unix.RTA_IIF:
		r.In = int(a.Uint32())
	case unix.RTA_PREFSRC:
		r.PrefSrc = ip(a.Bytes())
	case unix.RTA_MULTIPATH:
		r.Nexthops = nexthops(a.Bytes())
	default:
		return false
	}
	return true
}

func (r *Route) more(a *netlink.AttributeDecoder) {
	switch a.Type() {
	case unix.RTA_TABLE:
		r.Table = a.Uint32()
	case unix.RTA_PRIORITY:
		r.Priority, r.HasPriority = a.Uint32(), true
	case unix.RTA_UID:
		r.UID, r.HasUID = a.Uint32(), true
	case unix.RTA_MARK:
		r.Mark = a.Uint32()
	case unix.RTA_PREF:
		r.Pref, r.HasPref = a.Uint8(), true
	case rtaNexthopID:
		r.NexthopID = a.Uint32()
	case unix.RTA_CACHEINFO: // struct rta_cacheinfo: clntref, lastuse, expires, error, used, …
		if b := a.Bytes(); len(b) >= 16 {
			r.Expires, r.CacheError, r.HasCache = int32(order.Uint32(b[8:])), order.Uint32(b[12:]), true
		}
	case unix.RTA_METRICS:
		a.Nested(func(n *netlink.AttributeDecoder) error {
			for n.Next() {
				if len(n.Bytes()) == 4 {
					r.Metrics = append(r.Metrics, Metric{n.Type(), n.Uint32()})
				}
			}
			return nil
		})
	}
}

// nexthops reads an array of struct rtnexthop, each with attributes of its own.
func nexthops(b []byte) []Nexthop {
	var list []Nexthop
	for len(b) >= sizeofRtNexthop {
		size := int(order.Uint16(b))
		if size < sizeofRtNexthop || size > len(b) {
			break
		}
		hop := Nexthop{Flags: b[2], Weight: int(b[3]) + 1, Out: int(order.Uint32(b[4:]))}
		if attrs, err := netlink.NewAttributeDecoder(b[sizeofRtNexthop:size]); err == nil {
			for attrs.Next() {
				switch attrs.Type() {
				case unix.RTA_GATEWAY:
					hop.Gateway = ip(attrs.Bytes())
				case unix.RTA_VIA:
					hop.Gateway, hop.Via = via(attrs.Bytes()), true
				}
			}
		}
		list = append(list, hop)
		b = b[min(len(b), (size+3)&^3):]
	}
	return list
}

// via reads a struct rtvia: a family and an address.
func via(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	return ip(b[2:])
}
