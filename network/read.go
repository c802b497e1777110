package network

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A link is what the kernel says of a network device.
type link struct {
	name   string
	kind   string // "bridge", "veth"; empty for hardware
	mac    string
	index  int
	master int // the bridge it is a port of, or 0
	peer   int // the other end of a veth, or a macvlan's parent: an index in that one's namespace
	mtu    int // bytes
	up     bool
	port   string // a bridge port's state: "forwarding"
	alias  string // free text
}

// portStates are the values of IFLA_BRPORT_STATE, linux/if_bridge.h.
var portStates = [...]string{"disabled", "listening", "learning", "forwarding", "blocking"}

// skipStats keeps 200 bytes of counters out of each answer (linux/rtnetlink.h,
// RTEXT_FILTER_SKIP_STATS, Linux 4.4).
const skipStats = 1 << 3

// link finds a link by its name. Without one it fails with ENODEV.
func (c *conn) link(name string) (*link, error) {
	return c.oneLink(0, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

// linkAt finds a link by its index.
func (c *conn) linkAt(index int) (*link, error) { return c.oneLink(index) }

func (c *conn) oneLink(index int, more ...nl.NetlinkRequestData) (found *link, err error) {
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	parts := append([]nl.NetlinkRequestData{message, nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats))}, more...)
	err = c.do(request(unix.RTM_GETLINK, unix.NLM_F_ACK, parts...), func(m syscall.NetlinkMessage) error {
		found, err = parseLink(m)
		return err
	})
	if err == nil && found == nil {
		err = unix.ENODEV
	}
	return found, err
}

// links lists all links.
func (c *conn) links() ([]*link, error) {
	return c.listLinks(func(*link) bool { return true })
}

// ports lists the ports of the bridge with the index.
func (c *conn) ports(bridge int) ([]*link, error) {
	return c.listLinks(func(l *link) bool { return l.master == bridge },
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))))
}

// listLinks lists the links that are wanted. The kernel may filter by more.
func (c *conn) listLinks(want func(*link) bool, more ...nl.NetlinkRequestData) (list []*link, err error) {
	ask := func() *nl.NetlinkRequest {
		parts := []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats))}
		return request(unix.RTM_GETLINK, unix.NLM_F_DUMP, append(parts, more...)...)
	}
	err = c.dump(ask, func() { list = nil }, func(m syscall.NetlinkMessage) error {
		l, err := parseLink(m)
		if err == nil && want(l) {
			list = append(list, l)
		}
		return err
	})
	return list, err
}

// errShort says that a message of the kernel ends too early.
var errShort = errors.New("netlink message too short")

func parseLink(m syscall.NetlinkMessage) (*link, error) {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return nil, errShort
	}
	head := nl.DeserializeIfInfomsg(m.Data)
	l := &link{index: int(head.Index), up: head.Flags&unix.IFF_UP != 0}
	slave := "" // the kind of its master, which the kernel puts before the master's data
	return l, attributes(m.Data[unix.SizeofIfInfomsg:], map[uint16]func([]byte) error{
		unix.IFLA_IFNAME:  func(b []byte) error { l.name = unix.ByteSliceToString(b); return nil },
		unix.IFLA_ADDRESS: func(b []byte) error { l.mac = net.HardwareAddr(b).String(); return nil },
		unix.IFLA_MASTER:  func(b []byte) error { l.master = number(b); return nil },
		unix.IFLA_LINK:    func(b []byte) error { l.peer = number(b); return nil },
		unix.IFLA_IFALIAS: func(b []byte) error { l.alias = unix.ByteSliceToString(b); return nil },
		unix.IFLA_MTU:     func(b []byte) error { l.mtu = number(b); return nil },
		unix.IFLA_LINKINFO: func(b []byte) error {
			return attributes(b, map[uint16]func([]byte) error{
				unix.IFLA_INFO_KIND:       func(b []byte) error { l.kind = unix.ByteSliceToString(b); return nil },
				unix.IFLA_INFO_SLAVE_KIND: func(b []byte) error { slave = unix.ByteSliceToString(b); return nil },
				unix.IFLA_INFO_SLAVE_DATA: func(b []byte) error { return parsePort(l, slave, b) },
			})
		},
	})
}

// parsePort reads what a bridge says of its port; what other kinds of masters
// say is numbered otherwise.
func parsePort(l *link, master string, b []byte) error {
	if master != "bridge" {
		return nil
	}
	return attributes(b, map[uint16]func([]byte) error{
		unix.IFLA_BRPORT_STATE: func(b []byte) error {
			if len(b) == 1 && int(b[0]) < len(portStates) {
				l.port = portStates[b[0]]
			}
			return nil
		},
	})
}

