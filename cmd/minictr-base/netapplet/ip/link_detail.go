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
	Promiscuity uint32    `json:"promiscuity"`
	AllMulti    uint32    `json:"allmulti"`
	MinMTU      uint32    `json:"min_mtu"`
	MaxMTU      uint32    `json:"max_mtu"`
	Info        *infoView `json:"linkinfo,omitempty"`
	AddrGenMode string    `json:"inet6_addr_gen_mode,omitempty"`
	TxQueues    uint32    `json:"num_tx_queues"`
	RxQueues    uint32    `json:"num_rx_queues"`
	GSOMaxSize  uint32    `json:"gso_max_size"`
	GSOMaxSegs  uint32    `json:"gso_max_segs"`
	TSOMaxSize  uint32    `json:"tso_max_size"`
	TSOMaxSegs  uint32    `json:"tso_max_segs"`
	GROMaxSize  uint32    `json:"gro_max_size"`
}

// An infoView names the kinds of a link; what belongs to a kind is in the text only.
type infoView struct {
	Kind     string `json:"info_kind,omitempty"`
	PortKind string `json:"info_slave_kind,omitempty"`

	data, portData []byte
}

func viewDetail(l *rtnl.Link) *detailView {
	d := &detailView{
		Promiscuity: l.Promiscuity, AllMulti: l.AllMulti, MinMTU: l.MinMTU, MaxMTU: l.MaxMTU, TxQueues: l.TxQueues, RxQueues: l.RxQueues,
		GSOMaxSize: l.GSOMaxSize, GSOMaxSegs: l.GSOMaxSegs, TSOMaxSize: l.TSOMaxSize, TSOMaxSegs: l.TSOMaxSegs, GROMaxSize: l.GROMaxSize,
	}
	if l.Kind != "" || l.PortKind != "" {
		d.Info = &infoView{l.Kind, l.PortKind, l.KindData, l.PortData}
	}
	if l.AddrGenMode != nil {
		d.AddrGenMode = pick([]string{"eui64", "none", "stable_secret", "random"}, *l.AddrGenMode)
	}
	return d
}

func (d *detailView) detailText() string {
	s := fmt.Sprintf(" promiscuity %d  allmulti %d minmtu %d maxmtu %d ", d.Promiscuity, d.AllMulti, d.MinMTU, d.MaxMTU)
	if d.Info != nil && d.Info.Kind != "" {
		s += "\n    " + d.Info.Kind + " " + kindText(d.Info.Kind, d.Info.data)
	}
	if d.Info != nil && d.Info.PortKind != "" {
		s += "\n    " + d.Info.PortKind + "_slave " + attrText(bridgePort, d.Info.portData)
	}
	if d.AddrGenMode != "" {
		s += "addrgenmode " + d.AddrGenMode + " "
	}
	return s + fmt.Sprintf("numtxqueues %d numrxqueues %d gso_max_size %d gso_max_segs %d tso_max_size %d tso_max_segs %d gro_max_size %d ",
		d.TxQueues, d.RxQueues, d.GSOMaxSize, d.GSOMaxSegs, d.TSOMaxSize, d.TSOMaxSegs, d.GROMaxSize)
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
