package doctor

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/firewall"
	"github.com/minictr/minictr/network/survey"
)

// TestHostileNames: what somebody in a container has called a table, a link or a cgroup
// is nowhere a command of its own: --fix runs some of these as root.
func TestHostileNames(t *testing.T) {
	const evil = "x;touch$IFS/tmp/evil"
	for _, v := range []firewall.Verdict{
		{Family: "ip", Table: evil, Chain: "c", Base: "c", Rule: "drop", Handle: 3},
		{Family: "ip", Table: "t", Chain: evil, Base: "c", Rule: "drop", Handle: 3},
		{Family: "ip", Table: "t", Chain: "c", Base: evil},
		{Family: "ip", Table: "t'", Chain: "c", Base: "c"},
	} {
		if cure := cureOf(v); cure != nil {
			t.Errorf("%+v: %q", v, cure)
		}
	}
	if cure := cureOf(firewall.Verdict{Family: "ip", Table: "t", Chain: "c", Base: "c", Rule: "drop", Handle: 3}); len(cure) != 1 || cure[0] != "nft delete rule ip t c handle 3" {
		t.Errorf("%q", cure)
	}
	f := well()
	f.Inside.Rules = append(f.Inside.Rules, survey.Rule{Family: unix.AF_INET, Priority: 9, Action: "prohibit", In: evil})
	f.Inside.Links = append(f.Inside.Links, survey.Link{Index: 9, Name: evil, PeerNSID: -1})
	f.Inside.Routes = append(f.Inside.Routes, survey.Route{Table: unix.RT_TABLE_MAIN, Type: "unicast", To: prefix("203.0.113.0/24"), Link: 9})
	f.ways().Out.Link = evil
	f.Process.Frozen = "/sys/fs/cgroup/" + evil
	f.Members = []Member{{Bridge: "minictr0", Port: evil, MTU: 1280}}
	f.Resolv.Hosts = []string{"203.0.113.1 web ';" + evil}
	for _, finding := range Diagnose(f).Checks {
		for _, line := range append(finding.Cure, finding.Show) {
			if i := strings.Index(line, evil); i >= 0 && strings.Count(line[:i], "'")%2 == 0 {
				t.Errorf("%s: not quoted: %s", finding.Check, line)
			}
		}
	}
}
