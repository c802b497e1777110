package firewall

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// All families are read, and in the order in which a packet meets the chains; what
// a bridge drops is no drop of IP's.
func TestReadEvery(t *testing.T) {
	load(t, `
table bridge b { chain c { type filter hook forward priority 0; policy drop; tcp dport 80 drop comment "at the bridge"; }; }
table netdev n { chain in { type filter hook ingress device "lo" priority 5; tcp dport 80 drop; }; chain out { type filter hook egress device "lo" priority 5; }; }
table inet i { chain in { type filter hook ingress device "lo" priority 3; }; chain f { type filter hook forward priority 0; tcp dport 80 accept; }; }
table ip old { chain c { type filter hook forward priority 7; }; }
table ip young { chain c { type filter hook forward priority 7; policy drop; }; }
`)
	r, err := ReadEvery()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range r.Bases() {
		got = append(got, fmt.Sprintf("%s %s %s: %s %d %v drops=%v", b.Family, b.Table, b.Name, b.Hook, b.Priority, b.Devices, b.Drops))
	}
	want := `netdev n out: egress 5 [lo] drops=false
bridge b c: forward 0 [] drops=true
inet i f: forward 0 [] drops=false
ip young c: forward 7 [] drops=true
ip old c: forward 7 [] drops=false
inet i in: ingress 3 [lo] drops=false
netdev n in: ingress 5 [lo] drops=false`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	p := Packet{Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"), Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: 80}
	for _, c := range []struct {
		at   Place
		want string
	}{
		{Place{Hook: "forward", Bridge: true}, `bridge b c drop meta l4proto tcp tcp dport 80 drop comment "at the bridge"`},
		{Place{Hook: "forward"}, "inet i f accept meta l4proto tcp tcp dport 80 accept; ip young c drop"},
		{Place{Hook: "ingress", Device: "lo"}, "inet i in accept; netdev n in drop meta l4proto tcp tcp dport 80 drop"},
		{Place{Hook: "ingress", Device: "eth0"}, ""},
		{Place{Hook: "egress", Device: "lo"}, "netdev n out accept"},
	} {
		var verdicts []string
		for _, v := range r.Chains(c.at, p) {
			verdicts = append(verdicts, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", v.Family, v.Table, v.Base, v.Kind, v.Rule)))
		}
		if got := strings.Join(verdicts, "; "); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.at, got, c.want)
		}
	}
	if v := r.Walk(Forward, p); v.Table != "young" {
		t.Errorf("IP's verdict is %s", v)
	}
}

// What rules of nat make of a packet, also by maps and by iptables.
func TestTranslate(t *testing.T) {
	load(t, `
table ip n {
	map ports { type inet_service : ipv4_addr . inet_service; elements = { 8080 : 172.17.0.2 . 80, 8081 : 172.17.0.3 . 81 }; }
	chain far { tcp dport 9000 dnat to 10.0.0.9; }
	chain pre { type nat hook prerouting priority -100; tcp dport 7000 redirect to :70; jump far; dnat to tcp dport map @ports; meta length > 100 tcp dport 6000 dnat to 10.0.0.6; }
	chain post { type nat hook postrouting priority 100; oifname "eth0" masquerade; oifname "eth1" meta l4proto tcp snat to 192.0.2.7:1024-2047; }
}
`)
	kernel.RequireCommand(t, "iptables-nft")
	if out, err := exec.Command("iptables-nft", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "5000", "-j", "DNAT", "--to-destination", "10.5.0.5:50").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hook Hook
		port uint16
		out  string
		want string
	}{
		{Prerouting, 8080, "", "dnat 172.17.0.2 80 true"},
		{Prerouting, 8081, "", "dnat 172.17.0.3 81 true"},
		{Prerouting, 8082, "", "none"},
		{Prerouting, 9000, "", "dnat 10.0.0.9 0 true"},
		{Prerouting, 7000, "", "redirect invalid IP 70 true"},
		{Prerouting, 6000, "", "dnat 10.0.0.6 0 false"},
		{Prerouting, 5000, "", "dnat 10.5.0.5 50 true"},
		{Postrouting, 80, "eth0", "masquerade invalid IP 0 true"},
		{Postrouting, 80, "eth1", "snat 192.0.2.7 1024 true"},
		{Postrouting, 80, "eth2", "none"},
	} {
		p := Packet{
			Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"), Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: c.port,
			In: Link{Name: "br0"}, Out: Link{Name: c.out},
		}
		got := "none"
		if x, ok := r.Translate(c.hook, p); ok {
			got = fmt.Sprintf("%s %s %d %v", x.Kind, x.Address, x.Port, x.Certain)
		}
		if got != c.want {
			t.Errorf("%s of port %d out of %q: got %s, want %s", c.hook, c.port, c.out, got, c.want)
		}
	}
}

// load puts the rules into a network namespace of the test's own.
func load(t *testing.T, rules string) {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nft", "ip")
	kernel.InNetns(t)
	for _, c := range []*exec.Cmd{exec.Command("ip", "link", "set", "lo", "up"), exec.Command("nft", "-f", "-")} {
		c.Stdin = strings.NewReader(rules)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c, err, out)
		}
	}
}
