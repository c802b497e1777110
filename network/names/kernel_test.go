package names_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/test/kernel"
)

func aliases(list ...string) func(*names.Record) {
	return func(r *names.Record) { r.Aliases = list }
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "fd00:30::1/64")
	w.network("red", "172.31.0.1/24", "")
	w.network("six", "", "fd00:6::1/64")
	up := w.internet(1)
	w.resolvConf("nameserver " + up.address.String() + "\n")
	web := w.container("Web", aliases("www", "pool"), "blue")
	w.container("db.1", aliases("pool"), "blue", "red")
	both := w.container("both", nil, "red", "blue")
	red := w.container("red-only", aliases("www"), "red")
	six := w.container("six-only", nil, "six")
	id := web.records[0].Record.Container

	for _, c := range []struct {
		asker      *container
		name, want string
	}{
		{web, "web", "172.30.0.2 fd00:30::2"},
		{web, "WEB", "172.30.0.2 fd00:30::2"},
		{web, "web.blue", "172.30.0.2 fd00:30::2"},
		{web, "web.red", "203.0.113.1"}, // not ours: the internet's
		{web, id[:12], "172.30.0.2 fd00:30::2"},
		{web, id[:11], "203.0.113.1"},
		{web, "db.1", "172.30.0.3 fd00:30::3"},
		{web, "pool", "172.30.0.2 172.30.0.3 fd00:30::2 fd00:30::3"},
		{web, "www", "172.30.0.2 fd00:30::2"},
		{web, "red-only", "203.0.113.1"},
		{web, "missing.example", "none"},
		// On red first, where both asks, and on blue.
		{both, "web", "172.30.0.2 fd00:30::2"},
		{both, "db.1", "172.31.0.2"},
		{both, "db.1.blue", "172.30.0.3 fd00:30::3"},
		{both, "red-only", "172.31.0.4"},
		{both, "www", "172.31.0.4"},
		{both, "www.blue", "172.30.0.2 fd00:30::2"},
		{both, "both", "172.31.0.3"},
		{red, "web", "203.0.113.1"},
		{red, "both", "172.31.0.3"},
		{six, "six-only", "fd00:6::6"},
	} {
		if got := c.asker.lookup(c.name); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.name, c.asker.records[0].Record.Name, got, c.want)
		}
	}
	if n := up.count("Web") + up.count("web") + up.count("pool"); n > 2 { // red asked for web: A and AAAA
		t.Errorf("%d questions for names of ours were passed on", n)
	}
	web.remove()
	if got := both.lookup("web"); got != "203.0.113.1" {
		t.Errorf("after its removal web is %q", got)
	}
}

func TestNoOtherDataThanAddresses(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	up := w.internet(1)
	w.resolvConf("nameserver " + up.address.String() + "\n")
	web := w.container("web", nil, "blue")
	for _, c := range []struct {
		kind    dnsmessage.Type
		class   dnsmessage.Class
		code    dnsmessage.RCode
		answers int
	}{
		{dnsmessage.TypeA, dnsmessage.ClassINET, dnsmessage.RCodeSuccess, 1},
		{dnsmessage.TypeALL, dnsmessage.ClassINET, dnsmessage.RCodeSuccess, 1},
		{dnsmessage.TypeAAAA, dnsmessage.ClassINET, dnsmessage.RCodeSuccess, 0},
		{dnsmessage.TypeMX, dnsmessage.ClassINET, dnsmessage.RCodeSuccess, 0},
		{65 /* HTTPS */, dnsmessage.ClassINET, dnsmessage.RCodeSuccess, 0},
		{dnsmessage.TypeTXT, dnsmessage.ClassCHAOS, dnsmessage.RCodeRefused, 0},
	} {
		for _, network := range []string{"udp", "tcp"} {
			packet, err := exchange(t, web.ns, network, web.gateway(), question(t, "wEb.", c.kind, c.class), 5*time.Second)
			check(t, err)
			var m dnsmessage.Message
			check(t, m.Unpack(packet))
			if m.RCode != c.code || len(m.Answers) != c.answers || m.ID != 4711 || m.Questions[0].Name.String() != "wEb." {
				t.Errorf("%s %v: %v", network, c.kind, m.GoString())
			}
		}
	}
	if n := up.count("wEb"); n != 0 {
		t.Errorf("%d questions were passed on", n)
	}
}

