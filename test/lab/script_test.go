package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// How a container is on networks: the networks that are made before, and the
// flags of run.
var networkForms = []struct {
	name   string
	create []string
	flags  string
	noPort bool // nothing can be published
	noIPv4 bool // nothing can be published on an address of IPv4
}{
	{name: "default"},
	{name: "none", flags: "--network none", noPort: true},
	{name: "address", flags: "--ip 172.17.9.9 --mac-address 02:42:ac:11:09:63"},
	{name: "made", create: []string{"a"}, flags: "--network a"},
	{name: "subnet", create: []string{"--subnet 10.5.0.0/24 a"}, flags: "--network a --ip 10.5.0.77"},
	{name: "gateway", create: []string{"--subnet 10.5.0.0/24 --gateway 10.5.0.99 a"}, flags: "--network a"},
	{name: "range", create: []string{"--subnet 10.5.0.0/24 --ip-range 10.5.0.128/25 a"}, flags: "--network a"},
	{name: "internal", create: []string{"--internal a"}, flags: "--network a", noPort: true},
	{name: "mtu", create: []string{"--mtu 1400 a"}, flags: "--network a"},
	{name: "bridge name", create: []string{"-o com.docker.network.bridge.name=bruin --label x=y a"}, flags: "--network a --network-alias z"},
	{name: "dual", create: []string{"--ipv6 --subnet 10.5.0.0/24 --subnet fd00:5::/64 a"}, flags: "--network a"},
	{name: "dual, addresses", create: []string{"--ipv6 --subnet 10.5.0.0/24 --subnet fd00:5::/64 a"}, flags: "--network a --ip 10.5.0.7 --ip6 fd00:5::7"},
	{name: "IPv6 only", create: []string{"--ipv4=false --ipv6 --subnet fd00:6::/64 a"}, flags: "--network a", noIPv4: true},
	{name: "dual, internal", create: []string{"--internal --ipv6 a"}, flags: "--network a", noPort: true},
	{name: "two", create: []string{"a"}, flags: "--network a --network bridge"},
	{name: "two, priority", create: []string{"a", "--ipv6 b"}, flags: "--network a --network name=b,gw-priority=1"},
	{name: "three", create: []string{"a", "--internal b", "--mtu 1300 --ipv6 c"}, flags: "--network c --network name=a,mac-address=02:42:00:00:00:09 --network b"},
}

// What is published.
var portForms = []string{
	"",
	"-p 8080:80",
	"-p 8000-8010:8000-8010",
	"-p 8000-8005:80-85/udp",
	"-p 127.0.0.1:8080:80",
	"-p 192.0.2.1:53:53/udp -p 53:53/udp",
	"-p 9:9/sctp -p 8080:80 -p 8080:80/udp",
	"-p 8080:80 -p 127.0.0.1:9000-9999:9000-9999 -p 192.0.2.1:7000:70",
	"-p 0.0.0.0:8080:80 -p 192.0.2.1:81-82:8081-8082",
}

type combination struct {
	name   string
	create []string
	flags  []string
}

// combinations are each form of networks with three forms of ports, so that each
// form of ports meets several forms of networks.
func combinations() (list []combination) {
	next := 1
	for _, n := range networkForms {
		ports := []string{""}
		if !n.noPort {
			for range 3 {
				if !n.noIPv4 || !strings.Contains(portForms[next], ".") {
					ports = append(ports, portForms[next])
				}
				next = 1 + next%(len(portForms)-1)
			}
		}
		for _, p := range ports {
			flags := n.flags + " " + p
			list = append(list, combination{n.name + " " + p, n.create, strings.Fields(flags)})
		}
	}
	return list
}

// The script of run --dry-run, run by sh on one host, and run on another make
// the same: what the script says is what is done.
func TestScriptsAreWhatRunDoes(t *testing.T) {
	programs := require(t)
	kernel.RequireCommand(t, "unshare")
	todo := make(chan combination)
	t.Run("combinations", func(t *testing.T) {
		for worker := range 4 {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				for c := range todo {
					t.Run(c.name, func(t *testing.T) { c.check(t, programs, root) })
				}
			})
		}
		go func() {
			for _, c := range combinations() {
				todo <- c
			}
			close(todo)
		}()
	})
}

// settled is how long addresses may be tentative.
const settled = 15 * time.Second

// uplink gives a host what networks look at: an address and a default route.
const uplink = "link set lo up\nlink add wan0 mtu 1450 type veth peer name wan1 mtu 1450\nlink set wan1 up addrgenmode none\nlink set wan0 up addrgenmode none\naddress add 192.0.2.1/24 dev wan0\nroute add default via 192.0.2.254\n"

