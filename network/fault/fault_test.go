package fault

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	list := List()
	if len(list) < 40 {
		t.Errorf("%d faults", len(list))
	}
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, f := range list {
		if seen[f.Name] || !name.MatchString(f.Name) {
			t.Errorf("%s: twice, or no name", f.Name)
		}
		seen[f.Name] = true
		if f.Story == "" || strings.ContainsAny(f.Story, "\n|") || strings.HasSuffix(f.Story, ".") || len(f.Story) > 120 {
			t.Errorf("%s: %q is no story of one line", f.Name, f.Story)
		}
		if f.Check == "" || f.Scope != Inside && f.Scope != Network && f.Scope != Host {
			t.Errorf("%s: check %q, scope %q", f.Name, f.Check, f.Scope)
		}
		if found, err := Find(f.Name); err != nil || found.Story != f.Story {
			t.Errorf("find %s: %v", f.Name, err)
		}
	}
	if _, err := Find("random"); err == nil {
		t.Error("there is a fault of the name that stands for any")
	}
}

// A record is read by another process than wrote it.
func TestChangesAsJSON(t *testing.T) {
	for kind, make := range kinds() {
		for _, take := range []bool{false, true} {
			c := Change{Take: take, Thing: make(), Lost: &Layer3{Link: "eth0", Index: 2, Routes: [][]byte{{1, 2}}}}
			text, err := json.Marshal(c)
			if err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			var back Change
			if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, c) {
				t.Errorf("%s: %s became %+v: %v", kind, text, back, err)
			}
		}
	}
	var c Change
	if err := json.Unmarshal([]byte(`{"kind":"new","thing":{}}`), &c); err == nil {
		t.Error("a kind that nobody knows was read")
	}
}

func TestPrefixes(t *testing.T) {
	for prefix, want := range map[string]string{
		"172.17.0.0/16": "172.17.255.255 172.17.0.0/17 172.17.128.0/17",
		"10.5.0.0/24":   "10.5.0.255 10.5.0.0/25 10.5.0.128/25",
		"10.5.0.4/31":   "10.5.0.5 10.5.0.4/32 10.5.0.5/32",
	} {
		p := netip.MustParsePrefix(prefix)
		low, high := halves(p)
		if got := lastOf(p).String() + " " + low.String() + " " + high.String(); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}

// What a restored route may not have, the kernel refuses ("Invalid rtm_flags").
func TestSendable(t *testing.T) {
	route := []byte{2, 0, 0, 0, 254, 3, 0, 1, 0x15, 0, 1, 0} // dead, onlink, linkdown, offload failed
	if got := sendable(route); got[8] != 4 || got[10] != 0 || route[8] != 0x15 {
		t.Errorf("%v of %v", got, route)
	}
}

func TestCommands(t *testing.T) {
	for want, c := range map[string]Change{
		"ip link set veth1 nomaster":                           {Thing: &linkSetting{Key: "master", Link: "veth1", Was: "3", Value: "0"}},
		"ip link set veth1 master br-stray":                    {Thing: &linkSetting{Key: "master", Link: "veth1", Was: "3", Value: "9", Master: "br-stray"}},
		"bridge link set dev veth1 state 0":                    {Thing: &portSetting{Key: "state", Link: "veth1", Was: 3}},
		"ip addr del 10.5.0.1/24 dev br0":                      {Take: true, Thing: &address{Link: "br0", Prefix: netip.MustParsePrefix("10.5.0.1/24")}},
		"ip addr add 10.5.0.1/24 brd + dev br0":                {Thing: &address{Link: "br0", Prefix: netip.MustParsePrefix("10.5.0.1/24")}},
		"ip route del default via 10.5.0.1 dev eth0":           {Take: true, Thing: &route{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.5.0.1"), Link: "eth0"}},
		"ip rule add priority 100 from 10.5.0.2 prohibit":      {Thing: &rule{Priority: 100, From: netip.MustParsePrefix("10.5.0.2/32"), Type: "prohibit"}},
		"sysctl -w 'net/ipv4/ip_local_port_range=61000 61000'": {Thing: &sysctl{Key: "net/ipv4/ip_local_port_range", Value: "61000 61000"}},
		"> /etc/resolv.conf":                                   {Thing: &file{Path: "/etc/resolv.conf", Was: "x"}},
		"nft flush table ip minictr":                           {Take: true, Thing: &ownRules{}},
		"nft add table ip x\nnft add chain 'ip x c { type filter hook input priority 0; policy drop; }'\nnft add rule ip x c iifname lo accept": {Thing: &table{
			Family: "ip", Name: "x", Chains: []chain{{Name: "c", Type: "filter", Hook: "input", Drop: true, Rules: []match{{In: "lo", Verdict: "accept"}}}},
		}},
	} {
		if got := c.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
