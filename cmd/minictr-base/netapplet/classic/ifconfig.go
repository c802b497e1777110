package classic

import (
	"fmt"
	"math"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// Ifconfig is ifconfig.
func Ifconfig() applet.Applet {
	return applet.Applet{
		Name:  "ifconfig",
		Usage: "[-a] [INTERFACE [ADDRESS[/LEN]] [netmask MASK] [mtu N] [hw ether MAC] [up|down]]",
		Short: "show and change interfaces",
		Run:   ifconfig,
	}
}

func ifconfig(c *applet.Call) error {
	args := c.Args
	all := len(args) > 0 && args[0] == "-a"
	if all {
		args = args[1:]
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "-") {
		return applet.UsageError("unknown option " + args[0])
	}
	if len(args) > 1 {
		return configure(c, args[0], args[1:])
	}
	conn, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	list, _, err := links(conn)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		one, err := find(list, args[0])
		if err != nil {
			return err
		}
		list, all = []rtnl.Link{*one}, true
	}
	addrs, err := conn.Addrs(unix.AF_UNSPEC)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b rtnl.Link) int { return strings.Compare(a.Name, b.Name) })
	for _, l := range list {
		if all || l.Flags&unix.IFF_UP != 0 {
			fmt.Fprint(c.Out, interfaceText(l, addrs))
		}
	}
	return nil
}

// configure puts the words into those of ip: an address makes the interface go up.
func configure(c *applet.Call, device string, words []string) error {
	address, mask := "", ""
	var link []string
	for i := 0; i < len(words); i++ {
		word := words[i]
		value := func() string { i++; return append(words, "", "")[i] }
		switch word {
		case "up", "down":
			link = append(link, word)
		case "mtu":
			link = append(link, "mtu", value())
		case "netmask":
			mask = value()
		case "hw":
			if kind := value(); kind != "ether" {
				return applet.UsageError("hw " + kind + ": only ether is known")
			}
			link = append(link, "address", value())
		default:
			address = word
		}
	}
	if mask != "" {
		m, err := netip.ParseAddr(mask)
		if err != nil || !m.Is4() {
			return fmt.Errorf("netmask %s: not a mask", mask)
		}
		ones, _ := net.IPMask(m.AsSlice()).Size()
		address = fmt.Sprintf("%s/%d", address, ones)
	}
	if address != "" {
		if !strings.Contains(address, "/") {
			address += fmt.Sprintf("/%d", classLength(address))
		}
		if err := byIP(c, "addr", "replace", address, "brd", "+", "dev", device); err != nil {
			return err
		}
		link = append(link, "up")
	}
	if link == nil {
		return nil
	}
	return byIP(c, append([]string{"link", "set", device}, link...)...)
}

// classLength is the length of the prefix that an address had before prefixes: 8,
// 16 or 24.
func classLength(address string) int {
	a, err := netip.ParseAddr(address)
	switch {
	case err != nil || !a.Is4() || a.As4()[0] >= 192:
		return 24
	case a.As4()[0] >= 128:
		return 16
	}
	return 8
}

// interfaceText is an interface as net-tools 2 prints it.
func interfaceText(l rtnl.Link, addrs []rtnl.Addr) string {
	var b strings.Builder
	var names []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{unix.IFF_UP, "UP"}, {unix.IFF_BROADCAST, "BROADCAST"}, {unix.IFF_LOOPBACK, "LOOPBACK"}, {unix.IFF_POINTOPOINT, "POINTOPOINT"}, {unix.IFF_RUNNING, "RUNNING"}, {unix.IFF_NOARP, "NOARP"}, {unix.IFF_PROMISC, "PROMISC"}, {unix.IFF_ALLMULTI, "ALLMULTI"}, {unix.IFF_MULTICAST, "MULTICAST"}} {
		if l.Flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	fmt.Fprintf(&b, "%s: flags=%d<%s>  mtu %d\n", l.Name, l.Flags&0xffff, strings.Join(names, ","), l.MTU)
	for _, a := range addrs {
		if a.Index == l.Index {
			b.WriteString(addressText(a))
		}
	}
	kind, title := "ether", "Ethernet"
	mac := l.Address.String() + "  "
	if l.Type == unix.ARPHRD_LOOPBACK {
		kind, title, mac = "loop", "Local Loopback", " "
	}
	fmt.Fprintf(&b, "        %s %stxqueuelen %d  (%s)\n", kind, mac, l.TxQueueLen, title)
	if s := l.Stats; s != nil {
		fmt.Fprintf(&b, "        RX packets %d  bytes %d (%s)\n        RX errors %d  dropped %d  overruns %d  frame %d\n", s.RxPackets, s.RxBytes, binary(s.RxBytes), s.RxErrors, s.RxDropped, s.RxFIFO, s.RxFrame)
		fmt.Fprintf(&b, "        TX packets %d  bytes %d (%s)\n        TX errors %d  dropped %d overruns %d  carrier %d  collisions %d\n", s.TxPackets, s.TxBytes, binary(s.TxBytes), s.TxErrors, s.TxDropped, s.TxFIFO, s.TxCarrier, s.Collisions)
	}
	return b.String() + "\n"
}

func addressText(a rtnl.Addr) string {
	if a.Family == unix.AF_INET6 {
		scope := map[uint8]string{unix.RT_SCOPE_UNIVERSE: "0x0<global>", unix.RT_SCOPE_LINK: "0x20<link>", unix.RT_SCOPE_HOST: "0x10<host>", unix.RT_SCOPE_SITE: "0x40<site>"}[a.Scope]
		return fmt.Sprintf("        inet6 %s  prefixlen %d  scopeid %s\n", a.Local, a.PrefixLen, scope)
	}
	text := fmt.Sprintf("        inet %s  netmask %s", a.Local, net.IP(net.CIDRMask(a.PrefixLen, 32)))
	if a.Broadcast.IsValid() {
		text += "  broadcast " + a.Broadcast.String()
	}
	if a.Peer != a.Local {
		text += "  destination " + a.Peer.String()
	}
	return text + "\n"
}

// binary is a number of bytes in units of 1024.
func binary(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := max(0, bits.Len64(n)-1) / 10
	tenths := math.Floor(float64(n) * 10 / float64(uint64(1)<<(10*i))) // cut, not rounded
	return fmt.Sprintf("%.1f %s", tenths/10, units[i])
}
