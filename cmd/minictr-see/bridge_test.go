package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/cmd/minictr-see/diagram"
	"github.com/minictr/minictr/network/survey"
)

func forwarding(number uint16, change func(*survey.BridgePort)) *survey.BridgePort {
	p := &survey.BridgePort{Number: number, State: "forwarding", Cost: 2, Priority: 32, Learning: true, Flood: true}
	if change != nil {
		change(p)
	}
	return p
}

// bridges has one port of each kind, on two bridges; a third has none.
func bridges() *bridgeReader {
	address := func(a string) survey.Address {
		return survey.Address{Prefix: netip.MustParsePrefix(a), Scope: "global"}
	}
	here := &survey.Netns{Inode: 1, NSIDs: map[int]uint64{0: 2}, Links: []survey.Link{
		{Index: 2, Name: "minictr0", Kind: "bridge", MAC: "02:42:ac:11:00:01", Up: true, Running: true, PeerNSID: -1, Addresses: []survey.Address{address("172.17.0.1/16")}, Bridge: &survey.Bridge{ID: "8000.0242ac110001", Ageing: 5 * time.Minute}},
		{Index: 3, Name: "br-vlan", Kind: "bridge", MAC: "02:00:00:00:00:03", PeerNSID: -1, Bridge: &survey.Bridge{ID: "8000.020000000003", STP: true, VLANFiltering: true}},
		{Index: 4, Name: "br-empty", Kind: "bridge", PeerNSID: -1, Bridge: &survey.Bridge{ID: "8000.000000000000"}},
		{Index: 5, Name: "veth1", Kind: "veth", MAC: "02:00:00:00:01:05", MTU: 1500, Up: true, Running: true, Master: 2, Peer: 2, PeerNSID: 0, Port: forwarding(2, nil)},
		{Index: 6, Name: "x\x1b[2J", Kind: "veth", MTU: 1500, Up: true, Running: true, Master: 2, Peer: 7, PeerNSID: -1, Port: forwarding(1, func(p *survey.BridgePort) { p.Hairpin, p.Isolated, p.Learning = true, true, false })},
		{Index: 7, Name: "v7", Kind: "veth", MTU: 1500, Up: true, Running: true, Peer: 6, PeerNSID: -1},
		{Index: 8, Name: "lost", Kind: "veth", MTU: 1500, Up: true, Master: 2, Peer: 9, PeerNSID: 5, Port: forwarding(3, func(p *survey.BridgePort) { p.State = "disabled" })},
		{Index: 9, Name: "eth1", MTU: 9000, Up: true, Running: true, Master: 3, PeerNSID: -1, Port: forwarding(1, func(p *survey.BridgePort) {
			p.VLANs = []survey.PortVLAN{{ID: 1, PVID: true, Untagged: true}, {ID: 7}}
		})},
		{Index: 10, Name: "tap0", Kind: "tun", MTU: 1500, Up: true, Running: true, Master: 3, PeerNSID: -1, Port: forwarding(2, nil)},
		{Index: 11, Name: "d0", Kind: "dummy", MTU: 1500, Master: 3, PeerNSID: -1, Port: forwarding(3, func(p *survey.BridgePort) { p.State = "disabled" })},
	}, FDB: []survey.FDBEntry{
		{Link: 5, Master: 2, MAC: "02:42:ac:11:00:02", State: "reachable", Updated: 1500 * time.Millisecond},
		{Link: 5, Master: 2, MAC: "02:00:00:00:01:05", State: "permanent", Local: true},
		{Link: 5, MAC: "33:33:00:00:00:01", State: "permanent", Local: true},
		{Link: 2, Master: 2, MAC: "02:42:ac:11:00:01", State: "permanent", Local: true},
		{Link: 9, Master: 3, MAC: "02:00:00:00:00:99", VLAN: 7, State: "static"},
	}}
	web := &survey.Netns{Inode: 2, Links: []survey.Link{
		{Index: 2, Name: "eth0", Kind: "veth", MAC: "02:42:ac:11:00:02", Peer: 5, PeerNSID: 0, Addresses: []survey.Address{address("172.17.0.2/16"), {Prefix: netip.MustParsePrefix("fe80::1/64"), Scope: "link"}}},
	}}
	return &bridgeReader{
		host: &survey.Host{Namespaces: []*survey.Netns{here, web}}, places: map[uint64]string{1: "the host", 2: "container web"},
		networks: map[string]string{"minictr0": "bridge"}, ours: map[string]bool{"veth1": true}, taps: map[string]diagram.Owner{"tap0": {Name: "debian"}},
	}
}

// TestBridgeTables compares what is printed with files.
func TestBridgeTables(t *testing.T) {
	views := bridges().views("")
	a := &app{}
	var all strings.Builder
	for _, table := range []string{"show", "link", "fdb", "vlan"} {
		all.WriteString("minictr bridge " + table + "\n" + printed(t, a, func() error { bridgeTables[table](a, views); return nil }) + "\n")
	}
	checkGolden(t, "testdata/bridge/tables.txt", all.String())
}

func TestBridgeArguments(t *testing.T) {
	for _, c := range []struct{ words, name, table string }{
		{"", "", "show"},
		{"br0", "br0", "show"},
		{"fdb", "", "fdb"},
		{"br0 link", "br0", "link"},
		{"vlan br0", "br0", "vlan"},
		{"fdb fdb", "fdb", "fdb"}, // a bridge can be called so
		{"br0 br1", "error", ""},
	} {
		name, table, err := bridgeArguments(strings.Fields(c.words))
		if err != nil {
			name, table = "error", ""
		}
		if name != c.name || table != c.table {
			t.Errorf("%q: bridge %q, table %q", c.words, name, table)
		}
	}
}