func TestReverse(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "fd00:30::1/64")
	w.network("red", "172.31.0.1/24", "")
	web := w.container("web", nil, "blue")
	long := w.container(strings.Repeat("x", 64), nil, "blue")
	red := w.container("red-only", nil, "red")
	reverse := func(c *container, address string) string {
		list, err := resolver(t, c.ns, c.gateway()).LookupAddr(t.Context(), address)
		if e := (*net.DNSError)(nil); errors.As(err, &e) && e.IsNotFound {
			return "none"
		}
		check(t, err)
		return strings.Join(list, " ")
	}
	for _, c := range []struct {
		asker         *container
		address, want string
	}{
		{web, "172.30.0.2", "web.blue."},
		{web, "fd00:30::2", "web.blue."},
		{long, "172.30.0.3", long.records[0].Record.Container[:12] + ".blue."},
		{web, "172.30.9.9", "none"},
		{web, "172.31.0.2", "none"}, // of a network that it is not on
		{red, "172.31.0.2", "red-only.red."},
		{red, "172.30.0.2", "none"},
	} {
		if got := reverse(c.asker, c.address); got != c.want {
			t.Errorf("%s: %q, want %q", c.address, got, c.want)
		}
	}
}

func TestSharedNameIsRotated(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	var c *container
	for i := range 3 {
		c = w.container(fmt.Sprintf("c%d", i), aliases("pool"), "blue")
	}
	first := map[string]int{}
	for range 9 {
		packet, err := exchange(t, c.ns, "udp", c.gateway(), question(t, "pool.", dnsmessage.TypeA, dnsmessage.ClassINET), 5*time.Second)
		check(t, err)
		var m dnsmessage.Message
		check(t, m.Unpack(packet))
		if len(m.Answers) != 3 {
			t.Fatalf("%d answers", len(m.Answers))
		}
		first[m.Answers[0].Body.GoString()]++
	}
	for a, n := range first {
		if n != 3 {
			t.Errorf("%s was first %d times of 9", a, n)
		}
	}
}

// More addresses than a datagram holds: the rest comes by TCP.
func TestManyAddresses(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	c := w.container("client", nil, "blue")
	for i := range 300 {
		s := names.AddName{Runroot: w.runroot, Network: "blue", Record: names.Record{
			Container: fmt.Sprintf("%064x", i+1000), Name: fmt.Sprintf("c%d", i), Aliases: []string{"pool"},
			Address: netip.AddrFrom4([4]byte{172, 30, 1 + byte(i/250), byte(i % 250)}), Gateway: netip.MustParsePrefix("172.30.0.1/16"),
		}}
		check(t, s.Apply())
	}
	packet, err := exchange(t, c.ns, "udp", c.gateway(), question(t, "pool.", dnsmessage.TypeA, dnsmessage.ClassINET), 5*time.Second)
	check(t, err)
	var m dnsmessage.Message
	check(t, m.Unpack(packet))
	if !m.Truncated || len(m.Answers) != 30 || len(packet) > 512 {
		t.Errorf("by UDP: truncated %v, %d answers, %d bytes", m.Truncated, len(m.Answers), len(packet))
	}
	if got := len(strings.Fields(c.lookup("pool"))); got != 300 {
		t.Errorf("%d addresses", got)
	}
}

