package rtnl

import (
	"net"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Link is what the kernel says of a network device: the struct ifinfomsg and
// the attributes IFLA_* of linux/if_link.h.
type Link struct {
	Index      int
	Type       uint16 // ARPHRD_ETHER
	Flags      uint32 // IFF_UP
	Name       string
	MTU        uint32
	Qdisc      string
	Master     int
	OperState  uint8
	LinkMode   uint8
	Group      uint32
	TxQueueLen uint32
	Address    net.HardwareAddr
	Broadcast  net.HardwareAddr
	Permanent  net.HardwareAddr
	Alias      string
	AltNames   []string

	Lower    int // the device below, or a veth's other end
	HasLower bool
	NetnsID  int32 // where Lower is, when elsewhere
	HasNetns bool

	Kind, PortKind         string // "veth"; as a port of a "bridge"
	KindData, PortData     []byte // IFLA_INFO_DATA, IFLA_INFO_SLAVE_DATA
	Promiscuity, AllMulti  uint32
	MinMTU, MaxMTU         uint32
	TxQueues, RxQueues     uint32
	Stats                  *LinkStats
	GSOMaxSize, GSOMaxSegs uint32
	TSOMaxSize, TSOMaxSegs uint32
	GROMaxSize             uint32
	CarrierChanges         uint32
	AddrGenMode            *uint8 // of IPv6
}

// LinkStats are the counters of a link, struct rtnl_link_stats64.
type LinkStats struct {
	RxPackets, TxPackets, RxBytes, TxBytes, RxErrors, TxErrors, RxDropped, TxDropped uint64
	Multicast, Collisions, RxLength, RxOver, RxCRC, RxFrame, RxFIFO, RxMissed        uint64
	TxAborted, TxCarrier, TxFIFO, TxHeartbeat, TxWindow, RxCompressed, TxCompressed  uint64
	RxNoHandler                                                                      uint64
}

// inet6AddrGenMode is IFLA_INET6_ADDR_GEN_MODE of linux/if_link.h, which x/sys does not name.
const inet6AddrGenMode = 8

// LinkHeader is a struct ifinfomsg.
func LinkHeader(index int, flags, change uint32) []byte {
	h := make([]byte, unix.SizeofIfInfomsg)
	order.PutUint32(h[4:], uint32(index))
	order.PutUint32(h[8:], flags)
	order.PutUint32(h[12:], change)
	return h
}

// Links lists the links, by index.
func (c *Conn) Links() ([]Link, error) {
	messages, err := c.Dump(Request{Kind: unix.RTM_GETLINK, Header: LinkHeader(0, 0, 0)})
	return all(messages, err, ParseLink)
}

// ParseLink decodes an RTM_NEWLINK or RTM_DELLINK.
func ParseLink(m netlink.Message) (Link, error) {
	h, attrs, err := split(m, unix.SizeofIfInfomsg)
	if err != nil {
		return Link{}, err
	}
	l := Link{Type: order.Uint16(h[2:]), Index: int(int32(order.Uint32(h[4:]))), Flags: order.Uint32(h[8:])}
	for attrs.Next() {
		l.identity(attrs)
		l.tunables(attrs)
	}
	return l, attrs.Err()
}

func (l *Link) identity(a *netlink.AttributeDecoder) {
	switch a.Type() {
	case unix.IFLA_IFNAME:
		l.Name = a.String()
	case unix.IFLA_ADDRESS:
		l.Address = a.Bytes()
	case unix.IFLA_BROADCAST:
		l.Broadcast = a.Bytes()
	case unix.IFLA_PERM_ADDRESS:
		l.Permanent = a.Bytes()
	case unix.IFLA_LINK:
		l.Lower, l.HasLower = int(a.Uint32()), true
	case unix.IFLA_LINK_NETNSID:
		l.NetnsID, l.HasNetns = a.Int32(), true
	case unix.IFLA_MASTER:
		l.Master = int(a.Uint32())
	case unix.IFLA_IFALIAS:
		l.Alias = a.String()
	case unix.IFLA_PROP_LIST:
		a.Nested(func(n *netlink.AttributeDecoder) error {
			for n.Next() {
				if n.Type() == unix.IFLA_ALT_IFNAME {
					l.AltNames = append(l.AltNames, n.String())
				}
			}
			return nil
		})
	case unix.IFLA_LINKINFO:
		a.Nested(l.kind)
	case unix.IFLA_AF_SPEC:
		a.Nested(l.families)
	}
}

func (l *Link) kind(a *netlink.AttributeDecoder) error {
	for a.Next() {
		switch a.Type() {
		case unix.IFLA_INFO_KIND:
			l.Kind = a.String()
		case unix.IFLA_INFO_DATA:
			l.KindData = a.Bytes()
		case unix.IFLA_INFO_SLAVE_KIND:
			l.PortKind = a.String()
		case unix.IFLA_INFO_SLAVE_DATA:
			l.PortData = a.Bytes()
		}
	}
	return nil
}

func (l *Link) families(a *netlink.AttributeDecoder) error {
	for a.Next() {
		if a.Type() != unix.AF_INET6 {
			continue
		}
		a.Nested(func(n *netlink.AttributeDecoder) error {
			for n.Next() {
				if n.Type() == inet6AddrGenMode {
					mode := n.Uint8()
					l.AddrGenMode = &mode
				}
			}
			return nil
		})
	}
	return nil
}

// tunables are the attributes that are a number and nothing else.
func (l *Link) tunables(a *netlink.AttributeDecoder) {
	words := map[uint16]*uint32{
		unix.IFLA_MTU: &l.MTU, unix.IFLA_GROUP: &l.Group, unix.IFLA_TXQLEN: &l.TxQueueLen,
		unix.IFLA_PROMISCUITY: &l.Promiscuity, unix.IFLA_CARRIER_CHANGES: &l.CarrierChanges, unix.IFLA_ALLMULTI: &l.AllMulti,
		unix.IFLA_MIN_MTU: &l.MinMTU, unix.IFLA_MAX_MTU: &l.MaxMTU,
		unix.IFLA_NUM_TX_QUEUES: &l.TxQueues, unix.IFLA_NUM_RX_QUEUES: &l.RxQueues,
		unix.IFLA_GSO_MAX_SIZE: &l.GSOMaxSize, unix.IFLA_GSO_MAX_SEGS: &l.GSOMaxSegs,
		unix.IFLA_TSO_MAX_SIZE: &l.TSOMaxSize, unix.IFLA_TSO_MAX_SEGS: &l.TSOMaxSegs, unix.IFLA_GRO_MAX_SIZE: &l.GROMaxSize,
	}
	if at, ok := words[a.Type()]; ok {
		*at = a.Uint32()
		return
	}
	switch a.Type() {
	case unix.IFLA_QDISC:
		l.Qdisc = a.String()
	case unix.IFLA_OPERSTATE:
		l.OperState = a.Uint8()
	case unix.IFLA_LINKMODE:
		l.LinkMode = a.Uint8()
	case unix.IFLA_STATS64:
		l.Stats = parseStats(a.Bytes())
	}
}

// parseStats reads as many counters as this kernel has.
func parseStats(b []byte) *LinkStats {
	s := &LinkStats{}
	for i, at := range []*uint64{
		&s.RxPackets, &s.TxPackets, &s.RxBytes, &s.TxBytes, &s.RxErrors, &s.TxErrors, &s.RxDropped, &s.TxDropped,
		&s.Multicast, &s.Collisions, &s.RxLength, &s.RxOver, &s.RxCRC, &s.RxFrame, &s.RxFIFO, &s.RxMissed,
		&s.TxAborted, &s.TxCarrier, &s.TxFIFO, &s.TxHeartbeat, &s.TxWindow, &s.RxCompressed, &s.TxCompressed,
		&s.RxNoHandler,
	} {
		if len(b) >= 8*i+8 {
			*at = order.Uint64(b[8*i:])
		}
	}
	return s
}

// KindAttr is an attribute of the link's kind: one of IFLA_BR_* of a bridge.
func (l *Link) KindAttr(kind uint16) []byte {
	attrs, err := netlink.NewAttributeDecoder(l.KindData)
	if err != nil {
		return nil
	}
	for attrs.Next() {
		if attrs.Type() == kind {
			return attrs.Bytes()
		}
	}
	return nil
}
