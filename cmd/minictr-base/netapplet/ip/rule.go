package ip

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// A ruleView is a rule as -j prints it.
type ruleView struct {
	Priority uint32 `json:"priority"`
	Src      string `json:"src"`
	SrcLen   int    `json:"srclen,omitempty"`
	Dst      string `json:"dst,omitempty"`
	DstLen   int    `json:"dstlen,omitempty"`
	Mark     string `json:"fwmark,omitempty"`
	Mask     string `json:"fwmask,omitempty"`
	In       string `json:"iif,omitempty"`
	Out      string `json:"oif,omitempty"`
	Table    string `json:"table,omitempty"`
	Action   string `json:"action,omitempty"`
}

// ruleActions are FR_ACT_* of linux/fib_rules.h that are not "lookup".
var ruleActions = table{6: "blackhole", 7: "unreachable", 8: "prohibit"}

func showRules(c *command) error {
	c.words.next() // show
	if word, ok := c.words.next(); ok {
		return fail(255, "Error: argument %q is wrong: rules are shown without a selector", word)
	}
	family := c.family
	if family == unix.AF_UNSPEC {
		family = unix.AF_INET
	}
	list, err := c.conn.Rules(family)
	if err != nil {
		return answered(err)
	}
	var views []ruleView
	for _, r := range list {
		v := ruleView{Priority: r.Priority, Src: "all", In: r.In, Out: r.Out}
		full := map[uint8]uint8{unix.AF_INET: 32, unix.AF_INET6: 128}[r.Family]
		if r.Src.IsValid() {
			v.Src = r.Src.String()
			if r.SrcLen != full {
				v.SrcLen = int(r.SrcLen)
			}
		}
		if r.Dst.IsValid() {
			v.Dst = r.Dst.String()
			if r.DstLen != full {
				v.DstLen = int(r.DstLen)
			}
		}
		if r.Mark != 0 || r.Mask != 0 {
			v.Mark = fmt.Sprintf("%#x", r.Mark)
			if r.Mask != ^uint32(0) {
				v.Mask = fmt.Sprintf("%#x", r.Mask)
			}
		}
		if v.Action = ruleActions[uint32(r.Action)]; v.Action == "" {
			v.Table = routeTables.name(r.Table)
		}
		views = append(views, v)
	}
	return print(c, views, ruleText)
}

func ruleText(v *ruleView) string {
	s := fmt.Sprintf("%d:\tfrom %s", v.Priority, v.Src)
	if v.SrcLen != 0 {
		s += fmt.Sprintf("/%d", v.SrcLen)
	}
	if v.Dst != "" {
		s += " to " + v.Dst
		if v.DstLen != 0 {
			s += fmt.Sprintf("/%d", v.DstLen)
		}
	}
	if v.Mark != "" {
		s += " fwmark " + v.Mark
		if v.Mask != "" {
			s += "/" + v.Mask
		}
	}
	for _, p := range [][2]string{{"iif", v.In}, {"oif", v.Out}, {"lookup", v.Table}} {
		if p[1] != "" {
			s += " " + p[0] + " " + p[1]
		}
	}
	if v.Action != "" {
		s += " " + v.Action
	}
	return s + "\n"
}

func changeRule(c *command) error {
	verb, _ := c.words.next()
	var from, to, in, out string
	var mark, tableID, priority uint32
	keys := []key{
		{names: []string{"from"}, set: text(&from)},
		{names: []string{"to"}, set: text(&to)},
		{names: []string{"iif", "dev"}, set: text(&in)},
		{names: []string{"oif"}, set: text(&out)},
		{names: []string{"fwmark"}, set: number(&mark, "fwmark")},
		{names: []string{"table", "lookup"}, set: routeTables.set(&tableID, "table")},
		{names: []string{"priority", "prio", "pref", "preference", "order"}, set: number(&priority, "preference")},
	}
	if err := c.words.parse(keys, func(word string) error { return fail(255, "Error: argument %q is wrong: unknown selector", word) }); err != nil {
		return err
	}
	family := c.family
	attrs := netlink.NewAttributeEncoder()
	var lengths [2]uint8
	for i, word := range []string{to, from} {
		if word == "" || word == "all" {
			continue
		}
		p, err := prefix(word, family)
		if err != nil {
			return err
		}
		family, lengths[i] = familyOf(p.Addr()), uint8(p.Bits())
		attrs.Bytes([]uint16{unix.FRA_DST, unix.FRA_SRC}[i], p.Addr().AsSlice())
	}
	if family == unix.AF_UNSPEC {
		family = unix.AF_INET
	}
	for kind, name := range map[uint16]string{unix.FRA_IIFNAME: in, unix.FRA_OIFNAME: out} {
		if name != "" {
			attrs.String(kind, name)
		}
	}
	if tableID == 0 && verb == "add" {
		tableID = unix.RT_TABLE_MAIN
	}
	for kind, n := range map[uint16]uint32{unix.FRA_FWMARK: mark, unix.FRA_PRIORITY: priority, unix.FRA_TABLE: tableID} {
		if n != 0 {
			attrs.Uint32(kind, n)
		}
	}
	body, err := attrs.Encode()
	if err != nil {
		return err
	}
	const toTable = 1 // FR_ACT_TO_TBL
	header := rtnl.RouteHeader(family, lengths[0], unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, toTable, 0)
	header[2] = lengths[1]
	r := rtnl.Request{Kind: unix.RTM_NEWRULE, Flags: netlink.Create | netlink.Excl, Header: header, Attrs: body}
	if verb == "delete" {
		header[7] = 0
		r.Kind, r.Flags = unix.RTM_DELRULE, 0
	}
	_, err = c.conn.Do(r)
	return answered(err)
}
