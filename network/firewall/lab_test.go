package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// A lab is a host with our bridge and one container, and somebody outside:
//
//	container ── minictr0 (172.17.0.1, fd00:17::1) host eth0 ── outside (203.0.113.1, 2001:db8::1)
//
// The test is on the host. Nothing is translated but port 8080 of the host,
// which is published to port 80 of the container.
type lab struct {
	t                  testing.TB
	home               string // the host's namespace; see atHome
	container, outside *kernel.Netns
}

const published8080 = `
table ip minictr {
	chain prerouting {
		type nat hook prerouting priority dstnat
		iifname eth0 meta l4proto { tcp, udp } th dport 8080 dnat to 172.17.0.2:80
	}
}
table ip6 minictr {
	chain prerouting {
		type nat hook prerouting priority dstnat
		iifname eth0 meta l4proto { tcp, udp } th dport 8080 dnat to [fd00:17::2]:80
	}
}`

func newLab(t testing.TB) *lab {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nft", "ip", "sysctl")
	l := &lab{t: t, container: kernel.NewNetns(t), outside: kernel.NewNetns(t)}
	machine := netnsOfThread(t)
	kernel.InNetns(t)
	if l.home = netnsOfThread(t); l.home == machine {
		t.Fatal("the lab's host is the machine")
	}
	script := `set -e
ip link set lo up
ip link add minictr0 type bridge
ip link add port type veth peer name eth0 netns ` + l.container.Path() + `
ip link add eth0 type veth peer name eth0 netns ` + l.outside.Path() + `
ip link set port master minictr0
for d in minictr0 port eth0; do ip link set $d up; done
ip addr add 172.17.0.1/16 dev minictr0
ip addr add fd00:17::1/64 dev minictr0 nodad
ip addr add 203.0.113.254/24 dev eth0
ip addr add 2001:db8::fe/64 dev eth0 nodad
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`
	l.sh(script)
	l.container.Do(t, func() {
		l.sh(`set -e
ip addr add 172.17.0.2/16 dev eth0; ip addr add fd00:17::2/64 dev eth0 nodad; ip link set eth0 up; ip link set lo up
ip route add default via 172.17.0.1; ip route add default via fd00:17::1`)
	})
	l.outside.Do(t, func() {
		l.sh(`set -e
ip addr add 203.0.113.1/24 dev eth0; ip addr add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 up; ip link set lo up
ip route add 172.17.0.0/16 via 203.0.113.254; ip route add fd00:17::/64 via 2001:db8::fe`)
	})
	l.nft(published8080)
	// The first packet waits for the neighbour's address.
	for _, to := range []string{"203.0.113.1", "2001:db8::1"} {
		kernel.Eventually(t, 5*time.Second, func() error {
			if !l.passes("udp", l.container, l.outside, to+"|7") {
				return errors.New("nothing passes without rules")
			}
			return nil
		})
	}
	return l
}

// atHome ends a test that would write rules outside its own namespace. A
// subtest is a goroutine of its own, on a thread that has never left the
// machine's: whoever starts one makes a lab in it.
func (l *lab) atHome() {
	l.t.Helper()
	if here := netnsOfThread(l.t); here != l.home {
		l.t.Fatalf("the test is in %s and its host is %s: not touched", here, l.home)
	}
}

func netnsOfThread(t testing.TB) string {
	t.Helper()
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func (l *lab) sh(script string) {
	l.t.Helper()
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func (l *lab) nft(script string) {
	l.t.Helper()
	if err := l.load(script); err != nil {
		l.t.Fatalf("%v\n%s", err, script)
	}
}

func (l *lab) load(script string) error {
	l.t.Helper()
	l.atHome()
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(script)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w\n%s", err, out)
	}
	return nil
}

// rules puts a file of testdata into the host, in place of what was there.
func (l *lab) rules(file string) {
	l.t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		l.t.Fatal(err)
	}
	l.nft("flush ruleset\n" + string(content) + published8080)
}

