package trace

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// A planted is one drop, put somewhere on the way, and what the trace must say.
type planted struct {
	name     string
	in       func(*lab) *kernel.Netns // where the rules are; nil: the host
	rules    string                   // of nft, or a shell script that begins with iptables-nft
	from     func(*lab) *kernel.Netns
	to       string
	port     uint16
	protocol string

	chain  string // "ip filter forward": family, table and base chain
	policy bool   // it is the policy; else the rule with the comment "planted"
	back   bool   // it is the answer that is dropped
}

func web(l *lab) *kernel.Netns     { return l.web }
func box(l *lab) *kernel.Netns     { return l.box }
func outside(l *lab) *kernel.Netns { return l.outside }
func host(*lab) *kernel.Netns      { return nil }

// base is a table with one base chain.
func base(family, table, hook, priority, rules string) string {
	return fmt.Sprintf("table %s %s {\n chain c { type filter hook %s priority %s; policy accept;\n %s\n }\n}", family, table, hook, priority, rules)
}

const drop9 = `tcp dport 80 counter drop comment "planted"`

func plantedDrops() []planted {
	const there, gate = "203.0.113.1", "172.17.0.1"
	return []planted{
		{"raw", host, base("ip", "raw", "prerouting", "raw", drop9), box, there, 80, tcp, "ip raw c", false, false},
		{"mangle prerouting", host, base("ip", "mangle", "prerouting", "mangle", drop9), box, there, 80, tcp, "ip mangle c", false, false},
		{"mangle forward", host, base("ip", "mangle", "forward", "mangle", drop9), box, there, 80, tcp, "ip mangle c", false, false},
		{"filter inet", host, base("inet", "guard", "forward", "0", drop9), box, there, 80, tcp, "inet guard c", false, false},
		{"policy", host, "table inet guard { chain c { type filter hook forward priority 0; policy drop; ct state established accept; }; }", box, there, 80, tcp, "inet guard c", true, false},
		{"nat prerouting", host, `table ip n { chain c { type nat hook prerouting priority -90; tcp dport 80 drop comment "planted"; }; }`, box, there, 80, tcp, "ip n c", false, false},
		{"nat postrouting", host, `table ip n { chain c { type nat hook postrouting priority 90; tcp dport 80 drop comment "planted"; }; }`, box, there, 80, tcp, "ip n c", false, false},
		{"postrouting", host, base("ip", "guard", "postrouting", "0", drop9), box, there, 80, tcp, "ip guard c", false, false},
		{"behind a priority", host, base("ip", "a", "forward", "-5", "accept") + "\n" + base("ip", "z", "forward", "5", drop9), box, there, 80, tcp, "ip z c", false, false},
		{"bridge prerouting", host, base("bridge", "b", "prerouting", "-300", drop9), box, there, 80, tcp, "bridge b c", false, false},
		{"bridge input", host, base("bridge", "b", "input", "0", drop9), box, there, 80, tcp, "bridge b c", false, false},
		{"bridge forward", host, base("bridge", "b", "forward", "0", drop9), box, "172.17.0.2", 80, tcp, "bridge b c", false, false},
		{"bridge postrouting", host, base("bridge", "b", "postrouting", "0", drop9), box, "172.17.0.2", 80, tcp, "bridge b c", false, false},
		{"bridge output", host, base("bridge", "b", "output", "0", drop9), host, "172.17.0.2", 80, tcp, "bridge b c", false, false},
		{"bridge policy", host, "table bridge b { chain c { type filter hook forward priority 0; policy drop; ether type arp accept; }; }", box, "172.17.0.2", 80, tcp, "bridge b c", true, false},
		{"ingress of the port", host, base("netdev", "n", `ingress device "port2"`, "0", drop9), box, there, 80, tcp, "netdev n c", false, false},
		{"egress of the wire", host, base("netdev", "n", `egress device "eth0"`, "0", drop9), box, there, 80, tcp, "netdev n c", false, false},
		{"ingress inet", host, base("inet", "n", `ingress device "port2"`, "0", drop9), box, there, 80, tcp, "inet n c", false, false},
		{"ingress of the container", box, base("netdev", "n", `ingress device "eth0"`, "0", `tcp sport 80 drop comment "planted"`), box, there, 80, tcp, "netdev n c", false, true},
		{"a set", host, "table ip s { set bad { type ipv4_addr . inet_service; elements = { 203.0.113.1 . 80 }; }\n chain c { type filter hook forward priority 0; ip daddr . tcp dport @bad drop comment \"planted\"; }; }", box, there, 80, tcp, "ip s c", false, false},
		{"a map of verdicts", host, "table ip s { chain c { type filter hook forward priority 0; tcp dport vmap { 22 : accept, 80 : drop } comment \"planted\"; }; }", box, there, 80, tcp, "ip s c", false, false},
		{"a chain that is jumped to", host, "table ip s { chain far { tcp dport 80 drop comment \"planted\"; }\n chain c { type filter hook forward priority 0; oifname eth0 jump far; }; }", box, there, 80, tcp, "ip s c", false, false},
		{"a chain of a map", host, "table ip s { chain far { drop comment \"planted\"; }\n chain c { type filter hook forward priority 0; iifname vmap { minictr0 : goto far }; }; }", box, there, 80, tcp, "ip s c", false, false},
		{"a quota", host, base("ip", "l", "forward", "0", `quota over 1 bytes drop comment "planted"`), box, there, 80, tcp, "ip l c", false, false},
		{"a mark", host, base("ip", "m", "prerouting", "-150", "tcp dport 80 meta mark set 7") + "\n" + base("ip", "m2", "forward", "0", `meta mark 7 drop comment "planted"`), box, there, 80, tcp, "ip m2 c", false, false},
		{"the container's output", box, base("ip", "own", "output", "0", drop9), box, there, 80, tcp, "ip own c", false, false},
		{"the container's input", box, base("ip", "own", "input", "0", `tcp sport 80 drop comment "planted"`), box, there, 80, tcp, "ip own c", false, true},
		{"the other container's input", web, base("inet", "own", "input", "0", drop9), box, "172.17.0.2", 80, tcp, "inet own c", false, false},
		{"the other container's output", web, base("inet", "own", "output", "0", `tcp sport 80 drop comment "planted"`), box, "172.17.0.2", 80, tcp, "inet own c", false, true},
		{"outside", outside, base("inet", "own", "input", "0", drop9), box, there, 80, tcp, "inet own c", false, false},
		{"on the way back", host, base("ip", "guard", "forward", "0", `ct direction reply drop comment "planted"`), box, there, 80, tcp, "ip guard c", false, true},
		{"raw on the way back", host, base("ip", "guard", "prerouting", "-300", `iifname eth0 tcp sport 80 drop comment "planted"`), box, there, 80, tcp, "ip guard c", false, true},
		{"the host's input", host, base("inet", "guard", "input", "0", `udp dport 53 drop comment "planted"`), box, gate, 53, udp, "inet guard c", false, false},
		{"the host's output", host, base("inet", "guard", "output", "0", drop9), host, "172.17.0.2", 80, tcp, "inet guard c", false, false},
		{"a published port", host, base("inet", "guard", "forward", "0", `ct status dnat drop comment "planted"`), outside, "203.0.113.254", 8080, tcp, "inet guard c", false, false},
		{"a published port's answer", host, base("inet", "guard", "postrouting", "300", `tcp sport 8080 drop comment "planted"`), outside, "203.0.113.254", 8080, tcp, "inet guard c", false, true},
		{"iptables", host, "iptables-nft -A FORWARD -p tcp --dport 80 -m comment --comment planted -j DROP", box, there, 80, tcp, "ip filter FORWARD", false, false},
		{"a chain of iptables", host, "iptables-nft -N far; iptables-nft -A far -m comment --comment planted -j DROP; iptables-nft -A FORWARD -o eth0 -j far", box, there, 80, tcp, "ip filter FORWARD", false, false},
		{"iptables' policy", host, "iptables-nft -P FORWARD DROP", box, there, 80, tcp, "ip filter FORWARD", true, false},
		{"iptables raw", host, "iptables-nft -t raw -A PREROUTING -p tcp --dport 80 -m comment --comment planted -j DROP", box, there, 80, tcp, "ip raw PREROUTING", false, false},
		{"IPv6", host, base("ip6", "guard", "forward", "0", drop9), box, "2001:db8::1", 80, tcp, "ip6 guard c", false, false},
		{"IPv6 in inet", host, base("inet", "guard", "forward", "0", `meta nfproto ipv6 icmpv6 type echo-request drop comment "planted"`), box, "2001:db8::1", 0, icmp, "inet guard c", false, false},
		{"UDP", host, base("ip", "guard", "forward", "0", `udp dport 80 drop comment "planted"`), box, there, 80, udp, "ip guard c", false, false},
		{"UDP's answer", host, base("ip", "guard", "forward", "0", `udp sport 80 drop comment "planted"`), box, there, 80, udp, "ip guard c", false, true},
		{"an echo", host, base("ip", "guard", "forward", "0", `icmp type echo-request drop comment "planted"`), box, there, 0, icmp, "ip guard c", false, false},
		{"an echo's answer", host, base("ip", "guard", "forward", "0", `icmp type echo-reply drop comment "planted"`), box, there, 0, icmp, "ip guard c", false, true},
		{"an ICMP error on its way back", host, base("ip", "guard", "forward", "0", `icmp type destination-unreachable drop comment "planted"`), box, there, 99, udp, "ip guard c", false, true},
	}
}

