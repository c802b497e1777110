package lab

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A told is what minictr trace says of a packet between real containers.
type told struct {
	args    string // LAN stands for the neighbour's namespace
	rules   string // put into the host before; a file of network/firewall/testdata with @
	words   string // of the verdict, a regular expression
	outcome string
	owner   string // of the chain that dropped it
}

var traced = []told{
	{"box web:80", "", "answered after .* ms", "answered", ""},
	{"box web", "", "answered after .* ms", "answered", ""},
	{"box www:80", "", "answered after .* ms", "answered", ""}, // an alias
	{"box web:81", "", "refused by web .172.17.0.2:81. after .* ms: nobody listens there", "refused", ""},
	{"box web:81/udp", "", "refused by web .* nobody listens there", "refused", ""},
	{"box 198.51.100.2", "", "answered after .* ms", "answered", ""},
	{"box 198.51.100.2 --static", "", "would reach .*, and the answer would come back|would leave host by eth0", "passes", ""},
	{"host 127.0.0.1:8080", "", "answered after .* ms", "answered", ""},
	{"LAN 192.0.2.1:8080", "", "answered after .* ms", "answered", ""},
	{"LAN 172.17.0.2:80", "", "dropped in host by table ip minictr, chain forward .minictr.: rule oifname @bridges drop .*nothing else from outside", "dropped", "minictr"},
	{"192.0.2.3 172.17.0.2:80 --static", "", "would be dropped in host by table ip minictr, chain forward", "dropped", "minictr"},
	{"box far:80", "", "dropped in host by table ip minictr, chain forward .*nothing else from outside or from another network", "dropped", "minictr"},
	{"box 198.51.100.2", "table inet guard { chain c { type filter hook forward priority 5; icmp type echo-request drop comment \"no echoes\"; }; }", "dropped in host by table inet guard, chain c: rule .*no echoes", "dropped", "table inet guard"},
	{"box 198.51.100.2:80", "@docker", "dropped in host by the policy of table ip filter, chain FORWARD .Docker.", "dropped", "Docker"},
	{"box 198.51.100.2:80", "@ufw", "dropped in host by the policy of table ip filter, chain FORWARD .ufw.", "dropped", "ufw"},
	{"box 198.51.100.2:80", "@firewalld-0", "(dropped|rejected) in host by table inet firewalld, chain filter_FORWARD .firewalld.: .*rule reject", "rejected", "firewalld"},
	{"box 198.51.100.2:80 --static", "@ufw", "would be dropped in host by the policy of table ip filter, chain FORWARD .ufw.", "dropped", "ufw"},
}

// The journeys between real containers, a LAN and an internet, beside firewalls of
// others; what is said, and that the host is as before.
func TestTrace(t *testing.T) {
	l := newLab(t, require(t))
	l.must("network", "create", "other")
	l.must("run", "-d", "--name", "web", "-p", "8080:80", image, "httpd", "-p", "80")
	l.must(sleeper("box")...)
	l.must("run", "-d", "--name", "far", "--network", "other", "--network-alias", "www", image, "httpd", "-p", "80")
	l.must("network", "connect", "--alias", "www", "bridge", "far")
	l.must("network", "disconnect", "bridge", "far")
	l.must("network", "connect", "other", "box")
	l.must("network", "disconnect", "other", "box")
	for _, c := range traced {
		if c.args == "box www:80" { // a name that only neighbours know
			l.must("network", "connect", "other", "box")
		}
		rules := c.rules
		if name, ok := strings.CutPrefix(rules, "@"); ok {
			b, err := os.ReadFile("../../network/firewall/testdata/" + name + ".nft")
			if err != nil {
				t.Fatal(err)
			}
			rules = string(b)
		}
		own := l.host.must(t, "", "nft", "list", "ruleset")
		l.host.must(t, rules, "nft", "-f", "-")
		before := l.untouched()
		args := strings.Fields(strings.ReplaceAll(c.args, "LAN", l.lan.path()))
		c.check(t, l, args)
		if after := l.untouched(); after != before {
			t.Errorf("trace %s: the host before and after:\n%s", c.args, cmp.Diff(before, after))
		}
		if rules != "" {
			l.host.must(t, "flush ruleset\n"+own, "nft", "-f", "-")
		}
		if c.args == "box www:80" {
			l.must("network", "disconnect", "other", "box")
		}
	}
}

// untouched is what a trace must not change on the host. IPv6 addresses settle by
// themselves meanwhile.
func (l *lab) untouched() string {
	l.t.Helper()
	text := l.host.must(l.t, "", "sh", "-c", "nft list ruleset; ip link; ip -4 addr; ip -4 route show table all; ip rule; sysctl -a 2>/dev/null | grep ^net.ipv")
	return regexp.MustCompile(`packets \d+ bytes \d+`).ReplaceAllString(text, "")
}

func (c told) check(t *testing.T, l *lab, args []string) {
	t.Helper()
	out, _, err := l.try(append([]string{"trace", "--json"}, args...)...)
	var exit *exec.ExitError
	if good := c.outcome == "answered" || c.outcome == "passes"; good != (err == nil) || err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Errorf("trace %s: %v", c.args, err)
	}
	var j struct {
		Verdict struct {
			Outcome, Words string
			Chain          *struct{ Owner string }
		}
		Hops []struct{ Event, Words string }
	}
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		t.Errorf("trace --json %s: %v\n%s", c.args, err, out)
		return
	}
	if j.Verdict.Outcome != c.outcome || len(j.Hops) == 0 || !regexp.MustCompile("^("+c.words+")").MatchString(j.Verdict.Words) {
		t.Errorf("trace %s: wanted %s: %s\n%s", c.args, c.outcome, c.words, out)
	}
	if c.owner != "" && (j.Verdict.Chain == nil || j.Verdict.Chain.Owner != c.owner) {
		t.Errorf("trace %s: owner: %+v", c.args, j.Verdict.Chain)
	}
}

// What cannot be traced is said in one line, and nothing happens.
func TestTraceRefuses(t *testing.T) {
	l := newLab(t, require(t))
	l.must(sleeper("box")...)
	l.must("run", "-d", "--name", "lonely", "--network", "none", image, "sleep", "3600")
	l.must("run", "--name", "ended", image, "true")
	for _, c := range []struct{ args, says string }{
		{"nobody web:80", "no such target: nobody"},
		{"box nobody:80", "no such target: nobody"},
		{"ended 192.0.2.3", "ended is not running"},
		{"box ended:80", "ended is not running"},
		{"box lonely:80", "trace to lonely: it has no address"},
		{"198.51.100.77 192.0.2.1:80", "no address of the host or of a container"},
		{"box 192.0.2.300:80", "no such target: 192.0.2.300|192.0.2.300"},
		{"box 192.0.2.1:0", `port "0": a number from 1 to 65535`},
		{"box 192.0.2.1:http", `port "http"`},
		{"box 192.0.2.1:80/sctp", `protocol "sctp": tcp, udp or icmp`},
		{"box 192.0.2.1/udp", "udp needs a port"},
		{"box 192.0.2.1:80/icmp", "ICMP has no ports"},
		{"box 192.0.2.1 --timeout 0s", "--timeout 0s"},
		{"box", "accepts 2 arg"},
		{"box [2001:db8::1:80", "missing"},
	} {
		_, errs, err := l.try(append([]string{"trace"}, strings.Fields(c.args)...)...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !regexp.MustCompile(c.says).MatchString(errs) || strings.Count(errs, "minictr: ") != 1 {
			t.Errorf("trace %s: %v: %s", c.args, err, errs)
		}
	}
}
