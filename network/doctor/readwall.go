package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/firewall"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

// A sample is a packet that the container lives on, and the hooks that it passes.
type sample struct {
	what   string
	aim    Aim
	hooks  []firewall.Hook
	packet firewall.Packet
}

// walls takes sample packets of the container through the tables of others.
type walls struct {
	facts   *Facts
	foreign *firewall.Ruleset
	layers  *firewall.Ruleset
	advice  []firewall.Finding
	list    []Wall
}

// readWalls fills Walls and LegacyTables. It must run in the namespace of the host,
// whose links are known.
func readWalls(f *Facts, more []sample) error {
	if f.Network == nil {
		return nil
	}
	w := &walls{facts: f}
	var err error
	if w.foreign, err = firewall.ReadForeign(); err != nil {
		return err
	}
	if w.layers, err = firewall.ReadLayers(); err != nil {
		return err
	}
	if w.advice, err = network.Advise(f.Network); err != nil {
		return err
	}
	for _, e := range f.Network.Endpoints {
		if e.Network.Driver == network.MacvlanDriver {
			continue
		}
		for _, a := range e.Interface.Addresses() {
			w.endpoint(e, a.Addr())
		}
	}
	for _, s := range more {
		w.ask(s)
	}
	for _, a := range w.advice {
		if strings.HasSuffix(a.Owner, "-legacy") {
			f.LegacyTables = append(f.LegacyTables, a.Owner)
		}
	}
	f.Walls = w.list
	return nil
}

// gatewayOf is the network's gateway of the address's family.
func gatewayOf(n network.Network, a netip.Addr) netip.Addr {
	if a.Is4() {
		return n.Gateway.Addr()
	}
	return n.Gateway6.Addr()
}

// leaves reports whether what the container sends outside from the address goes by
// this endpoint, and may.
func leaves(e network.Endpoint, a netip.Addr) bool {
	return !e.Network.Internal && (a.Is4() && e.Default || a.Is6() && e.Default6)
}

// uplink is the link of the host's default route of the address's family; nil without.
func (s *Space) uplink(like netip.Addr) *survey.Link {
	if r := s.defaultRoute(like); r != nil {
		return s.Link(r.Link)
	}
	return nil
}

func (s *Space) defaultRoute(like netip.Addr) (best *survey.Route) {
	for i, r := range s.Routes {
		if r.To.Bits() == 0 && r.To.Addr().Is4() == like.Is4() && r.Table == unix.RT_TABLE_MAIN && r.Link != 0 && r.Type == "unicast" &&
			(best == nil || r.Metric < best.Metric) {
			best = &s.Routes[i]
		}
	}
	return best
}

func (s *Space) linkOf(name string) firewall.Link {
	l := s.LinkNamed(name)
	if l == nil {
		return firewall.Link{Name: name}
	}
	return firewall.Link{Name: name, Index: l.Index}
}

// endpoint asks for what the endpoint's address lives on.
func (w *walls) endpoint(e network.Endpoint, a netip.Addr) {
	host, bridge := &w.facts.Host, w.facts.Host.linkOf(e.Network.Bridge)
	gateway := gatewayOf(e.Network, a)
	query := firewall.Packet{
		In: bridge, Source: a, Destination: gateway, DestinationLocal: true, Protocol: unix.IPPROTO_UDP, SourcePort: 40000, DestinationPort: 53,
	}
	what := "questions for names from " + a.String()
	w.toHost(what, query)
	w.asFrames(e, what, query)
	w.within(e, a, bridge)
	uplink := host.uplink(a)
	if uplink == nil || !leaves(e, a) {
		return
	}
	for _, port := range []uint16{443, 80} {
		out := firewall.Packet{
			In: bridge, Out: host.linkOf(uplink.Name), Source: a, Destination: outsideLike(a), Protocol: unix.IPPROTO_TCP,
			SourcePort: 40000, DestinationPort: port,
		}
		w.through(fmt.Sprintf("packets from %s to port %d outside", a, port), Outgoing, out)
		w.asFrames(e, "packets from "+a.String(), out)
		w.devices("packets from "+a.String(), e, out, uplink)
	}
	w.ports(a, bridge, uplink)
}

// outsideLike is an address of the internet, of the prefixes for documentation.
func outsideLike(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.MustParseAddr("2001:db8:ffff::1")
	}
	return netip.MustParseAddr("203.0.113.1")
}

