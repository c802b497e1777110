// Package ip is the applet ip: links, addresses, routes, neighbours and rules,
// shown and changed, in the words and the columns of iproute2's ip(8).
//
// Each object is first turned into a view, a struct that is what -j prints; the
// text is made of the same struct.
package ip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// Applet is ip.
func Applet() applet.Applet {
	return applet.Applet{
		Name:  "ip",
		Usage: "[-4|-6] [-br] [-j] [-p] [-s] [-d] [-o] {addr|link|route|neigh|rule|monitor} [COMMAND…]",
		Short: "show and change links, addresses, routes and neighbours",
		Run:   run,
	}
}

const helpText = `Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }
OBJECT:  address | link | route | neigh | rule | monitor   (a, l, r, n, ru, m)
OPTIONS: -4 -6 -br[ief] -j[son] -p[retty] -s[tatistics] -d[etails] -o[neline]

ip link  [show [dev] NAME] [up] [master NAME] [type KIND]
ip link  add [link LOWER] [name] NAME [up] [mtu N] [address MAC] [master NAME]
             type {veth [peer name NAME …]|bridge|dummy|vlan id N|macvlan [mode M]|ipvlan|KIND}
ip link  set NAME [up|down] [mtu N] [address MAC] [name NEW] [master NAME|nomaster] [netns PID|NAME|PATH]
ip link  del NAME
ip addr  [show [dev] NAME] [up] [scope S] [type KIND] [master NAME]
ip addr  {add|change|replace|del} ADDRESS[/LEN] [peer A] [brd +|A] [scope S] [label L] dev NAME
ip addr  flush dev NAME
ip route [show [PREFIX] [table T|all] [dev NAME] [via A] [proto P] [scope S] [type T]]
ip route {add|append|change|replace|del} [TYPE] PREFIX|default [via A] [dev NAME] [metric N]
             [src A] [table T] [proto P] [scope S] [mtu N] [onlink] [nexthop via A dev NAME weight N]…
ip route get ADDRESS [from A] [oif NAME] [iif NAME] [mark N]
ip route flush SELECTOR
ip neigh [show [dev NAME] [nud STATE] [ADDRESS]]
ip neigh {add|change|replace|del} ADDRESS [lladdr MAC] [nud STATE] dev NAME
ip neigh flush {dev NAME|all}
ip rule  [show] | {add|del} [from P] [to P] [iif N] [oif N] [fwmark N] [table T] [pref N]
ip monitor [link|address|route|neigh|all]
`

// A failure ends ip with a line of its own, as iproute2 words it, and its code.
type failure struct {
	code int
	line string
}

func (f failure) Error() string { return f.line }

func fail(code int, format string, args ...any) error {
	return failure{code, fmt.Sprintf(format, args...)}
}

// options are those before the object.
type options struct {
	family                                uint8
	json, pretty, brief, oneline, details bool
	stats                                 int
}

// A command is one run of ip.
type command struct {
	options
	*applet.Call
	conn  *rtnl.Conn
	words words
	links links // filled when first needed
}

// An object is what ip works on: its names, and what may be done with it.
type object struct {
	names []string
	verbs []verb
}

type verb struct {
	names []string
	run   func(*command) error
}

// show is what an object does without a verb.
func (o object) show() func(*command) error {
	for _, v := range o.verbs {
		if v.names[0] == "show" {
			return v.run
		}
	}
	return monitor
}

// objects are looked up by any beginning of a name, first one first, as ip does:
// "ip l s" is "ip link set".
func objects() []object {
	show := []string{"show", "list", "lst"}
	return []object{
		{[]string{"address"}, []verb{{show, showAddrs}, {[]string{"add", "change", "chg", "replace", "delete"}, changeAddr}, {[]string{"flush"}, flushAddrs}}},
		{[]string{"route"}, []verb{{show, showRoutes}, {[]string{"add", "append", "change", "chg", "replace", "prepend", "delete"}, changeRoute}, {[]string{"get"}, getRoute}, {[]string{"flush"}, flushRoutes}}},
		{[]string{"rule"}, []verb{{show, showRules}, {[]string{"add", "delete"}, changeRule}}},
		{[]string{"neighbor", "neighbour"}, []verb{{show, showNeighs}, {[]string{"add", "change", "chg", "replace", "delete"}, changeNeigh}, {[]string{"flush"}, flushNeighs}}},
		{[]string{"link"}, []verb{{[]string{"set"}, setLink}, {show, showLinks}, {[]string{"add", "replace"}, addLink}, {[]string{"delete"}, deleteLink}}},
		{[]string{"monitor"}, nil},
	}
}

