package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func takenOf(text string) (list []taken) {
	for _, word := range strings.Fields(text) {
		list = append(list, taken{prefix: netip.MustParsePrefix(word), owner: "somebody"})
	}
	return list
}

func TestFirstFree(t *testing.T) {
	for _, c := range []struct{ taken, bridge, made string }{
		{"", "172.17.0.0/16", "172.18.0.0/24"},
		{"10.0.0.0/8 fd00::/8", "172.17.0.0/16", "172.18.0.0/24"},
		{"172.17.42.0/24", "172.18.0.0/16", "172.18.0.0/24"},
		{"172.18.0.0/16", "172.17.0.0/16", "172.19.0.0/24"},
		{"172.16.0.0/15 172.18.0.5/32", "172.19.0.0/16", "172.18.1.0/24"},
		{"172.18.0.0/24 172.18.0.0/25 172.18.1.7/32 172.18.3.0/24", "172.17.0.0/16", "172.18.2.0/24"},
		{"172.18.1.0/24 172.18.0.0/24 172.18.2.0/23", "172.17.0.0/16", "172.18.4.0/24"},
		{"172.18.255.255/32 172.18.0.0/17 172.18.128.0/18 172.18.192.0/18", "172.17.0.0/16", "172.19.0.0/24"},
		{"172.16.0.0/12", "192.168.0.0/20", "192.168.0.0/24"},
		{"172.16.0.0/12 192.168.1.0/24 192.168.16.0/20", "192.168.32.0/20", "192.168.0.0/24"},
		{"172.16.0.0/12 192.168.0.0/17 192.168.128.0/18 192.168.192.0/19 192.168.224.0/20 192.168.240.0/21 192.168.248.0/24", "", "192.168.249.0/24"},
		{"172.16.0.0/12 192.168.0.0/16", "", ""},
	} {
		for i, blocks := range [][]block{bridgeBlocks(), madeBlocks()} {
			got, ok := firstFree(blocks, takenOf(c.taken))
			want := [...]string{c.bridge, c.made}[i]
			if ok != (want != "") || ok && got.String() != want {
				t.Errorf("taken %s: got %s, want %s", c.taken, got, want)
			}
		}
	}
}

// TestMadeNetworks makes networks until none is left.
func TestMadeNetworks(t *testing.T) {
	var list []taken
	for {
		p, ok := firstFree(madeBlocks(), list)
		if !ok {
			break
		}
		if clash := overlaps(p, list); len(clash) > 0 {
			t.Fatalf("%s overlaps %v", p, clash)
		}
		list = append(list, taken{prefix: p})
	}
	if len(list) != 3840 {
		t.Errorf("there are %d, want 3840", len(list))
	}
}

func TestBridgeGateways(t *testing.T) {
	var list []string
	for p := range bridgeGateways() {
		list = append(list, p.String())
	}
	if len(list) != 31 || list[0] != "172.17.0.1/16" || list[14] != "172.31.0.1/16" || list[30] != "192.168.240.1/20" {
		t.Errorf("got %v", list)
	}
}

