package survey

import (
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// loopback is the type of lo.
const loopback = unix.ARPHRD_LOOPBACK

// operStates are the values of IFLA_OPERSTATE, linux/if.h.
var operStates = [...]string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

// portStates are the values of IFLA_BRPORT_STATE, linux/if_bridge.h.
var portStates = [...]string{"disabled", "listening", "learning", "forwarding", "blocking"}

func word(table []string, i uint8) string {
	if int(i) < len(table) {
		return table[i]
	}
	return fmt.Sprint(i)
}

func (c *conn) links(n *Netns) error {
	return c.dump(unix.RTM_GETLINK, func() { n.Links = nil }, func(m []byte) error {
		if len(m) < unix.SizeofIfInfomsg {
			return errShort
		}
		head := nl.DeserializeIfInfomsg(m)
		l := Link{
			Index: int(head.Index), Type: head.Type, PeerNSID: -1,
			Up: head.Flags&unix.IFF_UP != 0, Running: head.Flags&unix.IFF_LOWER_UP != 0, NoARP: head.Flags&unix.IFF_NOARP != 0,
		}
		err := attributes(m, unix.SizeofIfInfomsg, l.attribute)
		n.Links = append(n.Links, l)
		return err
	}, nl.NewIfInfomsg(unix.AF_UNSPEC))
}

func (l *Link) attribute(kind uint16, b []byte) {
	switch kind {
	case unix.IFLA_IFNAME:
		l.Name = text(b)
	case unix.IFLA_ADDRESS:
		l.MAC = net.HardwareAddr(b).String()
	case unix.IFLA_MTU:
		l.MTU = int(number32(b))
	case unix.IFLA_LINK:
		l.Peer = int(number32(b))
	case unix.IFLA_LINK_NETNSID:
		l.PeerNSID = int(int32(number32(b)))
	case unix.IFLA_MASTER:
		l.Master = int(number32(b))
	case unix.IFLA_IFALIAS:
		l.Alias = text(b)
	case unix.IFLA_OPERSTATE:
		l.State = word(operStates[:], number8(b))
	case unix.IFLA_TXQLEN:
		l.TxQueue = int(number32(b))
	case unix.IFLA_QDISC:
		l.Qdisc = text(b)
	case unix.IFLA_PROTO_DOWN:
		l.Held = number8(b) != 0
	case unix.IFLA_XDP:
		nested(b, func(kind uint16, b []byte) { l.XDP = l.XDP || kind == unix.IFLA_XDP_ATTACHED && number8(b) != 0 })
	case unix.IFLA_PROP_LIST:
		nested(b, func(kind uint16, b []byte) {
			if kind == unix.IFLA_ALT_IFNAME {
				l.AltNames = append(l.AltNames, text(b))
			}
		})
	case unix.IFLA_STATS64:
		l.Stats = statistics(b)
	case unix.IFLA_LINKINFO:
		l.linkInfo(b)
	}
}

// statistics reads struct rtnl_link_stats64.
func statistics(b []byte) (s Stats) {
	for i, field := range []*uint64{&s.RxPackets, &s.TxPackets, &s.RxBytes, &s.TxBytes, &s.RxErrors, &s.TxErrors, &s.RxDropped, &s.TxDropped} {
		if len(b) >= 8*(i+1) {
			*field = nl.NativeEndian().Uint64(b[8*i:])
		}
	}
	return s
}

// linkInfo reads what depends on the kind of the link and of its master, which the
// kernel puts before the data of each.
func (l *Link) linkInfo(b []byte) {
	master := ""
	nested(b, func(kind uint16, b []byte) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			l.Kind = text(b)
		case unix.IFLA_INFO_SLAVE_KIND:
			master = text(b)
		case unix.IFLA_INFO_DATA:
			l.data(b)
		case unix.IFLA_INFO_SLAVE_DATA:
			if master == "bridge" {
				l.Port = &BridgePort{}
				nested(b, l.Port.attribute)
			}
		}
	})
	if l.Kind == "bridge" && l.Bridge == nil {
		l.Bridge = &Bridge{}
	}
}

// macvlanModes are the values of IFLA_MACVLAN_MODE, ipvlanModes those of
// IFLA_IPVLAN_MODE, linux/if_link.h.
var (
	macvlanModes = map[uint32]string{1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}
	ipvlanModes  = map[uint32]string{0: "l2", 1: "l3", 2: "l3s"}
)

func (l *Link) data(b []byte) {
	switch l.Kind {
	case "bridge":
		l.Bridge = &Bridge{}
		nested(b, l.Bridge.attribute)
	case "vlan":
		nested(b, func(kind uint16, b []byte) {
			if kind == unix.IFLA_VLAN_ID {
				l.VLAN = number16(b)
			}
		})
	case "macvlan", "macvtap":
		nested(b, func(kind uint16, b []byte) {
			if kind == unix.IFLA_MACVLAN_MODE {
				l.Mode = macvlanModes[number32(b)]
			}
		})
	case "ipvlan":
		nested(b, func(kind uint16, b []byte) {
			if kind == unix.IFLA_IPVLAN_MODE {
				l.Mode = ipvlanModes[uint32(number16(b))]
			}
		})
	}
}

