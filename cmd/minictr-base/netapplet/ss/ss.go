package ss

import (
	"fmt"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
)

// Applet is ss.
func Applet() applet.Applet {
	return applet.Applet{
		Name:  "ss",
		Usage: "[-46aHlnpstuwx]",
		Short: "list sockets: TCP (-t), UDP (-u), raw (-w), Unix (-x); those that wait for clients (-l) or all (-a); with their processes (-p)",
		Run:   run,
	}
}

// choices are the options that ss and netstat have in common.
type choices struct {
	tcp, udp, raw, unix, only4, only6, all, listen, numeric, processes bool
}

func (c *choices) define(set *flags.Set) {
	set.On(&c.tcp, "tcp", "t")
	set.On(&c.udp, "udp", "u")
	set.On(&c.raw, "raw", "w")
	set.On(&c.unix, "unix", "x")
	set.On(&c.only4, "ipv4", "4")
	set.On(&c.only6, "ipv6", "6")
	set.On(&c.all, "all", "a")
	set.On(&c.listen, "listening", "l")
	set.On(&c.numeric, "numeric", "n") // as it always is: there is no /etc/services
	set.On(&c.processes, "processes", "p")
}

func (c *choices) selection() selection {
	s := selection{v4: !c.only6 || c.only4, v6: !c.only4 || c.only6, states: clientStates}
	for _, p := range []struct {
		on    bool
		netid string
	}{{c.unix, "unix"}, {c.raw, "raw"}, {c.udp, "udp"}, {c.tcp, "tcp"}} {
		if p.on {
			s.netids = append(s.netids, p.netid)
		}
	}
	if s.netids == nil {
		s.netids = []string{"unix", "raw", "udp", "tcp"}
		if c.only4 || c.only6 {
			s.netids = s.netids[1:]
		}
	}
	switch {
	case c.all:
		s.states = allStates
	case c.listen:
		s.states = serverStates
	}
	return s
}

func run(c *applet.Call) error {
	var choose choices
	noHeader, summary := false, false
	set := flags.New(c)
	choose.define(set)
	set.On(&noHeader, "no-header", "H")
	set.On(&summary, "summary", "s")
	set.On(new(bool), "oneline", "O") // as it always is
	if err := set.Parse(c); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return applet.UsageError("filters are not supported: " + strings.Join(set.Args(), " "))
	}
	if summary {
		return printSummary(c)
	}
	wanted := choose.selection()
	list, err := wanted.find()
	if err != nil {
		return err
	}
	var who map[uint64][]user
	if choose.processes {
		who = owners()
	}
	t := &listing{withNetid: len(wanted.netids) > 1}
	if !noHeader {
		t.rows = append(t.rows, row{"Netid", "State", "Recv-Q", "Send-Q", "Local Address", "Port", "Peer Address", "Port", "Process"})
	}
	for _, s := range list {
		if (s.netid == "tcp") && wanted.states == serverStates && s.state != listening {
			continue // a closed TCP socket waits for nobody
		}
		t.add(s, who)
	}
	_, err = fmt.Fprint(c.Out, t.text())
	return err
}

// A row is netid, state, queues, the two ends in two parts each, and the process.
type row [9]string

// A listing is rows in columns; addresses stand at the right of theirs, before the
// colon, ports at the left.
type listing struct {
	rows      []row
	withNetid bool
}

func (t *listing) add(s socket, who map[uint64][]user) {
	r := row{s.netid, stateNames[s.state], fmt.Sprint(s.recvQ), fmt.Sprint(s.sendQ)}
	r[4], r[5] = s.end(s.local)
	r[6], r[7] = s.end(s.peer)
	if users := who[s.inode]; s.inode != 0 && len(users) > 0 {
		var list []string
		for _, u := range users {
			list = append(list, fmt.Sprintf("(%q,pid=%d,fd=%d)", u.name, u.pid, u.fd))
		}
		r[8] = "users:(" + strings.Join(list, ",") + ")"
	}
	t.rows = append(t.rows, r)
}

// end is an endpoint's two columns.
func (s socket) end(e endpoint) (addr, port string) {
	if e.path != "" {
		port = "0"
		if e.path != "*" {
			port = fmt.Sprint(s.inode)
		}
		return e.path, port
	}
	port = "*"
	if e.port != 0 {
		port = fmt.Sprint(e.port)
	}
	a := e.addr.WithZone("").String()
	if s.v6 {
		a = "[" + a + "]"
		if e.addr.IsUnspecified() && !s.onlyV6 {
			a = "*"
		}
	}
	if e.addr.Zone() != "" {
		a += "%" + e.addr.Zone()
	}
	return a, port
}

func (t *listing) text() string {
	var wide [9]int
	for i := range wide {
		for _, r := range t.rows {
			wide[i] = max(wide[i], len(r[i]))
		}
	}
	var b strings.Builder
	for _, r := range t.rows {
		if t.withNetid {
			fmt.Fprintf(&b, "%-*s ", wide[0], r[0])
		}
		line := fmt.Sprintf("%-*s %-*s %-*s %*s:%-*s %*s:%-*s %s", wide[1], r[1], wide[2], r[2], wide[3], r[3],
			wide[4], r[4], wide[5], r[5], wide[6], r[6], wide[7], r[7], r[8])
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func printSummary(c *applet.Call) error {
	counts, err := socketCounts()
	if err != nil {
		return err
	}
	states, err := tcpStates()
	if err != nil {
		return err
	}
	waiting := counts["TCP"]["tw"]
	total := 0
	for _, n := range states {
		total += n
	}
	fmt.Fprintf(c.Out, "Total: %d\nTCP:   %d (estab %d, closed %d, orphaned %d, timewait %d)\n\n", counts["sockets"]["used"],
		total, states[established], total-states[established]-states[listening], counts["TCP"]["orphan"], waiting)
	fmt.Fprintf(c.Out, "Transport Total     IP        IPv6\n")
	sum := [2]int{}
	for _, name := range []string{"RAW", "UDP", "TCP"} {
		v4, v6 := counts[name]["inuse"], counts[name+"6"]["inuse"]
		sum[0], sum[1] = sum[0]+v4, sum[1]+v6
		fmt.Fprintf(c.Out, "%-9s %-9d %-9d %-9d\n", name, v4+v6, v4, v6)
	}
	fmt.Fprintf(c.Out, "%-9s %-9d %-9d %-9d\n", "INET", sum[0]+sum[1], sum[0], sum[1])
	_, err = fmt.Fprintf(c.Out, "%-9s %-9d %-9d %-9d\n\n", "FRAG", counts["FRAG"]["inuse"]+counts["FRAG6"]["inuse"], counts["FRAG"]["inuse"], counts["FRAG6"]["inuse"])
	return err
}
