package ip

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// A detailView is what -d adds to a link: less than iproute2 has, but the same
// words for what it has.
type detailView struct {
	Kind     string `json:"info_kind,omitempty"`
	PortKind string `json:"info_slave_kind,omitempty"`

	link *rtnl.Link
}

func viewDetail(l *rtnl.Link) *detailView {
	return &detailView{Kind: l.Kind, PortKind: l.PortKind, link: l}
}

func (d *detailView) text() string {
	l := d.link
	s := fmt.Sprintf(" promiscuity %d  allmulti %d minmtu %d maxmtu %d ", l.Promiscuity, l.AllMulti, l.MinMTU, l.MaxMTU)
	if l.Kind != "" {
		s += "\n    " + l.Kind + " " + kindText(l.Kind, l.KindData)
	}
	if l.PortKind != "" {
		s += "\n    " + l.PortKind + "_slave " + attrText(bridgePort, l.PortData)
	}
	if l.AddrGenMode != nil {
		s += "addrgenmode " + pick([]string{"eui64", "none", "stable_secret", "random"}, *l.AddrGenMode) + " "
	}
	return s + fmt.Sprintf("numtxqueues %d numrxqueues %d gso_max_size %d gso_max_segs %d tso_max_size %d tso_max_segs %d gro_max_size %d ",
		l.TxQueues, l.RxQueues, l.GSOMaxSize, l.GSOMaxSegs, l.TSOMaxSize, l.TSOMaxSegs, l.GROMaxSize)
}

// An attr is a value in IFLA_INFO_DATA: its number, its name, how to read it.
type attr struct {
	kind uint16
	name string
	text func([]byte) string
}

var bridgeAttrs = []attr{
	{unix.IFLA_BR_FORWARD_DELAY, "forward_delay", integer},
	{unix.IFLA_BR_HELLO_TIME, "hello_time", integer},
	{unix.IFLA_BR_MAX_AGE, "max_age", integer},
	{unix.IFLA_BR_AGEING_TIME, "ageing_time", integer},
	{unix.IFLA_BR_STP_STATE, "stp_state", integer},
	{unix.IFLA_BR_PRIORITY, "priority", integer},
	{unix.IFLA_BR_VLAN_FILTERING, "vlan_filtering", integer},
	{unix.IFLA_BR_BRIDGE_ID, "bridge_id", bridgeID},
	{unix.IFLA_BR_ROOT_ID, "designated_root", bridgeID},
}

var bridgePort = []attr{
	{unix.IFLA_BRPORT_STATE, "state", func(b []byte) string {
		return pick([]string{"disabled", "listening", "learning", "forwarding", "blocking"}, b[0])
	}},
	{unix.IFLA_BRPORT_PRIORITY, "priority", integer},
	{unix.IFLA_BRPORT_COST, "cost", integer},
	{unix.IFLA_BRPORT_MODE, "hairpin", onOff},
	{unix.IFLA_BRPORT_GUARD, "guard", onOff},
	{unix.IFLA_BRPORT_PROTECT, "root_block", onOff},
	{unix.IFLA_BRPORT_FAST_LEAVE, "fastleave", onOff},
	{unix.IFLA_BRPORT_LEARNING, "learning", onOff},
	{unix.IFLA_BRPORT_UNICAST_FLOOD, "flood", onOff},
}

var macvlanModes = map[uint32]string{1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}

var macvlanAttrs = []attr{{unix.IFLA_MACVLAN_MODE, "mode", func(b []byte) string { return table(macvlanModes).name(small(b)) }}, {7, "bcqueuelen", integer}, {8, "usedbcqueuelen", integer}}

var vlanAttrs = []attr{
	{unix.IFLA_VLAN_PROTOCOL, "protocol", func(b []byte) string {
		return table{0x8100: "802.1Q", 0x88a8: "802.1ad"}.name(uint32(binary.BigEndian.Uint16(b)))
	}},
	{unix.IFLA_VLAN_ID, "id", integer},
}

func kindText(kind string, data []byte) string {
	return attrText(map[string][]attr{"bridge": bridgeAttrs, "macvlan": macvlanAttrs, "vlan": vlanAttrs}[kind], data)
}

func attrText(known []attr, data []byte) string {
	values := map[uint16][]byte{}
	attrs, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return ""
	}
	for attrs.Next() {
		values[attrs.Type()] = attrs.Bytes()
	}
	var b strings.Builder
	for _, a := range known {
		if v := values[a.kind]; len(v) > 0 {
			b.WriteString(a.name + " " + a.text(v) + " ")
		}
	}
	return b.String()
}

// small reads a number of one, two or four bytes.
func small(b []byte) uint32 {
	switch len(b) {
	case 1:
		return uint32(b[0])
	case 2, 3:
		return uint32(binary.NativeEndian.Uint16(b))
	}
	return binary.NativeEndian.Uint32(b)
}

func integer(b []byte) string { return fmt.Sprint(small(b)) }

func onOff(b []byte) string {
	if b[0] != 0 {
		return "on"
	}
	return "off"
}

// bridgeID is a priority and an address, the latter without leading zeros.
func bridgeID(b []byte) string {
	if len(b) < 8 {
		return "?"
	}
	return fmt.Sprintf("%02x%02x.%x:%x:%x:%x:%x:%x", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7])
}
