package firewall

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Random rules, random packets: what Walk says is what the kernel does to a
// packet that is really sent. Unknown is allowed, and counted.
func TestWalkAgreesWithTheKernel(t *testing.T) {
	l := newLab(t)
	rounds := 150
	if n, err := strconv.Atoi(os.Getenv("WALK_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	count := map[Kind]int{}
	for range rounds {
		g := &generator{Rand: random}
		flow := newFlow(l, random)
		rules := g.ruleset()
		for l.load("flush ruleset\n"+rules) != nil { // nft(8) refuses what makes no sense, as tcp in a rule for udp
			rules = g.ruleset()
		}
		r, err := Read()
		if err != nil {
			t.Fatal(err)
		}
		v := r.Walk(Forward, flow.packet)
		count[v.Kind]++
		// A packet that is late looks like one that is dropped.
		passed := flow.passes(10*time.Millisecond) || v.Kind == Accept && flow.passes(200*time.Millisecond)
		flow.close()
		if v.Kind != Unknown && passed != (v.Kind == Accept) {
			t.Fatalf("seed %d: %s: the kernel lets it pass: %v, Walk says %s (%s)\n%s", seed, flow.packet, passed, v.Kind, v, rules)
		}
	}
	t.Logf("seed %d: %v", seed, count)
	if count[Accept] < rounds/10 || count[Drop] < rounds/10 || count[Unknown] > rounds/3 {
		t.Errorf("that says little: %v", count)
	}
}

// A flow is two UDP sockets, in the container and outside, that may have
// spoken before.
type flow struct {
	packet         Packet
	client, server net.PacketConn
	to             net.Addr
}

func newFlow(l *lab, random *rand.Rand) *flow {
	l.t.Helper()
	l.nft("flush ruleset")
	from, to := "172.17.0.2", "203.0.113.1"
	if random.IntN(2) == 0 {
		from, to = "fd00:17::2", "2001:db8::1"
	}
	f := &flow{packet: Packet{
		In: linkOf("minictr0"), Out: linkOf("eth0"), Protocol: unix.IPPROTO_UDP,
		Source: netip.MustParseAddr(from), Destination: netip.MustParseAddr(to),
		DestinationPort: []uint16{53, 80, 443, 8080}[random.IntN(4)],
	}}
	var err1, err2 error
	f.to = net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.packet.Destination, f.packet.DestinationPort))
	l.in(l.outside, func() { f.server, err1 = net.ListenPacket("udp", f.to.String()) })
	l.in(l.container, func() { f.client, err2 = net.ListenPacket("udp", net.JoinHostPort(from, "0")) })
	if err := errors.Join(err1, err2); err != nil {
		l.t.Fatal(err)
	}
	f.packet.SourcePort = uint16(f.client.LocalAddr().(*net.UDPAddr).Port)
	if random.IntN(3) == 0 { // connection tracking must be on to see it
		l.nft("table inet on { chain forward { type filter hook forward priority 0; ct state new accept; }; }")
		if !f.passes(time.Second) {
			l.t.Fatal("nothing passes without rules")
		}
		f.server.WriteTo([]byte("yes"), f.client.LocalAddr())
		f.client.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err := f.client.ReadFrom(make([]byte, 16)); err != nil {
			l.t.Fatal(err)
		}
		f.packet.State = Established
	}
	return f
}

func (f *flow) passes(patience time.Duration) bool {
	f.client.WriteTo([]byte("hello"), f.to)
	f.server.SetReadDeadline(time.Now().Add(patience))
	_, _, err := f.server.ReadFrom(make([]byte, 16))
	return err == nil
}

func (f *flow) close() { f.client.Close(); f.server.Close() }

// A generator makes rules in nft's language.
type generator struct{ *rand.Rand }