// TestSubnetArguments: what network create is told, and what it makes of it.
func TestSubnetArguments(t *testing.T) {
	for _, c := range []struct{ subnet, gateway, within, want string }{
		{"10.5.0.0/24", "", "", "10.5.0.1/24 -"},
		{"10.5.0.0/24", "10.5.0.254", "10.5.0.128/25", "10.5.0.254/24 10.5.0.128/25"},
		{"10.5.0.0/30", "", "", "10.5.0.1/30 -"},
		{"10.0.0.0/8", "", "10.200.0.0/16", "10.0.0.1/8 10.200.0.0/16"},
		{"10.5.0.0/24", "", "10.5.0.9/32", "10.5.0.1/24 10.5.0.9/32"},
		{"fd12:3456::/64", "", "", "fd12:3456::1/64 -"},
		{"fd12:3456::/64", "fd12:3456::beef:0:0:1", "fd12:3456::100/120", "fd12:3456::beef:0:0:1/64 fd12:3456::100/120"},
		{"2001:db8::/126", "", "", "2001:db8::1/126 -"},

		{"10.5.0.0", "", "", "subnet 10.5.0.0: not of the form 172.18.5.0/24"},
		{"10.5.0.0/33", "", "", "subnet 10.5.0.0/33: not of the form 172.18.5.0/24"},
		{"blue", "", "", "subnet blue: not of the form 172.18.5.0/24"},
		{"fe80::%eth0/64", "", "", "subnet fe80::%eth0/64: not of the form 172.18.5.0/24"},
		{"10.5.0.9/24", "", "", "subnet 10.5.0.9/24: 10.5.0.9 is an address in the subnet 10.5.0.0/24"},
		{"::ffff:10.5.0.0/120", "", "", "subnet ::ffff:10.5.0.0/120: an IPv4 subnet written as IPv6; write 10.5.0.0/24"},
		{"10.5.0.0/31", "", "", "subnet 10.5.0.0/31: no room for a gateway and a container; it must be /30 or larger"},
		{"10.5.0.1/32", "", "", "subnet 10.5.0.1/32: no room for a gateway and a container; it must be /30 or larger"},
		{"fd00::/127", "", "", "subnet fd00::/127: no room for a gateway and a container; it must be /126 or larger"},
		{"0.0.0.0/0", "", "", "subnet 0.0.0.0/0: too large; it must be /8 or smaller"},
		{"fc00::/7", "", "", "subnet fc00::/7: too large; it must be /8 or smaller"},
		{"127.1.0.0/16", "", "", "subnet 127.1.0.0/16: it overlaps 127.0.0.0/8, loopback"},
		{"169.0.0.0/8", "", "", "subnet 169.0.0.0/8: it overlaps 169.254.0.0/16, link-local"},
		{"224.1.0.0/16", "", "", "subnet 224.1.0.0/16: it overlaps 224.0.0.0/4, multicast"},
		{"255.0.0.0/8", "", "", "subnet 255.0.0.0/8: it overlaps 240.0.0.0/4, reserved"},
		{"0.0.0.0/24", "", "", "subnet 0.0.0.0/24: it overlaps 0.0.0.0/8, addresses of no host"},
		{"fe80::/64", "", "", "subnet fe80::/64: it overlaps fe80::/10, link-local"},
		{"ff02::/64", "", "", "subnet ff02::/64: it overlaps ff00::/8, multicast"},
		{"::/64", "", "", "subnet ::/64: it overlaps ::/8, reserved"},

		{"10.5.0.0/24", "10.6.0.1", "", "gateway 10.6.0.1: not in the subnet 10.5.0.0/24"},
		{"10.5.0.0/24", "10.5.0.0", "", "gateway 10.5.0.0: the address of the network itself"},
		{"10.5.0.0/24", "10.5.0.255", "", "gateway 10.5.0.255: the broadcast address of the network"},
		{"10.5.0.0/24", "fd00::1", "", "gateway fd00::1: not an IPv4 address"},
		{"10.5.0.0/24", "::ffff:10.5.0.1", "", "gateway ::ffff:10.5.0.1: an IPv4 address written as IPv6; write 10.5.0.1"},
		{"10.5.0.0/24", "10.5.0.1/24", "", "gateway 10.5.0.1/24: not an IP address"},
		{"fd00::/64", "10.5.0.1", "", "gateway 10.5.0.1: not an IPv6 address"},
		{"fd00::/64", "fd00::", "", "gateway fd00::: the address of all routers of the subnet (RFC 4291, 2.6.1)"},

		{"10.5.0.0/24", "", "10.5.0.128", "ip-range 10.5.0.128: not of the form 172.18.5.128/25"},
		{"10.5.0.0/24", "", "10.5.0.129/25", "ip-range 10.5.0.129/25: 10.5.0.129 is an address in the range 10.5.0.128/25"},
		{"10.5.0.0/24", "", "10.5.0.0/16", "ip-range 10.5.0.0/16: not in the subnet 10.5.0.0/24"},
		{"10.5.0.0/24", "", "10.6.0.0/25", "ip-range 10.6.0.0/25: not in the subnet 10.5.0.0/24"},
		{"10.5.0.0/24", "", "fd00::/120", "ip-range fd00::/120: not in the subnet 10.5.0.0/24"},
		{"10.5.0.0/24", "", "10.5.0.0/31", "ip-range 10.5.0.0/31: no container may have an address of it"},
		{"10.5.0.0/24", "", "10.5.0.255/32", "ip-range 10.5.0.255/32: no container may have an address of it"},
		{"10.5.0.0/24", "10.5.0.7", "10.5.0.7/32", "ip-range 10.5.0.7/32: no container may have an address of it"},
		{"fd00::/48", "", "fd00:0:0:1::/64", "ip-range fd00:0:0:1::/64: too far inside the subnet; make the range the subnet"},
	} {
		gateway, within, err := readAll3(c.subnet, c.gateway, c.within)
		got := gateway.String() + " " + within.String()
		if !within.IsValid() {
			got = gateway.String() + " -"
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s %s:\ngot  %s\nwant %s", c.subnet, c.gateway, c.within, got, c.want)
		}
	}
}

