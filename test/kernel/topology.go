package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Topology is a random network of namespaces: bridges, cables into namespaces and
// between them, addresses, routes, policy rules, neighbours, and links of the other
// kinds that were asked for. It is what ip(8) is told, so that tests compare with
// what was not made by us:
//
//	topology := kernel.NewTopology(kernel.Seed(t), 5, kernel.LinkKinds(t)...)
//	kernel.InHost(t)
//	topology.Make(t)
//
// The same seed and number make the same. At most one end of a cable is a port of a
// bridge, so that no frame can go in circles.
type Topology struct {
	Namespaces []string            // named as ip netns does, below /run/netns: "n0", "n1", …
	Host       []string            // lines of ip -batch where the namespaces are made
	Inside     map[string][]string // lines of ip -batch in each namespace, after those of Host
}

// seedVariable repeats a random test.
const seedVariable = "MINICTR_SEED"

// Seed returns a number to make random things from: $MINICTR_SEED, else another one
// each time. A test that fails prints it.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano() % 1e9)
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("$%s: %v", seedVariable, err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s=%d repeats this", seedVariable, seed)
		}
	})
	return seed
}

// optionalKinds are the kinds of links that not every kernel has.
var optionalKinds = map[string]string{
	"dummy": "type dummy", "vlan": "link probe0 type vlan id 7", "macvlan": "link probe0 type macvlan", "ipvlan": "link probe0 type ipvlan",
}

// LinkKinds asks the kernel which of the optional kinds of links it has.
func LinkKinds(t testing.TB) (kinds []string) {
	t.Helper()
	RequireCommand(t, "ip")
	NewNetns(t).Do(t, func() {
		if out, err := exec.Command("ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1").CombinedOutput(); err != nil {
			t.Fatalf("add a veth pair: %v: %s", err, out)
		}
		for kind, words := range optionalKinds {
			if exec.Command("ip", append([]string{"link", "add", "name", "probe2"}, strings.Fields(words)...)...).Run() != nil {
				continue
			}
			kinds = append(kinds, kind)
			if out, err := exec.Command("ip", "link", "del", "probe2").CombinedOutput(); err != nil {
				t.Fatalf("delete a %s: %v: %s", kind, err, out)
			}
		}
	})
	slices.Sort(kinds)
	return kinds
}

// NewTopology invents a network of so many namespaces, at most 300, with links of
// the kinds beside bridges and veth pairs.
func NewTopology(seed uint64, namespaces int, kinds ...string) *Topology {
	p := &planner{
		Topology: Topology{Inside: map[string][]string{}},
		random:   rand.New(rand.NewPCG(seed, seed)),
		kinds:    kinds,
	}
	for i := range namespaces {
		p.Namespaces = append(p.Namespaces, fmt.Sprint("n", i))
		p.host("netns add n%d", i)
		if p.one(5) {
			p.host("netns set n%d %s", i, p.choose("auto", fmt.Sprint(1000+i)))
		}
	}
	for p.bridges = range 1 + p.random.IntN(3) {
		p.addBridge(p.bridges)
	}
	p.bridges++
	for i := range namespaces {
		p.furnish(i)
	}
	p.hostRoutes()
	return &p.Topology
}

// A planner is a Topology that is being invented.
type planner struct {
	Topology
	random   *rand.Rand
	kinds    []string
	bridges  int
	networks int // of cables without a bridge
}

func (p *planner) one(in int) bool              { return p.random.IntN(in) == 0 }
func (p *planner) choose(from ...string) string { return from[p.random.IntN(len(from))] }
func (p *planner) has(kind string) bool         { return slices.Contains(p.kinds, kind) }

func (p *planner) host(format string, args ...any) {
	p.Host = append(p.Host, fmt.Sprintf(format, args...))
}

func (p *planner) inside(namespace int, format string, args ...any) {
	name := p.Namespaces[namespace]
	p.Inside[name] = append(p.Inside[name], fmt.Sprintf(format, args...))
}

// addBridge adds a bridge of the host, which nearly always is up and has an address.
func (p *planner) addBridge(k int) {
	options := ""
	if p.has("vlan") && p.one(3) {
		options = " vlan_filtering 1"
	}
	p.host("link add br%d type bridge forward_delay 0%s", k, options)
	if !p.one(8) {
		p.host("link set br%d up", k)
	}
	if !p.one(5) {
		p.host("addr add 10.%d.0.1/16 brd + dev br%d", k, k)
		p.host("addr add fd00:%x::1/64 dev br%d nodad", k, k)
	}
}

// furnish puts links into a namespace.
func (p *planner) furnish(i int) {
	if !p.one(4) {
		p.inside(i, "link set lo up")
	}
	for j := range 1 + p.random.IntN(2) {
		p.cable(i, j)
	}
	if p.has("dummy") && p.one(3) {
		p.inside(i, "link add d0 type dummy")
		p.inside(i, "addr add 192.168.%d.1/24 dev d0", i%256)
	}
	if p.one(5) {
		p.inside(i, "link add inner0 type bridge")
		p.inside(i, "link set inner0 up")
	}
	if p.has("macvlan") && p.one(4) {
		p.host("link add link br%d name mv%d netns n%d type macvlan mode %s", p.random.IntN(p.bridges), i, i, p.choose("bridge", "private", "vepa"))
	}
	if p.has("ipvlan") && p.one(6) {
		p.host("link add up%d type veth peer name down%d", i, i)
		p.host("link add link up%d name iv%d netns n%d type ipvlan mode %s", i, i, i, p.choose("l2", "l3"))
	}
	if p.has("vlan") && p.one(3) {
		p.inside(i, "link add link eth0 name eth0.%d type vlan id %d", 2+i, 2+i)
		p.inside(i, "addr add 10.99.%d.1/24 dev eth0.%d", i%256, 2+i)
	}
	if p.one(6) {
		p.inside(i, "rule add from 10.0.0.0/8 lookup %d priority %d", 100+i, 100+i)
		p.inside(i, "route add blackhole 10.250.0.0/16 table %d", 100+i)
	}
}

