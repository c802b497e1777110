package firewall

import (
	"fmt"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// What the question costs each run: with no rules but ours, with Docker's, and
// with 5,000 that drop single addresses.
func BenchmarkAdvise(b *testing.B) {
	many := &strings.Builder{}
	many.WriteString("table inet many {\n	chain forward {\n		type filter hook forward priority 0;\n")
	for n := range 5000 {
		fmt.Fprintf(many, "		ip saddr 10.0.%d.%d tcp dport %d counter drop\n", n/250, n%250, n+1)
	}
	many.WriteString("	}\n}\n")
	for _, c := range []struct{ name, file, rules string }{
		{"none", "", ""}, {"docker", "testdata/docker.nft", ""}, {"firewalld", "testdata/firewalld.nft", ""}, {"ufw", "testdata/ufw.nft", ""}, {"5000", "", many.String()},
	} {
		b.Run(c.name, func(b *testing.B) {
			kernel.RequireCommand(b, "nft", "ip")
			machine := netnsOfThread(b)
			kernel.InNetns(b)
			l := &lab{t: b, home: netnsOfThread(b)}
			if l.home == machine {
				b.Fatal("still on the machine")
			}
			l.sh("ip link set lo up; ip link add minictr0 type bridge; ip link add eth0 type veth peer name other")
			if c.file != "" {
				l.rules(c.file)
			}
			l.nft(c.rules + published8080)
			for b.Loop() {
				if _, err := Advise(l.question()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
