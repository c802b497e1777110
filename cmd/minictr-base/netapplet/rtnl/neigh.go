package rtnl

import (
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Neigh is an entry of the ARP or neighbour discovery cache: a struct ndmsg and
// the attributes NDA_* of linux/neighbour.h.
type Neigh struct {
	Family, Flags, Type uint8
	State               uint16 // NUD_REACHABLE
	Index               int    // of the link
	Dst                 netip.Addr
	LinkAddr            net.HardwareAddr
	Probes              uint32
	HasProbes           bool
	// Since the entry was confirmed, used and updated, in clock ticks.
	Confirmed, Used, Updated, Refs uint32
	HasCache                       bool
}

// NeighHeader is a struct ndmsg.
func NeighHeader(family uint8, index int, state uint16, flags uint8) []byte {
	h := make([]byte, unix.SizeofNdMsg)
	h[0] = family
	order.PutUint32(h[4:], uint32(index))
	order.PutUint16(h[8:], state)
	h[10] = flags
	return h
}

// Neighs lists the neighbours of a family, or with AF_UNSPEC of all.
func (c *Conn) Neighs(family uint8) ([]Neigh, error) {
	messages, err := c.Dump(Request{Kind: unix.RTM_GETNEIGH, Header: NeighHeader(family, 0, 0, 0)})
	return all(messages, err, ParseNeigh)
}

// ParseNeigh decodes an RTM_NEWNEIGH or RTM_DELNEIGH.
func ParseNeigh(m netlink.Message) (Neigh, error) {
	h, attrs, err := split(m, unix.SizeofNdMsg)
	if err != nil {
		return Neigh{}, err
	}
	n := Neigh{Family: h[0], Index: int(int32(order.Uint32(h[4:]))), State: order.Uint16(h[8:]), Flags: h[10], Type: h[11]}
	for attrs.Next() {
		switch attrs.Type() {
		case unix.NDA_DST:
			n.Dst = ip(attrs.Bytes())
		case unix.NDA_LLADDR:
			n.LinkAddr = attrs.Bytes()
		case unix.NDA_PROBES:
			n.Probes, n.HasProbes = attrs.Uint32(), true
		case unix.NDA_CACHEINFO:
			if b := attrs.Bytes(); len(b) >= 16 {
				n.Confirmed, n.Used, n.Updated, n.Refs = order.Uint32(b), order.Uint32(b[4:]), order.Uint32(b[8:]), order.Uint32(b[12:])
				n.HasCache = true
			}
		}
	}
	return n, attrs.Err()
}
