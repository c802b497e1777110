package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	"github.com/minictr/minictr/test/kernel"
)

// guests is a world with two networks and a namespace that somebody else made,
// with a link of its own that is called eth0.
type guests struct {
	*world
	netns string
}

func newGuests(t *testing.T) *guests {
	t.Helper()
	g := &guests{world: newWorld(t), netns: kernel.NewNetns(t).Path()}
	for _, name := range []string{"blue", "green"} {
		g.create(t, name)
	}
	g.inside(t, "ip link add eth0 type veth peer name other; ip addr add 192.168.77.1/24 dev eth0; ip link set eth0 up")
	return g
}

func (g *guests) create(t *testing.T, name string) {
	t.Helper()
	if _, err := g.Networks().Create(network.Creation{Name: name, Driver: network.BridgeDriver, IPv4: true}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.RemoveNetwork(name); err != nil {
			t.Error(err)
		}
	})
}

func (g *guests) inside(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net="+g.netns, "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// picture is everything of the namespace and of the networks that adopting could
// change. Left out are what a link is told of its carrier in the background, and the
// queue of lo: the kernel gives it one for good when it first comes up.
func (g *guests) picture(t *testing.T) string {
	t.Helper()
	text := g.inside(t, `ip -o link | sed 's/ qdisc [a-z]*//; s/ state [A-Z]*//; s/,LOWER_UP\|NO-CARRIER,\|,M-DOWN//g'; ip -o addr; ip route show table all; ip -6 route show table all
		find /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/neigh -type f ! -name stable_secret ! -name retrans_time -exec grep -H . {} +`)
	states, err := g.Networks().States()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		text += fmt.Sprintln(s.Name, s.Leases, s.Ports)
	}
	files, err := filepath.Glob(g.Runroot + "/adopted/*")
	if err != nil {
		t.Fatal(err)
	}
	return text + fmt.Sprintln(len(files), "files")
}

// differing is the lines that are not in both.
func differing(want, got string) string {
	var b strings.Builder
	for line := range strings.Lines(want) {
		if !strings.Contains(got, line) {
			b.WriteString("\n- " + line)
		}
	}
	for line := range strings.Lines(got) {
		if !strings.Contains(want, line) {
			b.WriteString("\n+ " + line)
		}
	}
	return b.String()
}

func (g *guests) adopt(t *testing.T, u network.Use) {
	t.Helper()
	if err := g.Adopt(g.netns, u, Watch{}); err != nil {
		t.Fatal(err)
	}
}

func (g *guests) release(t *testing.T, name string) {
	t.Helper()
	if err := g.Release(g.netns, name, Watch{}); err != nil {
		t.Fatal(err)
	}
}

// TestAdopt: adopted by two networks, released one after the other, it is as before.
func TestAdopt(t *testing.T) {
	g := newGuests(t)
	before := g.picture(t)
	g.adopt(t, network.Use{Network: "blue"})
	if got := g.inside(t, "ip -o -4 addr show eth1; ip route show default; ip -o link show lo"); !strings.Contains(got, "scope global eth1") || !strings.Contains(got, "dev eth1") || !strings.Contains(got, "LOOPBACK,UP") {
		t.Errorf("adopted: %s", got)
	}
	one := g.picture(t)
	g.adopt(t, network.Use{Network: "green", Priority: 1})
	if got := g.inside(t, "ip route show default"); !strings.Contains(got, "dev eth2") {
		t.Errorf("the default route is %s", got)
	}
	if err := g.RemoveNetwork("blue"); err == nil || !strings.Contains(err.Error(), "in use by the adopted network namespace "+g.netns) {
		t.Errorf("remove a network: %v", err)
	}
	if err := g.Adopt(g.netns, network.Use{Network: "blue"}, Watch{}); !errors.Is(err, network.ErrAdopted) {
		t.Errorf("adopt twice: %v", err)
	}
	g.release(t, "green")
	if after := g.picture(t); after != one {
		t.Errorf("off green: %s", differing(one, after))
	}
	g.release(t, "")
	if after := g.picture(t); after != before {
		t.Errorf("released: %s", differing(before, after))
	}
	var not *NotAdoptedError
	if err := g.Release(g.netns, "", Watch{}); !errors.As(err, &not) {
		t.Errorf("release twice: %v", err)
	}
}

// TestAdoptKeeps: what the namespace has of its own stays: lo that is up, a default
// route.
func TestAdoptKeeps(t *testing.T) {
	g := newGuests(t)
	g.inside(t, "ip link set lo up; ip addr add 10.99.0.1/32 dev lo; ip link set other up; ip route add default via 192.168.77.2 metric 100")
	before := g.picture(t)
	warnings := ""
	if err := g.Adopt(g.netns, network.Use{Network: "blue"}, Watch{Warn: func(text string) { warnings += text + "\n" }}); err != nil {
		t.Fatal(err)
	}
	if got := g.inside(t, "ip route show default"); strings.Count(got, "\n") != 1 || !strings.Contains(warnings, "default route of its own") {
		t.Errorf("routes %s, warnings %s", got, warnings)
	}
	g.release(t, "")
	if after := g.picture(t); after != before {
		t.Errorf("%s", differing(before, after))
	}
}