func TestForward(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	up, second := w.internet(1), w.internet(2)
	w.resolvConf("# a comment\nsearch example\nnameserver " + up.address.String() + "\nnameserver " + second.address.String() + "\n")
	c := w.container("client", nil, "blue")
	many := func(n int) int {
		return len(strings.Fields(c.lookup(fmt.Sprintf("%s.example", []string{"big", "rude"}[n]))))
	}
	for _, row := range []struct{ name, want string }{
		{"ok.example", "203.0.113.1"},
		{"forged.example", "203.0.113.1"},
		{"missing.example", "none"},
		{"failing.example", "server misbehaving"},
	} {
		if got := c.lookup(row.name); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
	for i := range 2 {
		if n := many(i); n != 200 {
			t.Errorf("%d addresses that need TCP", n)
		}
	}
	if up.count("tcp big.example") == 0 || up.count("tcp rude.example") == 0 || up.count("tcp ok.example") > 0 {
		t.Errorf("asked: %v", up.asked)
	}
	if second.count("ok.example") > 0 || second.count("missing.example") > 0 || second.count("failing.example") == 0 {
		t.Errorf("the second server was asked: %v", second.asked)
	}
	for what, list := range map[string][]uint16{"ids": up.ids, "ports": slices.DeleteFunc(up.ports, func(p uint16) bool { return p == 0 })} {
		slices.Sort(list)
		if different := len(slices.Compact(slices.Clone(list))); different < len(list)-1 {
			t.Errorf("%d different %s of %d", different, what, len(list))
		}
	}
	w.resolvConf("nameserver " + second.address.String() + "\n")
	if got := c.lookup("after.example"); got != "203.0.113.1" || up.count("after.example") > 0 {
		t.Errorf("with another resolv.conf: %q, the old server was asked %d times", got, up.count("after.example"))
	}
}

func TestServersThatDoNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	up := w.internet(1)
	c := w.container("client", nil, "blue")
	for _, row := range []struct {
		servers  []string
		name     string
		code     dnsmessage.RCode
		min, max time.Duration
	}{
		// Nobody there: ICMP says so at once. A server that is silent is left behind
		// after a second.
		{[]string{"127.0.0.1"}, "ok.", dnsmessage.RCodeServerFailure, 0, 950 * time.Millisecond},
		{[]string{"127.0.0.1", up.address.String()}, "ok.", dnsmessage.RCodeSuccess, 0, 950 * time.Millisecond},
		{[]string{"198.51.100.1", up.address.String()}, "ok.", dnsmessage.RCodeSuccess, 0, 950 * time.Millisecond}, // no route
		{[]string{up.address.String()}, "silent.", dnsmessage.RCodeServerFailure, 4 * time.Second, 5 * time.Second},
	} {
		w.resolvConf("nameserver " + strings.Join(row.servers, "\nnameserver ") + "\n")
		for _, network := range []string{"udp", "tcp"} {
			began := time.Now()
			packet, err := exchange(t, c.ns, network, c.gateway(), question(t, row.name, dnsmessage.TypeA, dnsmessage.ClassINET), 10*time.Second)
			check(t, err)
			var m dnsmessage.Message
			check(t, m.Unpack(packet))
			if took := time.Since(began); m.RCode != row.code || took < row.min || took > row.max {
				t.Errorf("%v of %v by %s: %v after %v", row.name, row.servers, network, m.RCode, took)
			}
		}
	}
	if n := up.count("silent"); n < 8 || n > 10 { // by UDP and by TCP, one in each second
		t.Errorf("a silent server was asked %d times", n)
	}
}

func TestSecondServerWhenFirstIsSilent(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	up := w.internet(1)
	sh(t, "ip link add hole up type veth peer name hole2; ip link set hole2 up; ip addr add 198.51.100.2/24 dev hole; ip neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev hole")
	w.resolvConf("nameserver 198.51.100.1\nnameserver " + up.address.String() + "\n")
	c := w.container("client", nil, "blue")
	began := time.Now()
	if got, took := c.lookup("ok.example"), time.Since(began); got != "203.0.113.1" || took > 4*time.Second {
		t.Errorf("%q after %v", got, took)
	}
}

