package diagram

import (
	"fmt"
	"net/netip"
)

func prefixList(list ...string) (all []netip.Prefix) {
	for _, text := range list {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func lo() Interface {
	return Interface{Index: 1, Name: "lo", Kind: "lo", State: Up, MTU: 65536, Addresses: prefixList("127.0.0.1/8", "::1/128")}
}

func defaultBy(via, face string) Route {
	to := netip.MustParsePrefix("0.0.0.0/0")
	a := netip.MustParseAddr(via)
	if a.Is6() {
		to = netip.MustParsePrefix("::/0")
	}
	return Route{To: to, Via: a, Interface: face, Type: "unicast"}
}

// A maker builds pictures for tests.
type maker struct {
	Picture
	index int
}

// newHost begins with a host whose eth0 is its uplink.
func newHost() *maker {
	m := &maker{index: 2}
	m.Rooms = []Room{{
		ID: "host", Kind: KindHost, Name: "host", Inode: 4026531840, Forwarding: true,
		Interfaces: []Interface{lo(), {Index: 2, Name: "eth0", State: Up, MTU: 1500, MAC: "52:54:00:12:34:56", Addresses: prefixList("10.0.0.2/24"), Uplink: true}},
		Routes:     []Route{defaultBy("10.0.0.1", "eth0"), {To: netip.MustParsePrefix("10.0.0.0/24"), Interface: "eth0", Type: "unicast", Connected: true}},
	}}
	return m
}

func (m *maker) face(room int, f Interface) *Interface {
	m.index++
	f.Index = m.index
	if f.State == "" {
		f.State = Up
	}
	r := &m.Rooms[room]
	r.Interfaces = append(r.Interfaces, f)
	return &r.Interfaces[len(r.Interfaces)-1]
}

func (m *maker) bridge(name, address string) {
	m.face(0, Interface{Name: name, Kind: "bridge", MTU: 1500, Addresses: prefixList(address)})
	m.Outgoing = append(m.Outgoing, NAT{
		Kind: "masquerade", Sources: []netip.Prefix{netip.MustParsePrefix(address).Masked()}, NotOut: []string{name},
		Rule: Rule{Room: "host", Table: "ip minictr", Chain: "postrouting", Handle: 30, Owner: "minictr"},
	})
}

// container adds a room with eth0 on the bridge.
func (m *maker) container(kind, name, bridge string, addresses ...string) int {
	at := len(m.Rooms)
	m.Rooms = append(m.Rooms, Room{ID: kind + ":" + name, Kind: kind, Name: name, Inode: uint64(4026532000 + at), Pid: 1000 + at, Interfaces: []Interface{lo()}})
	m.join(at, "eth0", bridge, addresses...)
	via := netip.MustParsePrefix(addresses[0]).Masked().Addr().Next()
	m.Rooms[at].Routes = append(m.Rooms[at].Routes, defaultBy(via.String(), "eth0"))
	return at
}

// join lays a cable between a room and a bridge of the host.
func (m *maker) join(room int, name, bridge string, addresses ...string) {
	inside := *m.face(room, Interface{Name: name, Kind: "veth", MTU: 1500, MAC: "02:42:ac:11:00:02", Addresses: prefixList(addresses...)})
	host := *m.face(0, Interface{Name: fmt.Sprintf("veth%08x", 0x1e0f<<16+m.index), Kind: "veth", MTU: 1500, Master: bridge})
	m.Cables = append(m.Cables, Cable{Kind: "veth", A: End{m.Rooms[0].ID, host.Index, host.Name}, B: End{m.Rooms[room].ID, inside.Index, inside.Name}})
}

func (m *maker) publish(room int, protocol string, port, to uint16) {
	r := m.Rooms[room]
	m.Published = append(m.Published, Publish{
		Protocol: protocol, First: port, Last: port, To: r.Interfaces[1].Addresses[0].Addr(), ToPort: to, ToRoom: r.ID,
		Rule: Rule{Room: "host", Table: "ip minictr", Chain: "published", Handle: 12, Owner: "minictr"},
	})
}

// samples are the pictures that each format is tried on.
func samples() map[string]*Picture {
	all := map[string]*Picture{}

	m := newHost()
	m.bridge("minictr0", "172.17.0.1/16")
	web := m.container("minictr", "web", "minictr0", "172.17.0.2/16")
	m.container("minictr", "db", "minictr0", "172.17.0.3/16")
	m.publish(web, "tcp", 8080, 80)
	all["three"] = &m.Picture
	m.container("minictr", "cache", "minictr0", "172.17.0.4/16")

	m = newHost()
	m.bridge("minictr0", "172.17.0.1/16")
	m.bridge("br-shop", "172.18.0.1/16")
	m.bridge("docker0", "172.19.0.1/16")
	web = m.container("minictr", "web", "minictr0", "172.17.0.2/16", "fd4d:1234:5678:9abc::2/64")
	m.publish(web, "tcp", 8080, 80)
	m.publish(web, "udp", 53, 53)
	m.container("minictr", "db", "br-shop", "172.18.0.3/16")
	port := &m.Rooms[0].Interfaces[len(m.Rooms[0].Interfaces)-1]
	port.PortState, port.Isolated = "blocking", true
	m.join(web, "eth1", "br-shop", "172.18.0.2/16")
	m.Rooms[m.container("docker", "3f1e0a2b4c5d", "docker0", "172.19.0.2/16")].Command = "nginx"
	m.Rooms = append(m.Rooms, Room{ID: "netns:blue", Kind: KindNetns, Name: "blue", Inode: 4026532999, Interfaces: []Interface{func() Interface { l := lo(); l.State, l.Addresses = Down, nil; return l }()}})
	m.Rooms = append(m.Rooms, Room{ID: "minictr:none", Kind: "minictr", Name: "none", Inode: 4026532998, Interfaces: []Interface{lo()}})
	all["mixed"] = &m.Picture

	m = newHost()
	m.bridge("minictr0", "172.17.0.1/16")
	for i := range 97 {
		at := m.container("minictr", fmt.Sprintf("web-%d", i+1), "minictr0", fmt.Sprintf("172.17.0.%d/16", i+2))
		m.publish(at, "tcp", uint16(8001+i), 80)
	}
	m.container("minictr", "db", "minictr0", "172.17.1.3/16")
	m.container("minictr", "cache", "minictr0", "172.17.1.4/16")
	all["hundred"] = &m.Picture

	all["routers"] = routers()
	all["hostile"] = hostile()
	return all
}

// routers is what a lab has: two namespaces and a cable, and a router between two nets.
func routers() *Picture {
	m := newHost()
	for _, name := range []string{"router", "left", "right", "far"} {
		m.Rooms = append(m.Rooms, Room{ID: "netns:" + name, Kind: KindNetns, Name: name, Inode: uint64(4026533000 + len(m.Rooms)), Interfaces: []Interface{lo()}})
	}
	cable := func(a int, aName, aAddress string, b int, bName, bAddress string) {
		x := *m.face(a, Interface{Name: aName, Kind: "veth", MTU: 1500, Addresses: prefixList(aAddress)})
		y := *m.face(b, Interface{Name: bName, Kind: "veth", MTU: 1500, Addresses: prefixList(bAddress)})
		m.Cables = append(m.Cables, Cable{Kind: "veth", A: End{m.Rooms[a].ID, x.Index, x.Name}, B: End{m.Rooms[b].ID, y.Index, y.Name}})
	}
	cable(0, "to-router", "192.168.0.1/24", 1, "up", "192.168.0.2/24")
	m.face(1, Interface{Name: "lan", Kind: "bridge", MTU: 1500, Addresses: prefixList("10.1.0.1/24")})
	cable(1, "to-left", "10.1.1.1/24", 2, "eth0", "10.1.1.2/24")
	cable(1, "to-right", "10.1.2.1/24", 3, "eth0", "10.1.2.2/24")
	cable(2, "direct", "10.9.0.1/30", 3, "direct", "10.9.0.2/30")
	cable(3, "to-far", "10.3.0.1/30", 4, "eth0", "10.3.0.2/30")
	m.Rooms[1].Routes = []Route{defaultBy("192.168.0.1", "up")}
	m.Rooms[1].Forwarding, m.Rooms[1].PolicyRules = true, 1
	m.Rooms[2].Routes = []Route{defaultBy("10.1.1.1", "eth0")}
	m.Rooms[2].Interfaces[2].State = NoCarrier
	return &m.Picture
}

// hostile has names that somebody else chose, against each format.
func hostile() *Picture {
	m := newHost()
	m.bridge(`"><script>`, "172.17.0.1/16")
	m.container("minictr", "\x1b[2J\u009b31mred", `"><script>`, "172.17.0.2/16")
	at := m.container("netns", "a\nb\"];x[\"--><svg onload=alert(1)>&amp;\u202eevil\u200b", `"><script>`, "172.17.0.3/16")
	m.Rooms[at].Interfaces[1].Name = "e\\\"}#;"
	m.Cables[len(m.Cables)-1].B.Interface = "e\\\"}#;"
	m.container("docker", "名前が長い容器-with-a-very-long-name-that-fits-nowhere-0123456789", `"><script>`, "172.17.0.4/16", "fd4d:1234:5678:9abc:def0:1234:5678:9abc/64")
	m.container("netns", "-->|`#quot;`|end", `"><script>`, "172.17.0.5/16")
	return &m.Picture
}
