package network

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// makeNetwork writes a definition; what it is on the host is not made.
func makeNetwork(t testing.TB, s Store, c Creation) (n *Network, err error) {
	t.Helper()
	err = s.locked(func() error {
		if n, err = s.plan(c); err != nil {
			return err
		}
		return s.write(n)
	})
	return n, err
}

// TestMadeSubnets: networks that are not up keep their subnets, from each other
// and from the network bridge.
func TestMadeSubnets(t *testing.T) {
	freshHost(t)
	s := storeIn(t.TempDir())
	for i, c := range []struct {
		creation Creation
		want     string
	}{
		{Creation{IPv4: true}, "172.18.0.1/24 -"},
		{Creation{IPv4: true}, "172.18.1.1/24 -"},
		{Creation{IPv4: true, Subnets: []string{"172.18.0.0/16"}}, "subnet 172.18.0.0/16: it overlaps network net0 (172.18.0.0/24), network net1 (172.18.1.0/24)"},
		{Creation{IPv4: true, Subnets: []string{"172.17.5.0/24"}}, "172.17.5.1/24 -"},
		{Creation{IPv4: true, Subnets: []string{"fd00:5::/64"}, Gateways: []string{"fd00:5::5"}}, "172.18.2.1/24 fd00:5::5/64"},
		{Creation{IPv6: true, Subnets: []string{"fd00:5::/56"}}, "subnet fd00:5::/56: it overlaps network net4 (fd00:5::/64)"},
		{Creation{IPv6: true, Subnets: []string{"fd00:6::/64"}}, "- fd00:6::1/64"},
		{Creation{IPv4: true, Reserved: map[string]string{"router": "172.18.9.1"}}, "aux-address 172.18.9.1: not in the subnet 172.18.3.0/24"},
	} {
		c.creation.Name = fmt.Sprintf("net%d", i)
		n, err := makeNetwork(t, s, c.creation)
		got := errorText(err)
		if err == nil {
			got = strings.ReplaceAll(n.Gateway.String()+" "+n.Gateway6.String(), "invalid Prefix", "-")
		}
		if got != c.want {
			t.Errorf("%d:\ngot  %s\nwant %s", i, got, c.want)
		}
	}
	n, err := makeNetwork(t, s, Creation{Name: "ula", IPv6: true, IPv4: true})
	if err != nil || n.Gateway6.Bits() != 64 || !strings.HasPrefix(n.Gateway6.String(), "fd"+n.ID[:2]) {
		t.Errorf("of network %s: %s, %v", n.ID, n.Gateway6, err)
	}
	r := requestOf("", 1)
	r.Store = s
	cfg, err := Resolve(r)
	if err != nil || cfg.Endpoints[0].Network.Gateway.String() != "172.19.0.1/16" {
		t.Errorf("the network bridge: %v, %v", cfg, err)
	}
}

// TestResolveBoth: a container gets an address of each family of its network.
func TestResolveBoth(t *testing.T) {
	freshHost(t)
	s := storeIn(t.TempDir())
	for _, c := range []Creation{
		{Name: "both", IPv4: true, Subnets: []string{"10.5.0.0/24", "fd00:5::/64"}, Ranges: []string{"10.5.0.128/25"}, Reserved: map[string]string{"nas": "10.5.0.129"}},
		{Name: "six", IPv6: true, Subnets: []string{"fd00:6::/64"}},
	} {
		if _, err := makeNetwork(t, s, c); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		use  Use
		want string
	}{
		{Use{Network: "both"}, "10.5.0.128/24 fd00:5::80/64 02:42:0a:05:00:80"},
		{Use{Network: "both"}, "10.5.0.130/24 fd00:5::82/64 02:42:0a:05:00:82"},
		{Use{Network: "both", IP: "10.5.0.7"}, "10.5.0.7/24 fd00:5::7/64 02:42:0a:05:00:07"},
		{Use{Network: "both", IP6: "fd00:5::dead:beef:1"}, "10.5.0.131/24 fd00:5::dead:beef:1/64 02:42:0a:05:00:83"},
		{Use{Network: "both", IP: "10.5.0.8", IP6: "fd00:5::84"}, "10.5.0.8/24 fd00:5::84/64 02:42:0a:05:00:08"},
		{Use{Network: "both"}, "10.5.0.132/24 fd00:5::85/64 02:42:0a:05:00:84"},
		{Use{Network: "six"}, "invalid Prefix fd00:6::2/64 02:42:00:00:00:02"},
		{Use{Network: "both", IP: "10.5.0.129"}, "ip 10.5.0.129: a reserved address (--aux-address)"},
		{Use{Network: "both", IP6: "fd00:5::80"}, "lease address fd00:5::80: in use by container " + owner(0)},
		{Use{Network: "both", IP6: "fd00:5::1"}, "ip6 fd00:5::1: the address of the gateway"},
		{Use{Network: "both", IP6: "fd00:5::"}, "ip6 fd00:5::: the address of all routers of the subnet (RFC 4291, 2.6.1)"},
		{Use{Network: "both", IP6: "fd00:6::9"}, "ip6 fd00:6::9: not in the subnet fd00:5::/64 of network both"},
		{Use{Network: "both", IP6: "10.5.0.9"}, "ip6 10.5.0.9: not an IPv6 address"},
		{Use{Network: "both", IP6: "fd00:5::9%eth0"}, "ip6 fd00:5::9%eth0: not an IP address"},
		{Use{Network: "six", IP: "10.5.0.9"}, "ip 10.5.0.9: network six has no IPv4"},
	} {
		r := requestOf("", i)
		r.Store, r.Uses = s, []Use{c.use}
		cfg, err := Resolve(r)
		got := errorText(err)
		if err == nil {
			i := cfg.Endpoints[0].Interface
			got = fmt.Sprintf("%s %s %s", i.Address, i.Address6, i.MAC)
		}
		if got != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.use, got, c.want)
		}
	}
}

