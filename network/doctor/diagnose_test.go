package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

var (
	address  = netip.MustParsePrefix("172.17.0.2/16")
	gateway  = netip.MustParsePrefix("172.17.0.1/16")
	uplinkAt = netip.MustParsePrefix("192.0.2.10/24")
	router   = netip.MustParseAddr("192.0.2.20")
)

const (
	guestMAC, bridgeMAC = "02:42:ac:11:00:02", "02:42:ac:11:00:01"
	hostInode, guestIno = 1, 2
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func on(prefixes ...netip.Prefix) (list []survey.Address) {
	for _, p := range prefixes {
		list = append(list, survey.Address{Prefix: p})
	}
	return list
}

// usual are the rules that every namespace has.
func usual() []survey.Rule {
	rule := func(priority, table int) survey.Rule {
		return survey.Rule{Family: unix.AF_INET, Priority: priority, Action: "lookup", Table: table, Usual: true}
	}
	return []survey.Rule{rule(0, unix.RT_TABLE_LOCAL), rule(32766, unix.RT_TABLE_MAIN), rule(32767, unix.RT_TABLE_DEFAULT)}
}

// well is what Read finds of a container with a published port where all is well.
func well() *Facts {
	cfg := &network.Config{
		Mode: network.Bridge, Netns: network.Netns{Name: "web", Inode: guestIno},
		Endpoints: []network.Endpoint{{
			Network:   network.Network{Name: "bridge", Bridge: "minictr0", Gateway: gateway, MAC: bridgeMAC},
			Lease:     network.Lease{File: "/run/minictr/leases/bridge", Owner: strings.Repeat("a", 64)},
			Interface: network.Interface{Name: "eth0", Host: "vethaaaaaaaa", Address: address, MAC: guestMAC, MTU: 1500},
			Default:   true,
		}},
		Ports: []network.Port{{HostIP: netip.IPv4Unspecified(), HostPort: 8080, ContainerPort: 80, Count: 1, Protocol: "tcp"}},
	}
	f := &Facts{Name: "web", Pid: 77, Network: cfg, Process: Process{State: "S", SeccompHave: 1, SeccompGave: 1}}
	f.Host.Netns = survey.Netns{
		Inode: hostInode,
		Links: []survey.Link{
			{Index: 1, Name: "lo", Type: unix.ARPHRD_LOOPBACK, Up: true, Running: true, PeerNSID: -1, Addresses: on(prefix("127.0.0.1/8"))},
			{Index: 2, Name: "eth0", Up: true, Running: true, MTU: 1500, MAC: "02:00:00:00:00:01", PeerNSID: -1, Addresses: on(uplinkAt)},
			{Index: 3, Name: "minictr0", Kind: "bridge", Up: true, Running: true, MTU: 1500, MAC: bridgeMAC, PeerNSID: -1, Bridge: &survey.Bridge{}, Addresses: on(gateway)},
			{
				Index: 4, Name: "vethaaaaaaaa", Kind: "veth", Up: true, Running: true, MTU: 1500, MAC: "02:00:00:00:00:04", Master: 3, Peer: 2, PeerNSID: 0,
				Port: &survey.BridgePort{State: "forwarding", Hairpin: true, Learning: true, Flood: true, Broadcast: true, Multicast: true},
			},
		},
		Routes: []survey.Route{
			{Table: unix.RT_TABLE_MAIN, Type: "unicast", To: prefix("0.0.0.0/0"), Gateway: router, Link: 2},
			{Table: unix.RT_TABLE_MAIN, Type: "unicast", To: prefix("172.17.0.0/16"), Link: 3},
		},
		Rules: usual(), Neighbours: []survey.Neighbour{{Link: 2, Address: router, MAC: "02:00:00:00:00:09", State: "reachable"}},
	}
	f.Host.Parameters = map[string]string{"net/ipv4/ip_forward": "1", "net/ipv4/conf/minictr0/forwarding": "1", "net/ipv4/conf/eth0/forwarding": "1", "net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/minictr0/rp_filter": "0", "net/ipv4/conf/eth0/rp_filter": "0"}
	f.Inside.Named, f.Inside.NamePath = true, "/run/netns/web"
	f.Inside.Netns = survey.Netns{
		Inode: guestIno,
		Links: []survey.Link{
			{Index: 1, Name: "lo", Type: unix.ARPHRD_LOOPBACK, Up: true, Running: true, PeerNSID: -1, Addresses: on(prefix("127.0.0.1/8"))},
			{Index: 2, Name: "eth0", Kind: "veth", Up: true, Running: true, MTU: 1500, MAC: guestMAC, Peer: 4, PeerNSID: 0, Addresses: on(address)},
		},
		Routes: []survey.Route{
			{Table: unix.RT_TABLE_MAIN, Type: "unicast", To: prefix("0.0.0.0/0"), Gateway: gateway.Addr(), Link: 2},
			{Table: unix.RT_TABLE_MAIN, Type: "unicast", To: prefix("172.17.0.0/16"), Link: 2},
		},
		Rules: usual(),
	}
	f.Inside.Parameters = map[string]string{"net/ipv4/ip_local_port_range": "32768 60999", "net/ipv4/ip_default_ttl": "64"}
	f.Ways = map[netip.Addr]*Ways{address.Addr(): {
		Out:       Way{Asked: true, To: outsideLike(address.Addr()), Link: "eth0", Gateway: gateway.Addr(), Type: "unicast"},
		ToGateway: Way{Asked: true, To: gateway.Addr(), Link: "eth0", Type: "unicast"},
		HostOut:   Way{Asked: true, To: outsideLike(address.Addr()), Link: "eth0", Gateway: router, Type: "unicast"},
		HostTo:    Way{Asked: true, To: address.Addr(), Link: "minictr0", Type: "unicast"},
		HostBack:  Way{Asked: true, To: address.Addr(), Link: "minictr0", Type: "unicast"},
	}}
	for _, s := range planOf(cfg) {
		f.Checked = append(f.Checked, Checked{Step: s})
	}
	f.Names = []Server{{Network: "bridge", Address: gateway.Addr(), Answered: true}}
	f.Resolv = Resolv{Servers: []netip.Addr{gateway.Addr()}, Want: []netip.Addr{gateway.Addr()}}
	f.Upstream = Upstream{Servers: []netip.Addr{router}, Asked: true, Answered: true}
	f.Sockets = []Socket{{Protocol: "tcp", Address: netip.IPv4Unspecified(), Port: 80}}
	f.Filled = Filled{Conntrack: 5, ConntrackMax: 1000, ConntrackKnown: true, Neighbours: 5, NeighboursMax: 1000, NeighboursKnown: true}
	return f
}

func (f *Facts) guest() *survey.Link  { return f.Inside.LinkNamed("eth0") }
func (f *Facts) cable() *survey.Link  { return f.Host.LinkNamed("vethaaaaaaaa") }
func (f *Facts) bridge() *survey.Link { return f.Host.LinkNamed("minictr0") }
func (f *Facts) ways() *Ways          { return f.Ways[address.Addr()] }

// fails lets the first step of the type fail.
func fails[S step.Step](f *Facts, meant func(S) bool, err error) {
	for i := range f.Checked {
		if s, ok := f.Checked[i].Step.(S); ok && meant(s) {
			f.Checked[i].Err = err
			return
		}
	}
	panic("no such step")
}

func drifted(f *Facts, d *network.FirewallDrift) {
	fails(f, func(*network.AddFirewall) bool { return true }, step.Fail("check firewall", "", errors.Join(d)))
}

func without[T any](list []T, drop func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), drop)
}

