package trace

import (
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// A lost is a packet that no rule drops.
type lost struct {
	name     string
	in       func(*lab) *kernel.Netns // where the cause is
	script   string
	undo     string
	from     func(*lab) *kernel.Netns
	to       string
	port     uint16
	protocol string

	outcome Outcome
	place   string
	reason  string // of the kernel, or the route's type
	words   string // a part of the verdict
}

func losses() []lost {
	const there, gone = "203.0.113.1", "203.0.113.77"
	return []lost{
		{"rp_filter", host, "sysctl -qw net.ipv4.conf.all.rp_filter=1; ip route add 172.17.0.3/32 dev eth0", "ip route del 172.17.0.3/32 dev eth0; sysctl -qw net.ipv4.conf.all.rp_filter=0", box, there, 80, tcp, DroppedByUs, "host", "IP_RPFILTER", "the way back to 172.17.0.3 is eth0, and not minictr0"},
		{"no route in the container", box, "ip route del default", "ip route add default via 172.17.0.1", box, there, 80, tcp, Undeliver, "box", "none", "no route leads to 203.0.113.1"},
		{"no route in the host", host, "ip route del default", "ip route add default via 203.0.113.1", box, "198.51.100.1", 80, tcp, Rejected, "", "", "network unreachable"},
		{"blackhole in the container", box, "ip route add blackhole 203.0.113.1", "ip route del blackhole 203.0.113.1", box, there, 80, tcp, Undeliver, "box", "blackhole", "blackhole"},
		{"blackhole in the host", host, "ip route add blackhole 203.0.113.1", "ip route del blackhole 203.0.113.1", box, there, 80, tcp, DroppedByUs, "host", "", "blackhole"},
		{"unreachable in the container", box, "ip route add unreachable 203.0.113.1", "ip route del unreachable 203.0.113.1", box, there, 80, udp, Undeliver, "box", "unreachable", "unreachable"},
		{"prohibit by a policy rule", box, "ip rule add to 203.0.113.1 prohibit", "ip rule del to 203.0.113.1 prohibit", box, there, 80, udp, Undeliver, "box", "prohibit", "prohibit"},
		{"unreachable in the host", host, "ip route add unreachable 203.0.113.1", "ip route del unreachable 203.0.113.1", box, there, 80, tcp, Rejected, "", "", "host unreachable"},
		{"prohibit in the host", host, "ip route add prohibit 203.0.113.1", "ip route del prohibit 203.0.113.1", box, there, 0, icmp, Rejected, "", "", "administratively prohibited"},
		{"no neighbour", host, "true", "true", box, gone, 80, tcp, Undeliver, "host", "NEIGH_FAILED", "nobody answers for 203.0.113.77 on eth0"},
		{"no neighbour on the bridge", box, "true", "true", box, "172.17.0.99", 80, tcp, Undeliver, "box", "NEIGH_FAILED", "nobody answers for 172.17.0.99 on eth0"},
		{"no forwarding", host, "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1", box, there, 80, tcp, DroppedByUs, "host", "", "forwarding is off"},
		{"the wire's other end is down", outside, "ip link set eth0 down", "ip link set eth0 up; ip -6 addr add 2001:db8::1/64 dev eth0 nodad; ip route add fd00:17::/64 via 2001:db8::fe", box, there, 80, tcp, Undeliver, "host", "no carrier", "nothing leaves by eth0"},
		{"the port is down", host, "ip link set port1 down", "ip link set port1 up", web, there, 80, tcp, Undeliver, "web", "no carrier", "nothing leaves by eth0"},
		{"the bridge is down", host, "ip link set minictr0 down", "ip link set minictr0 up; ip -6 addr add fd00:17::1/64 dev minictr0 nodad", box, there, 80, tcp, DroppedByUs, "host", "", "minictr0 is down"},
		{"a closed port", outside, "true", "true", box, there, 81, tcp, Refused, "", "", "refused by outside (203.0.113.1:81)"},
		{"a closed port of UDP", outside, "true", "true", box, there, 81, udp, Refused, "", "", "nobody listens"},
		{"iptables-legacy", host, "iptables-legacy -A FORWARD -p tcp --dport 80 -j DROP", "iptables-legacy -F", box, there, 80, tcp, DroppedByUs, "host", "NETFILTER_DROP", "iptables-legacy"},
		{"reject", host, `nft 'table ip r { chain c { type filter hook forward priority 0; tcp dport 80 reject comment "planted"; }; }'`, "nft delete table ip r", box, there, 80, tcp, Rejected, "host", "", "table ip r, chain c"},
		{"reject with tcp reset", host, `nft 'table ip r { chain c { type filter hook forward priority 0; tcp dport 80 reject with tcp reset comment "planted"; }; }'`, "nft delete table ip r", box, there, 80, tcp, Rejected, "host", "", "table ip r, chain c"},
	}
}

// What the kernel itself does to a packet is named, too.
func TestKernelDrops(t *testing.T) {
	l := newLab(t)
	for _, c := range losses() {
		l.sh(c.in(l), c.script)
		j := l.trace(c.from(l), c.to, c.port, c.protocol)
		v := j.Verdict
		if v.Outcome != c.outcome || c.place != "" && v.Place != c.place || c.reason != "" && v.Reason != c.reason || !strings.Contains(v.Words, c.words) {
			t.Errorf("%s: %s in %q, reason %q: %s\n%s", c.name, v.Outcome, v.Place, v.Reason, v.Words, j.text())
		}
		l.sh(c.in(l), c.undo)
	}
	if j := l.trace(l.box, "203.0.113.1", 80, tcp); j.Verdict.Outcome != Answered {
		t.Errorf("after all: %s", j.text())
	}
}
