package ip

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// A linkFilter says which links are shown.
type linkFilter struct {
	device, kind, master string
	up                   bool
}

func (f *linkFilter) keys() []key {
	return []key{
		{names: []string{"dev"}, set: once(&f.device, "dev")},
		{names: []string{"up"}, flag: func() { f.up = true }},
		{names: []string{"type"}, set: text(&f.kind)},
		{names: []string{"master"}, set: text(&f.master)},
	}
}

// find returns the links that pass, or says that the one asked for is not there.
func (c *command) find(f linkFilter) (links, error) {
	if err := c.readLinks(); err != nil {
		return nil, err
	}
	if f.device != "" && c.links.named(f.device) == nil {
		return nil, fail(1, "Device %q does not exist.", f.device)
	}
	master := 0
	if f.master != "" {
		link := c.links.named(f.master)
		if link == nil {
			return nil, fail(1, "Device %q does not exist.", f.master)
		}
		master = link.Index
	}
	var found links
	for _, l := range c.links {
		if f.device != "" && c.links.named(f.device).Index != l.Index ||
			f.up && l.Flags&unix.IFF_UP == 0 || master != 0 && l.Master != master ||
			f.kind != "" && l.Kind != f.kind && l.PortKind+"_slave" != f.kind {
			continue
		}
		found = append(found, l)
	}
	return found, nil
}

func showLinks(c *command) error {
	c.words.next() // show
	var f linkFilter
	if err := c.words.parse(f.keys(), once(&f.device, "dev")); err != nil {
		return err
	}
	found, err := c.find(f)
	if err != nil {
		return err
	}
	var views []linkView
	for i := range found {
		views = append(views, c.view(&found[i]))
	}
	if c.brief {
		return c.printBrief(views, func(v *linkView) string {
			return word(v.Address) + "<" + strings.Join(v.Flags, ",") + "> "
		})
	}
	return print(c, views, func(v *linkView) string { return c.linkText(v, true) })
}

// printBrief prints name and state in columns, and what rest says.
func (c *command) printBrief(views []linkView, rest func(*linkView) string) error {
	if c.json {
		return c.printJSON(briefViews(views))
	}
	return print(c, views, func(v *linkView) string {
		return fmt.Sprintf("%-16s %-14s %s\n", v.fullName(), v.State, rest(v))
	})
}

// briefViews keeps what -br prints.
func briefViews(views []linkView) []any {
	list := []any{}
	for _, v := range views {
		type name struct {
			Lower *string `json:"link,omitempty"`
			Index int     `json:"link_index,omitempty"`
			Name  string  `json:"ifname"`
			State string  `json:"operstate"`
		}
		n := name{v.Lower, v.LowerIndex, v.Name, v.State}
		if v.Addrs == nil {
			list = append(list, struct {
				name
				Address string   `json:"address,omitempty"`
				Flags   []string `json:"flags"`
			}{n, v.Address, v.Flags})
			continue
		}
		addrs := []briefAddr{}
		for _, a := range *v.Addrs {
			addrs = append(addrs, briefAddr{a.Local, a.Peer, a.PrefixLen, a.Metric})
		}
		list = append(list, struct {
			name
			Addrs []briefAddr `json:"addr_info"`
		}{n, addrs})
	}
	return list
}

// linkText is a link in full; the mode is shown by "ip link" alone.
func (c *command) linkText(v *linkView, asLink bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %s: <%s> mtu %d ", v.Index, v.fullName(), strings.Join(v.Flags, ","), v.MTU)
	for _, f := range []struct{ name, value string }{{"qdisc", v.Qdisc}, {"master", v.Master}, {"state", v.State}, {"mode", v.Mode}, {"group", v.Group}} {
		if f.value != "" && (asLink || f.name != "mode") {
			b.WriteString(f.name + " " + f.value + " ")
		}
	}
	if v.TxQueueLen != 0 {
		fmt.Fprintf(&b, "qlen %d", v.TxQueueLen)
	}
	if c.family == unix.AF_UNSPEC || c.family == unix.AF_PACKET || c.details || asLink {
		b.WriteString(v.addressLine())
	}
	if v.detailView != nil {
		b.WriteString(v.detailText())
	}
	if v.Alias != "" && (asLink || c.details) {
		b.WriteString("\n    alias " + v.Alias)
	}
	if v.Stats != nil && asLink {
		b.WriteString(v.Stats.text(v.link, c.stats))
	}
	for _, name := range v.AltNames {
		b.WriteString("\n    altname " + name)
	}
	return b.String() + "\n"
}