func TestInternal(t *testing.T) {
	w := newWorld(t)
	w.network("inner", "172.30.0.1/16", "").internal = true
	w.network("outer", "172.31.0.1/16", "")
	up := w.internet(1)
	w.resolvConf("nameserver " + up.address.String() + "\n")
	inner := w.container("inner", nil, "inner")
	both := w.container("both", nil, "inner", "outer")
	if got := inner.lookup("both"); got != "172.30.0.3" {
		t.Errorf("both is %q", got)
	}
	if got := inner.lookup("ok.example"); got != "none" || up.count("ok.example") > 0 {
		t.Errorf("from inside: %q, %d questions came out", got, up.count("ok.example"))
	}
	if got := both.lookup("ok.example"); got != "203.0.113.1" {
		t.Errorf("of one that has a way out: %q", got)
	}
	// A --dns server outside of the network is not asked, one on it is.
	outside := w.container("outside", func(r *names.Record) { r.Servers = []netip.Addr{up.address} }, "inner")
	if got := outside.lookup("ok2.example"); got != "none" || up.count("ok2.example") > 0 {
		t.Errorf("by --dns: %q", got)
	}
	on := w.container("on", func(r *names.Record) { r.Servers = []netip.Addr{netip.MustParseAddr("172.30.0.2")} }, "inner")
	serve := func() (udp net.PacketConn) {
		inner.ns.Do(t, func() {
			var err error
			udp, err = net.ListenPacket("udp", "172.30.0.2:53")
			check(t, err)
		})
		return udp
	}()
	defer serve.Close()
	go up.serveUDP(serve)
	if got := on.lookup("ok3.example"); got != "203.0.113.1" {
		t.Errorf("by a server on the network: %q", got)
	}
}

func TestServersOfContainer(t *testing.T) {
	w := newWorld(t)
	b := w.network("blue", "172.30.0.1/16", "")
	host, own := w.internet(1), w.internet(2)
	w.resolvConf("nameserver " + host.address.String() + "\n")
	c := w.container("client", func(r *names.Record) { r.Servers = []netip.Addr{own.address} }, "blue")
	if got := c.lookup("ok.example"); got != "203.0.113.1" || own.count("ok.example") == 0 || host.count("ok.example") > 0 {
		t.Errorf("%q; its own was asked %d times, the host's %d times", got, own.count("ok.example"), host.count("ok.example"))
	}
	// The gateway itself is no server of its own.
	self := w.container("self", func(r *names.Record) { r.Servers = []netip.Addr{b.gateway.Addr()} }, "blue")
	if got := self.lookup("ok.example"); got != "server misbehaving" {
		t.Errorf("--dns GATEWAY: %q", got)
	}
}

func TestNeverAsksItself(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	w.network("red", "172.31.0.1/16", "")
	up := w.internet(1)
	blue := w.container("client", nil, "blue")
	w.container("other", nil, "red")
	w.resolvConf("nameserver 172.30.0.1\nnameserver 172.31.0.1\nnameserver " + up.address.String() + "\n")
	if got := blue.lookup("ok.example"); got != "203.0.113.1" || up.count("ok.example") != 2 { // A and AAAA
		t.Errorf("%q, the other server was asked %d times", got, up.count("ok.example"))
	}
	w.resolvConf("nameserver 172.30.0.1\nnameserver 172.31.0.1\n")
	began := time.Now()
	if got := blue.lookup("ok.example"); got != "server misbehaving" || time.Since(began) > time.Second {
		t.Errorf("with nobody else to ask: %q after %v", got, time.Since(began))
	}
}