// Where a translation has changed the probe's port to one that nobody could foresee,
// its rules cannot be marked; it is said so, and nobody is accused.
func TestUnforeseenPort(t *testing.T) {
	l := newLab(t)
	l.nft(nil, "table ip rnd { chain c { type nat hook postrouting priority 50; oifname eth0 masquerade random; }; }")
	if j := l.trace(l.box, "203.0.113.1", 80, tcp); j.Verdict.Outcome != Answered {
		t.Error(j.text())
	}
	l.nft(l.outside, base("ip", "own", "input", "0", drop9))
	j := l.trace(l.box, "203.0.113.1", 80, tcp)
	if v := j.Verdict; v.Outcome != DroppedByUs || v.Place != "outside" || !strings.Contains(v.Words, "the probe's port became") {
		t.Error(j.text())
	}
}

var planting = regexp.MustCompile(`(?:planted|bytes \d+ drop).*# handle (\d+)`)

// Whatever table, chain and rule drops the packet, the trace names it, with the
// handle that nft(8) knows it by.
func TestPlantedDrops(t *testing.T) {
	l := newLab(t)
	foreseen := 0
	for _, c := range plantedDrops() {
		in := c.in(l)
		if strings.HasPrefix(c.rules, "iptables") {
			l.sh(in, c.rules)
		} else {
			l.nft(in, c.rules)
		}
		listed := l.sh(in, "nft -a list ruleset 2>/dev/null")
		j := l.trace(c.from(l), c.to, c.port, c.protocol)
		if complaint := c.check(j, l.place(in).Name, listed); complaint != "" {
			t.Errorf("%s: %s\n%s", c.name, complaint, j.text())
		}
		same, complaint := c.foreseen(l.static(c.from(l), c.to, c.port, c.protocol), j)
		if complaint != "" {
			t.Errorf("%s: %s", c.name, complaint)
		}
		if same {
			foreseen++
		}
		if after := l.sh(in, "nft -a list ruleset 2>/dev/null"); withoutCounters(after) != withoutCounters(listed) {
			t.Errorf("%s: the rules before\n%s\nand after\n%s", c.name, listed, after)
		}
		l.reset(in)
	}
	t.Logf("--static names the same chain and rule for %d of %d", foreseen, len(plantedDrops()))
	if foreseen < len(plantedDrops())*9/10 {
		t.Errorf("--static names only %d of %d", foreseen, len(plantedDrops()))
	}
}