// answer is the packet back.
func answer(p firewall.Packet) firewall.Packet {
	p.In, p.Out = p.Out, p.In
	p.Source, p.Destination = p.Destination, p.Source
	p.SourcePort, p.DestinationPort = p.DestinationPort, p.SourcePort
	p.SourceLocal, p.DestinationLocal = p.DestinationLocal, p.SourceLocal
	p.SourceMAC, p.DestinationMAC = p.DestinationMAC, p.SourceMAC
	p.State, p.Reply, p.DNAT = firewall.Established, true, false
	return p
}

// toHost asks for a packet to the gateway, and its answer.
func (w *walls) toHost(what string, p firewall.Packet) {
	w.ask(sample{what, ToHost, []firewall.Hook{firewall.Prerouting, firewall.Input}, p})
	w.ask(sample{"the answers to " + what, ToHost, []firewall.Hook{firewall.Output, firewall.Postrouting}, answer(p)})
}

// through asks for a packet that the host passes on, and its answer.
func (w *walls) through(what string, aim Aim, p firewall.Packet) {
	coming := p
	coming.Out = firewall.Link{}
	w.ask(sample{what, aim, []firewall.Hook{firewall.Prerouting}, coming})
	w.ask(sample{what, aim, []firewall.Hook{firewall.Forward, firewall.Postrouting}, p})
	back := answer(p)
	w.ask(sample{"the answers to " + what, aim, []firewall.Hook{firewall.Forward, firewall.Postrouting}, back})
	back.Out = firewall.Link{}
	w.ask(sample{"the answers to " + what, aim, []firewall.Hook{firewall.Prerouting}, back})
}

// within asks for packets to a neighbour, where br_netfilter lets rules of IP see them.
func (w *walls) within(e network.Endpoint, a netip.Addr, bridge firewall.Link) {
	key := "net/bridge/bridge-nf-call-iptables"
	if a.Is6() {
		key = "net/bridge/bridge-nf-call-ip6tables"
	}
	if w.facts.Host.sysctl(key) != "1" {
		return
	}
	p := firewall.Packet{
		In: bridge, Out: bridge, Source: a, Destination: a.Next(), Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: 80,
	}
	w.ask(sample{"packets between containers on " + e.Network.Bridge, Within, []firewall.Hook{firewall.Forward}, p})
}

// ports asks for packets to the published ports.
func (w *walls) ports(a netip.Addr, bridge firewall.Link, uplink *survey.Link) {
	for _, p := range w.facts.Network.Ports {
		at := p.HostIP
		if !at.IsValid() || at.IsUnspecified() {
			if i := slices.IndexFunc(uplink.Addresses, func(x survey.Address) bool {
				return x.Prefix.Addr().Is4() == a.Is4() && !x.Prefix.Addr().IsLinkLocalUnicast()
			}); i >= 0 {
				at = uplink.Addresses[i].Prefix.Addr()
			}
		}
		if !at.IsValid() || at.Is4() != a.Is4() || at.IsLoopback() {
			continue
		}
		what := fmt.Sprintf("what comes to the published port %d/%s", p.HostPort, p.Protocol)
		before := firewall.Packet{
			In: w.facts.Host.linkOf(uplink.Name), Source: outsideLike(a), Destination: at, DestinationLocal: true,
			Protocol: protocolNumber(p.Protocol), SourcePort: 40000, DestinationPort: p.HostPort,
		}
		w.ask(sample{what, ToPort, []firewall.Hook{firewall.Prerouting}, before})
		after := before
		after.Destination, after.DestinationPort, after.DestinationLocal, after.DNAT, after.Out = a, p.ContainerPort, false, true, bridge
		w.ask(sample{what, ToPort, []firewall.Hook{firewall.Forward, firewall.Postrouting}, after})
		back := answer(after)
		w.ask(sample{"the answers to " + what, ToPort, []firewall.Hook{firewall.Forward, firewall.Postrouting}, back})
	}
}

func protocolNumber(name string) uint8 {
	return map[string]uint8{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}[name]
}

// ask takes the sample through its hooks.
func (w *walls) ask(s sample) {
	for _, hook := range s.hooks {
		if v := w.foreign.Walk(hook, s.packet); v.Kind != firewall.Accept {
			w.add(s, v, "drop", "ip", hook.String())
		}
		if s.packet.State != firewall.New || hook != firewall.Prerouting && hook != firewall.Postrouting {
			continue
		}
		if v, found := w.foreign.Translator(hook, s.packet); found && w.harms(hook, s, v) {
			w.add(s, v, "rewrite", "ip", hook.String())
		}
	}
}

// ourDNAT is the priority at which our published ports are rewritten.
const ourDNAT = -100

