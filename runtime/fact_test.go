package runtime

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/test/kernel"
)

// drifts are what somebody does to a container's network by hand: $N runs a command in
// its namespace, $V is the host's end of its cable, $A its address, $P its process.
var drifts = []struct {
	name, by, back string
	want           []string // "field: drift", all of them
}{
	{"an address more", "$N ip addr add 10.9.9.9/24 dev eth0", "$N ip addr del 10.9.9.9/24 dev eth0", []string{"eth0 address 10.9.9.9/24: nobody asked for it"}},
	{
		"no address", "$N ip addr del $A/16 dev eth0", "$N ip addr add $A/16 brd + dev eth0; $N ip route add default via 172.17.0.1",
		[]string{"eth0 address: it is missing", "route: it is missing"}, // the route went with it
	},
	{"no default route", "$N ip route del default", "$N ip route add default via 172.17.0.1", []string{"route: it is missing"}},
	{
		"another gateway", "$N ip route replace default via 172.17.0.99", "$N ip route replace default via 172.17.0.1",
		[]string{"route: it is missing", "route default via 172.17.0.99 dev eth0: nobody asked for it"},
	},
	{"a route more", "$N ip route add 10.0.0.0/8 via 172.17.0.1", "$N ip route del 10.0.0.0/8", []string{"route 10.0.0.0/8 via 172.17.0.1 dev eth0: nobody asked for it"}},
	{
		"renamed", "$N ip link set eth0 down; $N ip link set eth0 name lan0; $N ip link set lan0 up; $N ip route add default via 172.17.0.1",
		"$N ip link set lan0 down; $N ip link set lan0 name eth0; $N ip link set eth0 up; $N ip route add default via 172.17.0.1",
		[]string{"eth0 lan0: it differs"},
	},
	{
		"down", "$N ip link set eth0 down", "$N ip link set eth0 up; $N ip route add default via 172.17.0.1",
		[]string{"eth0 state down: it differs", "$V port disabled: it differs", "route: it is missing"},
	},
	{"MTU inside", "$N ip link set eth0 mtu 1400", "$N ip link set eth0 mtu 1500", []string{"eth0 MTU 1400: it differs"}},
	{"MTU on the host", "ip link set $V mtu 1400", "ip link set $V mtu 1500", []string{"$V MTU 1400: it differs"}},
	{"another MAC", "$N ip link set eth0 address 02:00:00:00:00:77", "$N ip link set eth0 address $M", []string{"eth0 MAC 02:00:00:00:00:77: it differs"}},
	{"lo down", "$N ip link set lo down", "$N ip link set lo up", []string{"lo state down: it differs"}},
	{"a link more", "$N ip link add x0 up type veth peer name x1", "$N ip link del x0", []string{"link x0: nobody asked for it"}},
	{"unplugged", "ip link set $V nomaster", "ip link set $V master minictr0; ip link set $V type bridge_slave hairpin on", []string{"$V bridge: it is missing", "$V hairpin: check hairpin of $V: it is off"}},
	{"bridge down", "ip link set minictr0 down", "ip link set minictr0 up", []string{"$V port disabled: it differs", "minictr0 state down: it differs"}},
	{"bridge without its address", "ip addr del 172.17.0.1/16 dev minictr0", "ip addr add 172.17.0.1/16 brd + dev minictr0", []string{"minictr0 address: it is missing"}},
	{"forwarding off", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1", []string{"sysctl ip_forward 0: it differs"}},
	{"rules flushed", "nft list table ip minictr > $D/t; nft flush chain ip minictr forward", "nft delete table ip minictr; nft -f $D/t", []string{"rules of network bridge N rules and elements: check firewall of network bridge: …"}},
	{"ports flushed", "nft flush map ip minictr everywhere", "nft delete table ip minictr; nft -f $D/t", []string{"port 8080:80/tcp: check port 0.0.0.0:8080/tcp: …"}},
	{"resolv.conf", "cp /proc/$P/root/etc/resolv.conf $D/r; echo nameserver 9.9.9.9 > /proc/$P/root/etc/resolv.conf", "cat $D/r > /proc/$P/root/etc/resolv.conf", []string{"/etc/resolv.conf nameserver 9.9.9.9: its content is not what minictr wrote"}},
}

// Each drift is told, and nothing else; before and after it there is none.
func TestDrifts(t *testing.T) {
	kernel.RequireCommand(t, "ip", "nft", "nsenter", "sysctl")
	w := newWorld(t)
	c := w.layered("sleep")
	c.Detach = true
	c.Network.Ports = []network.Port{{HostPort: 8080, ContainerPort: 80, Count: 1, Protocol: "tcp"}}
	if _, err := w.Run(c, Standard{}, Watch{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Remove(c.ID, RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	running := w.container(t, c.ID)
	i := running.State.Network.Endpoints[0].Interface
	shell := strings.NewReplacer("$N", fmt.Sprintf("nsenter --net=/proc/%d/ns/net", running.Pid()), "$V", i.Host, "$A", i.Address.Addr().String(), "$M", i.MAC, "$P", fmt.Sprint(running.Pid()), "$D", t.TempDir())
	do := func(script string) {
		t.Helper()
		if out, err := exec.Command("sh", "-ec", shell.Replace(script)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	w.wantDrift(t, running, "at first")
	for _, d := range drifts {
		do(d.by)
		var want []string
		for _, line := range d.want {
			want = append(want, shell.Replace(line))
		}
		w.wantDrift(t, running, d.name, want...)
		do(d.back)
		w.wantDrift(t, running, "after "+d.name)
		if t.Failed() {
			return
		}
	}
}

// wantDrift compares what is not as asked. The kernel takes a moment for a port's state.
func (w *world) wantDrift(t *testing.T, c *Container, when string, want ...string) {
	t.Helper()
	kernel.Eventually(t, settleTime, func() error {
		facts, err := w.NetworkFacts(c)
		if err != nil {
			return err
		}
		var got []string
		for _, f := range facts {
			if f.Field == "" || f.Source == "" {
				t.Errorf("%s: a fact without a field or a source: %+v", when, f)
			}
			if f.Drift != "" {
				line := strings.TrimSuffix(f.Field+" "+f.Value, " ") + ": " + f.Drift
				got = append(got, line)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !alike(got, want) {
			return fmt.Errorf("%s:\ngot  %q\nwant %q", when, got, want)
		}
		return nil
	})
}

// alike compares lines; … stands for the rest of one, and N for a number.
func alike(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i, line := range want {
		beginning, open := strings.CutSuffix(line, "…")
		have := got[i]
		if before, after, found := strings.Cut(beginning, " N "); found {
			if !strings.HasPrefix(have, before+" ") {
				return false
			}
			_, rest, _ := strings.Cut(strings.TrimPrefix(have, before+" "), " ")
			have, beginning = rest, after
		}
		if have != beginning && (!open || !strings.HasPrefix(have, beginning)) {
			return false
		}
	}
	return true
}

// Of a container that does not run there are no facts, and those of one without a
// network of its own are few.
func TestFactsOfOthers(t *testing.T) {
	w := newWorld(t)
	for mode, want := range map[string]int{"none": 5, "host": 3} {
		c := w.config("sleep")
		c.Detach, c.Network = true, Network{Mode: mode}
		if _, err := w.Run(c, Standard{}, Watch{}); err != nil {
			t.Fatal(err)
		}
		running := w.container(t, c.ID)
		if facts, err := w.NetworkFacts(running); err != nil || len(facts) < want {
			t.Errorf("%s: %v, %+v", mode, err, facts)
		}
		if err := w.Remove(c.ID, RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		var none *NotRunningError
		if _, err := w.NetworkFacts(running); !errors.As(err, &none) && err == nil {
			t.Errorf("%s: an ended container has facts: %v", mode, err)
		}
	}
}