// silent is what any cut on the way to the gateway does to names.
func (f *Facts) silent() {
	f.Names[0].Answered, f.Names[0].Err = false, unix.ETIMEDOUT
}

// ills are facts with one fault, and the check that is the cause.
var ills = []struct {
	name  string
	hurt  func(*Facts)
	cause ID
}{
	{"frozen", func(f *Facts) { f.Process.Frozen = "/sys/fs/cgroup/x" }, "frozen"},
	{"stopped", func(f *Facts) { f.Process.State = "T" }, "frozen"},
	{"not to be entered", func(f *Facts) { f.Inside.Err = unix.EPERM }, "namespace"},
	{"another namespace", func(f *Facts) { f.Network.Netns.Inode = 9 }, "namespace"},
	{"lo down", func(f *Facts) { f.Inside.Links[0].Up = false }, "lo"},
	{"eth0 gone", func(f *Facts) {
		f.Inside.Links, f.Host.Links = f.Inside.Links[:1], f.Host.Links[:3]
		f.ways().Out.Errno, f.ways().ToGateway.Errno = unix.ENETUNREACH, unix.ENETUNREACH
		f.silent()
	}, "interface"},
	{"eth0 renamed", func(f *Facts) { f.guest().Name = "net0" }, "interface"},
	{"eth0 down", func(f *Facts) {
		f.guest().Up, f.guest().Running, f.cable().Running, f.cable().Port.State = false, false, false, "disabled"
		f.ways().Out.Errno, f.ways().ToGateway.Errno = unix.ENETUNREACH, unix.ENETUNREACH
		f.silent()
	}, "interface-up"},
	{"held", func(f *Facts) {
		f.guest().Running, f.cable().Held = false, true
		f.cable().Port.State = "disabled"
		f.silent()
	}, "carrier"},
	{"no address", func(f *Facts) {
		f.guest().Addresses = nil
		f.ways().Out.Errno, f.ways().ToGateway.Errno = unix.ENETUNREACH, unix.ENETUNREACH
		f.silent()
	}, "address"},
	{"short prefix", func(f *Facts) { f.guest().Addresses = on(prefix("172.17.0.2/1")) }, "prefix"},
	{"gateway's address on lo", func(f *Facts) {
		f.Inside.Links[0].Addresses = append(f.Inside.Links[0].Addresses, on(prefix("172.17.0.1/32"))...)
		f.ways().ToGateway.Type = "local"
		f.silent()
	}, "address-extra"},
	{"address of the uplink's net", func(f *Facts) { f.guest().Addresses = on(address, prefix("192.0.2.7/24")) }, "address-extra"},
	{"address that it speaks as", func(f *Facts) {
		f.guest().Addresses = on(address, prefix("172.17.0.9/24"))
		f.ways().ToGateway.Source, f.ways().Out.Source = netip.MustParseAddr("172.17.0.9"), netip.MustParseAddr("172.17.0.9")
		f.silent()
	}, "address-extra"},
	{"address at another", func(f *Facts) {
		f.Members = []Member{{Bridge: "minictr0", Port: "vethb", Name: "other", Known: true, Addresses: []netip.Prefix{address}}}
	}, "duplicate-address"},
	{"address on the host", func(f *Facts) {
		f.Host.Links[0].Addresses = append(f.Host.Links[0].Addresses, on(prefix("172.17.0.2/32"))...)
		f.ways().HostTo.Link, f.ways().HostTo.Type = "lo", "local"
	}, "duplicate-address"},
	{"other MAC", func(f *Facts) { f.guest().MAC = "02:66:00:00:00:00" }, "mac"},
	{"same MAC", func(f *Facts) {
		f.Members = []Member{{Bridge: "minictr0", Port: "vethb", Name: "other", Known: true, MAC: guestMAC}}
	}, "duplicate-mac"},
	{"bridge's MAC", func(f *Facts) { f.bridge().MAC = guestMAC }, "duplicate-mac"},
	{"prohibit", func(f *Facts) {
		f.Inside.Rules = append(f.Inside.Rules, survey.Rule{Family: unix.AF_INET, Priority: 9, Action: "prohibit"})
		f.ways().Out.Errno, f.ways().ToGateway.Errno = unix.EACCES, unix.EACCES
		f.silent()
	}, "policy-rule"},
	{"no route", func(f *Facts) { f.Inside.Routes = f.Inside.Routes[1:]; f.ways().Out.Errno = unix.ENETUNREACH }, "route"},
	{"thief", func(f *Facts) {
		f.Inside.Routes = append(f.Inside.Routes, survey.Route{Table: unix.RT_TABLE_MAIN, Type: "unicast", To: prefix("128.0.0.0/1"), Link: 1})
		f.ways().Out.Link, f.ways().ToGateway.Link = "lo", "eth0"
	}, "route"},
	{"wrong gateway", func(f *Facts) {
		f.Inside.Routes[0].Gateway, f.ways().Out.Gateway = netip.MustParseAddr("172.17.9.9"), netip.MustParseAddr("172.17.9.9")
	}, "gateway"},
	{"wrong neighbour", func(f *Facts) {
		f.Inside.Neighbours = []survey.Neighbour{{Link: 2, Address: gateway.Addr(), MAC: "02:66:00:00:00:00", State: "permanent"}}
		f.silent()
	}, "neighbour"},
	{"no ARP", func(f *Facts) { f.guest().NoARP = true }, "neighbour"},
	{"peer elsewhere", func(f *Facts) { f.Host.Links = f.Host.Links[:3]; f.silent() }, "peer"},
	{"peer down", func(f *Facts) {
		f.cable().Up, f.cable().Running, f.guest().Running, f.cable().Port.State = false, false, false, "disabled"
		f.silent()
	}, "peer-up"},
	{"unplugged", func(f *Facts) { f.cable().Master, f.cable().Port = 0, nil; f.silent() }, "bridge-port"},
	{"blocking", func(f *Facts) { f.cable().Port.State = "blocking"; f.silent() }, "port-state"},
	{"locked", func(f *Facts) { f.cable().Port.Locked = true; f.silent() }, "port-state"},
	{"isolated", func(f *Facts) { f.cable().Port.Isolated = true }, "port-isolated"},
	{"VLAN", func(f *Facts) {
		f.bridge().Bridge = &survey.Bridge{VLANFiltering: true, PVID: 1}
		f.cable().Port.VLANs = []survey.PortVLAN{{ID: 20, PVID: true}}
		f.silent()
	}, "vlan-filter"},
	{"no hairpin", func(f *Facts) { f.cable().Port.Hairpin = false }, "hairpin"},
	{"no bridge", func(f *Facts) {
		f.Host.Links = without(f.Host.Links, func(l survey.Link) bool { return l.Name == "minictr0" })
		f.cable().Master, f.cable().Port = 0, nil
		f.silent()
	}, "bridge"},
	{"bridge down", func(f *Facts) {
		f.bridge().Up = false
		f.cable().Port.State = "disabled"
		f.ways().HostTo.Errno = unix.ENETUNREACH
		f.silent()
	}, "bridge-up"},
	{"bridge's address", func(f *Facts) { f.bridge().Addresses = nil; f.ways().HostTo.Link = "eth0"; f.silent() }, "bridge-address"},
	{"static entry", func(f *Facts) {
		f.Host.FDB = []survey.FDBEntry{{MAC: guestMAC, Link: 3, State: "permanent"}}
		f.silent()
	}, "bridge-static"},
	{"no forwarding", func(f *Facts) {
		f.Host.Parameters["net/ipv4/ip_forward"] = "0"
		f.ways().HostOut.Errno = unix.EHOSTUNREACH
	}, "forwarding"},
	{"route_localnet", func(f *Facts) {
		fails(f, func(s *network.SetSysctl) bool { return strings.HasSuffix(s.Key, "route_localnet") }, errors.New("it is 0"))
	}, "route-localnet"},
	{"reverse path", func(f *Facts) { f.ways().HostBack.Errno = unix.EXDEV }, "rp-filter"},
	{"arp_ignore", func(f *Facts) { f.Host.Parameters["net/ipv4/conf/minictr0/arp_ignore"] = "8"; f.silent() }, "sysctl-host"},
	{"own firewall", func(f *Facts) { f.Own = []Wall{{What: "all", Aim: FromGuest, Kind: "drop", Where: "x"}}; f.silent() }, "own-firewall"},
	{"loss", func(f *Facts) {
		f.Host.Queues = []Queue{{Index: 4, Kind: "netem", Text: "loss 30%", Loses: true}}
		f.silent()
	}, "traffic-control"},
	{"XDP", func(f *Facts) { f.cable().XDP = true }, "xdp"},
	{"no table", func(f *Facts) {
		drifted(f, &network.FirewallDrift{Family: "ip", NoTable: true})
		fails(f, func(*network.PublishPorts) bool { return true }, errors.New("not there"))
	}, "table"},
	{"no masquerade", func(f *Facts) {
		drifted(f, &network.FirewallDrift{Family: "ip", Missing: []network.Piece{{Set: "subnets", Text: "x", Masquerade: true}}})
	}, "masquerade"},
	{"rules lost", func(f *Facts) {
		drifted(f, &network.FirewallDrift{Family: "ip", Missing: []network.Piece{{Chain: "postrouting", Masquerade: true}, {Chain: "forward"}}})
	}, "our-rules"},
	{"foreign rule in ours", func(f *Facts) {
		drifted(f, &network.FirewallDrift{Family: "ip", Foreign: []network.Piece{{Chain: "forward", Text: "drop"}}})
	}, "our-rules"},
	{"forward", func(f *Facts) {
		f.Walls = []Wall{{Aim: Within, Kind: "drop", Where: "a", Hook: "forward", Layer: "ip"}, {Aim: Outgoing, Kind: "drop", Where: "a", Hook: "forward", Layer: "ip"}}
	}, "forward-foreign"},
	{"input", func(f *Facts) {
		f.Walls = []Wall{{Aim: ToHost, Kind: "drop", Where: "a", Hook: "input", Layer: "ip"}}
		f.silent()
	}, "input-foreign"},
	{"translation", func(f *Facts) {
		f.Walls = []Wall{{Aim: Outgoing, Kind: "rewrite", Where: "a", Hook: "prerouting", Layer: "ip"}}
	}, "nat-foreign"},
	{"host's route", func(f *Facts) { f.ways().HostTo.Errno, f.ways().HostBack.Errno = unix.EINVAL, unix.EXDEV }, "host-route"},
	{"host's rule", func(f *Facts) {
		f.Host.Rules = append(f.Host.Rules, survey.Rule{Family: unix.AF_INET, Priority: 9, Action: "prohibit", From: prefix("172.17.0.2/32")})
		f.ways().HostOut.Errno = unix.EACCES
	}, "host-rule"},
	{"no default route", func(f *Facts) { f.Host.Routes = f.Host.Routes[1:]; f.ways().HostOut.Errno = unix.ENETUNREACH }, "host-route"},
	{"uplink down", func(f *Facts) {
		f.Host.Routes, f.Host.Links[1].Up = f.Host.Routes[1:], false
		f.ways().HostOut.Errno = unix.ENETUNREACH
	}, "uplink"},
	{"router silent", func(f *Facts) { f.Host.Neighbours[0].State = "failed" }, "uplink"},
	{"MTU", func(f *Facts) { f.cable().MTU, f.bridge().MTU = 1280, 1280 }, "mtu"},
	{"connections", func(f *Facts) { f.Filled.Conntrack = 999 }, "conntrack-full"},
	{"neighbours", func(f *Facts) { f.Filled.Neighbours = 999; f.silent() }, "neighbour-full"},
	{"bridged", func(f *Facts) {
		f.Walls = []Wall{{Aim: Within, Kind: "drop", Where: "a", Hook: "forward", Layer: "ip"}}
	}, "br-netfilter"},
	{"port lost", func(f *Facts) { fails(f, func(*network.PublishPorts) bool { return true }, errors.New("not there")) }, "published"},
	{"port taken", func(f *Facts) {
		f.Walls = []Wall{{Aim: ToPort, Kind: "rewrite", Where: "a", Hook: "prerouting", Layer: "ip"}}
	}, "published-foreign"},
	{"resolv.conf", func(f *Facts) { f.Resolv.Servers = []netip.Addr{router} }, "resolv-conf"},
	{"no resolv.conf", func(f *Facts) { f.Resolv.Missing = true }, "resolv-conf"},
	{"hosts", func(f *Facts) { f.Resolv.Hosts = []string{"192.0.2.1 web"} }, "nsswitch"},
	{"server dead", func(f *Facts) {
		fails(f, func(*network.StartNames) bool { return true }, errors.New("there is none"))
		f.silent()
	}, "name-server"},
	{"server silent", func(f *Facts) { f.silent(); f.Names[0].Stopped = true }, "name-server"},
	{"record lost", func(f *Facts) { fails(f, func(names.AddName) bool { return true }, unix.ENOENT); f.silent() }, "names"},
	{"other resolver", func(f *Facts) {
		fails(f, func(names.AddName) bool { return true }, errors.New("says something else"))
		f.Upstream.Recorded, f.Upstream.Answered = true, false
	}, "upstream"},
	{"small stranger", func(f *Facts) {
		f.Members = []Member{{Bridge: "minictr0", Port: "stray0", Kind: "veth", MTU: 1280}}
		f.bridge().MTU = 1280
	}, "foreign-link"},
	{"BPF", func(f *Facts) { f.Process.Filters = []Filter{{Cgroup: "x", Attach: "egress", ID: 7}} }, "cgroup-filter"},
	{"no pings", func(f *Facts) { f.Inside.Parameters["net/ipv4/icmp_echo_ignore_all"] = "1" }, "sysctl-container"},
	{"one port", func(f *Facts) { f.Inside.Parameters["net/ipv4/ip_local_port_range"] = "61000 61000" }, "sysctl-container"},
	{"target refuses", func(f *Facts) {
		f.Target = &Target{Address: router, Port: 80, Way: Way{Asked: true}, Probed: true, Err: unix.ECONNREFUSED, NextHop: "reachable"}
	}, "target"},
	{"no route to target", func(f *Facts) { f.Target = &Target{Address: router, Way: Way{Asked: true, Errno: unix.ENETUNREACH}} }, "target-route"},
	{"target behind a fault", func(f *Facts) {
		f.Host.Parameters["net/ipv4/ip_forward"] = "0"
		f.Target = &Target{Address: router, Port: 80, Way: Way{Asked: true}, Probed: true, Err: unix.ETIMEDOUT, NextHop: "reachable"}
	}, "forwarding"},
	{"wall before target", func(f *Facts) {
		f.Walls = []Wall{{Aim: ToTarget, Kind: "drop", Where: "a", Hook: "forward", Layer: "ip"}}
		f.Target = &Target{Address: router, Port: 80, Way: Way{Asked: true}, Probed: true, Err: unix.ETIMEDOUT, NextHop: "reachable"}
	}, "target-firewall"},
	{"next hop silent", func(f *Facts) {
		f.Target = &Target{Address: router, Way: Way{Asked: true}, Probed: true, Err: unix.EHOSTUNREACH, NextHop: "failed"}
	}, "target-neighbour"},
	{"narrow way", func(f *Facts) {
		f.Target = &Target{Address: router, Way: Way{Asked: true}, Probed: true, Answered: true, NextHop: "reachable", FullBytes: 1500}
	}, "target-mtu"},
}