// harms reports whether a rewriting takes the packet elsewhere than it should go.
// Answers of the container's leave with an address of the host in any case.
func (w *walls) harms(hook firewall.Hook, s sample, v firewall.Verdict) bool {
	switch {
	case hook == firewall.Postrouting:
		return false
	case s.aim == ToPort:
		return v.Priority() <= ourDNAT
	}
	return true
}

// add notes a verdict; of one place once for each aim.
func (w *walls) add(s sample, v firewall.Verdict, kind, layer, hook string) {
	wall := Wall{What: s.what, Aim: s.aim, Owner: v.Owner(), Where: v.String(), Unsure: v.Kind == firewall.Unknown, Kind: kind, Layer: layer, Hook: hook}
	if kind == "rewrite" {
		wall.Where = fmt.Sprintf("chain %s of table %s %s, rule: %s", v.Chain, v.Family, v.Table, v.Rule)
	}
	if slices.ContainsFunc(w.list, func(x Wall) bool { return x.Where == wall.Where && x.Aim == wall.Aim && x.Kind == wall.Kind }) {
		return
	}
	wall.Show = fmt.Sprintf("nft -a list table %s %s", v.Family, step.Quote(v.Table))
	wall.Cure = cureOf(v)
	for _, a := range w.advice {
		if strings.Contains(a.Where, wall.Where) && len(a.Cure) > 0 {
			wall.Cure = a.Cure
		}
	}
	w.list = append(w.list, wall)
}

// cureOf takes the rule away, or turns the policy round. The kernel takes any text for a
// name; one that is no word of nft's is not put into a command, where it might be another:
// tables in a container are the container's to name.
func cureOf(v firewall.Verdict) []string {
	if !isWord(v.Table) || !isWord(v.Chain) || !isWord(v.Base) {
		return nil
	}
	if v.Rule == "" {
		return []string{fmt.Sprintf("nft 'chain %s %s %s { policy accept; }'", v.Family, v.Table, v.Base)}
	}
	return []string{fmt.Sprintf("nft delete rule %s %s %s handle %d", v.Family, v.Table, v.Chain, v.Handle)}
}

// isWord tells a name that neither nft(8) nor sh(1) takes for more than that.
func isWord(name string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
	return name != "" && strings.Trim(name, plain) == ""
}

// asFrames asks family bridge and arp for the packet on the container's cable, and for
// the answer.
func (w *walls) asFrames(e network.Endpoint, what string, p firewall.Packet) {
	host := &w.facts.Host
	bridge := host.LinkNamed(e.Network.Bridge)
	p.In, p.Out = host.linkOf(e.Interface.Host), firewall.Link{}
	p.SourceMAC, _ = net.ParseMAC(e.Interface.MAC) // a Config is well-formed
	if bridge != nil {
		p.DestinationMAC, _ = net.ParseMAC(bridge.MAC) // the kernel's own text
	}
	back := answer(p)
	for _, hook := range []firewall.Hook{firewall.Prerouting, firewall.Input, firewall.Output, firewall.Postrouting} {
		packet := p
		if hook >= firewall.Output {
			packet = back
		}
		if v := w.layers.WalkBridge(hook, packet); v.Kind != firewall.Accept {
			w.add(sample{what: what, aim: Outgoing}, v, "drop", "bridge", hook.String())
		}
	}
	question := p
	question.ARP, question.Protocol, question.In = true, 0, host.linkOf(e.Network.Bridge)
	for _, out := range []bool{false, true} {
		if v := w.layers.WalkARP(out, question); v.Kind != firewall.Accept {
			w.add(sample{what: "ARP of " + e.Network.Bridge, aim: Outgoing}, v, "drop", "arp", "")
		}
	}
}

// devices asks the chains that hang at the links on the packet's way out and back.
func (w *walls) devices(what string, e network.Endpoint, p firewall.Packet, uplink *survey.Link) {
	back := answer(p)
	arp := p
	arp.ARP, arp.Protocol = true, 0
	way := []struct {
		link   string
		egress bool
		packet firewall.Packet
	}{
		{e.Interface.Host, false, p},
		{e.Interface.Host, false, arp},
		{e.Network.Bridge, false, p},
		{uplink.Name, true, p},
		{uplink.Name, false, back},
		{e.Network.Bridge, true, back},
		{e.Interface.Host, true, back},
	}
	for _, at := range way {
		if v := w.layers.WalkDevice(at.link, at.egress, at.packet); v.Kind != firewall.Accept {
			w.add(sample{what: what, aim: Outgoing}, v, "drop", "netdev", "")
		}
	}
}
