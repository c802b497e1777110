package network

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// internet gives the host an uplink to a second namespace, "the internet",
// which knows no route back to any private network: 192.0.2.1 here, 192.0.2.2
// there.
func internet(t testing.TB, mtu int) Netns {
	t.Helper()
	there := freshNetns(t, "internet")
	up := AddVeth{Host: "uplink", Peer: "eth0", MAC: "02:42:00:00:00:01", MTU: mtu, Netns: there}
	err := once(Netns{}, func(c *conn) error {
		netns, err := there.Open()
		if err != nil {
			return err
		}
		defer netns.Close()
		info, err := up.info(int(netns.Fd()))
		if err != nil {
			return err
		}
		return c.do(newLink(nl.NewIfInfomsg(unix.AF_UNSPEC), up.Host, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))), info), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	sh(t, "ip link set lo up; ip addr add 192.0.2.1/24 dev uplink; ip link set uplink up; nsenter --net="+there.Path+
		" sh -ec 'ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up'; ip route add default via 192.0.2.2")
	return there
}

// serve answers every TCP connection to the address in the namespace with the
// address that it comes from.
func serve(t testing.TB, ns Netns, address string) {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprint(c, host)
			c.Close()
		}
	}()
}

// ask connects to the address from the namespace and returns the answer.
func ask(t testing.TB, ns Netns, address string) (answer string) {
	t.Helper()
	err := ns.Do(func() error {
		c, err := net.DialTimeout("tcp4", address, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		answer = string(text)
		return err
	})
	if err != nil {
		t.Errorf("from %s to %s: %v", ns.Path, address, err)
	}
	return answer
}

func TestWayOut(t *testing.T) {
	requireTools(t, "ip", "nsenter")
	freshHost(t)
	outside := internet(t, 1400)
	runroot := t.TempDir()
	one, two := resolve(t, runroot, 1), resolve(t, runroot, 2)
	run(t, plan(one))
	run(t, plan(two))
	for _, cfg := range []*Config{one, two} {
		if cfg.Endpoints[0].Interface.MTU != 1400 {
			t.Errorf("the MTU is %d, not that of the uplink, 1400", cfg.Endpoints[0].Interface.MTU)
		}
		serve(t, cfg.Netns, cfg.Endpoints[0].Interface.Address.Addr().String()+":80")
	}
	serve(t, outside, "192.0.2.2:80")
	host := Netns{Path: fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())}
	serve(t, host, "0.0.0.0:80")

	for _, c := range []struct {
		name    string
		from    Netns
		to      string
		arrives string
	}{
		{"container to internet, masqueraded", one.Netns, "192.0.2.2", "192.0.2.1"},
		{"container to container, with its own address", one.Netns, "172.17.0.3", "172.17.0.2"},
		{"and back", two.Netns, "172.17.0.2", "172.17.0.3"},
		{"container to gateway", one.Netns, "172.17.0.1", "172.17.0.2"},
		{"host to container", host, "172.17.0.2", "172.17.0.1"},
		{"container to itself", one.Netns, "172.17.0.2", "172.17.0.2"},
	} {
		if got := ask(t, c.from, c.to+":80"); got != c.arrives {
			t.Errorf("%s: arrives from %q, want %s", c.name, got, c.arrives)
		}
	}
	// lo has ::1, eth0 no IPv6 at all.
	err := one.Netns.Do(func() error {
		l, err := net.Listen("tcp6", "[::1]:0")
		if err != nil {
			return err
		}
		return l.Close()
	})
	if err != nil && !strings.Contains(err.Error(), "not supported") {
		t.Errorf("::1 in the container: %v", err)
	}
}

