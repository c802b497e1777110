package netapplet

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minictr/minictr/test/kernel"
)

// furnish is a network with one of everything that ip shows. It is made with
// addresses that are given, so that two of them look alike. Lines that begin with
// "!" may fail where the kernel lacks the kind of link.
const furnish = `link add v0 address 02:00:00:00:00:10 type veth peer name v1 address 02:00:00:00:00:11
link add v2 address 02:00:00:00:00:12 type veth peer name v3 address 02:00:00:00:00:13 mtu 1400
link add br0 address 02:00:00:00:00:14 type bridge
!link add d0 address 02:00:00:00:00:15 type dummy
!link add link v0 name v0.5 type vlan id 5
link add link v0 name mv0 address 02:00:00:00:00:16 type macvlan mode bridge
link set v2 master br0
link set v0 up
link set v1 up txqueuelen 77
link set br0 up
link set v3 alias hello
link set v3 promisc on
addr add 10.1.0.1/24 brd + dev v1
addr add 10.2.0.1 peer 10.2.0.2 dev v0
addr add 10.1.0.7/24 dev v1 label v1:x
addr add fd00::1/64 dev v1
addr add fd00:2::1/64 dev v1 nodad
addr add 10.5.0.1/24 dev br0 valid_lft forever preferred_lft forever
addr add 127.0.0.9/8 dev lo
route add default via 10.1.0.254
route add default via fd00::99 metric 30
route add 10.9.0.0/16 dev v1 metric 5 src 10.1.0.1 mtu 1400
route add blackhole 10.10.0.0/16
route add unreachable fd99::/64
route add prohibit 10.13.0.0/16 metric 9
route add 10.11.0.0/16 nexthop via 10.1.0.253 nexthop via 10.1.0.252 weight 2
route add 10.12.0.0/16 via inet6 fd00::3 dev v1
route add 10.14.0.0/16 via 10.1.0.3 table 77 proto static
route add 10.15.0.0/16 via 10.99.0.1 dev v1 onlink
route replace 10.9.0.0/16 dev v1 metric 5 src 10.1.0.7 mtu 1300
route append 10.16.0.0/16 via 10.1.0.3
neigh add 10.1.0.254 lladdr 02:00:00:00:00:01 dev v1
neigh add 10.1.0.251 lladdr 02:00:00:00:00:02 dev v1 nud stale
neigh add fd00::77 lladdr 02:00:00:00:00:03 dev v1 nud permanent
neigh replace 10.1.0.251 lladdr 02:00:00:00:00:04 dev v1 nud permanent
rule add from 10.1.0.0/24 table 77 prio 100
rule add fwmark 5 iif v1 to 1.2.3.4 table 78 prio 101
-6 rule add from fd00::/64 table 79 prio 102`

// shown are commands of which ours prints the same as the machine's, on both
// outputs, and ends with the same code.
var shown = strings.Split(`addr
-br addr
-br link
link
-o addr
-o link
-o route
-4 addr
-6 addr
-4 -br addr
-j addr
-j link
-j route
-j -6 route
-j neigh
-j rule
-j -br addr
-j -br link
-j route get 10.1.0.5
-s link
-s -s link
-s addr
-j -s link
-d link show v1
-d link show lo
-d link show mv0
route
-6 route
route show table all
-6 route show table all
neigh
-4 neigh
-6 neigh
-br neigh
rule
-6 rule
route get 10.1.0.5
route get 8.8.8.8
route get 127.0.0.1
route get fd00::5
route get 10.1.0.1
route get 10.10.1.1
route get 10.11.1.1 from 10.1.0.1
route get 10.12.1.1
a s v1
a s dev v1 up
a s scope link
addr show label v1:x
addr show type bridge
addr show to 10.1.0.0/24
addr show primary
addr show dynamic
addr show permanent
addr show secondary
-d addr show v1
-d -j link show v1
-j -4 addr
-j -6 addr
-d route
-d -6 route
-s neigh
link show v0
link show type veth
link show master br0
link show up
r s dev v1
r s 10.9.0.0/16
r s default
r s to match 10.1.1.1
r s cache
route get fibmatch 10.9.1.1
route get 1.1.1.1 mark 5
route get 1.1.1.1 mark 500
route get 10.1.0.5 oif v1
r s via 10.1.0.254
r s proto kernel
r s scope link
r s table local
r s table 77
r s type blackhole
r s root 10.8.0.0/13
r s match 10.9.1.1
r s src 10.1.0.1
r s 10.99.0.0/16
n s dev v1
n s 10.1.0.254
n s nud permanent
n s dev nosuch
link show nosuch
addr show dev nosuch
link add br0 type bridge
link add x0 type nosuchkind
link set nosuch up
link set v0 bla
link set v0 mtu 99999999
link set v0 master nosuch
link bla
route add default via 1.2.3.4
route add default via 10.1.0.254
route del 1.2.3.0/24
route add 10.0.0.0/8 dev nosuch
route get
addr add 10.1.0.1/24 dev v1
addr add 1.2.3.400 dev v1
addr add 1.2.3.4
addr del 9.9.9.9/32 dev v1
addr flush
neigh del 1.2.3.4 dev v1
bla`, "\n")

