package rtnl

import (
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Rule says which routing table is asked, and when: a struct fib_rule_hdr and
// the attributes FRA_* of linux/fib_rules.h.
type Rule struct {
	Family, DstLen, SrcLen, Action uint8
	Flags                          uint32
	Table, Priority, Mark, Mask    uint32
	Dst, Src                       netip.Addr
	In, Out                        string
}

// Rules lists the rules of a family.
func (c *Conn) Rules(family uint8) ([]Rule, error) {
	messages, err := c.Dump(Request{Kind: unix.RTM_GETRULE, Header: RouteHeader(family, 0, 0, 0, 0, 0)})
	return all(messages, err, ParseRule)
}

// ParseRule decodes an RTM_NEWRULE or RTM_DELRULE.
func ParseRule(m netlink.Message) (Rule, error) {
	h, attrs, err := split(m, unix.SizeofRtMsg)
	if err != nil {
		return Rule{}, err
	}
	r := Rule{Family: h[0], DstLen: h[1], SrcLen: h[2], Table: uint32(h[4]), Action: h[7], Flags: order.Uint32(h[8:])}
	for attrs.Next() {
		switch attrs.Type() {
		case unix.FRA_DST:
			r.Dst = ip(attrs.Bytes())
		case unix.FRA_SRC:
			r.Src = ip(attrs.Bytes())
		case unix.FRA_IIFNAME:
			r.In = attrs.String()
		case unix.FRA_OIFNAME:
			r.Out = attrs.String()
		case unix.FRA_PRIORITY:
			r.Priority = attrs.Uint32()
		case unix.FRA_FWMARK:
			r.Mark = attrs.Uint32()
		case unix.FRA_FWMASK:
			r.Mask = attrs.Uint32()
		case unix.FRA_TABLE:
			r.Table = attrs.Uint32()
		}
	}
	return r, attrs.Err()
}