// centiseconds are the unit of the bridge's times: clock ticks of USER_HZ, which is
// 100 on all architectures that we run on.
const centiseconds = 10 * time.Millisecond

func (b *Bridge) attribute(kind uint16, v []byte) {
	switch kind {
	case unix.IFLA_BR_BRIDGE_ID:
		if len(v) >= 8 {
			b.ID = fmt.Sprintf("%02x%02x.%x", v[0], v[1], v[2:8])
		}
	case unix.IFLA_BR_STP_STATE:
		b.STP = number32(v) != 0
	case unix.IFLA_BR_VLAN_FILTERING:
		b.VLANFiltering = number8(v) != 0
	case unix.IFLA_BR_VLAN_DEFAULT_PVID:
		b.DefaultPVID = number16(v)
	case unix.IFLA_BR_AGEING_TIME:
		b.Ageing = time.Duration(number32(v)) * centiseconds
	}
}

func (p *BridgePort) attribute(kind uint16, b []byte) {
	flag := number8(b) != 0
	switch kind {
	case unix.IFLA_BRPORT_STATE:
		p.State = word(portStates[:], number8(b))
	case unix.IFLA_BRPORT_NO:
		p.Number = number16(b)
	case unix.IFLA_BRPORT_COST:
		p.Cost = number32(b)
	case unix.IFLA_BRPORT_PRIORITY:
		p.Priority = number16(b)
	case unix.IFLA_BRPORT_MODE:
		p.Hairpin = flag
	case unix.IFLA_BRPORT_ISOLATED:
		p.Isolated = flag
	case unix.IFLA_BRPORT_LEARNING:
		p.Learning = flag
	case unix.IFLA_BRPORT_UNICAST_FLOOD:
		p.Flood = flag
	case unix.IFLA_BRPORT_BCAST_FLOOD:
		p.Broadcast = flag
	case unix.IFLA_BRPORT_MCAST_FLOOD:
		p.Multicast = flag
	case unix.IFLA_BRPORT_LOCKED:
		p.Locked = flag
	case unix.IFLA_BRPORT_GUARD:
		p.Guard = flag
	case unix.IFLA_BRPORT_PROTECT:
		p.RootBlock = flag
	case unix.IFLA_BRPORT_PROXYARP:
		p.ProxyARP = flag
	}
}

// Flags of struct bridge_vlan_info, linux/if_bridge.h.
const (
	bridgeVLANInfo = 2 // IFLA_BRIDGE_VLAN_INFO
	vlanPVID       = 1 << 1
	vlanUntagged   = 1 << 2
	filterVLAN     = 1 << 1 // RTEXT_FILTER_BRVLAN
)

// portVLANs asks for the VLANs of ports, where a bridge filters by them.
func (c *conn) portVLANs(n *Netns) error {
	filters := false
	for i := range n.Links {
		filters = filters || n.Links[i].Bridge != nil && n.Links[i].Bridge.VLANFiltering
	}
	if !filters {
		return nil
	}
	empty := func() {
		for i := range n.Links {
			if n.Links[i].Port != nil {
				n.Links[i].Port.VLANs = nil
			}
		}
	}
	return c.dump(unix.RTM_GETLINK, empty, func(m []byte) error {
		if len(m) < unix.SizeofIfInfomsg {
			return errShort
		}
		l := n.Link(int(nl.DeserializeIfInfomsg(m).Index))
		if l == nil || l.Port == nil && l.Bridge == nil {
			return nil
		}
		return attributes(m, unix.SizeofIfInfomsg, func(kind uint16, b []byte) {
			switch {
			case kind != unix.IFLA_AF_SPEC:
			case l.Port != nil:
				nested(b, l.Port.vlan)
			default:
				nested(b, l.Bridge.vlan)
			}
		})
	}, nl.NewIfInfomsg(unix.AF_BRIDGE), nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(filterVLAN)))
}

// vlan notes the PVID of the bridge itself.
func (b *Bridge) vlan(kind uint16, v []byte) {
	if kind == bridgeVLANInfo && len(v) >= 4 && number16(v)&vlanPVID != 0 {
		b.PVID = number16(v[2:])
	}
}

func (p *BridgePort) vlan(kind uint16, b []byte) {
	if kind != bridgeVLANInfo || len(b) < 4 {
		return
	}
	flags := number16(b)
	p.VLANs = append(p.VLANs, PortVLAN{ID: number16(b[2:]), PVID: flags&vlanPVID != 0, Untagged: flags&vlanUntagged != 0})
}