// The server answers its containers and the host, and is no server for the LAN.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	b := w.network("blue", "172.30.0.1/16", "fd00:30::1/64")
	w.network("red", "172.31.0.1/16", "")
	sh(t, "sysctl -q -w net.ipv4.ip_forward=1")
	web := w.container("web", nil, "blue")
	red := w.container("red-only", nil, "red")
	neighbour := kernel.NewNetns(t)
	sh(t, fmt.Sprintf("ip link add lan up type veth peer name eth0; ip link set eth0 netns %s; ip addr add 10.9.0.1/24 dev lan; ip addr add fd00:9::1/64 dev lan nodad", neighbour.Path()))
	neighbour.Do(t, func() {
		sh(t, "ip addr add 10.9.0.2/24 dev eth0; ip addr add fd00:9::2/64 dev eth0 nodad; ip link set eth0 up; ip route add 172.30.0.0/16 via 10.9.0.1; ip -6 route add fd00:30::/64 via fd00:9::1")
	})
	ask := func(ns *kernel.Netns, network string, server netip.Addr) bool {
		packet, err := exchange(t, ns, network, server, question(t, "web.", dnsmessage.TypeA, dnsmessage.ClassINET), time.Second)
		return err == nil && len(packet) > 12 && packet[7] == 1
	}
	for _, server := range b.addresses() {
		for _, network := range []string{"udp", "tcp"} {
			for name, row := range map[string]struct {
				ns   *kernel.Netns
				want bool
			}{"container": {web.ns, true}, "host": {w.host, true}, "neighbour": {neighbour, false}} {
				kernel.Eventually(t, 5*time.Second, func() error { // IPv6 may not be ready
					if got := ask(row.ns, network, server); got != row.want {
						return fmt.Errorf("%s by %s of %s: answered %v", name, network, server, got)
					}
					return nil
				})
			}
		}
	}
	if ask(red.ns, "udp", b.gateway.Addr()) || ask(red.ns, "tcp", b.gateway.Addr()) {
		t.Error("a container of another network was answered")
	}
	// The bridge is made anew, under the same name, with another number.
	sh(t, "ip link set br-blue down; ip link del br-blue; ip link add br-blue up type bridge; ip addr add 172.30.0.1/16 dev br-blue; ip link set v1-0 master br-blue")
	if !ask(web.ns, "udp", b.gateway.Addr()) {
		t.Error("not answered by way of the new bridge")
	}
}

// A container that floods the server with questions leaves room for others.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	up := w.internet(1)
	w.resolvConf("nameserver " + up.address.String() + "\n")
	greedy := w.container("greedy", nil, "blue")
	other := w.container("other", nil, "blue")
	var conn net.Conn
	greedy.ns.Do(t, func() {
		var err error
		conn, err = net.Dial("udp", "172.30.0.1:53")
		check(t, err)
	})
	defer conn.Close()
	for range 500 {
		_, err := conn.Write(question(t, "silent.example.", dnsmessage.TypeA, dnsmessage.ClassINET))
		check(t, err)
	}
	for range 30 { // connections that say nothing
		greedy.ns.Do(t, func() {
			c, err := net.Dial("tcp", "172.30.0.1:53")
			check(t, err)
			t.Cleanup(func() { c.Close() })
		})
	}
	if got := other.lookup("ok.example"); got != "203.0.113.1" {
		t.Errorf("another container: %q", got)
	}
	packet, err := exchange(t, other.ns, "tcp", other.gateway(), question(t, "greedy.", dnsmessage.TypeA, dnsmessage.ClassINET), 5*time.Second)
	if err != nil || len(packet) < 12 {
		t.Errorf("by TCP: %v", err)
	}
	if n := up.count("silent.example"); n > 5*64 {
		t.Errorf("%d questions were passed on", n)
	}
}

func TestOneServer(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	c := w.container("client", nil, "blue")
	var all sync.WaitGroup
	errs := make(chan error, 100)
	for range 100 {
		all.Go(func() { w.host.Do(t, func() { errs <- w.start("blue") }) })
	}
	all.Wait()
	close(errs)
	for err := range errs {
		check(t, err)
	}
	w.waitServers("blue", 1)
	if got := c.lookup("client"); got != "172.30.0.2" {
		t.Errorf("client is %q", got)
	}
}

