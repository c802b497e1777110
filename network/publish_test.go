package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestReach is the table of who reaches what, and as whom. "refused" is silence
// too. Bridges call the firewall for every frame, or they do not (br_netfilter),
// which changes much underneath and must change nothing here.
func TestReach(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { testReach(t, newLab(t)) })
	for _, value := range []string{"0", "1"} {
		if _, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil {
			break // it is not loaded, and would change the whole machine
		}
		t.Run("bridge-nf-call "+value, func(t *testing.T) {
			l := newLab(t)
			sh(t, "sysctl -q -w net.bridge.bridge-nf-call-iptables="+value+" net.bridge.bridge-nf-call-ip6tables="+value)
			testReach(t, l)
		})
	}
}

func testReach(t *testing.T, l *lab) {
	l.publish(t, "a1", "8080:80/tcp")
	l.publish(t, "a1", "8080:80/udp")
	l.publish(t, "a1", "127.0.0.1:8181:80/tcp")
	l.publish(t, "a1", "127.0.0.1:8181:80/udp")
	l.publish(t, "a1", "192.0.2.1:8282:80/tcp")
	l.publish(t, "a1", "192.0.2.1:8282:80/udp")
	l.publish(t, "i1", "8383:80/tcp")
	const no = "refused"
	cases := []struct{ from, to, want string }{
		{"lan", "192.0.2.1:8080", "192.0.2.2"},
		{"lan", "172.30.1.1:8080", "192.0.2.2"},
		{"lan", "192.0.2.1:8282", "192.0.2.2"},
		{"lan", "172.30.1.1:8282", no},
		{"lan", "192.0.2.1:8181", no},
		{"lan", "172.30.1.2:80", no},
		{"lan", "172.30.1.2:8080", no},
		{"lan", "172.30.2.2:80", no},
		{"lan", "172.30.3.2:80", no},
		{"lan", "192.0.2.1:80", "192.0.2.2"}, // the host's own
		{"lan", "192.0.2.1:81", no},
		{"host", "192.0.2.1:8080", "192.0.2.1"},
		{"host", "172.30.1.1:8080", "172.30.1.1"},
		{"host", "127.0.0.1:8080", "172.30.1.1"},
		{"host", "127.0.0.1:8181", "172.30.1.1"},
		{"host", "192.0.2.1:8181", no},
		{"host", "192.0.2.1:8282", "192.0.2.1"},
		{"host", "127.0.0.1:8282", no},
		{"host", "172.30.1.2:80", "172.30.1.1"},
		{"host", "192.0.2.2:80", "192.0.2.1"},
		{"a1", "192.0.2.1:8080", "172.30.1.1"}, // itself: it must not see its own address
		{"a1", "172.30.1.1:8080", "172.30.1.1"},
		{"a1", "172.30.1.2:80", "172.30.1.2"},
		{"a1", "172.30.1.3:80", "172.30.1.2"},
		{"a1", "172.30.2.2:80", no},
		{"a1", "172.30.3.2:80", no},
		{"a1", "192.0.2.2:80", "192.0.2.1"},
		{"a2", "192.0.2.1:8080", "172.30.1.1"}, // a neighbour: answers must come back the same way
		{"a2", "192.0.2.1:8181", no},
		{"b1", "192.0.2.1:8080", "172.30.2.2"},
		{"b1", "172.30.2.1:8080", "172.30.2.2"},
		{"b1", "172.30.1.2:80", no},
		{"b1", "172.30.1.2:8080", no},
		{"b1", "192.0.2.2:80", "192.0.2.1"},
		{"i1", "192.0.2.2:80", no},
		{"i1", "172.30.1.2:80", no},
		{"i1", "192.0.2.1:8080", no},

		{"lan", "[2001:db8::1]:8080", "2001:db8::2"},
		{"lan", "[fd30:1::1]:8080", "2001:db8::2"},
		{"lan", "[fd30:1::2]:80", no},
		{"lan", "[fd30:2::2]:80", no},
		{"host", "[2001:db8::1]:8080", "2001:db8::1"},
		{"host", "[::1]:8080", "fd6d:696e:6963:7472::1"},
		{"host", "[::1]:8181", no},
		{"a2", "[fd6d:696e:6963:7472::1]:8080", no},
		{"a2", "[fd6d:696e:6963:7472::1]:80", no},
		{"lan", "[fd6d:696e:6963:7472::1]:80", no},
		{"host", "[fd6d:696e:6963:7472::1]:80", no},
		{"host", "[fd30:1::2]:80", "fd30:1::1"},
		{"a1", "[2001:db8::1]:8080", "fd30:1::1"},
		{"a2", "[2001:db8::1]:8080", "fd30:1::1"},
		{"a1", "[fd30:1::3]:80", "fd30:1::2"},
		{"a1", "[fd30:2::2]:80", no},
		{"a1", "[2001:db8::2]:80", "2001:db8::1"},
		{"b1", "[2001:db8::1]:8080", "fd30:2::2"},
		{"i1", "[2001:db8::2]:80", no},
		{"i1", "[fd30:1::2]:80", no},
	}
	var all sync.WaitGroup
	for _, c := range cases {
		for _, protocol := range []string{"tcp", "udp"} {
			all.Go(func() {
				if got := call(l.at[c.from], protocol, c.to); got != c.want {
					t.Errorf("%s from %s to %s: %s, want %s", protocol, c.from, c.to, got, c.want)
				}
			})
		}
	}
	all.Wait()
	if got := call(l.lan, "tcp", "192.0.2.1:8383"); got != no {
		t.Errorf("an internal network's port is reached: %s", got)
	}
}