// TestDiagnose: of each set of facts one cause, which is the right one, and everything
// else that is wrong is said to be its consequence.
func TestDiagnose(t *testing.T) {
	if r := Diagnose(well()); !r.Healthy {
		t.Fatalf("what is well is not: %+v", r.Wrong())
	}
	for _, ill := range ills {
		f := well()
		ill.hurt(f)
		r := Diagnose(f)
		if r.Healthy || r.Cause == nil || r.Cause.Check != ill.cause {
			t.Errorf("%s: the cause is %+v, not %s: %+v", ill.name, r.Cause, ill.cause, r.Wrong())
			continue
		}
		for _, w := range r.Wrong() {
			if w.Status == Fault && w.Check != ill.cause {
				t.Errorf("%s: %s is a fault beside %s: %s", ill.name, w.Check, ill.cause, w.What)
			}
		}
		if r.Cause.What == "" || r.Cause.Why == "" && !strings.HasPrefix(string(ill.cause), "namespace") {
			t.Errorf("%s: it is not explained: %+v", ill.name, r.Cause)
		}
	}
}

// TestChecks: every check comes up in some report, once for each is the cause of an
// illness, and what explains it is a check.
func TestChecks(t *testing.T) {
	places := order()
	causes := map[ID]bool{}
	for _, ill := range ills {
		causes[ill.cause] = true
	}
	// What only warns, or is always well.
	for _, id := range []ID{"container", "listener", "leaked-link", "seccomp"} {
		causes[id] = true
	}
	answered := map[ID]bool{}
	f := well()
	f.Target = &Target{Address: router, Way: Way{Asked: true}, Probed: true, Answered: true, NextHop: "reachable", FullBytes: 1500, FullOK: true}
	for _, finding := range Diagnose(f).Checks {
		answered[finding.Check] = true
		if _, known := places[finding.Check]; !known {
			t.Errorf("%s is not in the list", finding.Check)
		}
		if finding.Status == Warn {
			t.Errorf("a warning where all is well: %+v", finding)
		}
	}
	for _, c := range Checks() {
		if !answered[c.ID] {
			t.Errorf("%s is not answered", c.ID)
		}
		if !causes[c.ID] {
			t.Errorf("%s is nowhere the cause", c.ID)
		}
		for _, id := range c.Because {
			if _, known := places[id]; !known {
				t.Errorf("%s is explained by %s, which is no check", c.ID, id)
			}
		}
	}
}