// cable adds ethJ to a namespace, the other end of which is on a bridge, on the host
// without one, or in another namespace.
func (p *planner) cable(i, j int) {
	name := fmt.Sprintf("v%dc%d", i, j)
	switch {
	case !p.one(3):
		k := p.random.IntN(p.bridges)
		p.host("link add %s type veth peer name eth%d netns n%d", name, j, i)
		p.host("link set %s master br%d", name, k)
		p.hostEnd(name)
		if p.address(i, j, fmt.Sprintf("10.%d.%d.%d/16", k, 1+i/200+100*j, 1+i%200), fmt.Sprintf("fd00:%x::%x:%x/64", k, 1+i, 1+j)) {
			p.gateway(i, j, fmt.Sprintf("10.%d.0.1", k))
		}
	case i == 0 || p.one(2):
		p.networks++
		p.host("link add %s type veth peer name eth%d netns n%d", name, j, i)
		p.hostEnd(name)
		p.host("addr add %s/30 dev %s", p.pointToPoint(1), name)
		if p.address(i, j, p.pointToPoint(2)+"/30", fmt.Sprintf("fd01:%x::2/64", p.networks)) {
			p.gateway(i, j, p.pointToPoint(1))
		}
	default:
		p.networks++
		other := p.random.IntN(i)
		p.host("link add %s netns n%d type veth peer name eth%d netns n%d", name, other, j, i)
		p.inside(other, "link set %s up", name)
		p.inside(other, "addr add %s/30 dev %s", p.pointToPoint(1), name)
		p.address(i, j, p.pointToPoint(2)+"/30", fmt.Sprintf("fd01:%x::2/64", p.networks))
	}
}

// pointToPoint is an address of the newest network of two.
func (p *planner) pointToPoint(n int) string {
	return fmt.Sprintf("172.%d.%d.%d", 16+p.networks>>14, p.networks>>6&255, p.networks<<2&255+n)
}

// hostEnd gives the host's end of a cable what it may have.
func (p *planner) hostEnd(name string) {
	if !p.one(8) {
		p.host("link set %s up", name)
	}
	if p.one(6) {
		p.host("link set %s alias to-%s mtu %s", name, name, p.choose("1400", "9000"))
	}
	if p.one(8) {
		p.host("link property add dev %s altname other-name-of-%s", name, name)
	}
}

// address switches a namespace's end of a cable on and gives it addresses, mostly, and
// tells whether it did.
func (p *planner) address(i, j int, v4, v6 string) bool {
	if p.one(10) {
		return false
	}
	p.inside(i, "addr add %s dev eth%d", v4, j)
	p.inside(i, "addr add %s dev eth%d nodad", v6, j)
	p.inside(i, "link set eth%d up", j)
	if p.one(4) {
		p.inside(i, "link set eth%d address 02:00:00:%02x:%02x:%02x", j, i>>8, i&255, j)
	}
	return true
}

// gateway adds routes by way of the host.
func (p *planner) gateway(i, j int, address string) {
	if p.one(3) {
		p.inside(i, "neigh replace %s lladdr 02:00:00:00:01:%02x dev eth%d nud permanent", address, j, j)
	}
	if j > 0 || p.one(4) {
		return
	}
	p.inside(i, "route add default via %s dev eth%d onlink", address, j)
	if p.one(3) {
		p.inside(i, "route add 203.0.113.0/24 via %s dev eth%d onlink metric %d", address, j, 10+p.random.IntN(90))
	}
}

func (p *planner) hostRoutes() {
	p.host("link set lo up")
	p.host("route add %s 203.0.113.0/24", p.choose("blackhole", "unreachable", "prohibit"))
	if p.one(2) {
		p.host("route add 198.51.100.0/24 dev lo table 77")
		p.host("rule add to 198.51.100.0/24 lookup 77 priority 77")
	}
}

// String is the topology as a script of sh(1).
func (p *Topology) String() string {
	var b strings.Builder
	batch := func(options string, lines []string) {
		fmt.Fprintf(&b, "ip %s-batch - <<'END'\n%s\nEND\n", options, strings.Join(lines, "\n"))
	}
	batch("", p.Host)
	for _, name := range p.Namespaces {
		if lines := p.Inside[name]; len(lines) > 0 {
			batch("-n "+name+" ", lines)
		}
	}
	return b.String()
}

// Make makes the topology where the test is; see InHost.
func (p *Topology) Make(t testing.TB) {
	t.Helper()
	RequireCommand(t, "ip")
	script := exec.Command("sh", "-e")
	script.Stdin = strings.NewReader(p.String())
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("make a topology: %v: %s\n%s", err, out, p)
	}
}
