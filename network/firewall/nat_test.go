package firewall

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// line is a translation in a line.
func (t NAT) line() string {
	words := []string{t.Kind}
	add := func(name string, value any, given bool) {
		if given {
			words = append(words, fmt.Sprintf("%s %v", name, value))
		}
	}
	add("from", t.Sources, len(t.Sources) > 0)
	add("at", t.Destination, len(t.Destination) > 0)
	add("protocol", t.Protocol, t.Protocol != "")
	add("port", fmt.Sprintf("%d-%d", t.First, t.Last), t.Last != 0)
	add("in", t.In, len(t.In) > 0)
	add("out", t.Out, len(t.Out) > 0)
	add("not out", t.NotOut, len(t.NotOut) > 0)
	add("to", t.To, t.To.IsValid())
	add("to port", t.ToPort, t.ToPort != 0)
	add("if", "…", t.Conditional)
	return strings.Join(append(words, fmt.Sprintf("(%s, %s %s %s)", t.Owner, t.Family, t.Table, t.Chain)), " ")
}

// The rule sets of others, and rules in each of the ways that they can be written.
func TestNAT(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nft")
	others, err := filepath.Glob("testdata/*.nft")
	if err != nil || len(others) == 0 {
		t.Fatal(others, err)
	}
	for _, file := range append(others, "testdata/nat/translations.nft") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			kernel.InNetns(t)
			nftFile(t, file)
			r, err := Read()
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, x := range r.NAT() {
				fmt.Fprintln(&got, x.line())
			}
			golden := filepath.Join("testdata/nat", strings.TrimSuffix(filepath.Base(file), ".nft")+".nat")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
		})
	}
}

func nftFile(t *testing.T, file string) {
	t.Helper()
	if out, err := exec.Command("nft", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// What iptables-nft writes is read, of both of its ways to write an address.
func TestNATOfIPTables(t *testing.T) {
	kernel.RequireRoot(t)
	for _, c := range []struct{ command, rule, want string }{
		{"iptables-nft", "POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", "masquerade from [172.17.0.0/16] not out [{docker0 0}] (iptables, ip nat POSTROUTING)"},
		{"iptables-nft", "POSTROUTING -s 10.1.2.3 -o eth0 -j SNAT --to-source 192.0.2.1", "snat from [10.1.2.3/32] out [{eth0 0}] to 192.0.2.1 (iptables, ip nat POSTROUTING)"},
		{"iptables-nft", "PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", "dnat protocol tcp port 8080-8080 to 172.17.0.2 to port 80 (iptables, ip nat PREROUTING)"},
		{"iptables-nft", "PREROUTING -d 192.0.2.7 -p udp --dport 53:55 -j DNAT --to-destination 172.17.0.2", "dnat at [192.0.2.7/32] protocol udp port 53-55 to 172.17.0.2 (iptables, ip nat PREROUTING)"},
		{"iptables-nft", "PREROUTING -p tcp -m multiport --dports 80,81,82 -j DNAT --to-destination 172.17.0.2", "dnat protocol tcp port 80-82 to 172.17.0.2 (iptables, ip nat PREROUTING)"},
		{"iptables-nft", "PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080", "redirect protocol tcp port 80-80 to port 8080 (iptables, ip nat PREROUTING)"},
		{"iptables-nft", "POSTROUTING -m mark --mark 0x2000/0x2000 -j MASQUERADE", "masquerade if … (iptables, ip nat POSTROUTING)"},
		{"iptables-nft", "PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 80 -j DNAT --to-destination 172.17.0.2", "dnat protocol tcp port 80-80 to 172.17.0.2 (iptables, ip nat PREROUTING)"},
		{"ip6tables-nft", "PREROUTING -p tcp --dport 80 -j DNAT --to-destination [fd00::2]:8080", "dnat protocol tcp port 80-80 to fd00::2 to port 8080 (iptables, ip6 nat PREROUTING)"},
		{"ip6tables-nft", "POSTROUTING -s fd00::/64 -j MASQUERADE", "masquerade from [fd00::/64] (iptables, ip6 nat POSTROUTING)"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			kernel.RequireCommand(t, c.command)
			kernel.InNetns(t)
			args := append([]string{"-t", "nat", "-A"}, strings.Fields(c.rule)...)
			if out, err := exec.Command(c.command, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			r, err := Read()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range r.NAT() {
				got = append(got, x.line())
			}
			if !slices.Equal(got, []string{c.want}) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
