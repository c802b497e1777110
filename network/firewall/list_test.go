package firewall

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// translations are rules as nft reads them, how they are written here (a protocol in
// front says nothing more), and what is made of them.
var translations = []struct {
	rule, text string
	want       Translation
}{
	{"meta l4proto tcp dnat to 10.0.0.2:80", "", Translation{"dnat", "10.0.0.2:80"}},
	{"ip saddr 10.0.0.0/24 snat to 192.0.2.1", "", Translation{"snat", "192.0.2.1"}},
	{"tcp dport 53 redirect to :5353", "meta l4proto tcp tcp dport 53 redirect to :5353", Translation{"redirect", ":5353"}},
	{`oifname "eth0" masquerade`, "", Translation{"masquerade", ""}},
	{"dnat to ip daddr map { 10.0.0.1 : 10.0.0.2, 10.0.0.3 : 10.0.0.4 }", "", Translation{"dnat", ""}},
	{"dnat to ip daddr map @hosts", "", Translation{"dnat", ""}},
}

// TestTables: what was loaded is listed, in nft's words; each rule is found by its handle.
func TestTables(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.InNetns(t)
	script := "table ip made {\nmap hosts { type ipv4_addr : ipv4_addr; }\nchain nat { type nat hook prerouting priority -99; policy drop;\n"
	post := "}\nchain post { type nat hook postrouting priority 5;\n"
	want := map[string]Translation{}
	for _, row := range translations {
		if strings.Contains(row.rule, "masq") || strings.Contains(row.rule, "snat") {
			post += row.rule + "\n"
		} else {
			script += row.rule + "\n"
		}
		text := row.text
		if text == "" {
			text = row.rule
		}
		want[text] = row.want
	}
	load := exec.Command("nft", "-f", "-")
	load.Stdin = strings.NewReader(script + post + "}\n}\n")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	list := r.Tables()
	if len(list) != 1 || list[0].Family != "ip" || list[0].Name != "made" || list[0].Owner != "table ip made" || len(list[0].Chains) != 2 {
		t.Fatalf("%+v", list)
	}
	first := list[0].Chains[0]
	if first.Name != "nat" || !first.Base || first.Type != "nat" || first.Hook != Prerouting || first.Priority != -99 || first.Policy != Drop {
		t.Errorf("%+v", first)
	}
	found := 0
	for _, c := range list[0].Chains {
		for _, rule := range c.Rules {
			found++
			if expected, known := want[rule.Text]; !known || rule.Translation == nil || *rule.Translation != expected {
				t.Errorf("%s: %+v", rule.Text, rule.Translation)
			}
			if again := r.Rule("ip", "made", c.Name, rule.Handle); again == nil || again.Text != rule.Text {
				t.Errorf("rule %d: %+v", rule.Handle, again)
			}
		}
	}
	if found != len(translations) || r.Rule("ip", "made", "nat", 999) != nil {
		t.Errorf("%d rules of %d", found, len(translations))
	}
}

// TestXTTranslations: what iptables compiles DNAT and SNAT into.
func TestXTTranslations(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.InNetns(t)
	want := map[string]Translation{}
	for _, rule := range []struct {
		args string
		want Translation
	}{
		{"PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", Translation{"dnat", "172.17.0.2:80"}},
		{"PREROUTING -p tcp --dport 8081 -j DNAT --to-destination :81", Translation{"dnat", ":81"}},
		{"POSTROUTING -s 10.0.0.0/8 -j SNAT --to-source 192.0.2.7", Translation{"snat", "192.0.2.7"}},
		{"POSTROUTING -s 10.1.0.0/16 -j MASQUERADE", Translation{"masquerade", ""}},
		{"PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353", Translation{"redirect", ":5353"}},
	} {
		if out, err := exec.Command("iptables-nft", append([]string{"-t", "nat", "-A"}, strings.Fields(rule.args)...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want[rule.want.Kind+rule.want.To] = rule.want
	}
	r, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range r.Tables() {
		for _, c := range table.Chains {
			for _, rule := range c.Rules {
				if rule.Translation == nil {
					t.Errorf("%s is no translation", rule.Text)
					continue
				}
				if _, ok := want[rule.Translation.Kind+rule.Translation.To]; !ok {
					t.Errorf("%s: %+v", rule.Text, rule.Translation)
				}
				delete(want, rule.Translation.Kind+rule.Translation.To)
			}
		}
	}
	if len(want) != 0 {
		t.Errorf("not found: %v", want)
	}
}
