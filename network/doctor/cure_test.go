package doctor

import (
	"slices"
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

// TestConnectedRoute: the route that the bridge's address had made comes back, whether
// there is another way by then or none.
func TestConnectedRoute(t *testing.T) {
	for _, lost := range []func(*Way){
		func(w *Way) { w.Link = "eth0" },
		func(w *Way) { w.Errno = unix.ENETUNREACH },
	} {
		f := well()
		f.Host.Routes = slices.DeleteFunc(f.Host.Routes, func(r survey.Route) bool { return r.To == address.Masked() })
		lost(&f.ways().HostTo)
		cause := Diagnose(f).Cause
		const cure = "ip route add 172.17.0.0/16 dev minictr0 proto kernel scope link src 172.17.0.1"
		if cause == nil || cause.Check != "host-route" || !cause.Ours || !slices.Equal(cause.Cure, []string{cure}) {
			t.Errorf("%+v", cause)
		}
	}
}