// TestAdoptIPv6: of each family for itself, and a link that takes no IPv6 but ours.
func TestAdoptIPv6(t *testing.T) {
	g := newGuests(t)
	if network.HasIPv6() != nil {
		t.Skip("the kernel has no IPv6")
	}
	if _, err := g.Networks().Create(network.Creation{Name: "six", Driver: network.BridgeDriver, IPv4: true, IPv6: true}, nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.RemoveNetwork("six"); err != nil {
			t.Error(err)
		}
	}()
	g.inside(t, "ip link set other up; ip addr add 2001:db8::2/64 dev other nodad; ip -6 route add default via 2001:db8::1")
	kernel.Eventually(t, 10*time.Second, func() error { // until the links have their own addresses
		if got := g.inside(t, "ip -o -6 addr show tentative"); got != "" {
			return errors.New(got)
		}
		return nil
	})
	before := g.picture(t)
	g.adopt(t, network.Use{Network: "six"})
	got := g.inside(t, "ip route show default; ip -6 route show default; ip -o -6 addr show eth1 scope global; cat /proc/sys/net/ipv6/conf/eth1/accept_ra")
	for _, want := range []string{"default via 172.", "default via 2001:db8::1", "fd", "\n0\n"} {
		if !strings.Contains(got, want) || strings.Contains(got, "default via fd") {
			t.Errorf("%q: %s", want, got)
		}
	}
	g.release(t, "")
	if after := g.picture(t); after != before {
		t.Error(differing(before, after))
	}
}

// TestAdoptLoAddress: lo that was down, but had an address, keeps it. (The kernel
// keeps the route to 127.0.0.0/8, too, when such a lo goes down.)
func TestAdoptLoAddress(t *testing.T) {
	g := newGuests(t)
	g.inside(t, "ip addr add 127.0.0.1/8 dev lo")
	g.adopt(t, network.Use{Network: "blue"})
	g.release(t, "blue")
	if got := g.inside(t, "ip -o addr show lo; ip -o link show lo"); got != "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n1: lo: <LOOPBACK> mtu 65536 qdisc noqueue state DOWN mode DEFAULT group default qlen 1000\\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n" {
		t.Errorf("lo: %q", got)
	}
}

