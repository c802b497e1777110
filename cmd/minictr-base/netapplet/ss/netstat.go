package ss

import (
	"fmt"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
)

// Netstat is netstat: the sockets in the columns of net-tools; -r is given to
// showRoutes, which prints what route(8) prints.
func Netstat(showRoutes func(*applet.Call) error) applet.Applet {
	return applet.Applet{
		Name:  "netstat",
		Usage: "[-46alnptuwx] | -r [-n]",
		Short: "list sockets as net-tools does; -r lists routes",
		Run:   func(c *applet.Call) error { return netstat(c, showRoutes) },
	}
}

func netstat(c *applet.Call, showRoutes func(*applet.Call) error) error {
	var choose choices
	routes := false
	set := flags.New(c)
	choose.define(set)
	set.On(&routes, "route", "r")
	if err := set.Parse(c); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return applet.UsageError("unexpected " + set.Arg(0))
	}
	if routes {
		return showRoutes(&applet.Call{Name: c.Name, Args: []string{"-n"}, In: c.In, Out: c.Out, Err: c.Err})
	}
	wanted := choose.selection()
	if !choose.all && !choose.listen {
		wanted.states |= 1 << timeWait // which ss leaves out
	}
	list, err := wanted.find()
	if err != nil {
		return err
	}
	var who map[uint64][]user
	if choose.processes {
		who = owners()
	}
	printNetstat(c, list, choose, who)
	return nil
}

var netstatStates = []string{"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"}

func printNetstat(c *applet.Call, list []socket, choose choices, who map[uint64][]user) {
	which := "w/o servers"
	if choose.listen {
		which = "only servers"
	}
	if choose.all {
		which = "servers and established"
	}
	process := ""
	if choose.processes {
		process = " PID/Program name    "
	}
	row := "%-5s %6s %6s %-23s %-23s %-11s%s\n"
	fmt.Fprintf(c.Out, "Active Internet connections (%s)\n", which)
	fmt.Fprintf(c.Out, row, "Proto", "Recv-Q", "Send-Q", "Local Address", "Foreign Address", "State", process)
	var paths []socket
	for _, protocol := range []string{"tcp", "udp", "raw"} { // as net-tools orders them
		for _, s := range list {
			if s.netid != protocol || protocol == "tcp" && s.state == closed {
				continue
			}
			name := s.netid
			if s.v6 {
				name += "6"
			}
			fmt.Fprintf(c.Out, row, name, fmt.Sprint(s.recvQ), fmt.Sprint(sendQueue(s)), plain(s.local), plain(s.peer), netstatStates[s.state], program(who, s, choose.processes))
		}
	}
	for _, s := range list {
		if s.local.path != "" {
			paths = append(paths, s)
		}
	}
	if len(paths) == 0 {
		return
	}
	fmt.Fprintf(c.Out, "Active UNIX domain sockets (%s)\n%-5s %-10s %-12s %-8s %s\n", which, "Proto", "Type", "State", "I-Node", "Path")
	for _, s := range paths {
		kind := map[string]string{"u_str": "STREAM", "u_dgr": "DGRAM", "u_seq": "SEQPACKET"}[s.netid]
		state := map[int]string{established: "CONNECTED", listening: "LISTENING"}[s.state]
		path := s.local.path
		if path == "*" {
			path = ""
		}
		fmt.Fprintf(c.Out, "%-5s %-10s %-12s %-8d %s\n", "unix", kind, state, s.inode, path)
	}
}

// sendQueue leaves out the backlog, which ss shows for a server.
func sendQueue(s socket) uint32 {
	if s.state == listening {
		return 0
	}
	return s.sendQ
}

// plain is an address without brackets, as net-tools has it.
func plain(e endpoint) string {
	port := "*"
	if e.port != 0 {
		port = fmt.Sprint(e.port)
	}
	return e.addr.WithZone("").String() + ":" + port
}

func program(who map[uint64][]user, s socket, wanted bool) string {
	if !wanted {
		return ""
	}
	users := who[s.inode]
	if s.inode == 0 || len(users) == 0 {
		return fmt.Sprintf(" %-20s", "-")
	}
	return fmt.Sprintf(" %-20.19s", fmt.Sprintf("%d/%s", users[0].pid, users[0].name)) // cut as net-tools does
}