func (g *generator) one(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) ruleset() string {
	var b strings.Builder
	for n := range 1 + g.IntN(3) {
		family := g.one("ip", "ip6", "inet")
		fmt.Fprintf(&b, "table %s t%d {\n", family, n)
		b.WriteString(`	set ports { type inet_service; flags interval; elements = { 50-90, 443 } }
	set links { type ifname; elements = { "minictr0", "docker0" } }
	set pairs { type ifname . inet_service; elements = { "minictr0" . 53, "eth0" . 80 } }
	set spans { type inet_service . inet_proto; flags interval; elements = { 80-500 . udp, 53 . tcp } }
	set nets { type ipv4_addr; flags interval; elements = { 203.0.113.0/25, 10.0.0.0/8 } }
	set nets6 { type ipv6_addr; flags interval; elements = { 2001:db8::/33, fd00:17::2 } }
	map decide { type inet_service : verdict; elements = { 53 : accept, 80 : drop, 443 : jump c3, 8080 : goto c2 } }
	map spread { type inet_service : verdict; flags interval; elements = { 0-79 : jump c3, 80-8079 : continue, 8080-9000 : return } }
	map marks { type inet_service : mark; elements = { 53 : 1, 80 : 2, 443 : 3 } }
`)
		for c := 3; c >= 1; c-- {
			fmt.Fprintf(&b, "	chain c%d {\n%s	}\n", c, g.rules(family, c))
		}
		fmt.Fprintf(&b, "	chain base {\n		type filter hook forward priority %d; policy %s;\n%s	}\n}\n", g.IntN(20)-10, g.one("accept", "accept", "drop"), g.rules(family, 0))
	}
	return b.String()
}

// rules are a few rules of the chain with the number; jumps go to higher ones.
func (g *generator) rules(family string, number int) string {
	var b strings.Builder
	for range g.IntN(5) {
		b.WriteString("		")
		for range g.IntN(3) {
			b.WriteString(g.match(family) + " ")
		}
		b.WriteString(g.verdict(number) + "\n")
	}
	return b.String()
}

func (g *generator) verdict(number int) string {
	if number < 2 && g.IntN(6) == 0 {
		return "udp dport vmap @decide"
	}
	if number < 2 && g.IntN(6) == 0 {
		return "udp dport vmap @spread accept"
	}
	if number < 3 && g.IntN(3) == 0 {
		return fmt.Sprintf("%s c%d", g.one("jump", "jump", "goto"), number+1+g.IntN(3-number))
	}
	return g.one("accept", "drop", "return", "counter", "meta mark set 2", "reject", "continue", "meta mark set udp dport map @marks", "counter accept", "log accept", "limit rate 100/second accept", "ct mark set 7")
}

func (g *generator) match(family string) string {
	all := []string{
		`iifname "minictr0"`, `iifname "mini*"`, `iifname != "minictr0"`, `oifname "eth0"`, `oifname "eth*"`, `oifname != "eth0"`, `iif "minictr0"`, `oif != "eth0"`,
		"meta l4proto udp", "meta l4proto tcp", "meta l4proto { tcp, udp }", "meta l4proto != { tcp, icmp }", "udp dport 53", "udp dport != 53", "udp dport 50-100",
		"udp dport != 50-100", "udp dport { 53, 443 }", "udp dport @ports", "udp dport != @ports", "udp sport > 1024", "udp dport <= 80", "th dport 8080", "tcp dport 53",
		"ct state new", "ct state established,related", "ct state { new, invalid }", "ct state != new", "ct state invalid", "ct direction original", "ct direction reply", "ct status dnat", "ct status seen-reply",
		"iifname @links", "oifname != @links", "iifname . udp dport @pairs", "udp dport . meta l4proto @spans", "meta mark 0", "meta mark 2", "meta mark & 1 == 1", "meta mark != 2", "meta mark set 1",
		"fib daddr type local", "fib daddr type unicast", "fib saddr type != local", "meta pkttype unicast", "ct mark 0", "meta length > 20",
		"meta iifname vmap { \"minictr0\" : continue, \"eth0\" : drop }", "ct zone 0", "fib saddr . iif oif exists", "meta time > 0", "udp length > 8", "ct original proto-dst 53",
	}
	if family != "ip6" {
		all = append(all, "ip saddr 172.17.0.0/16", "ip daddr 203.0.113.1", "ip daddr != 203.0.113.0/28", "ip daddr @nets", "ip saddr != @nets", "ip protocol udp", "ip saddr . ip daddr { 172.17.0.2 . 203.0.113.1 }", "ip daddr 203.0.113.1-203.0.113.9", "ip frag-off & 0x1fff != 0", "ip version 4", "ip dscp 0")
	}
	if family != "ip" {
		all = append(all, "ip6 saddr fd00:17::/64", "ip6 daddr 2001:db8::1", "ip6 daddr != 2001:db8::/126", "ip6 daddr @nets6", "ip6 saddr != @nets6", "ip6 nexthdr udp", "ip6 daddr 2001:db8::1-2001:db8::9", "rt type 0", "exthdr frag exists")
	}
	if family == "inet" {
		all = append(all, "meta nfproto ipv4", "meta nfproto ipv6")
	}
	return all[g.IntN(len(all))]
}