// TestAdoptRefuses: each of these is refused with a sentence, and changes nothing.
func TestAdoptRefuses(t *testing.T) {
	g := newGuests(t)
	c := g.layered("sleep")
	c.Detach, c.Network.Uses = true, []network.Use{{Network: "blue"}}
	if _, err := g.Run(c, Standard{}, Watch{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Remove(c.ID, RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	}()
	before := g.picture(t)
	self := "/proc/thread-self/ns/net"
	for target, want := range map[string]string{
		"no-such-namespace": "there is no /run/netns/no-such-namespace",
		c.Name:              "it is that of container " + c.Name,
		fmt.Sprintf("pid:%d", g.container(t, c.ID).Pid()): "it is that of container " + c.Name,
		self:            "it is the host's own network namespace",
		"/dev/null":     "/dev/null is not a network namespace",
		"":              "not the name of a network namespace",
		"pid:x":         "not the name of a network namespace",
		"pid:999999999": "there is no process 999999999",
	} {
		if err := g.Adopt(target, network.Use{Network: "blue"}, Watch{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", target, err)
		}
	}
	subnet, err := g.Networks().Lookup("green")
	if err != nil {
		t.Fatal(err)
	}
	g.inside(t, "ip addr add "+subnet.Subnet().Addr().Next().Next().String()+"/32 dev eth0")
	for name, want := range map[string]string{
		"host": "its driver is host", "nowhere": "no such network", "green": "which is of the subnet " + subnet.Subnet().String() + " of network green",
	} {
		if err := g.Adopt(g.netns, network.Use{Network: name}, Watch{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("network %s: %v", name, err)
		}
	}
	g.inside(t, "ip addr del "+subnet.Subnet().Addr().Next().Next().String()+"/32 dev eth0")
	if after := g.picture(t); after != before {
		t.Errorf("%s", differing(before, after))
	}
}

// changes are the changes of which every step is failed, and killed.
func (g *guests) changes() map[string]func(*adopting) error {
	return map[string]func(*adopting) error{
		"adopt":       func(l *adopting) error { return l.adopt(g.netns, network.Use{Network: "green", Priority: 9}) },
		"release one": func(l *adopting) error { return l.release(g.netns, "blue") },
		"release":     func(l *adopting) error { return l.release(g.netns, "") },
	}
}

// until makes the change until step n, where it fails, or is killed.
func (g *guests) until(change func(*adopting) error, n int, kill bool) (steps int, err error) {
	l := &adopting{Runtime: g.Runtime}
	l.hooks.steps = func(list []step.Step) []step.Step {
		steps = len(list)
		switch {
		case n >= len(list):
		case kill:
			list[n] = dying{list[n]}
		default:
			return step.FailAt(list, n, errOnPurpose)
		}
		return list
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
			err = errOnPurpose
		}
	}()
	return steps, change(l)
}

// TestAdoptFails: whichever step fails, all is as it was.
func TestAdoptFails(t *testing.T) {
	g := newGuests(t)
	fresh := g.picture(t)
	try := func(name string, before string) {
		for n, steps := 0, 1; n < steps; n++ {
			var err error
			steps, err = g.until(g.changes()[name], n, false)
			if !errors.Is(err, errOnPurpose) {
				t.Errorf("%s, step %d: %v", name, n, err)
			}
			if after := g.picture(t); after != before {
				t.Fatalf("%s, step %d failed: %s", name, n, differing(before, after))
			}
		}
	}
	try("adopt", fresh)
	g.adopt(t, network.Use{Network: "blue"})
	try("adopt", g.picture(t))
	g.release(t, "")
	if after := g.picture(t); after != fresh {
		t.Errorf("%s", differing(fresh, after))
	}
}

// TestAdoptKilled: killed before whichever step, the next command finishes it: what
// was to come has not, what was to go is gone.
func TestAdoptKilled(t *testing.T) {
	g := newGuests(t)
	fresh := g.picture(t)
	for name, change := range g.changes() {
		for n, steps := 0, 1; n < steps; n++ {
			want := fresh
			if name != "adopt" {
				g.adopt(t, network.Use{Network: "blue"})
			}
			if name == "release one" {
				g.adopt(t, network.Use{Network: "green"})
			}
			var err error
			steps, err = g.until(change, n, true)
			if !errors.Is(err, errOnPurpose) {
				t.Errorf("%s, step %d: %v", name, n, err)
			}
			if err := g.Heal(); err != nil {
				t.Errorf("%s, step %d: %v", name, n, err)
			}
			if name == "release one" {
				if got := g.inside(t, "ip -o -4 addr; ip route"); strings.Contains(got, "eth1") || !strings.Contains(got, "eth2") || !strings.Contains(got, "default") {
					t.Errorf("%s, step %d: %s", name, n, got)
				}
				g.release(t, "green")
			}
			if after := g.picture(t); after != want {
				t.Fatalf("%s, killed before step %d: %s", name, n, differing(want, after))
			}
		}
	}
}

// TestAdoptKilledEarly: killed when the address was leased, before that was written.
func TestAdoptKilledEarly(t *testing.T) {
	g := newGuests(t)
	g.adopt(t, network.Use{Network: "blue"})
	before := g.picture(t)
	l := &adopting{Runtime: g.Runtime}
	a, err := l.find(g.netns)
	if err != nil {
		t.Fatal(err)
	}
	a.Taking = "green"
	if err := l.write(a); err != nil {
		t.Fatal(err)
	}
	if _, err := l.request(a, network.Use{Network: "green"}).ResolveGuest(network.Use{Network: "green"}, a.Network); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.adoptedFile(a.ID)+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !g.holds(a.ID) {
		t.Error("it does not hold its lease")
	}
	if err := g.Heal(); err != nil {
		t.Fatal(err)
	}
	if after := g.picture(t); after != before {
		t.Errorf("%s", differing(before, after))
	}
	g.release(t, "")
}

// TestAdoptedGone: with the namespace go the record and the lease.
func TestAdoptedGone(t *testing.T) {
	g := newGuests(t)
	sleeper := exec.Command("unshare", "-n", "sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	kernel.Eventually(t, 10*time.Second, func() error {
		return g.Adopt(fmt.Sprintf("pid:%d", sleeper.Process.Pid), network.Use{Network: "blue"}, Watch{})
	})
	list, err := g.Adoptions()
	if err != nil || len(list) != 1 {
		t.Fatalf("adopted %v, %v", list, err)
	}
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleeper.Wait() // killed: Wait says so
	kernel.Eventually(t, 10*time.Second, func() error {
		if g.holds(list[0].ID) {
			return errors.New("it still holds")
		}
		return nil
	})
	if err := g.Heal(); err != nil {
		t.Fatal(err)
	}
	if got := g.picture(t); !strings.Contains(got, "0 files") || !strings.Contains(got, "blue map[] []") {
		t.Errorf("left: %s", got)
	}
}