func run(call *applet.Call) error {
	c := &command{Call: call, words: words{list: call.Args}}
	err := c.run()
	if c.conn != nil {
		c.conn.Close()
	}
	var f failure
	if errors.As(err, &f) {
		fmt.Fprintln(call.Err, f.line)
		return applet.ExitError(f.code)
	}
	return err
}

func (c *command) run() error {
	if err := c.parseOptions(); err != nil {
		return err
	}
	name, ok := c.words.next()
	if !ok || name == "help" {
		fmt.Fprint(c.Out, helpText)
		if !ok {
			return applet.ExitError(255)
		}
		return nil
	}
	for _, o := range objects() {
		if matchesAny(name, o.names) {
			return c.runVerb(o)
		}
	}
	return fail(1, "Object %q is unknown, try \"ip help\".", name)
}

func (c *command) runVerb(o object) error {
	var err error
	if c.conn, err = rtnl.Open(); err != nil {
		return err
	}
	if o.verbs == nil {
		return monitor(c)
	}
	word, ok := c.words.peek()
	if !ok {
		return o.show()(c)
	}
	if word == "help" {
		fmt.Fprint(c.Out, helpText)
		return nil
	}
	for _, v := range o.verbs {
		for _, name := range v.names {
			if strings.HasPrefix(name, word) {
				c.words.list[0] = name // what it is short for
				return v.run(c)
			}
		}
	}
	return fail(255, "Command %q is unknown, try \"ip %s help\".", word, o.names[0])
}

func (c *command) parseOptions() error {
	flags := []struct {
		name string
		set  func()
	}{
		{"4", func() { c.family = unix.AF_INET }},
		{"6", func() { c.family = unix.AF_INET6 }},
		{"0", func() { c.family = unix.AF_PACKET }},
		{"brief", func() { c.brief = true }},
		{"json", func() { c.json = true }},
		{"pretty", func() { c.pretty = true }},
		{"oneline", func() { c.oneline = true }},
		{"details", func() { c.details = true }},
		{"statistics", func() { c.stats++ }},
		{"stats", func() { c.stats++ }},
		{"color", func() {}},
	}
next:
	for {
		word, ok := c.words.peek()
		if !ok || len(word) < 2 || word[0] != '-' {
			return nil
		}
		c.words.next()
		name := strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")
		if name == "V" {
			fmt.Fprintln(c.Out, "ip utility, of minictr/base")
			return applet.ExitError(0)
		}
		if name == "help" || name == "h" {
			c.words.list = []string{"help"}
			return nil
		}
		name, _, _ = strings.Cut(name, "=") // -color=never
		for _, f := range flags {
			if strings.HasPrefix(f.name, name) || f.name == "brief" && name == "br" {
				f.set()
				continue next
			}
		}
		return fail(255, "Option %q is unknown, try \"ip -help\".", word)
	}
}

// print writes views, one JSON array or text, one line or more for each.
func print[T any](c *command, views []T, text func(*T) string) error {
	if c.json {
		if views == nil {
			views = []T{}
		}
		return c.printJSON(views)
	}
	var out bytes.Buffer
	for i := range views {
		s := text(&views[i])
		if c.oneline {
			s = strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\\") + "\n"
		}
		out.WriteString(s)
	}
	_, err := c.Out.Write(out.Bytes())
	return err
}

func (c *command) printJSON(v any) error {
	text, err := json.Marshal(v)
	if c.pretty {
		text, err = json.MarshalIndent(v, "", "    ")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, "%s\n", text)
	return err
}

// answered words a refusal of the kernel as iproute2 does.
func answered(err error) error {
	if err == nil {
		return nil
	}
	if words := rtnl.Words(err); words != "" {
		return fail(2, "Error: %s.", strings.TrimSuffix(words, "."))
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return fail(2, "RTNETLINK answers: %s", sentence(errno))
	}
	return err
}

// sentence is an error number in the C library's words.
func sentence(errno unix.Errno) string {
	if errno == unix.EOPNOTSUPP {
		return "Operation not supported"
	}
	s := errno.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