func readAll3(subnet, gateway, within string) (g, r netip.Prefix, err error) {
	p, err := readSubnet(subnet)
	if err == nil {
		g, err = readGateway(gateway, p)
	}
	if err == nil {
		r, err = readRange(within, g)
	}
	return g, r, err
}

// FuzzSubnetArguments: an error, or a gateway and a range of which containers can be given addresses.
func FuzzSubnetArguments(f *testing.F) {
	f.Add("10.5.0.0/24", "10.5.0.9", "10.5.0.128/25")
	f.Add("fd00::/64", "", "fd00::100/120")
	f.Fuzz(func(t *testing.T, subnet, gateway, within string) {
		g, r, err := readAll3(subnet, gateway, within)
		if err != nil {
			return
		}
		p := testPool(t, "10.0.0.1/24")
		p.gateway, p.within = netip.Prefix{}, netip.Prefix{}
		if g.Addr().Is4() {
			p.gateway, p.within = g, r
		} else {
			p.gateway6, p.within6 = g, r
		}
		got, err := p.leaseBoth("me", [2]netip.Addr{})
		a := got[half(g.Addr())]
		if err != nil || !g.Contains(a) || r.IsValid() && !r.Contains(a) || a == g.Addr() || a == g.Masked().Addr() || a.Is4() && a == broadcast(g) {
			t.Errorf("of %s, %s: %s, %v", g, r, a, err)
		}
	})
}

func TestSortWishes(t *testing.T) {
	for _, c := range []struct {
		want Creation
		text string
	}{
		{Creation{IPv4: true}, "true,,, false,,,"},
		{Creation{IPv6: true}, "false,,, true,,,"},
		{Creation{IPv4: true, Subnets: []string{"fd00::/64"}}, "true,,, true,fd00::/64,,"},
		{
			Creation{IPv4: true, Subnets: []string{"fd00::/64", "10.5.0.0/24"}, Gateways: []string{"10.5.0.9", "fd00::9"}, Ranges: []string{"10.5.0.64/26"}},
			"true,10.5.0.0/24,10.5.0.9,10.5.0.64/26 true,fd00::/64,fd00::9,",
		},
		{Creation{}, "a network without IPv4 needs --ipv6"},
		{Creation{IPv6: true, Subnets: []string{"10.5.0.0/24"}}, "subnet 10.5.0.0/24: the network is to have no IPv4"},
		{Creation{IPv4: true, Subnets: []string{"10.5.0.0/24", "10.6.0.0/24"}}, "subnet 10.6.0.0/24: the network has 10.5.0.0/24 already, and one of each family is what it can have"},
		{Creation{IPv4: true, Gateways: []string{"10.5.0.1"}}, "gateway 10.5.0.1: it needs a --subnet that it lies in"},
		{Creation{IPv4: true, Subnets: []string{"10.5.0.0/24"}, Gateways: []string{"fd00::1"}}, "gateway fd00::1: it needs a --subnet that it lies in"},
		{Creation{IPv4: true, Ranges: []string{"10.5.0.0/24"}}, "ip-range 10.5.0.0/24: it needs a --subnet that it lies in"},
		{Creation{IPv4: true, Subnets: []string{"10.5.0.0/24"}, Gateways: []string{"10.5.0.1", "10.5.0.2"}}, "gateway 10.5.0.2: there is 10.5.0.1 already"},
	} {
		wishes, err := sortWishes(c.want)
		var list []string
		for _, w := range wishes {
			list = append(list, fmt.Sprintf("%t,%s,%s,%s", w.wanted, w.subnet, w.gateway, w.within))
		}
		got := strings.Join(list, " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.text {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.want, got, c.text)
		}
	}
}

