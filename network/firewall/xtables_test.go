package firewall

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// Each match and target of iptables that Walk knows, and some that it does not,
// against a packet that is really sent: UDP to port 53, 80, 443 or 8080.
func TestXTablesAgreesWithTheKernel(t *testing.T) {
	kernel.RequireCommand(t, "iptables-nft", "ip6tables-nft")
	l := newLab(t)
	random := rand.New(rand.NewPCG(1, 2))
	for _, line := range []string{
		"-m comment --comment words -j DROP",
		"-m conntrack --ctstate NEW -j DROP", "-m conntrack --ctstate RELATED,ESTABLISHED -j DROP", "-m conntrack ! --ctstate NEW -j DROP",
		"-m conntrack --ctstate DNAT -j DROP", "-m conntrack ! --ctstate DNAT -j DROP", "-m conntrack --ctstate UNTRACKED -j DROP",
		"-m conntrack --ctdir ORIGINAL -j DROP", "-m conntrack --ctdir REPLY -j DROP", "-m conntrack --ctproto udp -j DROP", "-m conntrack ! --ctproto udp -j DROP",
		"-m conntrack --ctstatus SEEN_REPLY -j DROP", "-m conntrack --ctorigdstport 53 -j DROP",
		"-m state --state NEW -j DROP", "-m state --state ESTABLISHED -j DROP",
		"-p udp -m udp --dport 53 -j DROP", "-p udp -m udp ! --dport 53 -j DROP", "-p udp -m udp --sport 1:1000 -j DROP", "-p tcp -m tcp --dport 53 -j DROP", "-p tcp --syn -j DROP",
		"-p udp -m multiport --dports 53,400:500 -j DROP", "-p udp -m multiport ! --dports 53,80 -j DROP", "-p udp -m multiport --sports 53,80 -j DROP", "-p udp -m multiport --ports 443 -j DROP",
		"-m addrtype --dst-type LOCAL -j DROP", "-m addrtype ! --dst-type LOCAL -j DROP", "-m addrtype --src-type UNICAST -j DROP", "-m addrtype --src-type UNICAST --dst-type LOCAL -j DROP",
		"-m mark --mark 1 -j DROP", "-m mark --mark 0/0xff -j DROP", "-m mark ! --mark 0 -j DROP", "-m pkttype --pkt-type unicast -j DROP", "-m pkttype ! --pkt-type unicast -j DROP",
		"-m limit --limit 10000/sec -j DROP", "-m length --length 1:10 -j DROP", "-m statistic --mode nth --every 1 -j DROP", "-m u32 --u32 0=0 -j DROP", "-m recent --set -j DROP",
		"-m hashlimit --hashlimit-name x --hashlimit-upto 1/sec -j DROP", "-m owner --uid-owner 0 -j DROP", "-m ttl --ttl-eq 7 -j DROP", "-m mac --mac-source 00:00:00:00:00:01 -j DROP",
		"-i minictr0 -o eth0 -j REJECT", "-i mini+ -j DROP", "! -i minictr0 -j DROP", "-j LOG", "-j RETURN", "-p icmp -j DROP",
		"-m iprange --src-range 172.17.0.1-172.17.0.9 -j DROP", "-m iprange ! --dst-range 172.17.0.1-172.17.0.9 -j DROP", "-s 172.17.0.0/16 -d 203.0.113.1 -j DROP", "-m physdev --physdev-is-bridged -j DROP",
	} {
		l.try(line, newFlow(l, random))
	}
}

// try is no subtest, which would run outside the lab.
func (l *lab) try(line string, flow *flow) {
	l.t.Helper()
	defer flow.close()
	program := "iptables-nft"
	if flow.packet.v6() {
		program = "ip6tables-nft"
	}
	l.nft("flush ruleset")
	l.atHome()
	if out, err := exec.Command(program, append([]string{"-A", "FORWARD"}, strings.Fields(line)...)...).CombinedOutput(); err != nil {
		if !flow.packet.v6() { // -m ttl and IPv4 addresses
			l.t.Errorf("%s: %v: %s", line, err, out)
		}
		return
	}
	r, err := Read()
	if err != nil {
		l.t.Fatal(err)
	}
	v := r.Walk(Forward, flow.packet)
	if v.Kind == Unknown {
		l.t.Logf("unknown: %s", v)
		return
	}
	passed := flow.passes(20*time.Millisecond) || v.Kind == Accept && flow.passes(200*time.Millisecond)
	if passed != (v.Kind == Accept) {
		l.t.Errorf("%s: %s: the kernel lets it pass: %v, Walk says %s (%s)", line, flow.packet, passed, v.Kind, v)
	}
}
