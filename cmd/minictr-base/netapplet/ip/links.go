package ip

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// links are those of the namespace, in the kernel's order.
type links []rtnl.Link

// readLinks fills c.links once.
func (c *command) readLinks() error {
	if c.links != nil {
		return nil
	}
	list, err := c.conn.Links()
	c.links = list
	return answered(err)
}

func (l links) at(index int) *rtnl.Link {
	for i := range l {
		if l[i].Index == index {
			return &l[i]
		}
	}
	return nil
}

func (l links) name(index int) string {
	if link := l.at(index); link != nil {
		return link.Name
	}
	return fmt.Sprintf("if%d", index)
}

func (l links) named(name string) *rtnl.Link {
	for i := range l {
		if l[i].Name == name || slices.Contains(l[i].AltNames, name) {
			return &l[i]
		}
	}
	return nil
}

// index finds a link for a change.
func (c *command) index(name string) (int, error) {
	if err := c.readLinks(); err != nil {
		return 0, err
	}
	link := c.links.named(name)
	if link == nil {
		return 0, fail(1, "Cannot find device %q", name)
	}
	return link.Index, nil
}

// A linkView is a link as -j prints it.
type linkView struct {
	Index        int         `json:"ifindex,omitempty"`
	Lower        *string     `json:"link,omitempty"`
	LowerIndex   int         `json:"link_index,omitempty"`
	Name         string      `json:"ifname"`
	Flags        []string    `json:"flags"`
	MTU          uint32      `json:"mtu,omitempty"`
	Qdisc        string      `json:"qdisc,omitempty"`
	Master       string      `json:"master,omitempty"`
	State        string      `json:"operstate,omitempty"`
	Mode         string      `json:"linkmode,omitempty"`
	Group        string      `json:"group,omitempty"`
	TxQueueLen   uint32      `json:"txqlen,omitempty"`
	Type         string      `json:"link_type,omitempty"`
	Address      string      `json:"address,omitempty"`
	PointToPoint bool        `json:"link_pointtopoint,omitempty"`
	Broadcast    string      `json:"broadcast,omitempty"`
	Permanent    string      `json:"permaddr,omitempty"`
	NetnsID      *int32      `json:"link_netnsid,omitempty"`
	*detailView              // of -d
	Alias        string      `json:"ifalias,omitempty"`
	Stats        *statsView  `json:"stats64,omitempty"`
	AltNames     []string    `json:"altnames,omitempty"`
	Addrs        *[]addrView `json:"addr_info,omitempty"`

	link *rtnl.Link
}

// flagNames are the IFF_* bits in the order in which ip prints them.
var flagNames = []struct {
	bit  uint32
	name string
}{
	{unix.IFF_LOOPBACK, "LOOPBACK"},
	{unix.IFF_BROADCAST, "BROADCAST"},
	{unix.IFF_POINTOPOINT, "POINTOPOINT"},
	{unix.IFF_MULTICAST, "MULTICAST"},
	{unix.IFF_NOARP, "NOARP"},
	{unix.IFF_ALLMULTI, "ALLMULTI"},
	{unix.IFF_PROMISC, "PROMISC"},
	{unix.IFF_MASTER, "MASTER"},
	{unix.IFF_SLAVE, "SLAVE"},
	{unix.IFF_DEBUG, "DEBUG"},
	{unix.IFF_DYNAMIC, "DYNAMIC"},
	{unix.IFF_AUTOMEDIA, "AUTOMEDIA"},
	{unix.IFF_PORTSEL, "PORTSEL"},
	{unix.IFF_NOTRAILERS, "NOTRAILERS"},
	{unix.IFF_UP, "UP"},
	{unix.IFF_LOWER_UP, "LOWER_UP"},
	{unix.IFF_DORMANT, "DORMANT"},
	{unix.IFF_ECHO, "ECHO"},
}

var (
	operStates = []string{"UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"}
	linkModes  = []string{"DEFAULT", "DORMANT"}
	linkTypes  = table{unix.ARPHRD_ETHER: "ether", unix.ARPHRD_LOOPBACK: "loopback", unix.ARPHRD_TUNNEL: "ipip", unix.ARPHRD_TUNNEL6: "tunnel6", unix.ARPHRD_SIT: "sit", unix.ARPHRD_IPGRE: "gre", unix.ARPHRD_IP6GRE: "gre6", unix.ARPHRD_PPP: "ppp", unix.ARPHRD_NONE: "none", unix.ARPHRD_NETLINK: "netlink", unix.ARPHRD_INFINIBAND: "infiniband"}
	linkGroups = table{0: "default"}
)

func (c *command) view(l *rtnl.Link) linkView {
	v := linkView{
		Index: l.Index, Name: l.Name, MTU: l.MTU, Qdisc: l.Qdisc, Group: linkGroups.name(l.Group), TxQueueLen: l.TxQueueLen,
		Type: linkTypes.name(uint32(l.Type)), State: pick(operStates, l.OperState), Mode: pick(linkModes, l.LinkMode),
		Alias: l.Alias, AltNames: l.AltNames, link: l,
		Address: hex(l, l.Address), Broadcast: hex(l, l.Broadcast), PointToPoint: l.Flags&unix.IFF_POINTOPOINT != 0 && l.Broadcast != nil,
	}
	if l.Permanent != nil && l.Permanent.String() != l.Address.String() {
		v.Permanent = l.Permanent.String()
	}
	if l.Master != 0 {
		v.Master = c.links.name(l.Master)
	}
	lowerDown := false
	switch {
	case !l.HasLower:
	case l.Lower == 0:
		v.Lower = new("NONE")
	case l.HasNetns:
		v.LowerIndex = l.Lower
	default:
		v.Lower = new(c.links.name(l.Lower))
		lower := c.links.at(l.Lower)
		lowerDown = lower == nil || lower.Flags&unix.IFF_UP == 0
	}
	if l.HasNetns {
		v.NetnsID = new(l.NetnsID)
	}
	v.Flags = flagList(l.Flags, lowerDown)
	if c.stats > 0 && l.Stats != nil {
		v.Stats = viewStats(l)
	}
	if c.details {
		v.detailView = viewDetail(l)
	}
	return v
}

func flagList(flags uint32, lowerDown bool) []string {
	list := []string{}
	if flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING == 0 {
		list = append(list, "NO-CARRIER")
	}
	flags &^= unix.IFF_RUNNING
	for _, f := range flagNames {
		if flags&f.bit != 0 {
			list = append(list, f.name)
			flags &^= f.bit
		}
	}
	if flags != 0 {
		list = append(list, fmt.Sprintf("%x", flags))
	}
	if lowerDown {
		list = append(list, "M-DOWN")
	}
	return list
}

func pick(names []string, n uint8) string {
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprintf("%#x", n)
}

// hex is a link's address; a tunnel's ends are IP addresses.
func hex(l *rtnl.Link, address []byte) string {
	if address == nil {
		return ""
	}
	if len(address) == 4 && l.Type != unix.ARPHRD_ETHER {
		return fmt.Sprintf("%d.%d.%d.%d", address[0], address[1], address[2], address[3])
	}
	var parts []string
	for _, b := range address {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	return strings.Join(parts, ":")
}

// fullName is NAME@LOWER.
func (v *linkView) fullName() string {
	switch {
	case v.Lower != nil:
		return v.Name + "@" + *v.Lower
	case v.LowerIndex != 0:
		return fmt.Sprintf("%s@if%d", v.Name, v.LowerIndex)
	}
	return v.Name
}
