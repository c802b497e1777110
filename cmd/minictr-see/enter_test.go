package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/network/namespaces"
)

// TestEnterArguments: options stand before or behind the target, and end where the
// command begins, whose options are its own.
func TestEnterArguments(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"web", "web all=false [] []"},
		{"web -n ip -br addr", "web all=false [net] [ip -br addr]"},
		{"-n web ip -br addr", "web all=false [net] [ip -br addr]"},
		{"-n -- web ip -n addr", "web all=false [net] [ip -n addr]"},
		{"web -n -- ip -n x addr", "web all=false [net] [ip -n x addr]"},
		{"web -- sh -c true", "web all=false [] [sh -c true]"},
		{"-m web -n sh", "web all=false [mnt net] [sh]"},
		{"web -nmu -p sh", "web all=false [mnt net pid uts] [sh]"},
		{"-t 12 -n ip addr", "12 all=false [net] [ip addr]"},
		{"-t 12 -a", "12 all=true [] []"},
		{"web --mount --net --pid --uts --ipc --user --cgroup --time id", "web all=false [mnt net pid uts ipc user cgroup time] [id]"},
		{"web -h", "help"},
		{"-h", "help"},
		{"", "enter whose namespaces? usage: minictr enter TARGET [-a|-n|-m|…] [COMMAND…]"},
		{"web -x", "unknown shorthand flag: 'x' in -x"},
		{"web -S 4294967296 id", "--setuid 4294967296: a number from 0 to 4294967294"},
		{"web -S 4294967295 id", "--setuid 4294967295: a number from 0 to 4294967294"},
		{"web -S -1 id", "--setuid -1: a number from 0 to 4294967294"},
		{"web -G 99999999999 id", "--setgid 99999999999: a number from 0 to 4294967294"},
		{"web -S 4294967294 -G 0 id", "web all=false [] [id]"},
		{"web -t 12", "web and -t 12 are two targets; give one"},
		{"web -S x", `invalid argument "x" for "-S, --setuid" flag: strconv.ParseInt: parsing "x": invalid syntax`},
	} {
		t.Run(c.line, func(t *testing.T) {
			if got := parsedEnter(strings.Fields(c.line)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// parsedEnter is what enter would do, in words.
func parsedEnter(args []string) string {
	var flags enterFlags
	c := &cobra.Command{Use: "enter", SilenceErrors: true, SilenceUsage: true}
	declareEnterFlags(c.Flags(), &flags)
	said := ""
	c.SetHelpFunc(func(*cobra.Command, []string) { said = "help" })
	c.RunE = func(c *cobra.Command, args []string) error {
		word, err := enterArguments(c.Flags(), &flags, args)
		if err != nil {
			return err
		}
		kinds := []namespaces.Kind{}
		for i, k := range namespaces.Kinds() {
			if flags.kinds[i] {
				kinds = append(kinds, k)
			}
		}
		said = fmt.Sprintf("%s all=%t %v %v", word, flags.all, kinds, flags.withCommand)
		return nil
	}
	c.SetArgs(args)
	if err := c.Execute(); err != nil {
		return err.Error()
	}
	return said
}

func TestChooseKinds(t *testing.T) {
	here := namespaces.Set{namespaces.Mount: 1, namespaces.Network: 2, namespaces.PID: 3}
	process := &target{kind: "pid", pid: 12, set: namespaces.Set{namespaces.Mount: 1, namespaces.Network: 20, namespaces.PID: 30}}
	named := &target{kind: "netns", name: "blue", path: "/run/netns/blue", set: namespaces.Set{namespaces.Network: 20}}
	for _, c := range []struct {
		name  string
		t     *target
		kinds []namespaces.Kind
		all   bool
		want  string
	}{
		{"none asked for: all that differ", process, nil, false, "[net pid]"},
		{"all", process, nil, true, "[net pid]"},
		{"one", process, []namespaces.Kind{namespaces.Network}, false, "[net]"},
		{"one's own already", process, []namespaces.Kind{namespaces.Mount}, false, "[]"},
		{"a kind that the kernel lacks", process, []namespaces.Kind{namespaces.Time}, false, "this kernel has no time namespaces"},
		{"a name", named, nil, false, "[net]"},
		{"all of a name", named, nil, true, "[net]"},
		{"what a name has not", named, []namespaces.Kind{namespaces.Mount}, false, "netns blue is a namespace of type net: there is nothing for -m to enter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			flags := enterFlags{all: c.all}
			for i, k := range namespaces.Kinds() {
				flags.kinds[i] = slices.Contains(c.kinds, k)
			}
			kinds, err := chooseKinds(c.t, here, flags)
			got := fmt.Sprint(kinds)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestEnterPrograms: the golden files are the system calls of each form (-update
// rewrites them).
func TestEnterPrograms(t *testing.T) {
	plain := entry{target: "container web", pidfd: 5, stub: 9, uid: -1, gid: -1, argv: []string{"ip", "addr"}, candidates: []string{"/sbin/ip"}, env: []string{"HOME=/root"}}
	with := func(change func(*entry)) *entry {
		e := plain
		change(&e)
		return &e
	}
	for name, e := range map[string]*entry{
		"net":  with(func(e *entry) { e.kinds = []namespaces.Kind{namespaces.Network} }),
		"none": with(func(*entry) {}),
		"all": with(func(e *entry) {
			e.kinds, e.fork = namespaces.Kinds(), true
		}),
		"path": with(func(e *entry) {
			e.pidfd, e.file, e.kinds = -1, 6, []namespaces.Kind{namespaces.Network}
		}),
		"directories": with(func(e *entry) {
			e.kinds, e.root, e.directory = []namespaces.Kind{namespaces.Mount}, 7, 8
		}),
		"directories-named": with(func(e *entry) {
			e.kinds, e.newRoot, e.newWd = []namespaces.Kind{namespaces.Mount}, "/srv", "/tmp"
		}),
		"user": with(func(e *entry) {
			e.kinds, e.uid, e.gid = []namespaces.Kind{namespaces.User}, 5, 6
		}),
		"preserve": with(func(e *entry) {
			e.kinds, e.preserve = []namespaces.Kind{namespaces.User}, true
		}),
	} {
		t.Run(name, func(t *testing.T) {
			p := e.compile()
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			checkGolden(t, filepath.Join("testdata", "enter", name+".golden"), p.String())
		})
	}
}

// Each hint is of a call that some program makes.
func TestEnterHints(t *testing.T) {
	all := entry{pidfd: 5, kinds: namespaces.Kinds(), argv: []string{"x"}}
	text := all.compile().String()
	for _, row := range enterHints {
		if !strings.Contains(text, row.call+"(") {
			t.Errorf("no program calls %s", row.call)
		}
	}
}

// The shell is the user's where it exists, and is called as a login shell.
func TestDefaultShell(t *testing.T) {
	self, err := bareApp(t).target("self")
	if err != nil {
		t.Fatal(err)
	}
	defer self.close()
	for _, c := range []struct{ shell, path, name string }{
		{"/bin/bash", "/bin/bash", "-bash"},
		{"/no/such/shell", "/bin/sh", "-sh"},
		{"relative", "/bin/sh", "-sh"},
		{"", "/bin/sh", "-sh"},
	} {
		t.Setenv("SHELL", c.shell)
		e := entry{kinds: []namespaces.Kind{namespaces.Mount}}
		if err := e.findCommand(self, nil); err != nil {
			t.Fatal(err)
		}
		if e.candidates[0] != c.path || e.argv[0] != c.name {
			t.Errorf("%q: %s as %s", c.shell, e.candidates[0], e.argv[0])
		}
	}
	t.Setenv("PATH", "/a::/b")
	if got := fmt.Sprint(candidates("x"), candidates("./x")); got != "[/a/x ./x /b/x] [./x]" {
		t.Errorf("got %s", got)
	}
	t.Setenv("PATH", "")
	if got := candidates("x"); got[0] != "/usr/local/sbin/x" {
		t.Errorf("got %s", got)
	}
}
