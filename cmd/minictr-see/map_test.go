package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minictr/minictr/cmd/minictr-see/diagram"
	"github.com/minictr/minictr/test/kernel"
)

// A mapper calls the program in the network and mount namespace of the test's thread.
type mapper struct {
	t   *testing.T
	bin string
	run string // --runroot
}

func newMapper(t *testing.T, programs string) *mapper {
	return &mapper{t, filepath.Join(programs, "minictr-see"), filepath.Join(t.TempDir(), "run")}
}

func (m *mapper) command(args ...string) *exec.Cmd {
	return exec.Command(m.bin, append([]string{"map", "--root", m.run + "/root", "--runroot", m.run}, args...)...)
}

func (m *mapper) output(args ...string) string {
	m.t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("map %q: %v: %s", args, err, out)
	}
	return string(out)
}

func (m *mapper) picture() *diagram.Picture {
	m.t.Helper()
	var p diagram.Picture
	if err := json.Unmarshal([]byte(m.output("--json")), &p); err != nil {
		m.t.Fatal(err)
	}
	return &p
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).Output()
	if err != nil {
		t.Fatalf("ip %q: %v", args, err)
	}
	return string(out)
}

func batch(t *testing.T, lines ...string) {
	t.Helper()
	c := exec.Command("ip", "-batch", "-")
	c.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("ip -batch: %v: %s", err, out)
	}
}

// ipLink and ipRoute are what we compare of the answers of ip -j.
type ipLink struct {
	Ifindex, Mtu            int
	Ifname, Address, Master string
	Flags                   []string
	Linkinfo                struct {
		Kind string `json:"info_kind"`
		Port struct {
			State    string
			Isolated bool
		} `json:"info_slave_data"`
	}
	Addresses []struct {
		Local     string
		Prefixlen int
	} `json:"addr_info"`
}

type ipRoute struct {
	Type, Dst, Gateway, Dev, Prefsrc string
	Metric                           int
	Via                              struct{ Host string }
	Nexthops                         []struct{ Gateway, Dev string }
}

