package netapplet

import (
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// numbers are what differs between two runs: times and, in a packet, identifiers.
var numbers = regexp.MustCompile(`time[= ][0-9.]+ ?ms|= [0-9./]+ ms|[0-9.]+ ms`)

func steady(s string) string { return numbers.ReplaceAllString(s, "T") }

// sockets runs a test with each of the two kinds of socket that ICMP has.
func sockets(t *testing.T, test func(t *testing.T, a, router, b *host)) {
	for name, groups := range map[string]string{"datagram": "0 2147483647", "raw": "1 0"} {
		t.Run(name, func(t *testing.T) {
			a, router, b := newRouted(t)
			for _, h := range []*host{a, router, b} {
				h.sysctl("net/ipv4/ping_group_range", groups)
				h.sysctl("net/ipv4/icmp_ratelimit", "0")
				h.sysctl("net/ipv6/icmp/ratelimit", "0")
			}
			test(t, a, router, b)
		})
	}
}

func TestPing(t *testing.T) {
	sockets(t, func(t *testing.T, a, _, b *host) {
		for _, c := range []struct {
			from *host
			args string
			want string
			code int
		}{
			{a, "-c 2 -i 0.05 10.0.2.2", `PING 10.0.2.2 (10.0.2.2) 56(84) bytes of data.
64 bytes from 10.0.2.2: icmp_seq=1 ttl=63 T
64 bytes from 10.0.2.2: icmp_seq=2 ttl=63 T

--- 10.0.2.2 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, T
rtt min/avg/max/mdev T
`, 0},
			{b, "-c 1 fd00:1::1", `PING fd00:1::1(fd00:1::1) 56 data bytes
64 bytes from fd00:1::1: icmp_seq=1 ttl=63 T

--- fd00:1::1 ping statistics ---
1 packets transmitted, 1 received, 0% packet loss, T
rtt min/avg/max/mdev T
`, 0},
			{a, "-q -c 1 -s 3000 -I eth0 10.0.2.2", `PING 10.0.2.2 (10.0.2.2) from eth0: 3000(3028) bytes of data.

--- 10.0.2.2 ping statistics ---
1 packets transmitted, 1 received, 0% packet loss, T
rtt min/avg/max/mdev T
`, 0},
			{a, "-c 1 -t 1 10.0.2.2", `PING 10.0.2.2 (10.0.2.2) 56(84) bytes of data.
From 10.0.1.2 icmp_seq=1 Time to live exceeded

--- 10.0.2.2 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, T
`, 1},
			{a, "-c 1 -t 1 fd00:2::2", `PING fd00:2::2(fd00:2::2) 56 data bytes
From fd00:1::2 icmp_seq=1 Time exceeded: Hop limit

--- fd00:2::2 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, T
`, 1},
			{a, "-c 1 10.0.2.77", `PING 10.0.2.77 (10.0.2.77) 56(84) bytes of data.
From 10.0.1.2 icmp_seq=1 Destination Host Unreachable

--- 10.0.2.77 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, T
`, 1},
			{a, "-c 1 -W 0.1 -I 10.0.1.1 10.0.1.77", `PING 10.0.1.77 (10.0.1.77) from 10.0.1.1: 56(84) bytes of data.

--- 10.0.1.77 ping statistics ---
1 packets transmitted, 0 received, 100% packet loss, T
`, 1},
		} {
			r := c.from.run("ping", strings.Fields(c.args)...)
			if diff := cmp.Diff(c.want, steady(r.out)); diff != "" || r.code != c.code || r.err != "" {
				t.Errorf("ping %s: exit code %d, %s\n%s", c.args, r.code, r.err, diff)
			}
		}
	})
}

func TestPingEndsWithItsSummary(t *testing.T) {
	a, _ := newPair(t)
	p := a.start("", "ping", "-i", "0.05", "10.0.1.2")
	p.until("icmp_seq=3")
	if r := p.signal(syscall.SIGINT); r.code != 0 || !strings.Contains(r.out, " 0% packet loss") {
		t.Errorf("after SIGINT: exit code %d, %s", r.code, r.out)
	}
	if r := a.run("ping", "-c", "3", "-w", "0.1", "10.0.1.2"); r.code != 1 {
		t.Errorf("-w before all has come: exit code %d, want 1\n%s", r.code, r.out)
	}
}

func TestPingCannot(t *testing.T) {
	a, _ := newPair(t)
	for args, want := range map[string]string{
		"-c 1 10.9.9.9":   "ping: send to 10.9.9.9: network is unreachable\n",
		"-c 1 10.0.1.255": "ping: send to 10.0.1.255: permission denied: is it a broadcast address? Then -b\n",
		"-I nosuch ::1":   "ping: bind to interface nosuch: no such device\n",
		"-6 127.0.0.1":    "ping: 127.0.0.1: not an address of the family that was asked for\n",
	} {
		if r := a.run("ping", strings.Fields(args)...); r.code != 2 || r.err != want {
			t.Errorf("ping %s: exit code %d, %q, want %q", args, r.code, r.err, want)
		}
	}
}

func TestTraceroute(t *testing.T) {
	sockets(t, func(t *testing.T, a, _, _ *host) {
		for args, want := range map[string]string{
			"-n 10.0.2.2":                        "traceroute to 10.0.2.2 (10.0.2.2), 30 hops max, 60 byte packets\n 1  10.0.1.2  T  T  T\n 2  10.0.2.2  T  T  T\n",
			"-n -I 10.0.2.2":                     "traceroute to 10.0.2.2 (10.0.2.2), 30 hops max, 60 byte packets\n 1  10.0.1.2  T  T  T\n 2  10.0.2.2  T  T  T\n",
			"-n fd00:2::2":                       "traceroute to fd00:2::2 (fd00:2::2), 30 hops max, 60 byte packets\n 1  fd00:1::2  T  T  T\n 2  fd00:2::2  T  T  T\n",
			"-n -I fd00:2::2":                    "traceroute to fd00:2::2 (fd00:2::2), 30 hops max, 60 byte packets\n 1  fd00:1::2  T  T  T\n 2  fd00:2::2  T  T  T\n",
			"-n -w 0.1 -m 2 -f 2 -q 2 10.0.2.77": "traceroute to 10.0.2.77 (10.0.2.77), 2 hops max, 60 byte packets\n 2  * *\n",
		} {
			if r := a.run("traceroute", strings.Fields(args)...); r.code != 0 || steady(r.out) != want {
				t.Errorf("traceroute %s: exit code %d, %s\n%s", args, r.code, r.err, cmp.Diff(want, steady(r.out)))
			}
		}
	})
}
