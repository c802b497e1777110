package trace

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// A lab is a small world of namespaces, of which the test's own is the host:
//
//	web  172.17.0.2, fd00:17::2 ─┐
//	box  172.17.0.3, fd00:17::3 ─┴─ minictr0 172.17.0.1, fd00:17::1   host   eth0 203.0.113.254, 2001:db8::fe ─── outside 203.0.113.1, 2001:db8::1
//
// The host masquerades, and publishes port 80 of web as 8080.
type lab struct {
	t                       testing.TB
	host, web, box, outside *kernel.Netns
	home                    string
}

const published = `
table ip nat0 {
	chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80; }
	chain output { type nat hook output priority -100; fib daddr type local tcp dport 8080 dnat to 172.17.0.2:80; }
	chain postrouting { type nat hook postrouting priority srcnat; ip saddr 172.17.0.0/16 oifname != "minictr0" masquerade; }
}
`

func newLab(t testing.TB) *lab {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nft", "ip", "sysctl", "conntrack", "iptables-nft", "iptables-legacy")
	kernel.Snapshot(t)
	l := &lab{t: t, web: kernel.NewNetns(t), box: kernel.NewNetns(t), outside: kernel.NewNetns(t)}
	machine := netnsOfThread(t)
	l.host = kernel.InNetns(t)
	if l.home = netnsOfThread(t); l.home == machine {
		t.Fatal("the lab's host is the machine")
	}
	for _, n := range []*kernel.Netns{nil, l.web, l.box, l.outside} { // no addresses that are tentative for a second
		l.sh(n, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
	}
	l.sh(nil, `set -e
ip link set lo up
ip link add minictr0 type bridge
ip link add port1 type veth peer name eth0 netns `+l.web.Path()+`
ip link add port2 type veth peer name eth0 netns `+l.box.Path()+`
ip link add eth0 type veth peer name eth0 netns `+l.outside.Path()+`
ip link set port1 master minictr0; ip link set port2 master minictr0
for d in minictr0 port1 port2 eth0; do ip link set $d up; done
ip addr add 172.17.0.1/16 dev minictr0; ip addr add fd00:17::1/64 dev minictr0 nodad
ip addr add 203.0.113.254/24 dev eth0; ip addr add 2001:db8::fe/64 dev eth0 nodad
ip route add default via 203.0.113.1
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0
sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || true`)
	for i, n := range []*kernel.Netns{l.web, l.box} {
		l.sh(n, fmt.Sprintf(`set -e
ip addr add 172.17.0.%[1]d/16 dev eth0; ip addr add fd00:17::%[1]d/64 dev eth0 nodad; ip link set eth0 up; ip link set lo up
ip route add default via 172.17.0.1; ip route add default via fd00:17::1`, i+2))
	}
	l.sh(l.outside, `set -e
ip addr add 203.0.113.1/24 dev eth0; ip addr add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 up; ip link set lo up
ip route add fd00:17::/64 via 2001:db8::fe`)
	l.nft(nil, published)
	l.serve(l.web, 80)
	l.serve(l.outside, 80)
	for _, from := range []*kernel.Netns{l.web, l.box} { // neighbours take a moment
		for _, to := range []string{"203.0.113.1", "2001:db8::1", "172.17.0.1"} {
			kernel.Eventually(t, 5*time.Second, func() error {
				if j := l.trace(from, to, 0, icmp); j.Verdict.Outcome != Answered {
					return fmt.Errorf("without rules: %s", j.Verdict.Words)
				}
				return nil
			})
		}
	}
	return l
}

// serve answers TCP, and UDP with what it was sent, on the port.
func (l *lab) serve(n *kernel.Netns, port uint16) {
	l.t.Helper()
	n.Do(l.t, func() { serve(l.t, port) })
}

func netnsOfThread(t testing.TB) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// run runs a command in the namespace, nil for the host's, with its input.
func (l *lab) run(n *kernel.Netns, stdin string, argv ...string) (string, error) {
	l.t.Helper()
	if here := netnsOfThread(l.t); here != l.home {
		l.t.Fatalf("the test is in %s and its host is %s: not touched", here, l.home)
	}
	var out bytes.Buffer
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &out, &out
	var err error
	if n == nil {
		err = c.Run()
	} else {
		n.Do(l.t, func() { err = c.Run() })
	}
	return out.String(), err
}

func (l *lab) sh(n *kernel.Netns, script string) string {
	l.t.Helper()
	out, err := l.run(n, "", "sh", "-c", script)
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

func (l *lab) nft(n *kernel.Netns, rules string) {
	l.t.Helper()
	if out, err := l.run(n, rules, "nft", "-f", "-"); err != nil {
		l.t.Fatalf("nft: %v\n%s\n%s", err, out, rules)
	}
}

// reset takes the rules of a case away again.
func (l *lab) reset(n *kernel.Netns) {
	l.t.Helper()
	rules := "flush ruleset\n"
	if n == nil {
		rules += published
	}
	l.nft(n, rules)
}

func (l *lab) place(n *kernel.Netns) Place {
	switch n {
	case l.web:
		return Place{Name: "web", Path: n.Path()}
	case l.box:
		return Place{Name: "box", Path: n.Path()}
	case l.outside:
		return Place{Name: "outside", Path: n.Path()}
	}
	return Place{Name: "host", Path: "/proc/thread-self/ns/net"}
}

func (l *lab) request(from *kernel.Netns, to string, port uint16, protocol string) Request {
	return Request{
		From: l.place(from), To: netip.MustParseAddr(to), Port: port, Protocol: protocol, Host: l.place(nil), Timeout: 300 * time.Millisecond,
		Others: []Place{l.place(l.web), l.place(l.box), l.place(l.outside)},
	}
}

func (l *lab) trace(from *kernel.Netns, to string, port uint16, protocol string) *Journey {
	l.t.Helper()
	j, err := Run(l.request(from, to, port, protocol))
	if err != nil {
		l.t.Fatal(err)
	}
	return j
}

func (l *lab) static(from *kernel.Netns, to string, port uint16, protocol string) *Journey {
	l.t.Helper()
	j, err := Static(l.request(from, to, port, protocol))
	if err != nil {
		l.t.Fatal(err)
	}
	return j
}

// text is the journey as a person reads it.
func (j *Journey) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -> %s/%s: %s\n", j.From.Name, j.To.Name, j.Protocol, j.Verdict.Words)
	for i, h := range j.Hops {
		fmt.Fprintf(&b, "%2d %-5s %-7s %s\n", i+1, h.Direction, h.Place, h.Words)
	}
	for _, n := range j.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}
