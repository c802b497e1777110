package lab

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// Rule sets of others, of network/firewall/testdata, and what of them the
// warning of run has to name.
var foreign = []struct{ file, says string }{
	{"docker", "Docker drops .*chain FORWARD of table ip filter, policy drop"},
	{"docker-27", "Docker drops .*chain FORWARD of table ip filter, policy drop"},
	{"docker-nftables", "^$"},
	{"ufw", "ufw drops .*chain FORWARD of table ip filter, policy drop"},
	{"firewalld", "firewalld drops name queries"},
	{"firewalld-0", "firewalld drops .*packets from br-green to eth0"},
	{"policy-drop", "table inet filter drops .*chain forward of table inet filter, policy drop"},
}

// Beside the firewalls of others: run says who drops what, in one line with the
// cure, and with the cure everything is as without the firewall. Nothing of
// theirs is changed.
func TestBesideOthers(t *testing.T) {
	programs := require(t)
	kernel.RequireCommand(t, "iptables", "ip6tables") // the cure for Docker is one of iptables
	t.Run("firewalls", func(t *testing.T) {
		for _, f := range foreign {
			t.Run(f.file, func(t *testing.T) {
				t.Parallel()
				rules, err := os.ReadFile("../../network/firewall/testdata/" + f.file + ".nft")
				if err != nil {
					t.Fatal(err)
				}
				l := newLab(t, programs)
				l.host.must(t, string(rules), "nft", "-f", "-")
				l.before = l.state()
				c := l.newCast()
				if !regexp.MustCompile(f.says).MatchString(c.said) {
					t.Errorf("run does not say %q:\n%s", f.says, c.said)
				}
				if f.says != "^$" {
					c.checkCured(t, l)
				}
				table := matrix
				if strings.HasPrefix(f.file, "firewalld") { // its IPv6_rpfilter takes what comes from ::1 for forged
					table = strings.ReplaceAll(table, "pair", "-")
				}
				c.check(t, table)
				l.host.must(t, "flush ruleset\n"+string(rules), "nft", "-f", "-") // as it was, without the cure
			})
		}
	})
}

// checkCured looks that there is something to cure, and applies what run said.
func (c *cast) checkCured(t *testing.T, l *lab) {
	sick := question{c.clients["sibling"], "udp", addrPort(c.own["self"][0], publications["none"].container)}
	wall := sick.ask(quick) == "" // it is the first that all of them but Docker's nftables drop, if a bridge's packets are filtered
	commands := cures(c.said)
	for _, command := range commands {
		l.host.must(t, "", "sh", "-ec", command)
	}
	if wall && sick.ask(patient) == "" {
		t.Errorf("still no answer after\n%s", strings.Join(commands, "\n"))
	}
}

// cures are the commands in what run said: behind the last colon of a warning.
func cures(text string) (commands []string) {
	for line := range strings.Lines(text) {
		if i := strings.LastIndex(line, "): "); i >= 0 && strings.Contains(line, "warning:") {
			for command := range strings.SplitSeq(line[i+3:], ";") {
				commands = append(commands, byNft(strings.TrimSpace(command)))
			}
		}
	}
	return slices.DeleteFunc(commands, func(c string) bool { return c == "" })
}

// managers are the commands of ufw and firewalld, and what these do to their own
// tables: the programs cannot run on a host that is a network namespace.
var managers = []struct {
	command *regexp.Regexp
	nft     []string
}{
	{regexp.MustCompile(`^ufw allow in on (\S+) to any port 53$`), []string{
		"add rule ip filter ufw-user-input iifname %s th dport 53 accept", "add rule ip6 filter ufw6-user-input iifname %s th dport 53 accept",
	}},
	{regexp.MustCompile(`^ufw route allow in on (\S+)$`), []string{
		"add rule ip filter ufw-user-forward iifname %s accept", "add rule ip6 filter ufw6-user-forward iifname %s accept",
	}},
	{regexp.MustCompile(`^ufw route allow out on (\S+)$`), []string{
		"add rule ip filter ufw-user-forward oifname %s accept", "add rule ip6 filter ufw6-user-forward oifname %s accept",
	}},
	{regexp.MustCompile(`^firewall-cmd --zone=trusted --add-interface=(\S+)$`), []string{
		"insert rule inet firewalld filter_INPUT_ZONES iifname %s accept", "insert rule inet firewalld filter_FORWARD_ZONES iifname %s accept",
	}},
	{regexp.MustCompile(`^firewall-cmd --permanent .*(.)$`), nil}, // the same for after a reboot
}

func byNft(command string) string {
	for _, m := range managers {
		if found := m.command.FindStringSubmatch(command); found != nil {
			var list []string
			for _, rule := range m.nft {
				list = append(list, "nft "+fmt.Sprintf(rule, found[1]))
			}
			return strings.Join(list, "; ")
		}
	}
	return command
}