// attributes gives the value of each attribute in b to the function for its type.
func attributes(b []byte, by map[uint16]func([]byte) error) error {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return err
	}
	for _, a := range list {
		if f := by[a.Attr.Type&^unix.NLA_F_NESTED]; f != nil {
			if err := f(a.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// number reads a 32-bit attribute, 0 when it is shorter.
func number(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(nl.NativeEndian().Uint32(b))
}

// index gives the index of a link by its name, as if_nametoindex(3): one ioctl
// of a microsecond.
func (c *conn) index(name string) (int, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, r); err != nil {
		return 0, err
	}
	return int(r.Uint32()), nil
}

// isUp tells whether the link of the name is up (IFF_UP), by one ioctl.
func (c *conn) isUp(name string) (bool, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return false, err
	}
	if err := unix.IoctlIfreq(c.fd, unix.SIOCGIFFLAGS, r); err != nil {
		return false, err
	}
	return r.Uint16()&unix.IFF_UP != 0, nil
}

// An address is an IP address of a link.
type address struct {
	index  int
	prefix netip.Prefix
}

// addresses lists the addresses of the family, AF_INET, AF_INET6 or AF_UNSPEC
// for both, of the link with the index, or of all links for index 0.
func (c *conn) addresses(family, index int) (list []address, err error) {
	ask := func() *nl.NetlinkRequest {
		message := nl.NewIfAddrmsg(family)
		message.Index = uint32(index)
		return request(unix.RTM_GETADDR, unix.NLM_F_DUMP, message)
	}
	err = c.dump(ask, func() { list = nil }, func(m syscall.NetlinkMessage) error {
		a, err := parseAddress(m)
		// A kernel without IPv6 answers the question for it with all that it has.
		asked := a.prefix.IsValid() && (family == unix.AF_UNSPEC || addressFamily(a.prefix.Addr()) == family)
		if err == nil && asked && (index == 0 || a.index == index) {
			list = append(list, a)
		}
		return err
	})
	return list, err
}

func parseAddress(m syscall.NetlinkMessage) (address, error) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return address{}, errShort
	}
	head := nl.DeserializeIfAddrmsg(m.Data)
	a := address{index: int(head.Index)}
	// IFA_LOCAL is the address itself where there is one (IPv4); IFA_ADDRESS is
	// the peer's on a point-to-point link, and IPv6 has only that.
	return a, attributes(m.Data[unix.SizeofIfAddrmsg:], map[uint16]func([]byte) error{
		unix.IFA_ADDRESS: func(b []byte) error {
			if ip, ok := netip.AddrFromSlice(b); ok && !a.prefix.IsValid() {
				a.prefix = netip.PrefixFrom(ip, int(head.Prefixlen))
			}
			return nil
		},
		unix.IFA_LOCAL: func(b []byte) error {
			if ip, ok := netip.AddrFromSlice(b); ok {
				a.prefix = netip.PrefixFrom(ip, int(head.Prefixlen))
			}
			return nil
		},
	})
}

// A route is an IPv4 or IPv6 route.
type route struct {
	to      netip.Prefix // 0.0.0.0/0 or ::/0 for a default route
	gateway netip.Addr
	index   int // the link it leaves by, of several the first
	metric  int
	table   int
}

// routes lists the routes of the family, AF_INET, AF_INET6 or AF_UNSPEC for both,
// of a table, or of all tables for RT_TABLE_UNSPEC.
func (c *conn) routes(family, table int) ([]route, error) {
	if family != unix.AF_UNSPEC {
		return c.routesOf(family, table)
	}
	list, err := c.routesOf(unix.AF_INET, table)
	if err != nil {
		return nil, err
	}
	list6, err := c.routesOf(unix.AF_INET6, table)
	return append(list, list6...), err
}

func (c *conn) routesOf(family, table int) (list []route, err error) {
	ask := func() *nl.NetlinkRequest {
		message := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family), Table: uint8(table)}}
		return request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, message)
	}
	err = c.dump(ask, func() { list = nil }, func(m syscall.NetlinkMessage) error {
		r, err := parseRoute(m)
		// A kernel without IPv6 answers the question for it with all that it has.
		asked := r.to.IsValid() && addressFamily(r.to.Addr()) == family
		if err == nil && asked && (table == unix.RT_TABLE_UNSPEC || r.table == table) {
			list = append(list, r)
		}
		return err
	})
	// A namespace in which no route was ever made has no main table yet
	// (fib_dump, since strict checking: ENOENT).
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return list, err
}

// isLocal tells whether packets to the address are for the host itself: it asks the
// kernel where it would send one.
func (c *conn) isLocal(a netip.Addr) (local bool, err error) {
	message := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Dst_len: 32}}
	if a.Is6() {
		message.Family, message.Dst_len = unix.AF_INET6, 128
	}
	r := request(unix.RTM_GETROUTE, unix.NLM_F_ACK, message, nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
	err = c.do(r, func(m syscall.NetlinkMessage) error {
		if len(m.Data) < unix.SizeofRtMsg {
			return errShort
		}
		local = nl.DeserializeRtMsg(m.Data).Type == unix.RTN_LOCAL
		return nil
	})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES) {
		return false, nil // no route at all is not one to here
	}
	return local, err
}

// parseRoute reads a route. One of another family than IPv4 and IPv6 has no
// valid destination.
func parseRoute(m syscall.NetlinkMessage) (route, error) {
	if len(m.Data) < unix.SizeofRtMsg {
		return route{}, errShort
	}
	head := nl.DeserializeRtMsg(m.Data)
	r := route{table: int(head.Table)}
	switch head.Family {
	case unix.AF_INET:
		r.to = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	case unix.AF_INET6:
		r.to = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	default:
		return r, nil
	}
	return r, attributes(m.Data[unix.SizeofRtMsg:], map[uint16]func([]byte) error{
		unix.RTA_TABLE:    func(b []byte) error { r.table = number(b); return nil },
		unix.RTA_OIF:      func(b []byte) error { r.index = number(b); return nil },
		unix.RTA_PRIORITY: func(b []byte) error { r.metric = number(b); return nil },
		unix.RTA_GATEWAY: func(b []byte) error {
			r.gateway, _ = netip.AddrFromSlice(b)
			return nil
		},
		unix.RTA_DST: func(b []byte) error {
			if ip, ok := netip.AddrFromSlice(b); ok {
				r.to = netip.PrefixFrom(ip, int(head.Dst_len))
			}
			return nil
		},
		unix.RTA_MULTIPATH: func(b []byte) error {
			if len(b) >= unix.SizeofRtNexthop { // struct rtnexthop: the index is its last field
				r.index = number(b[4:])
			}
			return nil
		},
	})
}