func TestInspect(t *testing.T) {
	requireTools(t, "ip", "nft")
	freshHost(t)
	runroot := t.TempDir()
	cfg := resolve(t, runroot, 1)
	run(t, plan(cfg))
	live, err := Inspect(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(live.Drift) > 0 {
		t.Errorf("drift: %s", live.Drift)
	}
	a := live.Attachments[0]
	index := func(ns Netns, link string) (i int) {
		if err := once(ns, func(c *conn) (err error) { i, err = c.index(link); return err }); err != nil {
			t.Fatal(err)
		}
		return i
	}
	got := fmt.Sprintln(a.Bridge, a.BridgeIndex, a.HostInterface, a.HostIndex, a.PortState, a.Interface, a.Index, a.MAC, a.MTU, a.Addresses, a.Gateway)
	want := fmt.Sprintln("minictr0", index(Netns{}, "minictr0"), "veth00000001", index(Netns{}, "veth00000001"), "forwarding",
		"eth0", index(cfg.Netns, "eth0"), "02:42:ac:11:00:02", 1500, "[172.17.0.2/16]", "172.17.0.1")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, want := range []string{
		`add element ip minictr bridges { "minictr0" comment "network bridge" }`,
		`add element ip minictr subnets { 172.17.0.0/16 comment "network bridge" }`,
		`add rule ip minictr postrouting ip saddr @subnets oifname != @bridges masquerade comment "minictr: containers leave with the address of the host"`,
	} {
		if !slices.Contains(a.Rules, want) {
			t.Errorf("not among the rules:\n%s", want)
		}
	}
	// What was rendered, nft understands: it makes the same table again.
	before := sh(t, "nft list table ip minictr")
	var flush strings.Builder
	for _, c := range newTable(ipv4).chains() {
		flush.WriteString("flush chain ip minictr " + c.Name + "\n")
	}
	for _, set := range networkSets() {
		flush.WriteString("flush set ip minictr " + set + "\n")
	}
	sh(t, "nft -f - <<'END'\n"+flush.String()+strings.Join(a.Rules, "\n")+"\nEND")
	if after := sh(t, "nft list table ip minictr"); after != before {
		t.Errorf("the rendered rules make\n%s\nnot\n%s", after, before)
	}
}

// TestDrift: whatever somebody takes away, Inspect says so.
func TestDrift(t *testing.T) {
	requireTools(t, "ip", "nft", "nsenter", "sysctl")
	const inside = "nsenter --net=$NETNS "
	for _, c := range []struct{ command, want string }{
		{"nft delete element ip minictr bridges '{ minictr0 }'", `check firewall of network bridge: "minictr0" is not in the set bridges of table ip minictr`},
		{"nft flush chain ip minictr postrouting", "check firewall of network bridge: chain postrouting of table ip minictr does not have the rule: ip saddr"},
		{"sysctl -q -w net.ipv4.ip_forward=0", "check sysctl net/ipv4/ip_forward=1: it is 0"},
		{"ip link set minictr0 down", "check link minictr0: it is down"},
		{"ip addr flush dev minictr0", "check address 172.17.0.1/16 to minictr0: the link does not have it"},
		{"ip link del minictr0", "check bridge minictr0: no such device"},
		{"ip link set veth00000001 nomaster", "check veth veth00000001: not a port of minictr0"},
		{"ip link del veth00000001", "check veth veth00000001: no such device"},
		{inside + "ip link set eth0 mtu 1300", "check veth veth00000001: its peer eth0 has MTU 1300, not 1500"},
		{inside + "ip route del default", "check route default via 172.17.0.1 in the container: there is no such route"},
		{inside + "ip link set lo down", "check link lo in the container: it is down"},
		{inside + "ip addr flush dev eth0", "check address 172.17.0.2/16 to eth0 in the container: the link does not have it"},
		{inside + "sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=0", "check no IPv6 on eth0 in the container: disable_ipv6 is 0, not 1"},
	} {
		t.Run(c.command, func(t *testing.T) {
			freshHost(t)
			cfg := resolve(t, t.TempDir(), 1)
			run(t, plan(cfg))
			sh(t, strings.ReplaceAll(c.command, "$NETNS", cfg.Netns.Path))
			a, err := Inspect(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(a.Drift, "\n"), c.want) {
				t.Errorf("drift is %q, want %s", a.Drift, c.want)
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	requireTools(t, "ip", "nft")
	requireRoot(t)
	clean := untouched(t)
	freshHost(t)
	runroot := t.TempDir()
	store := storeIn(runroot)
	if list, err := store.States(); err != nil || len(list) != 3 || list[0].Subnet().IsValid() {
		t.Errorf("before anything is made: %+v, %v", list, err)
	}
	cfg := resolve(t, runroot, 1)
	run(t, plan(cfg))
	s, err := store.Inspect("bridge")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(s.Name, s.Driver, s.Bridge, s.Subnet(), s.Gateway, s.MTU, s.Up, s.Ports, s.Leases, len(s.Rules))
	want := fmt.Sprintln("bridge", "bridge", "minictr0", "172.17.0.0/16", "172.17.0.1/16", 1500, true, "[veth00000001]", "map[172.17.0.2:"+owner(1)+"]", 6+len(newTable(ipv4).rules()))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	err = store.Remove("bridge", everybody)
	if want := "remove network bridge: in use by container " + owner(1); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	sh(t, "ip link add mine type veth peer name yours; ip link set mine master minictr0")
	nobody := func(string) bool { return false }
	err = store.Remove("bridge", nobody)
	if want := "remove network bridge: the bridge has ports that minictr did not make: mine"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	sh(t, "ip link del mine")
	if err := (&AddVeth{Host: cfg.Endpoints[0].Interface.Host}).Undo(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := store.Remove("bridge", nobody); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, "sysctl -q -w net.ipv4.ip_forward=0")
	if diff := settle(func() string { return clean }, func() string { return snapshot(t) }); diff != "" {
		t.Errorf("left:\n%s", diff)
	}
	if left, _ := filepath.Glob(runroot + "/leases/*"); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
	if err := store.Remove("elsewhere", nobody); err == nil {
		t.Error("a network that is not there was removed")
	}
}

// TestSecondNetwork: two networks share the table, and one goes without the other.
func TestSecondNetwork(t *testing.T) {
	requireTools(t, "nft")
	freshHost(t)
	one := resolve(t, t.TempDir(), 1)
	two := *one
	two.Endpoints = []Endpoint{{Network: Network{Name: "blue", Bridge: "br-blue", Gateway: netip.MustParsePrefix("172.18.0.1/16"), MAC: "02:42:ac:12:00:01"}}}
	first, second := Shared(one), Shared(&two)
	run(t, first)
	alone := sh(t, "nft list ruleset")
	run(t, second)
	if n := strings.Count(sh(t, "nft list ruleset"), "subnets oifname"); n != 1 {
		t.Errorf("%d masquerade rules for two networks", n)
	}
	rules, err := rulesOf("blue")
	if err != nil || !strings.Contains(strings.Join(rules, "\n"), `subnets { 172.18.0.0/16 comment "network blue" }`) {
		t.Errorf("the rules of blue: %s, %v", rules, err)
	}
	for i := len(second) - 1; i >= 0; i-- {
		if err := second[i].Undo(); err != nil {
			t.Error(err)
		}
	}
	if now := sh(t, "nft list ruleset"); now != alone {
		t.Errorf("after the second went:\n%s\nwant\n%s", now, alone)
	}
}

// TestFullBridge: the kernel's EXFULL comes out in words.
func TestFullBridge(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	cfg := resolve(t, t.TempDir(), 1)
	run(t, Shared(cfg))
	// Both ends of each pair go on the bridge; 511 pairs and one make 1023.
	var batch strings.Builder
	for i := range 511 {
		fmt.Fprintf(&batch, "link add a%d master minictr0 type veth peer name b%d\n", i, i)
	}
	batch.WriteString("link add last master minictr0 type veth peer name other\n")
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, "ip -b "+file+"; for i in $(seq 0 510); do echo link set b$i master minictr0; done | ip -b -")
	err := Inside(cfg)[1].Apply()
	wantCause(t, err, "add veth veth00000001: the bridge has 1023 ports, the most that a bridge can have", unix.EXFULL)
}
