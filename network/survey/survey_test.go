package survey

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// topology has one of each kind of thing that is read, in the namespace of the test
// and in another one, NS.
const topology = `
link add br0 type bridge
link add veth1 type veth peer name eth0 netns NS
link set veth1 master br0 up alias "to the other"
link set br0 up mtu 1400
link add d0 type veth peer name d1 netns NS
link property add dev d0 altname dummy-zero
link set d0 up
addr add 10.1.0.1/24 brd + dev br0
addr add 10.2.0.1 peer 10.2.0.2/32 dev d0
addr add fd00::1/64 dev d0 nodad
route add 10.9.0.0/16 via 10.1.0.9 metric 7 mtu 1300
route add blackhole 10.8.0.0/16
route add default nexthop via 10.1.0.7 dev br0 weight 3 nexthop dev d0
route add fd01::/64 via fd00::2
route add 10.7.0.0/16 dev d0 table 77 proto static
rule add from 10.1.0.0/24 to 10.9.0.0/16 iif br0 fwmark 0x5/0xf lookup 77 priority 99
rule add not ipproto tcp unreachable priority 98
neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev br0 nud permanent
neigh add proxy 10.1.0.8 dev br0
`

// TestSurvey compares with ip(8) and bridge(8), field by field.
func TestSurvey(t *testing.T) {
	kernel.RequireRoot(t)
	other := kernel.NewNetns(t)
	kernel.InNetns(t)
	batch := exec.Command("ip", "-batch", "-")
	batch.Stdin = strings.NewReader(strings.ReplaceAll(strings.ReplaceAll(topology, "NS", other.Path()), "\n\n", "\n"))
	if out, err := batch.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	vlans, macvlan := addVLANs(t), addMacvlan()
	command(t, "bridge", "fdb", "add", "02:00:00:00:00:77", "dev", "veth1", "master", "static")
	h, err := Read([]Source{{Path: other.Path()}, {Path: "/proc/0/ns/net"}, {Path: other.Path()}, {Path: other.Path(), Inode: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Namespaces) != 2 {
		t.Fatalf("%d namespaces, want 2: one that is not there, one that is twice, and one that is another are left out", len(h.Namespaces))
	}
	n := h.Namespaces[0]
	for name, view := range views {
		want, have := view(t, n) // no subtest: it would be on another thread
		slices.Sort(want)
		slices.Sort(have)
		if !slices.Equal(want, have) || len(want) == 0 {
			t.Errorf("%s: want\n%s\nhave\n%s", name, strings.Join(want, "\n"), strings.Join(have, "\n"))
		}
	}
	veth := n.LinkNamed("veth1")
	home, peer := h.Peer(n, veth)
	if home != h.Namespaces[1] || peer == nil || peer.Name != "eth0" {
		t.Errorf("the other end of veth1 is %v", peer)
	}
	if back, l := h.Peer(home, peer); back != n || l != veth {
		t.Errorf("the other end of eth0 is %v", l)
	}
	if _, l := h.Peer(n, n.LinkNamed("mv0")); macvlan && (l != n.LinkNamed("d0") || n.LinkNamed("mv0").Mode != "private") {
		t.Errorf("below mv0 is %v", l)
	}
	if l := n.LinkNamed("d0"); veth.Alias != "to the other" || !slices.Equal(l.AltNames, []string{"dummy-zero"}) {
		t.Errorf("details: %+v", n.Links)
	}
	if got := veth.Port.VLANs; vlans && (!slices.Equal(got, []PortVLAN{{1, true, true}, {9, false, true}}) || n.LinkNamed("d0.7").VLAN != 7) {
		t.Errorf("VLANs of veth1: %v", got)
	}
}

// addVLANs adds what needs a kernel with VLANs, where it is one.
func addVLANs(t *testing.T) bool {
	t.Helper()
	if exec.Command("ip", "link", "add", "link", "d0", "name", "d0.7", "type", "vlan", "id", "7").Run() != nil {
		t.Log("this kernel has no VLANs; they are not compared")
		return false
	}
	command(t, "ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
	command(t, "bridge", "vlan", "add", "dev", "veth1", "vid", "9", "untagged")
	return true
}

// addMacvlan adds one, where the kernel can.
func addMacvlan() bool {
	return exec.Command("ip", "link", "add", "link", "d0", "name", "mv0", "type", "macvlan", "mode", "private").Run() == nil
}

// views make lines of what ip says and of what was surveyed.
var views = map[string]func(t *testing.T, n *Netns) (want, have []string){
	"links": func(t *testing.T, n *Netns) (want, have []string) {
		for _, l := range ask(t, "ip", "-j", "-d", "link") {
			info, _ := l["linkinfo"].(map[string]any)
			kind, _ := info["info_kind"].(string)
			want = append(want, fmt.Sprint(l["ifindex"], l["ifname"], kind, l["address"], l["mtu"], l["operstate"], l["qdisc"]))
		}
		for _, l := range n.Links {
			have = append(have, fmt.Sprint(float64(l.Index), l.Name, l.Kind, l.MAC, float64(l.MTU), strings.ToUpper(l.State), l.Qdisc))
		}
		return want, have
	},
	"addresses": func(t *testing.T, n *Netns) (want, have []string) {
		for _, l := range ask(t, "ip", "-j", "addr") {
			for _, x := range l["addr_info"].([]any) {
				a := x.(map[string]any)
				want = append(want, fmt.Sprintf("%v %v/%v %v", l["ifname"], a["local"], a["prefixlen"], a["scope"]))
			}
		}
		for _, l := range n.Links {
			for _, a := range l.Addresses {
				have = append(have, fmt.Sprintf("%v %v %v", l.Name, a.Prefix, a.Scope))
			}
		}
		return want, have
	},
	"routes": func(t *testing.T, n *Netns) (want, have []string) {
		all := append(ask(t, "ip", "-j", "-N", "-4", "route", "show", "table", "all"), ask(t, "ip", "-j", "-N", "-6", "route", "show", "table", "all")...)
		for _, r := range all {
			to := strings.TrimSuffix(strings.TrimSuffix(fmt.Sprint(r["dst"]), "/32"), "/128")
			want = append(want, fmt.Sprint(to, or(r["gateway"], "-"), or(r["dev"], "-"), or(r["table"], "254"), or(r["metric"], 0.0)))
		}
		for _, r := range n.Routes {
			link, gateway := "-", "-"
			if l := n.Link(r.Link); l != nil {
				link = l.Name
			}
			if r.Gateway.IsValid() {
				gateway = r.Gateway.String()
			}
			to := strings.TrimSuffix(strings.TrimSuffix(r.To.String(), "/32"), "/128")
			if r.Default() {
				to = "default"
			}
			have = append(have, fmt.Sprint(to, gateway, link, fmt.Sprint(r.Table), float64(r.Metric)))
		}
		return want, have
	},
	"rules": func(t *testing.T, n *Netns) (want, have []string) {
		for _, r := range append(ask(t, "ip", "-j", "-N", "-4", "rule"), ask(t, "ip", "-j", "-N", "-6", "rule")...) {
			want = append(want, fmt.Sprint(r["priority"], or(r["table"], "-"), or(r["iif"], "-")))
		}
		for _, r := range n.Rules {
			table := fmt.Sprint(r.Table)
			if r.Action != "lookup" {
				table = "-"
			}
			have = append(have, fmt.Sprint(float64(r.Priority), table, or(r.In, "-")))
		}
		return want, have
	},
	"neighbours": func(t *testing.T, n *Netns) (want, have []string) {
		for _, v := range ask(t, "ip", "-j", "neigh") {
			want = append(want, fmt.Sprint(v["dst"], v["dev"], v["lladdr"], strings.ToLower(fmt.Sprint(v["state"]))))
		}
		for _, v := range n.Neighbours {
			have = append(have, fmt.Sprint(v.Address, n.Link(v.Link).Name, v.MAC, "["+v.State+"]"))
		}
		return want, have
	},
	"fdb": func(t *testing.T, n *Netns) (want, have []string) {
		for _, v := range ask(t, "bridge", "-j", "fdb") {
			want = append(want, fmt.Sprint(v["mac"], v["ifname"], or(v["vlan"], 0.0), or(v["master"], "-"), v["state"] == "permanent"))
		}
		for _, v := range n.FDB {
			master := "-"
			if l := n.Link(v.Master); l != nil {
				master = l.Name
			}
			have = append(have, fmt.Sprint(v.MAC, n.Link(v.Link).Name, float64(v.VLAN), master, v.State == "permanent"))
		}
		return want, have
	},
}

// TestPortFlags: what bridge link set says of a port is read.
func TestPortFlags(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.InNetns(t)
	for _, line := range []string{"add br0 type bridge", "add veth1 type veth peer name veth2", "set veth1 master br0"} {
		command(t, "ip", append([]string{"link"}, strings.Fields(line)...)...)
	}
	flags := map[string]func(*BridgePort) bool{
		"locked": func(p *BridgePort) bool { return p.Locked }, "bcast_flood": func(p *BridgePort) bool { return p.Broadcast },
		"mcast_flood": func(p *BridgePort) bool { return p.Multicast }, "flood": func(p *BridgePort) bool { return p.Flood }, "isolated": func(p *BridgePort) bool { return p.Isolated },
	}
	for name, flag := range flags {
		for _, value := range []string{"off", "on"} {
			command(t, "bridge", "link", "set", "dev", "veth1", name, value)
			n, err := ReadOne(Here())
			if err != nil {
				t.Fatal(err)
			}
			if got := flag(n.LinkNamed("veth1").Port); got != (value == "on") {
				t.Errorf("%s %s: %v", name, value, got)
			}
		}
	}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return out
}

func ask(t *testing.T, name string, args ...string) (list []map[string]any) {
	t.Helper()
	if err := json.Unmarshal(command(t, name, args...), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// A rule is the usual one only if nothing else is in it.
func TestUsualRules(t *testing.T) {
	main := Rule{Family: 2, Priority: 32766, Action: "lookup", Table: 254}
	if !main.isUsual() {
		t.Error("main is no usual rule")
	}
	main.From = netip.MustParsePrefix("10.0.0.0/8")
	if main.isUsual() {
		t.Error("main for one subnet is a usual rule")
	}
}
