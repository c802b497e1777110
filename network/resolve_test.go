package network

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minictr/minictr/runtime/step"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares the text with the file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// example is a resolved configuration; no root and no kernel needed.
func example(mode Mode) *Config {
	cfg := &Config{Mode: mode, Netns: Netns{Name: "web"}}
	if mode == Bridge {
		gateway := netip.MustParsePrefix("172.17.0.1/16")
		e := Endpoint{Lease: Lease{File: "/run/minictr/leases/bridge", Owner: "4f0c9d2e"}, Default: true}
		e.Network = Network{Name: "bridge", Driver: BridgeDriver, Bridge: DefaultBridge, Gateway: gateway, MAC: macOf(gateway.Addr())}
		e.Interface = Interface{Name: "eth0", Host: "veth4f0c9d2e", Address: netip.MustParsePrefix("172.17.0.2/16"), MAC: "02:42:ac:11:00:02", MTU: 1500}
		cfg.Endpoints = []Endpoint{e}
	}
	return cfg
}

// TestPlan shows the plans as the scripts that they print as.
func TestPlan(t *testing.T) {
	for _, mode := range []Mode{Bridge, None, Host, Container, Namespace} {
		cfg := example(mode)
		steps := plan(cfg)
		if mode == Bridge || mode == None {
			steps = append([]step.Step{&AddNetns{cfg.Netns.Name}}, steps...)
		}
		golden(t, string(mode), step.Script(steps))
	}
}

// TestConfigJSON: what the state keeps gives the same plan again.
func TestConfigJSON(t *testing.T) {
	for _, mode := range []Mode{Bridge, None} {
		cfg := example(mode)
		text, err := json.MarshalIndent(cfg, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, string(mode)+".json", string(text)+"\n")
		var back Config
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if step.Script(plan(&back)) != step.Script(plan(cfg)) {
			t.Errorf("%s: another plan after %s", mode, text)
		}
	}
}

func TestParseMode(t *testing.T) {
	for _, c := range []struct {
		text, target string
		mode         Mode
	}{
		{"", "bridge", Bridge},
		{"bridge", "bridge", Bridge},
		{"default", "bridge", Bridge},
		{"none", "", None},
		{"host", "", Host},
		{"container:web", "web", Container},
		{"ns:/run/netns/a:b", "/run/netns/a:b", Namespace},
		{"blue", "blue", Bridge},
		{"blue:", "", ""},
		{"b/lue", "", ""},
		{"container:", "", ""},
		{"ns:", "", ""},
		{"host:x", "", ""},
		{"bridge:", "", ""},
	} {
		mode, target, err := ParseMode(c.text)
		if mode != c.mode || target != c.target || (err == nil) != (c.mode != "") {
			t.Errorf("ParseMode(%q) = %q, %q, %v, want %q, %q", c.text, mode, target, err, c.mode, c.target)
		}
	}
}

func TestBroadcast(t *testing.T) {
	for prefix, want := range map[string]string{
		"172.17.0.1/16": "172.17.255.255", "192.168.16.1/20": "192.168.31.255", "10.0.0.1/30": "10.0.0.3",
		"10.0.0.1/32": "10.0.0.1", "10.0.0.1/0": "255.255.255.255", "10.0.0.1/9": "10.127.255.255",
	} {
		if got := broadcast(netip.MustParsePrefix(prefix)); got.String() != want {
			t.Errorf("broadcast(%s) = %s, want %s", prefix, got, want)
		}
	}
}