// passes really sends a packet (UDP) or opens a connection and gets an answer
// (TCP). To is address|port, or address|port|port where the server has another.
func (l *lab) passes(protocol string, from, to *kernel.Netns, target string) bool {
	l.t.Helper()
	parts := strings.Split(target, "|")
	address := net.JoinHostPort(parts[0], parts[1])
	listen := ":" + parts[len(parts)-1]
	if protocol == "udp" {
		return l.udp(from, to, address, listen)
	}
	return l.tcp(from, to, address, listen)
}

func (l *lab) in(n *kernel.Netns, f func()) {
	if n == nil {
		f()
		return
	}
	n.Do(l.t, f)
}

// patience is how long a packet may take that comes: veths hand it over before
// the sender's system call returns.
const patience = 150 * time.Millisecond

func (l *lab) udp(from, to *kernel.Netns, address, listen string) (passed bool) {
	l.t.Helper()
	var server net.PacketConn
	var client net.Conn
	var err error
	l.in(to, func() { server, err = net.ListenPacket("udp", listen) })
	if err != nil {
		l.t.Fatal(err)
	}
	defer server.Close()
	l.in(from, func() { client, err = net.Dial("udp", address) })
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	client.Write([]byte("hello"))
	server.SetReadDeadline(time.Now().Add(patience))
	_, _, err = server.ReadFrom(make([]byte, 64))
	return err == nil
}

func (l *lab) tcp(from, to *kernel.Netns, address, listen string) bool {
	l.t.Helper()
	var server net.Listener
	var err error
	l.in(to, func() { server, err = net.Listen("tcp", listen) })
	if err != nil {
		l.t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("hello"))
			c.Close()
		}
	}()
	var client net.Conn
	l.in(from, func() { client, err = (&net.Dialer{Timeout: patience}).Dial("tcp", address) })
	if err != nil {
		return false
	}
	defer client.Close()
	client.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(client)
	return err == nil && string(got) == "hello"
}

// question is what minictr asks for the lab's network.
func (l *lab) question() Question {
	return Question{
		Bridge: "minictr0", Uplink: "eth0",
		Networks: []netip.Prefix{netip.MustParsePrefix("172.17.0.1/16"), netip.MustParsePrefix("fd00:17::1/64")},
		Ports: []Published{
			{netip.MustParseAddrPort("0.0.0.0:8080"), netip.MustParseAddrPort("172.17.0.2:80"), "tcp"},
			{netip.MustParseAddrPort("[::]:8080"), netip.MustParseAddrPort("[fd00:17::2]:80"), "tcp"},
		},
	}
}

// reality is what the kernel does with each thing that Advise asks for.
func (l *lab) reality() map[string]bool {
	passed := map[string]bool{}
	for _, a := range []struct{ family, gateway, outside, host string }{
		{"ip", "172.17.0.1", "203.0.113.1", "203.0.113.254"}, {"ip6", "fd00:17::1", "2001:db8::1", "2001:db8::fe"},
	} {
		passed[a.family+" out"] = l.passes("tcp", l.container, l.outside, a.outside+"|443")
		passed[a.family+" published"] = l.passes("tcp", l.outside, l.container, a.host+"|8080|80")
		passed[a.family+" names udp"] = l.passes("udp", l.container, nil, a.gateway+"|53")
		passed[a.family+" names tcp"] = l.passes("tcp", l.container, nil, a.gateway+"|53")
	}
	return passed
}

// opinion is the same as Walk has it.
func (l *lab) opinion() map[string]bool {
	l.t.Helper()
	r, err := ReadForeign()
	if err != nil {
		l.t.Fatal(err)
	}
	passes := map[string]bool{}
	for _, s := range l.question().samples() {
		if s.aim == bridged {
			continue
		}
		what := map[aim]string{outgoing: "out", published: "published", names: "names"}[s.aim]
		if strings.Contains(s.what, "published") { // and its answers
			what = "published"
		}
		family := familyName(s.packet.family())
		if s.aim == names {
			what += " " + protocolName(s.packet.Protocol)
		}
		v := r.Walk(s.hook, s.packet)
		if v.Kind == Unknown {
			l.t.Errorf("%s: %s", s.packet, v)
		}
		key := fmt.Sprintf("%s %s", family, what)
		if _, seen := passes[key]; !seen {
			passes[key] = true
		}
		passes[key] = passes[key] && v.Kind == Accept
	}
	return passes
}