// TestForged: a packet for the host's loopback that comes by a wire gets nowhere,
// though the bridges let 127.0.0.0/8 through.
func TestForged(t *testing.T) {
	l := newLab(t)
	l.publish(t, "a1", "127.0.0.1:8181:80/tcp")
	l.publish(t, "a1", "8080:80/tcp")
	for _, from := range []string{"lan", "a2", "a1", "b1"} {
		gateway := map[string]string{"lan": "192.0.2.1", "a1": "172.30.1.1", "a2": "172.30.1.1", "b1": "172.30.2.1"}[from]
		// 127.0.0.1 goes out by the wire from here.
		sh(t, "nsenter --net="+l.at[from].Path+` sh -ec 'sysctl -q -w net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
			ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via `+gateway+` dev eth0'`)
		for _, port := range []string{"8181", "8080", "99", "80"} {
			if got := call(l.at[from], "tcp", "127.0.0.1:"+port); got != "refused" {
				t.Errorf("from %s to 127.0.0.1:%s of the host: %s", from, port, got)
			}
		}
	}
	if got := call(l.host, "tcp", "127.0.0.1:8181"); got != "172.30.1.1" {
		t.Errorf("from the host: %s", got)
	}
}

// TestRanges: ranges that keep their ports and ranges that do not.
func TestRanges(t *testing.T) {
	l := newLab(t)
	for _, port := range []string{"8000", "8007", "8009"} {
		answer(t, l.at["a1"], port)
	}
	kept := l.publish(t, "a1", "8000-8009:8000-8009")
	shifted := l.publish(t, "a1", "9000-9009:8000-8009/udp")
	one := l.publish(t, "a1", "192.0.2.1:7000-7009:8000-8009")
	for _, c := range []struct{ protocol, to, want string }{
		{"tcp", "192.0.2.1:8000", "192.0.2.2"},
		{"tcp", "192.0.2.1:8009", "192.0.2.2"},
		{"tcp", "192.0.2.1:8010", "refused"},
		{"tcp", "[2001:db8::1]:8007", "2001:db8::2"},
		{"udp", "192.0.2.1:9007", "192.0.2.2"},
		{"udp", "192.0.2.1:9009", "192.0.2.2"},
		{"udp", "192.0.2.1:8009", "refused"},
		{"udp", "[2001:db8::1]:9007", "2001:db8::2"},
		{"tcp", "192.0.2.1:7007", "192.0.2.2"},
		{"tcp", "172.30.1.1:7007", "refused"},
	} {
		if got := call(l.lan, c.protocol, c.to); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.protocol, c.to, got, c.want)
		}
	}
	if got := len(kept.elements(ipv4)) + len(kept.elements(ipv6)); got != 2 {
		t.Errorf("a range is %d elements", got)
	}
	for _, s := range []*PublishPorts{kept, shifted, one} {
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		if err := s.Undo(); err != nil {
			t.Error(err)
		}
		if err := s.Check(); err == nil {
			t.Errorf("%s is still there", s.object())
		}
	}
}

