package firewall

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// While somebody replaces the rules without a pause, each reading is one of
// his rule sets: half of one would be a chain whose jump leads nowhere.
func TestReadWhileRulesChange(t *testing.T) {
	l := newLab(t)
	c := exec.Command("sh", "-c", "while nft -f testdata/firewalld.nft && nft flush ruleset && nft -f testdata/docker.nft && nft flush ruleset; do :; done")
	l.atHome()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	seen := map[int]int{}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		r, err := Read()
		if err != nil {
			t.Fatal(err)
		}
		seen[len(r.bases)]++
		for _, b := range r.bases {
			for _, home := range b.table.chains {
				for _, target := range home.targets() {
					if target != "" && b.table.chains[target] == nil {
						t.Fatalf("table %s: chain %s jumps to %s, which was not read", b.table, home.name, target)
					}
				}
			}
		}
	}
	t.Logf("base chains: readings: %v", seen)
	if len(seen) < 2 {
		t.Error("the rules did not change")
	}
}

func TestOwner(t *testing.T) {
	for _, c := range []struct{ family, table, chain, want string }{
		{"ip", "minictr", "forward", "minictr"},
		{"ip", "filter", "DOCKER-USER", "Docker"},
		{"ip", "docker-bridges", "filter-FORWARD", "Docker"},
		{"ip6", "filter", "ufw6-user-forward", "ufw"},
		{"ip", "filter", "ufw-before-input", "ufw"},
		{"inet", "firewalld", "filter_INPUT", "firewalld"},
		{"ip", "filter", "LIBVIRT_FWI", "libvirt"},
		{"ip", "libvirt_network", "forward", "libvirt"},
		{"inet", "netavark", "FORWARD", "Podman"},
		{"ip", "filter", "KUBE-FORWARD", "Kubernetes"},
		{"ip", "nat", "CNI-HOSTPORT-DNAT", "Kubernetes"},
		{"ip", "filter", "FORWARD", "iptables"},
		{"inet", "filter", "FORWARD", "table inet filter"},
		{"ip", "filter", "forward", "table ip filter"},
	} {
		if got := Owner(c.family, c.table, c.chain); got != c.want {
			t.Errorf("Owner(%s %s, %s) = %s, want %s", c.family, c.table, c.chain, got, c.want)
		}
	}
}

// A rule as text says what nft(8) says, for what the others' rules are made of.
func TestRuleText(t *testing.T) {
	l := newLab(t)
	lines := []string{
		`iifname "minictr0" oifname != "eth0" accept`, `iifname "br-*" drop`, `ip saddr 10.0.0.0/8 ip daddr 192.0.2.1 drop`, `ct state established,related accept`,
		`ct status dnat accept`, `meta l4proto tcp jump other`, `ip daddr 192.0.2.1-192.0.2.9 return`, `fib daddr type local goto other`, `ip6 saddr fd00::/64 reject`,
		`ct state vmap { invalid : drop, established : accept, related : accept }`, `meta mark 0x00000002 counter drop comment "why"`, `ip saddr @some drop`, `iif "lo" accept`,
	}
	l.nft("flush ruleset\ntable inet t {\n set some { type ipv4_addr; }\n chain other { }\n chain forward {\n type filter hook forward priority 0;\n" + strings.Join(lines, "\n") + "\n}\n}\n")
	r, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for i, rule := range r.bases[0].rules {
		// nft leaves out what follows from the rest, and orders a set as it likes.
		text := strings.NewReplacer(`meta nfproto ipv4 `, "", `meta nfproto ipv6 `, "").Replace(rule.String())
		if text != lines[i] && !strings.Contains(lines[i], "vmap") {
			t.Errorf("got  %s\nwant %s", text, lines[i])
		}
		if strings.Contains(text, "<") {
			t.Errorf("%s: not understood", text)
		}
	}
}

// Whatever bytes the kernel sends, nothing panics.
func FuzzAttributes(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 0, 0, 0, 1})
	f.Fuzz(func(_ *testing.T, raw []byte) {
		a := attributes(raw)
		home := &chain{table: &table{sets: map[string]*set{}, chains: map[string]*chain{}}}
		w := &walk{chain: home, mark: unknown(4), ctMark: unknown(4)}
		for _, name := range []string{"immediate", "payload", "meta", "ct", "fib", "exthdr", "cmp", "range", "bitwise", "byteorder", "lookup", "limit", "dynset", "match", "target", "rt"} {
			e := expression{name, a}
			w.run(&e)
			_ = (&rule{chain: home, expressions: []expression{e, e}}).String()
		}
		parseChain(home.table, a)
		parseElement(a)
		ruleComment(&rule{}, raw)
	})
}

func TestLegacyTables(t *testing.T) {
	kernel.RequireCommand(t, "iptables-legacy")
	l := newLab(t)
	l.nft("flush ruleset")
	before, err := Advise(l.question())
	if err != nil || len(before) > 0 {
		t.Fatal(before, err)
	}
	l.sh("iptables-legacy -P FORWARD DROP")
	findings, err := Advise(l.question())
	if err != nil || len(findings) != 1 || !findings[0].Unknown || findings[0].Owner != "iptables-legacy" {
		t.Fatal(findings, err)
	}
	t.Log(findings[0])
}