// fillBridge gives the containers first to last a lease of the network bridge, and
// a port each, two of which are the ends of one pair; they stay down, or packets
// would go round for ever.
func fillBridge(t testing.TB, runroot string, first, last int) {
	t.Helper()
	if last < first {
		return
	}
	var links, masters strings.Builder
	for i := first; i <= last; i++ {
		if _, err := Resolve(requestOf(runroot, i)); err != nil {
			t.Fatalf("container %d: %v", i, err)
		}
		if (i-first)%2 == 0 {
			one, other := hostPrefix+owner(i)[:8], hostPrefix+owner(i + 1)[:8]
			fmt.Fprintf(&links, "link add %s master minictr0 type veth peer name %s\n", one, other)
			fmt.Fprintf(&masters, "link set %s master minictr0\n", other)
		}
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(links.String()+masters.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, "ip -b "+file)
}

// TestFullBridgeResolve: the 1,024th container fails before anything is made.
func TestFullBridgeResolve(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	runroot := t.TempDir()
	cfg := resolve(t, runroot, 1)
	run(t, Shared(cfg))
	fillBridge(t, runroot, 2, 1001)
	for i := 1002; i <= 1023; i++ {
		if _, err := Resolve(requestOf(runroot, i)); err != nil {
			t.Fatalf("container %d: %v", i, err)
		}
	}
	before, err := readLeases(cfg.Endpoints[0].Lease.File)
	if err != nil {
		t.Fatal(err)
	}
	links1 := sh(t, "ip -o link | wc -l")
	for _, dry := range []bool{true, false} {
		r := requestOf(runroot, 1024)
		r.DryRun = dry
		_, err = Resolve(r)
		want := "lease an address of 172.17.0.0/16: its bridge has 1023 ports, the most that Linux gives a bridge (BR_PORT_BITS)"
		if errorText(err) != want || !errors.Is(err, unix.EXFULL) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	after, err := readLeases(cfg.Endpoints[0].Lease.File)
	if err != nil || !maps.Equal(before, after) || len(after) != 1023 {
		t.Errorf("%d leases, then %d, %v", len(before), len(after), err)
	}
	if links2 := sh(t, "ip -o link | wc -l"); links1 != links2 {
		t.Errorf("%s links, then %s", links1, links2)
	}
	macs := map[string]bool{}
	for a := range after {
		macs[macOf(a)] = true
	}
	if len(macs) != len(after) {
		t.Errorf("%d hardware addresses of %d: %v", len(macs), len(after), slices.Sorted(maps.Keys(macs)))
	}
}

// TestRemovedMeanwhile: a network that is removed between looking it up and taking an
// address of it is not used, and no table of leases is made.
func TestRemovedMeanwhile(t *testing.T) {
	freshHost(t)
	dir := t.TempDir()
	s := storeIn(dir)
	n, err := makeNetwork(t, s, Creation{Name: "gone", IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, again := range []bool{false, true} { // another one is made under its name
		if err := s.forget(n); err != nil {
			t.Fatal(err)
		}
		if again {
			if _, err := makeNetwork(t, s, Creation{Name: "gone", IPv4: true}); err != nil {
				t.Fatal(err)
			}
		}
		r := requestOf(dir, 1)
		e := &Endpoint{Network: *n, Lease: Lease{File: leaseFile(dir, n.Name), Owner: r.Owner}}
		if err := r.takeAddresses(c, e, Use{Network: n.Name}); !errors.Is(err, ErrNotFound) {
			t.Errorf("made again: %t: got %v", again, err)
		}
		if _, err := os.Lstat(e.Lease.File); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("made again: %t: the table of leases: %v", again, err)
		}
	}
}
