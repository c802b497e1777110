package classic

import (
	"encoding/hex"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// Brctl is brctl.
func Brctl() applet.Applet {
	return applet.Applet{
		Name:  "brctl",
		Usage: "show [BRIDGE] | addbr BRIDGE | delbr BRIDGE | addif BRIDGE INTERFACE | delif BRIDGE INTERFACE | stp BRIDGE {on|off}",
		Short: "show and change bridges",
		Run:   brctl,
	}
}

func brctl(c *applet.Call) error {
	args := append(append([]string{}, c.Args...), "", "", "")
	bridge, port := args[1], args[2]
	words := map[string][]string{
		"addbr": {"link", "add", bridge, "type", "bridge"},
		"delbr": {"link", "del", bridge},
		"addif": {"link", "set", port, "master", bridge},
		"delif": {"link", "set", port, "nomaster"},
		"stp":   {"link", "set", bridge, "type", "bridge", "stp_state", port},
	}
	operands := map[string]int{"addbr": 1, "delbr": 1, "addif": 2, "delif": 2, "stp": 2}
	verb := args[0]
	switch {
	case verb == "show" && len(c.Args) <= 2:
		return showBridges(c, bridge)
	case words[verb] == nil || len(c.Args) != operands[verb]+1:
		return applet.UsageError("a command and its operands are needed")
	}
	return byIP(c, words[verb]...)
}

func showBridges(c *applet.Call, only string) error {
	conn, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	list, _, err := links(conn)
	if err != nil {
		return err
	}
	if only != "" {
		if _, err := find(list, only); err != nil {
			return err
		}
	}
	fmt.Fprintln(c.Out, "bridge name\tbridge id\t\tSTP enabled\tinterfaces")
	for _, l := range list {
		if l.Kind != "bridge" || only != "" && l.Name != only {
			continue
		}
		stp := "no"
		if b := l.KindAttr(unix.IFLA_BR_STP_STATE); len(b) == 4 && b[0]|b[3] != 0 {
			stp = "yes"
		}
		fmt.Fprintf(c.Out, "%s\t\t%s\t%s\t\t", l.Name, bridgeID(&l), stp)
		ports := 0
		for _, p := range list {
			if p.Master != l.Index {
				continue
			}
			if ports > 0 {
				fmt.Fprint(c.Out, "\t\t\t\t\t\t\t")
			}
			fmt.Fprintln(c.Out, p.Name)
			ports++
		}
		if ports == 0 {
			fmt.Fprintln(c.Out)
		}
	}
	return nil
}

func bridgeID(l *rtnl.Link) string {
	b := l.KindAttr(unix.IFLA_BR_BRIDGE_ID)
	if len(b) != 8 {
		return "?"
	}
	return hex.EncodeToString(b[:2]) + "." + hex.EncodeToString(b[2:])
}
