package classic

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// Arp is arp.
func Arp() applet.Applet {
	return applet.Applet{
		Name:  "arp",
		Usage: "[-an] [-i INTERFACE] [ADDRESS] | -d ADDRESS [-i INTERFACE] | -s ADDRESS MAC [-i INTERFACE]",
		Short: "show and change which link address belongs to which IPv4 address",
		Run:   arp,
	}
}

func arp(c *applet.Call) error {
	var bsd, numeric, remove, add, verbose bool
	device := ""
	set := flags.New(c)
	set.On(&bsd, "all", "a")
	set.On(&numeric, "numeric", "n")
	set.On(&remove, "delete", "d")
	set.On(&add, "set", "s")
	set.On(&verbose, "verbose", "v")
	set.Text(&device, "device", "i")
	if err := set.Parse(c); err != nil {
		return err
	}
	conn, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	args := set.Args()
	switch {
	case add && len(args) == 2:
		if device == "" {
			if device, err = deviceOf(conn, args[0]); err != nil {
				return err
			}
		}
		return byIP(c, "neigh", "replace", args[0], "lladdr", args[1], "dev", device)
	case remove && len(args) == 1:
		return removeArp(c, conn, args[0], device)
	case add || remove || len(args) > 1:
		return applet.UsageError("-s needs an address and a MAC, -d an address")
	}
	return showArp(c, conn, append(args, "")[0], device, bsd, numeric)
}

// deviceOf is the link whose subnet the address lies in.
func deviceOf(conn *rtnl.Conn, word string) (string, error) {
	a, err := netip.ParseAddr(word)
	if err != nil {
		return "", fmt.Errorf("%s: not an address", word)
	}
	_, names, err := links(conn)
	if err != nil {
		return "", err
	}
	own, err := conn.Addrs(unix.AF_INET)
	if err != nil {
		return "", err
	}
	for _, o := range own {
		if netip.PrefixFrom(o.Peer, o.PrefixLen).Masked().Contains(a) {
			return names[o.Index], nil
		}
	}
	return "", fmt.Errorf("%s: no interface has it in its subnet", word)
}

func removeArp(c *applet.Call, conn *rtnl.Conn, word, device string) error {
	entries, names, err := arpEntries(conn)
	if err != nil {
		return err
	}
	for _, n := range entries {
		if n.Dst.String() == word && (device == "" || names[n.Index] == device) {
			return byIP(c, "neigh", "del", word, "dev", names[n.Index])
		}
	}
	fmt.Fprintf(c.Err, "No ARP entry for %s\n", word)
	return applet.ExitError(255)
}

func arpEntries(conn *rtnl.Conn) (entries []rtnl.Neigh, names map[int]string, err error) {
	if _, names, err = links(conn); err != nil {
		return nil, nil, err
	}
	all, err := conn.Neighs(unix.AF_INET)
	for _, n := range all {
		if n.Family == unix.AF_INET && n.State&unix.NUD_NOARP == 0 {
			entries = append(entries, n)
		}
	}
	return entries, names, err
}

func showArp(c *applet.Call, conn *rtnl.Conn, only, device string, bsd, numeric bool) error {
	entries, names, err := arpEntries(conn)
	if err != nil {
		return err
	}
	shown := 0
	for _, n := range entries {
		if only != "" && n.Dst.String() != only || device != "" && names[n.Index] != device {
			continue
		}
		host := n.Dst.String()
		if !numeric {
			host = hostName(n.Dst, bsd)
		}
		if bsd {
			if numeric {
				host = "?"
			}
			fmt.Fprintln(c.Out, bsdLine(host, n, names[n.Index]))
		} else {
			if shown == 0 {
				fmt.Fprintln(c.Out, "Address                  HWtype  HWaddress           Flags Mask            Iface")
			}
			fmt.Fprintln(c.Out, arpLine(host, n, names[n.Index]))
		}
		shown++
	}
	if shown == 0 && only != "" {
		fmt.Fprintf(c.Out, "%s (%s) -- no entry\n", only, only)
		return applet.ExitError(1)
	}
	return nil
}

const namePatience = time.Second

// hostName looks for a name; where there is none the two styles differ.
func hostName(a netip.Addr, bsd bool) string {
	patience, stop := context.WithTimeout(context.Background(), namePatience)
	defer stop()
	names, err := net.DefaultResolver.LookupAddr(patience, a.String())
	switch {
	case err == nil && len(names) > 0:
		return strings.TrimSuffix(names[0], ".")
	case bsd:
		return "?"
	}
	return a.String()
}

func arpLine(host string, n rtnl.Neigh, device string) string {
	if n.LinkAddr == nil {
		return fmt.Sprintf("%-23s  %-8s%-20s%-6s%-15s %s", host, "", "(incomplete)", "", "", device)
	}
	marks := "C"
	if n.State&unix.NUD_PERMANENT != 0 {
		marks += "M"
	}
	if n.Flags&unix.NTF_PROXY != 0 {
		marks += "P"
	}
	return fmt.Sprintf("%-23s  %-8s%-20s%-6s%-15s %s", host, "ether", n.LinkAddr, marks, "", device)
}

func bsdLine(host string, n rtnl.Neigh, device string) string {
	at := "<incomplete>"
	if n.LinkAddr != nil {
		at = n.LinkAddr.String() + " [ether]"
	}
	if n.State&unix.NUD_PERMANENT != 0 {
		at += " PERM"
	}
	return fmt.Sprintf("%s (%s) at %s on %s", host, n.Dst, at, device)
}
