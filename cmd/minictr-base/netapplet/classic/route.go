package classic

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// Route is route.
func Route() applet.Applet {
	return applet.Applet{
		Name:  "route",
		Usage: "[-n] | {add|del} {[-host|-net] TARGET[/LEN]|default} [netmask MASK] [gw GATEWAY] [metric N] [[dev] INTERFACE]",
		Short: "show and change the routes of IPv4",
		Run:   route,
	}
}

func route(c *applet.Call) error {
	if len(c.Args) > 0 && (c.Args[0] == "add" || c.Args[0] == "del") {
		words, err := routeWords(c.Args[1:])
		if err != nil {
			return err
		}
		return byIP(c, append([]string{"route", c.Args[0]}, words...)...)
	}
	return showRoutes(c, routeStyle)
}

// routeWords says in ip's words what route add or del is told.
func routeWords(args []string) ([]string, error) {
	target, mask := "", ""
	var rest []string
	for i := 0; i < len(args); i++ {
		word := args[i]
		translated, takesValue := map[string]string{"gw": "via", "metric": "metric", "dev": "dev", "mss": "advmss", "netmask": ""}[word]
		switch {
		case word == "-net" || word == "-host":
		case takesValue && i+1 == len(args):
			return nil, applet.UsageError(word + ": a value is missing")
		case word == "netmask":
			i++
			mask = args[i]
		case takesValue:
			i++
			rest = append(rest, translated, args[i])
		case target == "":
			target = word
		default:
			rest = append(rest, "dev", word)
		}
	}
	if target == "" {
		return nil, applet.UsageError("a target is needed")
	}
	if mask != "" {
		m, err := netip.ParseAddr(mask)
		if err != nil || !m.Is4() {
			return nil, fmt.Errorf("netmask %s: not a mask", mask)
		}
		ones, bits := net.IPMask(m.AsSlice()).Size()
		if bits == 0 {
			return nil, fmt.Errorf("netmask %s: not a mask", mask)
		}
		target = fmt.Sprintf("%s/%d", target, ones)
	}
	return append([]string{target}, rest...), nil
}

// A style is the columns behind the flags, which differ between route and netstat -r.
type style struct {
	head string
	tail func(r rtnl.Route) string
}

var (
	routeStyle   = style{"Metric Ref    Use", func(r rtnl.Route) string { return fmt.Sprintf("%-6d %-2d %7d", r.Priority, 0, 0) }}
	netstatStyle = style{"  MSS Window  irtt", func(rtnl.Route) string { return fmt.Sprintf("%5d %-5d %6d", 0, 0, 0) }}
)

// ShowRoutes prints the main table of IPv4 as netstat -r does.
func ShowRoutes(c *applet.Call) error { return showRoutes(c, netstatStyle) }

func showRoutes(c *applet.Call, as style) error {
	numeric := false
	set := flags.New(c)
	set.On(&numeric, "numeric", "n")
	if err := set.Parse(c); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return applet.UsageError("unexpected " + set.Arg(0))
	}
	conn, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, names, err := links(conn)
	if err != nil {
		return err
	}
	routes, err := conn.Routes(unix.AF_INET)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "Kernel IP routing table\nDestination     Gateway         Genmask         Flags %s Iface\n", as.head)
	for _, r := range routes {
		if r.Table != unix.RT_TABLE_MAIN {
			continue
		}
		hops := r.Nexthops
		if hops == nil {
			hops = []rtnl.Nexthop{{Out: r.Out, Gateway: r.Gateway}}
		}
		for _, h := range hops {
			fmt.Fprintf(c.Out, "%-15s %-15s %-15s %-5s %s %s\n", routeTarget(r, numeric), gatewayOf(h), net.IP(net.CIDRMask(int(r.DstLen), 32)), routeFlags(r, h), as.tail(r), deviceName(names, h.Out))
		}
	}
	return nil
}

func deviceName(names map[int]string, index int) string {
	if index == 0 {
		return "*"
	}
	return names[index]
}

func routeTarget(r rtnl.Route, numeric bool) string {
	switch {
	case r.Dst.IsValid():
		return r.Dst.String()
	case numeric:
		return "0.0.0.0"
	}
	return "default"
}

// gatewayOf is an address of IPv4, or none: the table has no room for another.
func gatewayOf(h rtnl.Nexthop) string {
	if !h.Gateway.Is4() {
		return "0.0.0.0"
	}
	return h.Gateway.String()
}

func routeFlags(r rtnl.Route, h rtnl.Nexthop) string {
	s := "U"
	switch r.Type {
	case unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT:
		s = "!"
	}
	if h.Gateway.IsValid() {
		s += "G"
	}
	if r.DstLen == 32 {
		s += "H"
	}
	return s
}
