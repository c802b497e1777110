package diagram

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// random is a picture of rooms, bridges and cables in no order.
func random(seed uint64) *Picture {
	r := rand.New(rand.NewPCG(seed, 0))
	m := newHost()
	if r.IntN(4) == 0 {
		m.Rooms[0].Interfaces[1].Uplink = false
	}
	for i := range r.IntN(4) {
		m.bridge(fmt.Sprintf("br%d", i), fmt.Sprintf("172.%d.0.1/16", 17+i))
	}
	var bridges []string
	for _, f := range m.Rooms[0].Interfaces {
		if f.Kind == "bridge" {
			bridges = append(bridges, f.Name)
		}
	}
	kinds := []string{"minictr", "docker", "netns", ""}
	for i := range r.IntN(9) {
		name, address := strings.Repeat(fmt.Sprintf("c%d", i), 1+r.IntN(6)), fmt.Sprintf("172.17.0.%d/16", i+2)
		if len(bridges) == 0 || r.IntN(5) == 0 {
			m.Rooms = append(m.Rooms, Room{ID: name, Kind: kinds[r.IntN(4)], Name: name, Inode: uint64(4026532000 + i), Interfaces: []Interface{lo()}})
			continue
		}
		at := m.container(kinds[r.IntN(4)], name, bridges[r.IntN(len(bridges))], address)
		if r.IntN(3) == 0 {
			m.publish(at, "tcp", uint16(8000+i), 80)
		}
		if r.IntN(3) == 0 {
			m.join(at, "eth1", bridges[r.IntN(len(bridges))], fmt.Sprintf("172.18.0.%d/16", i+2), fmt.Sprintf("fd00:1234:5678:9abc:def0:1234:5678:%x/64", 0x1000+i))
		}
	}
	for i := range r.IntN(6) { // cables between any two rooms, and within one
		a, b := r.IntN(len(m.Rooms)), r.IntN(len(m.Rooms))
		x := *m.face(a, Interface{Name: fmt.Sprintf("x%d", i), Kind: "veth", MTU: 1500, Addresses: prefixList(fmt.Sprintf("10.%d.0.1/24", i)), State: []string{Up, Down, NoCarrier}[r.IntN(3)]})
		m.Rooms[a].PolicyRules = r.IntN(3)
		y := *m.face(b, Interface{Name: fmt.Sprintf("y%d", i), Kind: "veth", MTU: 1500, Addresses: prefixList(fmt.Sprintf("10.%d.0.2/24", i))})
		m.Cables = append(m.Cables, Cable{Kind: "veth", A: End{m.Rooms[a].ID, x.Index, x.Name}, B: End{m.Rooms[b].ID, y.Index, y.Name}})
	}
	if r.IntN(3) == 0 { // something that lies on the uplink
		at := r.IntN(len(m.Rooms))
		x := *m.face(at, Interface{Name: "mac0", Kind: "macvlan", MTU: 1500})
		m.Cables = append(m.Cables, Cable{Kind: "macvlan", A: End{"host", 2, "eth0"}, B: End{m.Rooms[at].ID, x.Index, x.Name}})
	}
	return &m.Picture
}

// Of any picture the text fits, and all rooms are in it.
func TestRandomText(t *testing.T) {
	for seed := range uint64(500) {
		p := random(seed)
		for _, columns := range []int{44, 80, 132} {
			text := p.Text(TextOptions{Columns: columns})
			for line := range strings.Lines(text) {
				if w := width(strings.TrimSuffix(line, "\n")); w > columns {
					t.Errorf("seed %d, %d columns: %d in %q", seed, columns, w, line)
				}
			}
			for _, r := range p.Rooms {
				if !strings.Contains(text, r.Name) {
					t.Errorf("seed %d, %d columns: %s is missing", seed, columns, r.Name)
				}
			}
		}
	}
}

// Of any picture each way ends, at the outside or with words.
func TestRandomWays(t *testing.T) {
	for seed := range uint64(500) {
		p := random(seed)
		for i := range p.Rooms {
			w := p.Way(&p.Rooms[i])
			outside := len(w.Out) > 0 && w.Out[len(w.Out)-1].Kind == HopGateway
			if outside == (w.Ends != "") {
				t.Errorf("seed %d, %s: %+v", seed, p.Rooms[i].Name, w)
			}
		}
	}
}

func TestWay(t *testing.T) {
	address := netip.MustParseAddr
	for _, c := range []struct {
		name   string
		change func(*maker, *Room)
		ends   string
		hop    string // of which the words are in the way
	}{
		{"whole", func(*maker, *Room) {}, "", "masquerade: 172.17.0.2 leaves as 10.0.0.2"},
		{"no route", func(_ *maker, r *Room) { r.Routes = nil }, "web has no default route: packets to the outside go no further", ""},
		{"wrong gateway", func(_ *maker, r *Room) { r.Routes[0].Via = address("172.17.0.5") }, "nobody on this network has the address 172.17.0.5 of the gateway: packets end here", ""},
		{"no masquerade", func(m *maker, _ *Room) { m.Outgoing = nil }, "", "gateway 10.0.0.1"},
		{"no uplink", func(m *maker, _ *Room) { m.Rooms[0].Routes = nil }, "host has no default route: packets to the outside go no further", ""},
		{"not forwarding", func(m *maker, _ *Room) { m.Rooms[0].Forwarding = false }, "net.ipv4.ip_forward is 0 in host: packets that are not for it go no further", ""},
		{"snat", func(m *maker, _ *Room) { m.Outgoing[0].Kind, m.Outgoing[0].To = "snat", address("10.0.0.9") }, "", "snat: 172.17.0.2 leaves as 10.0.0.9"},
		{"silent gateway", func(_ *maker, r *Room) { r.Routes[0].Neighbour = "failed" }, "", "default via 172.17.0.1"},
		{"policy", func(m *maker, _ *Room) { m.Rooms[0].PolicyRules = 2 }, "", "2 policy rules more: ip rule shows them; the way may be another"},
		{"down", func(m *maker, r *Room) { r.Interfaces[1].State = Down }, "", "172.17.0.2/16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newHost()
			m.bridge("minictr0", "172.17.0.1/16")
			at := m.container("minictr", "web", "minictr0", "172.17.0.2/16")
			c.change(m, &m.Rooms[at])
			w := m.Way(&m.Rooms[at])
			found := c.hop == ""
			for _, h := range w.Out {
				found = found || h.Words == c.hop
			}
			if w.Ends != c.ends || !found {
				t.Errorf("%q %+v", w.Ends, w.Out)
			}
		})
	}
}