func (c combination) check(t *testing.T, programs, root string) {
	l := &lab{world: &world{host: newPlace(t, "host")}, t: t, programs: programs, root: root, runroot: t.TempDir() + "/run"}
	l.host.must(t, uplink, "ip", "-batch", "-")
	l.before = l.state()
	t.Cleanup(l.leave)
	for _, words := range c.create {
		l.must(append([]string{"network", "create"}, strings.Fields(words)...)...)
	}
	run := func(more ...string) []string {
		return append(append(append([]string{"run", "--name", "described"}, c.flags...), more...), image, "sleep", "3600")
	}
	script := l.must(run("--dry-run")...)
	if links := l.host.must(t, "", "ip", "-br", "link"); strings.Contains(links, "veth") {
		t.Errorf("--dry-run made links:\n%s", links)
	}
	scripted, inside := runScript(t, script)
	l.must(run("-d")...)
	box := l.inspect("described")
	kernel.Eventually(t, settled, func() error {
		if d := difference(dump(t, scripted, inside), dump(t, l.host, box.place)); d != "" {
			return fmt.Errorf("script (-) and run (+) differ:\n%s", d)
		}
		return nil
	})
}

// runScript runs the script on a host of its own, with a /run of its own.
func runScript(t *testing.T, script string) (host, inside place) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	host = newPlace(t, "host of the script")
	host.must(t, uplink, "ip", "-batch", "-")
	keeper := exec.Command("unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /run && sh "+file+" && echo done && exec cat")
	stdin, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	keeper.Stderr = &errs
	if err := host.do(keeper.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		keeper.Wait()
	})
	line := make([]byte, 5)
	if n, err := io.ReadFull(out, line); err != nil || string(line) != "done\n" {
		t.Fatalf("the script printed %q: %v: %s:\n%s", line[:n], err, errs.String(), script)
	}
	return host, open(t, "container of the script", fmt.Sprintf("/proc/%d/root/run/netns/described", keeper.Process.Pid))
}

// dump describes a host and the namespace of its container.
func dump(t *testing.T, host, inside place) string {
	t.Helper()
	var b strings.Builder
	for where, p := range map[string]place{"host": host, "container": inside} {
		for _, command := range []string{"ip -j -d link", "ip -j -d addr", "ip -j -d route", "ip -j -d -6 route", "nft -j list ruleset"} {
			words := strings.Fields(command)
			text := p.must(t, "", words[0], words[1:]...)
			if strings.TrimSpace(text) == "" {
				text = "[]"
			}
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%s: %v: %s", command, err, text)
			}
			normal, err := json.Marshal(normalise(v))
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.SplitAfter(string(normal), "},{") { // one thing on a line
				fmt.Fprintf(&b, "%s: %s: %s\n", where, command, line)
			}
		}
		for line := range strings.SplitSeq(p.sysctls(t), "\n") {
			if !strings.Contains(line, "ping_group_range") && !strings.Contains(line, "unprivileged_port_start") { // of every container, and not of its networks
				fmt.Fprintf(&b, "%s: %s\n", where, line)
			}
		}
	}
	return b.String()
}

// accidental are the keys whose values differ from one namespace to the next:
// numbers that the kernel counts up, and clocks.
var accidental = map[string]bool{
	"ifindex": true, "link_index": true, "link_netnsid": true, "handle": true, "bridge_id": true, "root_id": true,
	"hello_timer": true, "tcn_timer": true, "topology_change_timer": true, "gc_timer": true, "valid_life_time": true,
	"preferred_life_time": true, "metainfo": true, "forward_delay_timer": true, "hold_timer": true, "message_age_timer": true,
	"expires": true,
}

// random are the words that every run chooses anew: the host's end of the pair,
// the id of the container, and an address made from a random one.
var random = []struct{ pattern, word string }{
	{`\bveth[0-9a-f]{8}(_\d+)?\b`, "veth…"},
	{`\b[0-9a-f]{64}\b`, "id…"},
	{`\bfe80:[0-9a-f:]+\b`, "fe80:…"},
}

func normaliseText(text string) string {
	for _, r := range random {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.word)
	}
	return text
}

// normalise takes away what is accidental or random.
func normalise(v any) any {
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, normalise(e))
		}
		return out
	case map[string]any:
		if elements, ok := v["elem"].([]any); ok { // of a set, in the order in which they were added
			slices.SortFunc(elements, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		name, _ := v["ifname"].(string)
		out := map[string]any{}
		for key, value := range v {
			if accidental[key] || key == "address" && (strings.HasPrefix(name, "veth") || strings.HasPrefix(name, "wan")) {
				continue
			}
			out[key] = normalise(value)
		}
		return out
	case string:
		return normaliseText(v)
	}
	return v
}