func unmarshal[T any](t *testing.T, text string) (v []T) {
	t.Helper()
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// ipOf is what ip says of a namespace, the caller's for "", in lines.
func ipOf(t *testing.T, name string) (lines []string) {
	t.Helper()
	in := func(args ...string) []string {
		if name != "" {
			args = append([]string{"-n", name}, args...)
		}
		return args
	}
	for _, l := range unmarshal[ipLink](t, ip(t, in("-j", "-d", "addr", "show")...)) {
		state := diagram.Down
		if slices.Contains(l.Flags, "UP") {
			state = diagram.NoCarrier
			if slices.Contains(l.Flags, "LOWER_UP") {
				state = diagram.Up
			}
		}
		kind := l.Linkinfo.Kind
		if l.Ifname == "lo" {
			kind = "lo"
		}
		lines = append(lines, fmt.Sprint("link ", l.Ifindex, l.Ifname, kind, l.Mtu, l.Address, l.Master, state, l.Linkinfo.Port.State, l.Linkinfo.Port.Isolated))
		for _, a := range l.Addresses {
			lines = append(lines, fmt.Sprintf("address %s %s/%d", l.Ifname, a.Local, a.Prefixlen))
		}
	}
	for _, family := range []string{"-4", "-6"} {
		for _, r := range unmarshal[ipRoute](t, ip(t, in("-j", "-d", family, "route", "show", "table", "main")...)) {
			lines = append(lines, r.lines(family)...)
		}
	}
	rules := 0
	for line := range strings.Lines(ip(t, in("rule")...) + ip(t, in("-6", "rule")...)) {
		if !slices.Contains([]string{"0:\tfrom all lookup local\n", "32766:\tfrom all lookup main\n", "32767:\tfrom all lookup default\n"}, line) {
			rules++
		}
	}
	lines = append(lines, fmt.Sprint("rules ", rules))
	slices.Sort(lines)
	return lines
}

func (r ipRoute) lines(family string) (lines []string) {
	to := r.Dst
	switch {
	case to == "default":
		to = map[string]string{"-4": "0.0.0.0/0", "-6": "::/0"}[family]
	case !strings.Contains(to, "/"):
		a := netip.MustParseAddr(to)
		to = netip.PrefixFrom(a, a.BitLen()).String()
	}
	if r.Type == "multicast" {
		return nil
	}
	if len(r.Nexthops) == 0 {
		r.Nexthops = append(r.Nexthops, struct{ Gateway, Dev string }{r.Gateway + r.Via.Host, r.Dev})
	}
	for _, hop := range r.Nexthops {
		lines = append(lines, fmt.Sprint("route ", r.Type, to, " via ", hop.Gateway, " dev ", hop.Dev, " from ", r.Prefsrc, " ", r.Metric))
	}
	return lines
}

// ours is what the map says of a room, in the same lines.
func ours(r *diagram.Room) (lines []string) {
	for _, i := range r.Interfaces {
		lines = append(lines, fmt.Sprint("link ", i.Index, i.Name, i.Kind, i.MTU, i.MAC, i.Master, i.State, i.PortState, i.Isolated))
		for _, a := range i.Addresses {
			lines = append(lines, fmt.Sprintf("address %s %s", i.Name, a))
		}
	}
	text := func(a netip.Addr) string {
		if a.IsValid() {
			return a.String()
		}
		return ""
	}
	for _, x := range r.Routes {
		lines = append(lines, fmt.Sprint("route ", x.Type, x.To, " via ", text(x.Via), " dev ", x.Interface, " from ", text(x.Source), " ", x.Metric))
	}
	lines = append(lines, fmt.Sprint("rules ", r.PolicyRules))
	slices.Sort(lines)
	return lines
}

// cablesOf are the ends of all veth pairs, as ip lists them: namespace and index.
func cablesOf(t *testing.T, names []string) (lines []string) {
	t.Helper()
	inodes := map[string]uint64{"": inodeOfPath(t, "/proc/thread-self/ns/net")}
	for _, name := range names {
		inodes[name] = inodeOfPath(t, "/run/netns/"+name)
	}
	for _, name := range append([]string{""}, names...) {
		args := []string{"-j", "-d", "link", "show"}
		if name != "" {
			args = append([]string{"-n", name}, args...)
		}
		for _, l := range unmarshal[ipLink](t, ip(t, args...)) {
			if l.Linkinfo.Kind == "veth" {
				lines = append(lines, fmt.Sprintf("%d %d", inodes[name], l.Ifindex))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func inodeOfPath(t *testing.T, path string) uint64 {
	t.Helper()
	out, err := exec.Command("stat", "-Lc", "%i", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var inode uint64
	if _, err := fmt.Sscan(string(out), &inode); err != nil {
		t.Fatal(err)
	}
	return inode
}

// machineState is all that reading must not change.
func machineState(t *testing.T, names []string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range append([]string{""}, names...) {
		prefix := []string{}
		if name != "" {
			prefix = []string{"netns", "exec", name}
		}
		for _, words := range []string{"ip link", "ip addr", "ip route show table all", "ip -6 route show table all", "ip rule", "ip neigh", "ip netns list-id", "bridge fdb", "nft list ruleset", "sysctl -a --pattern ^net"} {
			c := exec.Command("sh", "-c", words)
			if name != "" {
				c = exec.Command("ip", append(prefix, strings.Fields(words)...)...)
			}
			out, err := c.CombinedOutput()
			if err != nil && !strings.HasPrefix(words, "sysctl") {
				t.Fatalf("%s in %q: %v: %s", words, name, err, out)
			}
			fmt.Fprintf(&b, "## %s %s\n%s", name, words, out)
		}
	}
	// What changes by itself.
	changing := regexp.MustCompile(`(?m)valid_lft \d+sec|preferred_lft \d+sec|expires \d+sec|^.*(nf_conntrack_count|random\.|REACHABLE|STALE|DELAY|PROBE|FAILED|INCOMPLETE|_gc_|bc_forwarding).*$`)
	return changing.ReplaceAllString(b.String(), "")
}

// TestMap tries the program, each time on a host of its own.
func TestMap(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "sysctl", "bridge", "stat", "setpriv")
	kernel.Snapshot(t)
	programs := kernel.Programs(t)
	seed, kinds := kernel.Seed(t), kernel.LinkKinds(t)
	for name, f := range map[string]func(*testing.T, *mapper){
		"nft": mapAgreesWithNFT, "ends": mapJoinsEnds, "hostile names": mapOfHostileNames, "hundred": mapOfHundred,
		"vanishing": mapWhileNamespacesVanish, "bad input": mapOfBadInput, "watch": watchHearsAll, "watch on a terminal": watchLeavesTheTerminal,
	} {
		t.Run(name, func(t *testing.T) {
			kernel.InHost(t)
			f(t, newMapper(t, programs))
		})
	}
	for i := range uint64(5) {
		t.Run(fmt.Sprint("random ", i), func(t *testing.T) {
			kernel.InHost(t)
			namespaces := 6
			if i == 0 {
				namespaces = 3
			}
			topology, m := kernel.NewTopology(seed+i, namespaces, kinds...), newMapper(t, programs)
			topology.Make(t)
			kernel.Eventually(t, 10*time.Second, func() error { return compareWithIP(t, m, topology.Namespaces) })
			if i == 0 {
				mapChangesNothing(t, m, topology.Namespaces)
			}
			if t.Failed() {
				t.Log(topology)
			}
		})
	}
}

// mapChangesNothing compares what there is before and after reading. New addresses
// take some seconds until they are as they stay.
func mapChangesNothing(t *testing.T, m *mapper, names []string) {
	before := machineState(t, names)
	kernel.Eventually(t, 20*time.Second, func() error {
		last := before
		before = machineState(t, names)
		if strings.Contains(before, "tentative") || before != last {
			return fmt.Errorf("it still changes by itself: %s", cmp.Diff(strings.Split(last, "\n"), strings.Split(before, "\n")))
		}
		return nil
	})
	for _, args := range [][]string{{"--json"}, {"--svg"}, {"--dot"}, {"--mermaid"}, {"--ascii"}, {"--all"}, {names[0]}} {
		m.output(args...)
	}
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(machineState(t, names), "\n")); diff != "" {
		t.Errorf("reading has changed something: %s", diff)
	}
}

// compareWithIP compares the map with what ip says of each namespace.
func compareWithIP(t *testing.T, m *mapper, names []string) error {
	t.Helper()
	p := m.picture()
	for _, name := range append([]string{""}, names...) {
		path := "/run/netns/" + name
		if name == "" {
			path = "/proc/thread-self/ns/net"
		}
		inode := inodeOfPath(t, path)
		i := slices.IndexFunc(p.Rooms, func(r diagram.Room) bool { return r.Inode == inode })
		if i < 0 {
			return fmt.Errorf("no room for %q", name)
		}
		if want := map[bool]string{true: "host", false: name}[name == ""]; p.Rooms[i].Name != want {
			return fmt.Errorf("%q is named %q", name, p.Rooms[i].Name)
		}
		if diff := cmp.Diff(ipOf(t, name), ours(&p.Rooms[i])); diff != "" {
			return fmt.Errorf("%q: ip (-) and the map (+): %s", name, diff)
		}
	}
	if len(p.Rooms) != len(names)+1 {
		return fmt.Errorf("%d rooms of %d", len(p.Rooms), len(names)+1)
	}
	var plugs []string
	for _, c := range p.Cables {
		if c.Kind == "veth" {
			for _, e := range []diagram.End{c.A, c.B} {
				plugs = append(plugs, fmt.Sprintf("%d %d", p.Room(e.Room).Inode, e.Index))
			}
		}
	}
	slices.Sort(plugs)
	if diff := cmp.Diff(cablesOf(t, names), plugs); diff != "" {
		return fmt.Errorf("ends of cables, ip (-) and the map (+): %s", diff)
	}
	return nil
}

// Both ends of a cable are what was laid.
func mapJoinsEnds(t *testing.T, m *mapper) {
	batch(t, "netns add aa", "netns add bb", "link add one netns aa type veth peer name eins netns bb", "link add two type veth peer name zwei netns bb", "link add x1 type veth peer name x2", "link add three netns aa type veth peer name drei")
	var got []string
	for _, c := range m.picture().Cables {
		ends := []string{c.A.Room + " " + c.A.Interface, c.B.Room + " " + c.B.Interface}
		slices.Sort(ends)
		got = append(got, strings.Join(ends, " = "))
	}
	slices.Sort(got)
	want := []string{"host drei = netns:aa three", "host two = netns:bb zwei", "host x1 = host x2", "netns:aa one = netns:bb eins"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Translations are the rules that nft lists.
func mapAgreesWithNFT(t *testing.T, m *mapper) {
	load := exec.Command("nft", "-f", "../../network/firewall/testdata/nat/translations.nft")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command("nft", "-j", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	var listed struct {
		Nftables []struct {
			Rule *struct {
				Family, Table, Chain string
				Handle               uint64
				Expr                 []map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, o := range listed.Nftables {
		if o.Rule == nil {
			continue
		}
		for _, e := range o.Rule.Expr {
			for _, kind := range []string{"masquerade", "snat", "dnat", "redirect"} {
				if _, ok := e[kind]; ok {
					want[fmt.Sprintf("%s %s %s %d", o.Rule.Family, o.Rule.Table, o.Rule.Chain, o.Rule.Handle)] = true
				}
			}
		}
	}
	got := map[string]bool{}
	p := m.picture()
	for _, n := range p.Outgoing {
		got[fmt.Sprintf("%s %s %d", n.Table, n.Chain, n.Handle)] = true
	}
	for _, x := range p.Published {
		got[fmt.Sprintf("%s %s %d", x.Table, x.Chain, x.Handle)] = true
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("nft (-) and the map (+): %s", diff)
	}
}

// Links and namespaces with names that somebody else chose.
func mapOfHostileNames(t *testing.T, m *mapper) {
	names := []string{`"><script>`, "\x1b[2Jx", "\u009b31m", "\u202eab", `\"]};--`, "a\u2028b"}
	for i, name := range names {
		for _, args := range [][]string{
			{"netns", "add", name},
			{"link", "add", name, "type", "veth", "peer", "name", "p" + name, "netns", name},
			{"link", "set", name, "up"},
			{"addr", "add", fmt.Sprintf("10.0.%d.1/24", i), "dev", name},
		} {
			if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
				t.Fatalf("ip %q: %v: %s", args, err, out)
			}
		}
	}
	steering := regexp.MustCompile("[\x00-\x09\x0b-\x1f\x7f\u0080-\u009f\u2028-\u202e]")
	for _, args := range [][]string{nil, {"--ascii"}, {"--svg"}, {"--dot"}, {"--mermaid"}, {"--json"}, {names[0]}, {names[1]}} {
		out := m.output(args...)
		if found := steering.FindString(out); found != "" {
			t.Errorf("%q: %q in %s", args, found, out)
		}
		if strings.Contains(out, "<script>") && slices.Contains(args, "--svg") {
			t.Errorf("%q: %s", args, out)
		}
	}
	p := m.picture()
	for _, name := range names {
		if p.Room("netns:"+name) == nil {
			t.Errorf("no room %q", name)
		}
	}
}

// A hundred rooms that are alike are drawn as one.
func mapOfHundred(t *testing.T, m *mapper) {
	lines := []string{"link add br0 type bridge forward_delay 0", "link set br0 up", "addr add 172.17.0.1/16 dev br0"}
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("netns add web-%d", i), fmt.Sprintf("link add v%d up master br0 type veth peer name eth0 netns web-%d", i, i))
	}
	batch(t, lines...)
	for i := range 100 {
		c := exec.Command("ip", "-n", fmt.Sprintf("web-%d", i), "-batch", "-")
		c.Stdin = strings.NewReader(fmt.Sprintf("link set lo up\naddr add 172.17.0.%d/16 dev eth0\nlink set eth0 up\nroute add default via 172.17.0.1", i+2))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	start := time.Now()
	text := m.output()
	t.Logf("drawn in %v", time.Since(start))
	if !strings.Contains(text, "web-0 … web-99 (100) ─ ip netns") || strings.Count(text, "\n") > 30 {
		t.Error(text)
	}
	if all := m.output("--all"); strings.Count(all, "─ ip netns") != 100 {
		t.Errorf("--all: %s", all)
	}
}

// Namespaces come and go while the map is read.
func mapWhileNamespacesVanish(t *testing.T, m *mapper) {
	churn := exec.Command("sh", "-c", "while :; do for i in 1 2 3 4; do ip netns add n$i; ip link add v$i type veth peer name eth0 netns n$i; done; for i in 1 2 3 4; do ip netns delete n$i; done; done")
	if err := churn.Start(); err != nil {
		t.Fatal(err)
	}
	sizes := map[int]int{}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		sizes[len(m.picture().Rooms)]++
	}
	if err := churn.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = churn.Wait() // killed: Wait says so
	for i := range 4 {
		_ = exec.Command("ip", "netns", "delete", fmt.Sprintf("n%d", i+1)).Run() // it may be gone
	}
	t.Logf("rooms: readings: %v", sizes)
	if len(sizes) < 2 {
		t.Error("nothing came and went")
	}
}

func mapOfBadInput(t *testing.T, m *mapper) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nobody"}, "minictr: map nobody: no container or network namespace of that name\nhint: minictr map shows all; minictr ps lists the containers\n"},
		{[]string{"one", "two"}, "minictr: accepts at most 1 arg(s), received 2; usage: minictr map [OPTIONS] [CONTAINER]\n"},
		{[]string{"--svg", "nobody"}, "minictr: a container's way is text or --json; without CONTAINER the whole map has the other formats\n"},
		{[]string{"--svg", "--dot"}, "minictr: if any flags in the group [ascii json dot mermaid svg] are set none of the others can be; [dot svg] were all set\n"},
		{[]string{"--watch", "--svg"}, "minictr: if any flags in the group [watch svg] are set none of the others can be; [svg watch] were all set\n"},
	} {
		var stdout, stderr bytes.Buffer
		command := m.command(c.args...)
		command.Stdout, command.Stderr = &stdout, &stderr
		err := command.Run()
		if command.ProcessState.ExitCode() != 1 || stderr.String() != c.want || stdout.Len() > 0 {
			t.Errorf("%q: %v\n%s%s", c.args, err, stdout.String(), stderr.String())
		}
	}
	c := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/proc/self/fd/0", "map", "--root=/none", "--runroot=/none")
	program, err := os.Open(m.bin) // in a directory that is root's
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	c.Stdin = program
	if out, err := c.CombinedOutput(); err == nil || string(out) != "minictr: read network namespaces: operation not permitted\nhint: other processes' namespaces are root's to read: sudo minictr …\n" {
		t.Errorf("not root: %v: %s", err, out)
	}
	if _, err := os.Stat(m.run); !os.IsNotExist(err) {
		t.Errorf("%s was made", m.run)
	}
}