// foreseen tells whether the static journey names the same, and complains if it
// says that the packet would pass.
func (c planted) foreseen(s, j *Journey) (same bool, complaint string) {
	if s.Verdict.Good() {
		return false, "--static says that it passes:\n" + s.text()
	}
	a, b := s.Verdict, j.Verdict
	if a.Chain == nil || b.Chain == nil || a.Chain.name() != b.Chain.name() || a.Place != b.Place {
		return false, ""
	}
	return a.Rule == nil && b.Rule == nil || a.Rule != nil && b.Rule != nil && a.Rule.Handle == b.Rule.Handle, ""
}

var counters = regexp.MustCompile(`packets \d+ bytes \d+|used \d+ bytes `)

func withoutCounters(rules string) string { return counters.ReplaceAllString(rules, "") }

func (c planted) check(j *Journey, place, listed string) string {
	v := j.Verdict
	if v.Outcome != DroppedByUs || v.Chain == nil {
		return "not dropped by a rule"
	}
	if got := fmt.Sprintf("%s %s %s", v.Chain.Family, v.Chain.Table, v.Chain.Name); got != c.chain || v.Place != place {
		return fmt.Sprintf("dropped in %s by %s", v.Place, got)
	}
	last := j.Hops[len(j.Hops)-1]
	if c.back != (last.Direction == Back) || last.Event != Dropped {
		return fmt.Sprintf("the last hop is %s, %s", last.Direction, last.Event)
	}
	if c.policy {
		if v.Rule != nil || v.Chain.Policy != "drop" {
			return "not by the policy"
		}
		return ""
	}
	if v.Rule == nil {
		return "no rule"
	}
	want := planting.FindStringSubmatch(listed)
	if want == nil {
		return "nft lists no such rule:\n" + listed
	}
	if got := fmt.Sprint(v.Rule.Handle); v.Rule.Comment != "planted" || got != want[1] {
		return fmt.Sprintf("rule %s with comment %q, wanted %s", got, v.Rule.Comment, want[1])
	}
	return ""
}