// furnished makes a host with all of furnish, by ours or by the machine's ip.
func furnished(t *testing.T, ip func(h *host, args ...string) result) *host {
	t.Helper()
	h := newHost(t)
	for line := range strings.Lines(furnish) {
		line, optional := strings.CutPrefix(strings.TrimSpace(line), "!")
		if r := ip(h, strings.Fields(line)...); r.code != 0 && !optional {
			t.Fatalf("ip %s: exit code %d: %s", line, r.code, r.err)
		}
	}
	return h
}

func ours(h *host, args ...string) result   { return h.run("ip", args...) }
func theirs(h *host, args ...string) result { return h.real("ip", args...) }

func TestIPShowsWhatIPShows(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	kernel.Snapshot(t)
	h := furnished(t, theirs)
	other := newHost(t)
	h.real("ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1", "netns", other.Path())
	for _, command := range shown {
		t.Run(command, func(t *testing.T) {
			args := strings.Fields(command)
			kernel.Eventually(t, 5*time.Second, func() error { // counters move meanwhile
				want, got := theirs(h, args...), ours(h, args...)
				if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
					return fmt.Errorf("-ip +ours:\n%s", diff)
				}
				return nil
			})
		})
	}
}

func lines(r result) []string {
	return append(strings.SplitAfter(r.out+r.err, "\n"), fmt.Sprintf("exit code %d", r.code))
}

// -p is laid out in another way, but says the same.
func TestIPPrettyJSON(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	kernel.Snapshot(t)
	h := furnished(t, theirs)
	for _, command := range []string{"-j -p addr", "-j -p route show table all"} {
		args := strings.Fields(command)
		kernel.Eventually(t, 5*time.Second, func() error {
			var want, got any
			if err := json.Unmarshal([]byte(theirs(h, args...).out), &want); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(ours(h, args...).out), &got); err != nil {
				return err
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("ip %s: -ip +ours:\n%s", command, diff)
			}
			return nil
		})
	}
}

// What ours makes looks like what the machine's ip makes, to the machine's ip.
func TestIPMakesWhatIPMakes(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	kernel.Snapshot(t)
	a, b := furnished(t, theirs), furnished(t, ours)
	compareHosts(t, a, b)
	for line := range strings.Lines(undo) {
		args := strings.Fields(line)
		want, got := theirs(a, args...), ours(b, args...)
		if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
			t.Errorf("ip %s: -ip +ours:\n%s", strings.TrimSpace(line), diff)
		}
		compareHosts(t, a, b)
	}
}

// undo takes away what furnish made, in every way that ip knows.
const undo = `addr change 10.1.0.1/24 dev v1 preferred_lft 1000 valid_lft 100000
addr replace 10.5.0.1/24 dev br0 metric 7
route change 10.16.0.0/16 via 10.1.0.4
route del 10.9.0.0/16 metric 5
route del blackhole 10.10.0.0/16
route del 10.14.0.0/16 table 77
-6 route del default
route flush 10.11.0.0/16
route flush table 77
neigh change 10.1.0.254 lladdr 02:00:00:00:00:09 dev v1
neigh del 10.1.0.251 dev v1
neigh flush dev v1 nud permanent
rule del prio 101
-6 rule del prio 102
link set v2 nomaster
link set br0 down
link set v3 name renamed mtu 1300
link set renamed promisc off
link set br0 type bridge stp_state 1
addr flush dev v1
addr del 10.2.0.1 peer 10.2.0.2 dev v0
link del mv0
link del v0
link del br0`

// clocks are the numbers that change while one looks.
var clocks = regexp.MustCompile(`_timer +[0-9.]+|[0-9]+sec`)

func compareHosts(t *testing.T, a, b *host) {
	t.Helper()
	for _, command := range []string{"-d link", "addr", "-4 route show table all", "-6 route show table all", "neigh", "rule", "-6 rule"} {
		kernel.Eventually(t, 5*time.Second, func() error {
			want, got := lines(theirs(a, strings.Fields(command)...)), lines(theirs(b, strings.Fields(command)...))
			for i := range want {
				want[i] = clocks.ReplaceAllString(want[i], "…")
			}
			for i := range got {
				got[i] = clocks.ReplaceAllString(got[i], "…")
			}
			slices.Sort(want) // the order of routes and neighbours is a hash's, or that of their making
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("ip %s: -made by ip +made by ours:\n%s", command, diff)
			}
			return nil
		})
	}
}

func TestIPMonitorTellsWhatChanges(t *testing.T) {
	a, _ := newPair(t)
	m := a.start("", "ip", "monitor")
	kernel.Eventually(t, patience, func() error { // until it listens
		a.ok("ip", "addr", "replace", "10.7.0.1/24", "dev", "eth0")
		a.ok("ip", "addr", "del", "10.7.0.1/24", "dev", "eth0")
		if !strings.Contains(m.out.String(), "Deleted 2: eth0    inet 10.7.0.1/24 scope global eth0") &&
			!strings.Contains(m.out.String(), "eth0    inet 10.7.0.1/24 scope global eth0") {
			return fmt.Errorf("it says: %s", m.out)
		}
		return nil
	})
	a.ok("ip", "link", "set", "eth0", "mtu", "1400")
	m.until("mtu 1400")
	a.ok("ip", "route", "add", "10.8.0.0/16", "via", "10.0.1.2")
	m.until("10.8.0.0/16 via 10.0.1.2 dev eth0")
}