// TestResolveHost lets the kernel say what the host is like.
func TestResolveHost(t *testing.T) {
	requireTools(t, "ip")
	const pair = "ip link add up0 mtu 1420 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip addr add 10.1.2.3/24 dev up0; "
	for _, c := range []struct {
		name, prepare string
		want          string // gateway, address, MTU; with "error: " the error
	}{
		{"empty", "true", "172.17.0.1/16 172.17.0.2/16 1500"},
		{"default route", pair + "ip route add default via 10.1.2.1", "172.17.0.1/16 172.17.0.2/16 1420"},
		{"the better default route", pair + "ip link add o0 type veth peer name o1; ip link set o0 up; ip link set o1 up; ip route add default dev o0 metric 5; ip route add default via 10.1.2.1 metric 4", "172.17.0.1/16 172.17.0.2/16 1420"},
		{"multipath", pair + "ip route add default nexthop via 10.1.2.1 nexthop via 10.1.2.2", "172.17.0.1/16 172.17.0.2/16 1420"},
		{"overlapping route", pair + "ip route add 172.17.3.0/24 via 10.1.2.1", "172.18.0.1/16 172.18.0.2/16 1500"},
		{"route in another table", pair + "ip route add 172.16.0.0/12 via 10.1.2.1 table 51820", "192.168.0.1/20 192.168.0.2/20 1500"},
		{"address of a link that is down", "ip link add up0 type veth peer name up1; ip addr add 172.17.9.9/24 dev up0", "172.18.0.1/16 172.18.0.2/16 1500"},
		{"nothing free", pair + "ip route add 172.16.0.0/12 via 10.1.2.1; ip route add 192.168.0.0/16 via 10.1.2.1", "error: resolve bridge minictr0: no subnet is free in 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16: they overlap the route 172.16.0.0/12 via 10.1.2.1 dev up0, the route 192.168.0.0/16 via 10.1.2.1 dev up0"},
		{"a bridge of the administrator's", "ip link add minictr0 type bridge; ip addr add 10.77.0.9/24 dev minictr0", "10.77.0.9/24 10.77.0.1/24 1500"},
		{"one that a killed launch left", "ip link add minictr0 address 02:42:ac:13:00:01 type bridge", "172.19.0.1/16 172.19.0.2/16 1500"},
		{"a foreign bridge without an address", "ip link add minictr0 type bridge", "error: resolve bridge minictr0: a bridge of that name exists that has no IPv4 address and was not made by minictr"},
		{"a bridge without room", "ip link add minictr0 type bridge; ip addr add 10.77.0.9/31 dev minictr0", "error: resolve bridge minictr0: its subnet 10.77.0.9/31 has no room for containers"},
		{"no bridge", "ip link add minictr0 type veth peer name other", "error: resolve bridge minictr0: a link of that name exists and is not a bridge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			freshHost(t)
			sh(t, c.prepare)
			cfg, err := Resolve(requestOf(t.TempDir(), 1))
			got := ""
			if err != nil {
				got = "error: " + err.Error()
			} else {
				cfg.Netns.Path = freshNetns(t, "").Path
				got = strings.Join([]string{cfg.Endpoints[0].Network.Gateway.String(), cfg.Endpoints[0].Interface.Address.String(), jsonOf(cfg.Endpoints[0].Interface.MTU)}, " ")
				run(t, plan(cfg))
				if err := step.Check(plan(cfg)); err != nil {
					t.Error(err)
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func jsonOf(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// uses is a request for the networks; one without a name is the default one.
func uses(list ...Use) Request {
	for i := range list {
		if list[i].Network == "" {
			list[i].Network = DefaultNetwork
		}
	}
	return Request{Mode: Bridge, Uses: list}
}

// TestResolveRequest: what is asked for is checked, and an error leaves no lease.
func TestResolveRequest(t *testing.T) {
	freshHost(t)
	runroot := t.TempDir()
	r := requestOf(runroot, 7)
	r.Uses[0].IP = "172.17.0.7"
	if _, err := Resolve(r); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		request Request
		want    string
	}{
		{uses(Use{IP: "172.17.0.9"}), "172.17.0.9/16 02:42:ac:11:00:09"},
		{uses(Use{IP: "172.17.255.254", MAC: "0A-00-00-00-00-01"}), "172.17.255.254/16 0a:00:00:00:00:01"},
		{uses(Use{MAC: "0a:00:00:00:00:02"}), "172.17.0.2/16 0a:00:00:00:00:02"},
		{uses(Use{IP: "172.17.0.7"}), "error: lease address 172.17.0.7: in use by container " + owner(7)},
		{uses(Use{IP: "172.17.0.1"}), "error: ip 172.17.0.1: the address of the gateway"},
		{uses(Use{IP: "172.17.0.0"}), "error: ip 172.17.0.0: the address of the network itself"},
		{uses(Use{IP: "172.17.255.255"}), "error: ip 172.17.255.255: the broadcast address of the network"},
		{uses(Use{IP: "172.18.0.2"}), "error: ip 172.18.0.2: not in the subnet 172.17.0.0/16 of network bridge"},
		{uses(Use{IP: "fd00::2"}), "error: ip fd00::2: not an IPv4 address"},
		{uses(Use{IP: "172.17.2"}), "error: ip 172.17.2: not an IP address"},
		{uses(Use{IP6: "fd00::2"}), "error: ip6 fd00::2: network bridge has no IPv6"},
		{uses(Use{MAC: "02:42"}), `error: mac-address "02:42": not of the form 02:42:ac:11:00:02`},
		{uses(Use{MAC: "03:42:ac:11:00:02"}), "error: mac-address 03:42:ac:11:00:02: a multicast address, its first byte is odd"},
		{uses(Use{MAC: "00:00:00:00:00:00"}), "error: mac-address 00:00:00:00:00:00: all zero"},
		{uses(Use{Aliases: []string{"a b"}}), `error: alias "a b": a name begins with a letter or digit and consists of those and of _ . -`},
		{uses(Use{Network: "blue"}), "error: find network blue: no such network"},
		{uses(Use{}, Use{Network: "blue"}), "error: find network blue: no such network"},
		{uses(Use{}, Use{}), "error: network bridge: asked for twice"},
		{Request{Mode: Namespace, Join: "/proc/self/ns/mnt"}, "error: join network namespace /proc/self/ns/mnt: open /proc/self/ns/mnt: not a network namespace"},
		{Request{Mode: Namespace, Join: "/nowhere"}, "error: join network namespace /nowhere: open /nowhere: no such file or directory"},
		{Request{Mode: Namespace, Join: "nobody"}, "error: join network namespace nobody: open /run/netns/nobody: no such file or directory"},
		{Request{Mode: Namespace, Join: "/proc/self/ns/net"}, ""},
		{Request{Owner: "short"}, `error: container id "short": it must be 8 or more letters and digits`},
		{Request{Owner: "12345678/../x"}, `error: container id "12345678/../x": it must be 8 or more letters and digits`},
	} {
		before, err := readLeases(leaseFile(runroot, "bridge"))
		if err != nil {
			t.Fatal(err)
		}
		if c.request.Owner == "" {
			c.request.Owner = owner(1)
		}
		c.request.Store, c.request.Alive = storeIn(runroot), everybody
		got := ""
		for _, dry := range []bool{true, false} {
			c.request.DryRun = dry
			cfg, err := Resolve(c.request)
			if err != nil {
				got = "error: " + err.Error()
			} else if len(cfg.Endpoints) > 0 {
				got = cfg.Endpoints[0].Interface.Address.String() + " " + cfg.Endpoints[0].Interface.MAC
			}
			if got != c.want {
				t.Errorf("%+v:\ngot  %s\nwant %s", c.request, got, c.want)
			}
			if err == nil && !dry {
				if err := Release(cfg); err != nil {
					t.Error(err)
				}
			}
			if after, err := readLeases(leaseFile(runroot, "bridge")); err != nil || !cmp.Equal(before, after, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
				t.Errorf("%+v: leases %v, %v, want %v", c.request, after, err, before)
			}
		}
	}
}