// The server belongs to nobody, and has nothing of who started it.
func TestServerIsOnItsOwn(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	secret, err := os.OpenFile(filepath.Join(t.TempDir(), "secret"), os.O_CREATE|os.O_RDWR, 0o600)
	check(t, err)
	defer secret.Close()
	_, err = unix.FcntlInt(secret.Fd(), unix.F_SETFD, 0) // not close-on-exec, as a shell passes them
	check(t, err)
	w.container("client", nil, "blue")
	pid := w.waitServers("blue", 1)[0]
	proc := fmt.Sprintf("/proc/%d/", pid)
	text, err := os.ReadFile(proc + "stat")
	check(t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	stat := strings.Fields(rest) // state, ppid, pgrp, session, tty
	if stat[1] == fmt.Sprint(os.Getpid()) || stat[3] != fmt.Sprint(pid) || stat[4] != "0" {
		t.Errorf("parent, group, session and terminal: %q", stat[1:5])
	}
	for file, want := range map[string]string{"comm": "minictr-dns\n", "environ": ""} {
		if got, err := os.ReadFile(proc + file); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", file, got, err)
		}
	}
	if cwd, err := os.Readlink(proc + "cwd"); err != nil || cwd != "/" {
		t.Errorf("cwd %s: %v", cwd, err)
	}
	descriptors, err := filepath.Glob(proc + "fd/*")
	check(t, err)
	for _, d := range descriptors {
		if target, _ := os.Readlink(d); strings.HasPrefix(target, "pipe:") || target == secret.Name() {
			t.Errorf("it has %s", target)
		}
	}
	check(t, unix.Kill(pid, unix.SIGHUP))
	time.Sleep(50 * time.Millisecond)
	w.waitServers("blue", 1)
}

func TestKilledServerComesBack(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	c := w.container("client", nil, "blue")
	for range 3 {
		w.kill("blue")
		check(t, w.start("blue"))
		if alive, err := names.Alive(w.runroot, "blue"); !alive || err != nil {
			t.Errorf("alive after Start: %v %v", alive, err)
		}
		if got := c.lookup("client"); got != "172.30.0.2" {
			t.Errorf("client is %q", got)
		}
	}
}

func TestServerGoesAfterTheLast(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	first, second := w.container("first", nil, "blue"), w.container("second", nil, "blue")
	first.remove()
	time.Sleep(2500 * time.Millisecond)
	w.waitServers("blue", 1)
	began := time.Now()
	second.remove()
	w.waitServers("blue", 0)
	if took := time.Since(began); took < 1500*time.Millisecond || took > 4*time.Second {
		t.Errorf("it went after %v", took)
	}
	if _, err := os.Stat(names.Directory(w.runroot, "blue")); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
	third := w.container("third", nil, "blue")
	if got := third.lookup("third"); got != "172.30.0.4" {
		t.Errorf("third is %q", got)
	}
}

// The state of a starter that died after its record, and of a server without any.
func TestStartWithoutServerOrRecord(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	c := w.container("client", nil, "blue")
	w.kill("blue")
	c.remove() // nobody is there to remove the directory
	if _, err := os.Stat(names.Directory(w.runroot, "blue")); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
	check(t, w.start("blue")) // without a record
	w.waitServers("blue", 1)
	w.waitServers("blue", 0)
}