func TestReadReserved(t *testing.T) {
	n := Network{Gateway: netip.MustParsePrefix("10.5.0.1/24")}
	for text, want := range map[string]string{
		"10.5.0.7": "", "10.5.0.1": "the address of the gateway", "10.6.0.1": "not in the subnet 10.5.0.0/24", "x": "not an IP address",
	} {
		if want != "" {
			want = "aux-address " + text + ": " + want
		}
		a, err := n.readReserved(text)
		if got := errorText(err); got != want || want == "" && a.String() != text {
			t.Errorf("%s: got %s, %s, want %s", text, a, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMacOf6(t *testing.T) {
	for address, want := range map[string]string{
		"fd00::5/64":           "02:42:00:00:00:05",
		"fd00::ffff:ffff/64":   "02:42:ff:ff:ff:ff",
		"fd00::1234:5:6/112":   "02:42:00:05:00:06",
		"fd00::1:0:0/64":       "06:",
		"fd00:0:0:1::5/48":     "06:",
		"fd00::dead:beef:7/64": "06:",
	} {
		p := netip.MustParsePrefix(address)
		if got := macOf6(p); !strings.HasPrefix(got, want) || len(got) != 17 || validateMAC(got) != nil {
			t.Errorf("macOf6(%s) = %s, want %s", address, got, want)
		}
	}
}

// TestTaken lets the kernel say what is in use, and reads how it is named.
func TestTaken(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	sh(t, `ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip link add down0 type bridge
		ip addr add 10.1.2.3/24 dev up0; ip addr add 10.9.9.9/24 dev down0; ip addr add fd00:1::1/64 dev up0 nodad
		ip route add default via 10.1.2.1; ip route add 0.0.0.0/1 via 10.1.2.1; ip route add 10.64.0.0/10 via 10.1.2.1 table 51820
		ip route add blackhole 172.30.0.0/16; ip -6 route add fd00:2::/48 via fd00:1::2; ip -6 route add default via fd00:1::2`)
	c, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	list, err := c.taken([]*Network{
		{Name: "blue", Gateway: netip.MustParsePrefix("172.18.3.1/24"), Gateway6: netip.MustParsePrefix("fd00:3::1/64")},
		{Name: "bridge"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for subnet, want := range map[string]string{
		"10.200.0.0/24":   "",
		"10.1.2.128/25":   "an address of up0 (10.1.2.0/24)",
		"10.9.9.0/28":     "an address of down0 (10.9.9.0/24)",
		"10.100.0.0/16":   "the route 10.64.0.0/10 via 10.1.2.1 dev up0 table 51820",
		"172.30.5.0/24":   "the route 172.30.0.0/16",
		"172.18.0.0/16":   "network blue (172.18.3.0/24)",
		"172.16.0.0/12":   "network blue (172.18.3.0/24), the route 172.30.0.0/16",
		"fd00:1::/48":     "an address of up0 (fd00:1::/64)",
		"fd00:2:0:9::/64": "the route fd00:2::/48 via fd00:1::2 dev up0",
		"fd00:3::/56":     "network blue (fd00:3::/64)",
		"fd00:4::/64":     "",
		"2001:db8::/64":   "",
	} {
		err := c.checkOverlap(netip.MustParsePrefix(subnet), list)
		if want != "" {
			want = "subnet " + subnet + ": it overlaps " + want
			if !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("%s: %v is not EADDRINUSE", subnet, err)
			}
		}
		if got := errorText(err); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestTakenByServers: a name server behind the default route keeps its address.
func TestTakenByServers(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "nameserver 127.0.0.53\nnameserver 172.18.0.53\nnameserver 10.1.2.9\nnameserver fd00::53%eth0\n"
	if err := os.WriteFile(filepath.Join(root, "etc/resolv.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, err := nameServers(root)
	if err != nil {
		t.Fatal(err)
	}
	for routes, want := range map[string]string{
		"":                        "[]",
		"10.1.2.0/24":             "[]",
		"10.1.2.0/24 0.0.0.0/0":   "[172.18.0.53/32 10.1.2.9/32]",
		"0.0.0.0/1 10.0.0.0/8":    "[10.1.2.9/32]",
		"::/0 10.0.0.0/8":         "[fd00::53/128]",
		"fd00::/8 172.16.0.0/12 ": "[fd00::53/128]", // it is vague, so it does not say that it is taken itself
	} {
		var list []route
		for _, to := range strings.Fields(routes) {
			list = append(list, route{to: netip.MustParsePrefix(to)})
		}
		var got []netip.Prefix
		for _, s := range takenByServers(servers, list) {
			got = append(got, s.prefix)
		}
		if text := fmt.Sprint(got); text != want {
			t.Errorf("routes %s: %s, want %s", routes, text, want)
		}
	}
}

func TestChooseULA(t *testing.T) {
	freshHost(t)
	c, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const id = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"
	for used, want := range map[string]string{
		"":                         "fda1:b2c3:d4e5::1/64",
		"fda1:b2c3:d4e5::/48":      "fdb2:c3d4:e5f6::1/64",
		"fd00::/8":                 "no subnet is free in fd00::/8: they overlap somebody (fd00::/8)",
		"fda1::/16 fdb2:c300::/24": "fdc3:d4e5:f607::1/64",
	} {
		p, err := c.chooseULA(id, takenOf(used))
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("taken %s: got %s, want %s", used, got, want)
		}
	}
}

// TestNoSubnet: several are named, and the way out.
func TestNoSubnet(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	sh(t, `ip link add up0 type bridge; ip link set up0 up; ip addr add 10.1.2.3/24 dev up0
		for i in $(seq 16 31); do ip route add 172.$i.0.0/16 via 10.1.2.1; done; ip route add 192.168.0.0/16 via 10.1.2.1`)
	n := &Network{Name: "blue", ID: newID()}
	c, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	err = n.chooseSubnets(c, Creation{IPv4: true}, nil)
	want := "no subnet is free in 172.18.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16: they overlap the route 172.18.0.0/16 via 10.1.2.1 dev up0, " +
		"the route 172.19.0.0/16 via 10.1.2.1 dev up0, the route 172.20.0.0/16 via 10.1.2.1 dev up0, the route 172.21.0.0/16 via 10.1.2.1 dev up0, 11 more"
	var none *NoSubnetError
	if errorText(err) != want || !errors.As(err, &none) || !strings.Contains(none.Hint(), "--subnet") {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := n.chooseSubnets(c, Creation{IPv4: true, Subnets: []string{"172.40.0.0/24"}}, nil); err != nil || n.Gateway.String() != "172.40.0.1/24" {
		t.Errorf("with --subnet: %s, %v", n.Gateway, err)
	}
}