func (v *linkView) addressLine() string {
	line := fmt.Sprintf("\n    link/%s %s", v.Type, v.Address)
	if v.Broadcast != "" {
		line += map[bool]string{false: " brd ", true: " peer "}[v.PointToPoint] + v.Broadcast
	}
	if v.Permanent != "" {
		line += " permaddr " + v.Permanent
	}
	if v.NetnsID != nil {
		line += " link-netnsid " + map[bool]string{false: fmt.Sprint(*v.NetnsID), true: "unknown"}[*v.NetnsID < 0]
	}
	return line
}

// word puts a space behind what is there.
func word(s string) string {
	if s == "" {
		return ""
	}
	return s + " "
}

// A statsView is the counters of a link as -s shows them.
type statsView struct {
	Rx rxView `json:"rx"`
	Tx txView `json:"tx"`
}

type rxView struct {
	Bytes      uint64 `json:"bytes"`
	Packets    uint64 `json:"packets"`
	Errors     uint64 `json:"errors"`
	Dropped    uint64 `json:"dropped"`
	Over       uint64 `json:"over_errors"`
	Multicast  uint64 `json:"multicast"`
	Compressed uint64 `json:"compressed,omitempty"`
}

type txView struct {
	Bytes      uint64 `json:"bytes"`
	Packets    uint64 `json:"packets"`
	Errors     uint64 `json:"errors"`
	Dropped    uint64 `json:"dropped"`
	Carrier    uint64 `json:"carrier_errors"`
	Collisions uint64 `json:"collisions"`
	Compressed uint64 `json:"compressed,omitempty"`
}

func viewStats(l *rtnl.Link) *statsView {
	s := l.Stats
	return &statsView{
		Rx: rxView{s.RxBytes, s.RxPackets, s.RxErrors, s.RxDropped, s.RxOver, s.Multicast, s.RxCompressed},
		Tx: txView{s.TxBytes, s.TxPackets, s.TxErrors, s.TxDropped, s.TxCarrier, s.Collisions, s.TxCompressed},
	}
}

// text is a table of which every column is as wide as its widest number. Asked
// for twice, the errors are told apart.
func (*statsView) text(l *rtnl.Link, level int) string {
	s := l.Stats
	rows := [][]uint64{
		{s.RxBytes, s.RxPackets, s.RxErrors, s.RxDropped, s.RxMissed, s.Multicast},
		{s.TxBytes, s.TxPackets, s.TxErrors, s.TxDropped, s.TxCarrier, s.Collisions},
	}
	heads := [][]string{
		{"RX:", "bytes", "packets", "errors", "dropped", "missed", "mcast"},
		{"TX:", "bytes", "packets", "errors", "dropped", "carrier", "collsns"},
	}
	faults := [][]uint64{
		{s.RxLength, s.RxCRC, s.RxFrame, s.RxFIFO, s.RxOver},
		{s.TxAborted, s.TxFIFO, s.TxWindow, s.TxHeartbeat, uint64(l.CarrierChanges)},
	}
	faultHeads := [][]string{{"RX errors:", "length", "crc", "frame", "fifo", "overrun"}, {"TX errors:", "aborted", "fifo", "window", "heartbt", "transns"}}
	width := []int{10, 7, 6, 7, 7, 7, 10}
	for i := range rows {
		widen(width, rows[i])
		if level > 1 {
			widen(width[1:], faults[i])
		}
	}
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, "\n    %s %*s", heads[i][0], width[0]-4, heads[i][1])
		for j, head := range heads[i][2:] {
			fmt.Fprintf(&b, " %*s", width[j+1], head)
		}
		fmt.Fprintf(&b, " %*s\n    ", width[6], "")
		for j, n := range rows[i] {
			fmt.Fprintf(&b, "%*d ", width[j], n)
		}
		if level < 2 {
			continue
		}
		fmt.Fprintf(&b, "\n    %s%*s", faultHeads[i][0], width[0]-10, "")
		for j, head := range faultHeads[i][1:] {
			fmt.Fprintf(&b, " %*s", width[j+1], head)
		}
		fmt.Fprintf(&b, "\n%*s", width[0]+5, "")
		for j, n := range faults[i] {
			fmt.Fprintf(&b, "%*d ", width[j+1], n)
		}
	}
	return b.String()
}

func widen(width []int, row []uint64) {
	for i, n := range row {
		width[i] = max(width[i], len(fmt.Sprint(n)))
	}
}
