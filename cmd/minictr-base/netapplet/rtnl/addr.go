package rtnl

import (
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// An Addr is an address of a link: a struct ifaddrmsg and the attributes IFA_*
// of linux/if_addr.h.
type Addr struct {
	Family    uint8 // AF_INET or AF_INET6
	PrefixLen int
	Scope     uint8
	Index     int    // of the link
	Flags     uint32 // IFA_F_PERMANENT
	Local     netip.Addr
	Peer      netip.Addr // of a point-to-point link; otherwise Local
	Broadcast netip.Addr
	Anycast   netip.Addr
	Label     string
	Metric    uint32
	Valid     uint32 // seconds, Forever
	Preferred uint32
	HasLife   bool
	Raw       []byte // as the kernel sent it: what deletes it, too
}

// Forever is a lifetime without an end.
const Forever = ^uint32(0)

// AddrHeader is a struct ifaddrmsg.
func AddrHeader(family, prefixLen, scope uint8, index int) []byte {
	h := make([]byte, unix.SizeofIfAddrmsg)
	h[0], h[1], h[3] = family, prefixLen, scope
	order.PutUint32(h[4:], uint32(index))
	return h
}

// Addrs lists the addresses of a family, or with AF_UNSPEC all.
func (c *Conn) Addrs(family uint8) ([]Addr, error) {
	messages, err := c.Dump(Request{Kind: unix.RTM_GETADDR, Header: AddrHeader(family, 0, 0, 0)})
	return all(messages, err, ParseAddr)
}

// ParseAddr decodes an RTM_NEWADDR or RTM_DELADDR.
func ParseAddr(m netlink.Message) (Addr, error) {
	h, attrs, err := split(m, unix.SizeofIfAddrmsg)
	if err != nil {
		return Addr{}, err
	}
	a := Addr{Family: h[0], PrefixLen: int(h[1]), Flags: uint32(h[2]), Scope: h[3], Index: int(order.Uint32(h[4:])), Raw: m.Data}
	for attrs.Next() {
		switch attrs.Type() {
		case unix.IFA_LOCAL:
			a.Local = ip(attrs.Bytes())
		case unix.IFA_ADDRESS:
			a.Peer = ip(attrs.Bytes())
		case unix.IFA_BROADCAST:
			a.Broadcast = ip(attrs.Bytes())
		case unix.IFA_ANYCAST:
			a.Anycast = ip(attrs.Bytes())
		case unix.IFA_LABEL:
			a.Label = attrs.String()
		case unix.IFA_FLAGS:
			a.Flags = attrs.Uint32()
		case unix.IFA_RT_PRIORITY:
			a.Metric = attrs.Uint32()
		case unix.IFA_CACHEINFO:
			if b := attrs.Bytes(); len(b) >= 8 {
				a.Preferred, a.Valid, a.HasLife = order.Uint32(b), order.Uint32(b[4:]), true
			}
		}
	}
	if !a.Local.IsValid() {
		a.Local = a.Peer
	}
	if !a.Peer.IsValid() {
		a.Peer = a.Local
	}
	return a, attrs.Err()
}

// ip reads the address of an attribute; of a wrong length it is the invalid one.
func ip(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}