// Warnings are no reason not to be healthy.
func TestWarnings(t *testing.T) {
	for name, change := range map[ID]func(*Facts){
		"listener":      func(f *Facts) { f.Sockets = nil },
		"leaked-link":   func(f *Facts) { f.Members = []Member{{Bridge: "minictr0", Port: "vethdeadbeef", Alone: true}} },
		"foreign-link":  func(f *Facts) { f.Members = []Member{{Bridge: "minictr0", Port: "tap0", Kind: "tun", MTU: 1500}} },
		"seccomp":       func(f *Facts) { f.Process.SeccompHave = 2 },
		"namespace":     func(f *Facts) { f.Inside.Named = false },
		"upstream":      func(f *Facts) { f.Upstream.Answered = false },
		"port-state":    func(f *Facts) { f.cable().Port.Learning = false },
		"address-extra": func(f *Facts) { f.guest().Addresses = on(address, prefix("172.17.0.9/16")) },
		"host-route": func(f *Facts) {
			f.Host.Routes, f.Host.Links[1].Addresses = f.Host.Routes[1:], nil
			f.ways().HostOut.Errno = unix.ENETUNREACH
		},
	} {
		f := well()
		change(f)
		r := Diagnose(f)
		warned := slices.ContainsFunc(r.Checks, func(x Finding) bool { return x.Check == name && x.Status == Warn })
		if !r.Healthy || !warned {
			t.Errorf("%s: healthy %v, warned %v: %+v", name, r.Healthy, warned, r.Wrong())
		}
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1:80": "192.0.2.1:80", "::1": "::1", "[2001:db8::1]": "2001:db8::1", "[2001:db8::1]:443": "[2001:db8::1]:443", "::ffff:192.0.2.1": "192.0.2.1",
		"": "", "1.2.3": "", "web": "", "192.0.2.1:0": "", "192.0.2.1:65536": "", "0.0.0.0": "", "ff02::1": "", "255.255.255.255": "", "[::1": "", "192.0.2.1:http": "",
	} {
		got, err := ParseTarget(text)
		if want == "" && err == nil || want != "" && (err != nil || fmt.Sprint(got) != want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

func TestWrongHosts(t *testing.T) {
	p := Patient{Network: well().Network, Hostnames: []string{"web", "web.lan"}}
	for text, want := range map[string]int{
		"127.0.0.1 localhost\n172.17.0.2 web\n": 0, "203.0.113.1 web\n172.17.0.2 web\n": 1, "172.17.0.2 web\n203.0.113.1 web\n": 0,
		"# 203.0.113.1 web\n": 0, "203.0.113.1 other\n": 0, "203.0.113.1 x web.lan # y": 1, "nonsense web\n": 0, "127.0.1.1 web\n": 0, "203.0.113.1\tweb\n": 1,
	} {
		if got := wrongHosts(text, p); len(got) != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