// A server that has given up its directory and not yet its sockets is waited for.
func TestStartWaitsForTheLeaving(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	c := w.container("client", nil, "blue")
	old := w.waitServers("blue", 1)[0]
	check(t, unix.Kill(old, unix.SIGSTOP))
	check(t, os.RemoveAll(names.Directory(w.runroot, "blue")))
	check(t, c.records[0].Apply())
	time.AfterFunc(100*time.Millisecond, func() { _ = unix.Kill(old, unix.SIGCONT) })
	began := time.Now()
	check(t, w.start("blue"))
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("it did not wait: %v", took)
	}
	kernel.Eventually(t, 10*time.Second, func() error {
		if now := w.servers("blue"); len(now) != 1 || now[0] == old {
			return fmt.Errorf("servers %v, the old one was %d", now, old)
		}
		return nil
	})
	if got := c.lookup("client"); got != "172.30.0.2" {
		t.Errorf("client is %q", got)
	}
}

func TestPortInUse(t *testing.T) {
	w := newWorld(t)
	w.network("blue", "172.30.0.1/16", "")
	for _, row := range []struct {
		what string
		open func() (interface{ Close() error }, error)
	}{
		{"udp", func() (interface{ Close() error }, error) { return net.ListenPacket("udp", "172.30.0.1:53") }},
		{"tcp", func() (interface{ Close() error }, error) { return net.Listen("tcp", "172.30.0.1:53") }},
		{"udp everywhere", func() (interface{ Close() error }, error) { return net.ListenPacket("udp4", "0.0.0.0:53") }},
	} {
		taken, err := row.open()
		check(t, err)
		err = w.start("blue")
		inUse, ok := errors.AsType[*names.PortInUseError](err)
		comm, _ := os.ReadFile("/proc/self/comm")
		want := fmt.Sprintf("start the name server of network blue: 172.30.0.1:53 is in use by %s (pid %d)", strings.TrimSpace(string(comm)), os.Getpid())
		if !ok || !errors.Is(inUse, unix.EADDRINUSE) || err.Error() != want {
			t.Errorf("%s: %v, want %v", row.what, err, want)
		}
		check(t, taken.Close())
		if alive, err := names.Alive(w.runroot, "blue"); alive || err != nil {
			t.Errorf("alive: %v %v", alive, err)
		}
	}
	check(t, w.start("blue"))
}

// glibc's resolver, with the container's files.
func TestLibrary(t *testing.T) {
	w := newWorld(t)
	kernel.RequireCommand(t, "getent", "unshare", "nsenter")
	w.network("blue", "172.30.0.1/16", "fd00:30::1/64")
	up := w.internet(1)
	w.resolvConf("nameserver " + up.address.String() + "\n")
	c := w.container("client", nil, "blue")
	w.container("web", aliases("www"), "blue")
	files := t.TempDir()
	check(t, os.WriteFile(files+"/resolv.conf", []byte("nameserver 172.30.0.1\nsearch example\noptions ndots:0 edns0\n"), 0o644))
	check(t, os.WriteFile(files+"/nsswitch.conf", []byte("hosts: dns\n"), 0o644))
	getent := func(args string) string {
		return strings.Join(strings.Fields(sh(t, fmt.Sprintf(`nsenter --net=%s unshare -m sh -ec '
			mount --bind %s/resolv.conf /etc/resolv.conf
			test ! -e /etc/nsswitch.conf || mount --bind %s/nsswitch.conf /etc/nsswitch.conf
			getent %s || echo none'`, c.ns.Path(), files, files, args))), " ")
	}
	for args, want := range map[string]string{
		"ahostsv4 web":       "172.30.0.3 STREAM web 172.30.0.3 DGRAM 172.30.0.3 RAW",
		"ahostsv6 WWW":       "fd00:30::3 STREAM WWW fd00:30::3 DGRAM fd00:30::3 RAW",
		"ahostsv4 ok":        "203.0.113.1 STREAM ok 203.0.113.1 DGRAM 203.0.113.1 RAW",
		"hosts 172.30.0.3":   "172.30.0.3 web.blue",
		"hosts fd00:30::3":   "fd00:30::3 web.blue",
		"hosts missing.host": "none",
	} {
		if got := getent(args); got != want {
			t.Errorf("getent %s: %q, want %q", args, got, want)
		}
	}
}