// TestFlushedRuleset: after nft flush ruleset the same steps put back the same.
func TestFlushedRuleset(t *testing.T) {
	l := newLab(t)
	s := l.publish(t, "a1", "8080:80")
	before := sh(t, "nft list ruleset")
	sh(t, "nft flush ruleset")
	if got := call(l.lan, "tcp", "192.0.2.1:8080"); got != "refused" {
		t.Errorf("without a table: %s", got)
	}
	for _, letter := range labNetworks {
		if err := l.firewall(letter).Apply(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	if after := sh(t, "nft list ruleset"); after != before {
		t.Errorf("got\n%s\nwant\n%s", after, before)
	}
	if got := call(l.lan, "tcp", "192.0.2.1:8080"); got != "192.0.2.2" {
		t.Errorf("after that: %s", got)
	}
}

// TestPublishScript: the printed script makes what the step makes.
func TestPublishScript(t *testing.T) {
	l := newLab(t)
	for _, port := range []string{
		"80:80", "8080:80/udp", "127.0.0.1:80:80", "[::1]:8080:80", "0.0.0.0:81:80", "[::]:81:80", "8000-8009:8000-8009",
		"192.0.2.1:8000-8009:8000-8009", "9000-9003:8000-8003", "9000:80/sctp", "[2001:db8::1]:8000-8009:8000-8009/udp",
	} {
		s := l.ports(t, "a1", port)
		clean := sh(t, "nft -j list ruleset")
		sh(t, s.String())
		printed := sh(t, "nft -j list ruleset")
		if err := s.Undo(); err != nil {
			t.Fatal(err)
		}
		if now := sh(t, "nft -j list ruleset"); now != clean {
			t.Errorf("%s: undo leaves\n%s\nwant\n%s", port, now, clean)
		}
		s.Lease = Lease{}
		if err := s.change(nil, map[family][]element{ipv4: s.elements(ipv4), ipv6: s.elements(ipv6)}); err != nil {
			t.Fatal(err)
		}
		if now := sh(t, "nft -j list ruleset"); now != printed || now == clean {
			t.Errorf("%s: the step makes\n%s\nthe script\n%s", port, now, printed)
		}
		texts, err := Published(s.Owner)
		want := strings.TrimSuffix(strings.TrimPrefix(s.String(), "nft -f - <<'END'\n"), "\nEND")
		if err != nil || strings.Join(texts, "\n") != want {
			t.Errorf("%s: the kernel has\n%s\nwant\n%s", port, strings.Join(texts, "\n"), want)
		}
		if err := Unpublish(s.Owner); err != nil {
			t.Fatal(err)
		}
		if now := sh(t, "nft -j list ruleset"); now != clean {
			t.Errorf("%s: unpublish leaves\n%s", port, now)
		}
	}
}

// TestPortInUse: who has a port is named, and nothing is changed.
func TestPortInUse(t *testing.T) {
	l := newLab(t)
	l.publish(t, "a1", "8080:80")
	l.publish(t, "a1", "127.0.0.1:8181:80")
	l.publish(t, "a1", "8500-8509:8500-8509")
	l.publish(t, "a1", "[::1]:8600:80")
	l.publish(t, "a1", "127.0.0.1:8700-8709:8700-8709")
	before := sh(t, "nft list ruleset")
	for _, c := range []struct{ port, want string }{
		{"8080:80", "publish port 0.0.0.0:8080/tcp: in use by container a1"},
		{"192.0.2.1:8080:80", "publish port 192.0.2.1:8080/tcp: in use by container a1"},
		{"8181:80", "publish port 0.0.0.0:8181/tcp: in use by container a1"},
		{"127.0.0.1:8181:81", "publish port 127.0.0.1:8181/tcp: in use by container a1"},
		{"8505:80", "publish port 0.0.0.0:8505/tcp: in use by container a1"},
		{"127.0.0.1:8505:80", "publish port 127.0.0.1:8505/tcp: in use by container a1"},
		{"8509-8512:8509-8512", "publish port 0.0.0.0:8509/tcp: in use by container a1"},
		{"8400-8500:400-500", "publish port 0.0.0.0:8500/tcp: in use by container a1"},
		{"8000-9000:8000-9000", "publish port 0.0.0.0:8080/tcp: in use by container a1"},
		{"8600:80", "publish port [::]:8600/tcp: in use by container a1"},
		{"8709:80", "publish port 0.0.0.0:8709/tcp: in use by container a1"},
		{"80:80", fmt.Sprintf("publish port 0.0.0.0:80/tcp: in use by %s (pid %d)", comm(t), pid())},
		{"80:80/udp", fmt.Sprintf("publish port 0.0.0.0:80/udp: in use by %s (pid %d)", comm(t), pid())},
		{"127.0.0.1:80:80", fmt.Sprintf("publish port 127.0.0.1:80/tcp: in use by %s (pid %d)", comm(t), pid())},
		{"90-200:90-200", fmt.Sprintf("publish port 0.0.0.0:99/tcp: in use by %s (pid %d)", comm(t), pid())},
		{"99:80", fmt.Sprintf("publish port 0.0.0.0:99/tcp: in use by %s (pid %d)", comm(t), pid())},
		{"192.0.2.2:8081:80", "publish port 192.0.2.2:8081/tcp: 192.0.2.2 is not an address of this host"},
		{"[2001:db8::2]:8081:80", "publish port [2001:db8::2]:8081/tcp: 2001:db8::2 is not an address of this host"},
		{"203.0.113.1:8081:80", "publish port 203.0.113.1:8081/tcp: 203.0.113.1 is not an address of this host"},
	} {
		err := l.ports(t, "a2", c.port).Apply()
		if err == nil || err.Error() != c.want {
			t.Errorf("-p %s: %v\nwant %s", c.port, err, c.want)
		}
	}
	if now := sh(t, "nft list ruleset"); now != before {
		t.Errorf("the refused have left\n%s\nwant\n%s", now, before)
	}
	for _, port := range []string{"192.0.2.1:8181:80", "192.0.2.1:99:80", "8080:80/udp", "127.0.0.1:8600:80", "8510:80"} {
		l.publish(t, "a2", port)
	}
	var inUse *PortInUseError
	if err := l.ports(t, "b1", "8080:80").Apply(); !errors.As(err, &inUse) || !errors.Is(err, unix.EADDRINUSE) || inUse.Owner != l.ports(t, "a1", "1:1").Owner {
		t.Errorf("%#v", err)
	}
}

func pid() int { return os.Getpid() }

func comm(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// TestBounce: the script makes the links that the step makes, twice no more than
// once, and the undo leaves nothing.
func TestBounce(t *testing.T) {
	requireTools(t, "ip", "nft")
	freshHost(t)
	clean := snapshot(t)
	s := &AddBounce{}
	for range 2 {
		if err := s.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	// The kernel notices in the background that they are up; ip link says it, and ip addr.
	up := func() string { return fmt.Sprint(strings.Count(snapshot(t), `"operstate": "UP"`)) }
	if diff := settle(func() string { return "4" }, up); diff != "" {
		t.Errorf("links that are up: %s", diff)
	}
	applied := snapshot(t)
	s.made = true // which the second Apply did not
	if err := s.Undo(); err != nil {
		t.Fatal(err)
	}
	if now := snapshot(t); now != clean {
		t.Errorf("left:\n%s", cmp.Diff(clean, now))
	}
	if err := s.Check(); err == nil {
		t.Error("the check finds what is not there")
	}
	for range 2 {
		sh(t, s.String())
		if diff := settle(func() string { return applied }, func() string { return snapshot(t) }); diff != "" {
			t.Errorf("applied (-) and printed (+):\n%s", diff)
		}
	}
	// The last network with IPv6 takes it along.
	l := &lab{}
	if err := l.firewall('a').Apply(); err != nil {
		t.Fatal(err)
	}
	if err := removeNetwork("a"); err != nil {
		t.Fatal(err)
	}
	if now := snapshot(t); now != clean {
		t.Errorf("after the network:\n%s", cmp.Diff(clean, now))
	}
}

// TestOldLayout: the table of an older minictr becomes what a new one is, at once.
func TestOldLayout(t *testing.T) {
	requireTools(t, "nft")
	freshHost(t)
	l := &lab{}
	if err := l.firewall('a').Apply(); err != nil {
		t.Fatal(err)
	}
	want := sh(t, "nft list ruleset")
	sh(t, `nft -f - <<'END'
delete table ip minictr
add table ip minictr
add set ip minictr bridges { type ifname; elements = { "mc-a" comment "network a" }; }
add set ip minictr subnets { type ipv4_addr; flags interval; elements = { 172.30.1.0/24 comment "network a" }; }
add chain ip minictr postrouting { type nat hook postrouting priority srcnat; policy accept; }
add rule ip minictr postrouting ip saddr @subnets oifname != @bridges masquerade comment "minictr: containers leave with the address of the host"
END`)
	if err := l.firewall('a').Check(); err == nil {
		t.Error("the old table passes for a new one")
	}
	if err := l.firewall('a').Apply(); err != nil {
		t.Fatal(err)
	}
	if err := l.firewall('a').Check(); err != nil {
		t.Error(err)
	}
	sorted := func(text string) string {
		lines := strings.Split(text, "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	if now := sh(t, "nft list ruleset"); sorted(now) != sorted(want) {
		t.Errorf("got\n%s\nwant\n%s", now, want)
	}
}

// TestSCTP: the maps hold for SCTP, too. The packets are made by hand, since the
// kernel need not have it.
func TestSCTP(t *testing.T) {
	l := newLab(t)
	l.publish(t, "a1", "9000:80/sctp")
	listen := func(ns Netns) net.PacketConn {
		var p net.PacketConn
		err := ns.Do(func() (err error) { p, err = net.ListenPacket("ip4:132", "0.0.0.0"); return err })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	inside, outside := listen(l.at["a1"]), listen(l.lan)
	packet := sctpInit(5000, 9000)
	if _, err := outside.WriteTo(packet, &net.IPAddr{IP: net.IPv4(192, 0, 2, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := inside.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, from, err := inside.ReadFrom(buffer)
	if err != nil {
		t.Fatal(err)
	}
	if port := binary.BigEndian.Uint16(buffer[2:]); n != len(packet) || port != 80 || from.String() != "192.0.2.2" {
		t.Errorf("%d bytes arrive from %s for port %d", n, from, port)
	}
}

// sctpInit is a packet that begins an association, RFC 9260, 3.3.2.
func sctpInit(from, to uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)   // verification tag, checksum
	b = append(b, 1, 0, 0, 20, 0, 0, 0, 77) // INIT of 20 bytes, initiate tag
	b = append(b, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}
