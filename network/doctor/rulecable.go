package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

// interfaces is about the container's end of the cable.
func (c *cableOf) interfaces() {
	name, ns := c.e.Interface.Name, c.Network.Netns
	if c.inside == nil {
		c.missing()
		return
	}
	c.ok("interface", name, "")
	up := &network.SetLinkUp{Link: name, Netns: ns}
	if !c.inside.Up {
		c.fault(Finding{
			Check: "interface-up", Object: name, What: "it is down", Why: "a link that is switched off sends and hears nothing, and the routes that led out by it are gone",
			Show: c.in("ip", "link show "+name), Remedies: append(steps(up), steps(network.RoutesOf(*c.e, ns)...)...), Ours: true,
		})
		return
	}
	c.ok("interface-up", name, "")
	if c.inside.Running {
		c.ok("carrier", name, "")
		return
	}
	f := Finding{
		Check: "carrier", Object: name, What: "there is no carrier: the cable carries no signal", Why: "the kernel sends nothing by a link without one",
		Show: c.in("ip", "link show "+name), Ours: true,
	}
	switch {
	case c.host != nil && c.host.Held:
		f.What += ", because somebody holds " + c.host.Name + " down (protodown)"
		f.Remedies = sh("ip link set " + c.host.Name + " protodown off")
	case c.inside.Held:
		f.What += ", because somebody holds it down (protodown)"
		f.Remedies = sh(c.in("ip", "link set "+name+" protodown off"))
	case c.host != nil && c.host.Up:
		f.Remedies = sh(c.in("ip", "link set "+name+" carrier on"), "ip link set "+c.host.Name+" carrier on")
	}
	c.fault(f)
}

// missing tells an interface that was renamed from one that is gone.
func (c *cableOf) missing() {
	name, ns := c.e.Interface.Name, c.Network.Netns
	f := Finding{
		Check: "interface", Object: name, Why: "it is the container's end of the cable; addresses and routes are on it", Ours: true,
		Show: c.in("ip", "link"), What: "there is no link of that name",
	}
	for _, l := range c.Inside.Links {
		if c.host != nil && l.Kind == "veth" && l.Index == c.host.Peer && l.PeerNSID >= 0 || l.MAC == c.e.Interface.MAC && l.Kind == "macvlan" {
			f.What = "it has another name now: " + l.Name
			f.Remedies = sh(c.in("ip", fmt.Sprintf("link set %s name %s", step.Quote(l.Name), name)))
			c.fault(f)
			return
		}
	}
	if c.host == nil {
		f.What = "it is gone, and with it the host's end " + c.e.Interface.Host + ": the ends of a cable go together"
		f.Remedies = append(steps(network.AttachOf(*c.e, ns)...), steps(network.RoutesOf(*c.e, ns)...)...)
	} else {
		f.What = "it is not in the container any more, though its other end " + c.host.Name + " is on the host"
		f.Remedies = append(sh("ip link delete "+c.host.Name), append(steps(network.AttachOf(*c.e, ns)...), steps(network.RoutesOf(*c.e, ns)...)...)...)
	}
	c.fault(f)
}

// addresses compares what eth0 has with what was leased.
func (c *cableOf) addresses() {
	if c.inside == nil {
		return
	}
	name, ns := c.e.Interface.Name, c.Network.Netns
	for _, want := range c.e.Interface.Addresses() {
		show := c.in("ip", "addr show "+name)
		add := &network.AddAddress{Link: name, Address: want, Netns: ns}
		if has(c.inside, want) {
			c.ok("address", name, "%s", want.Addr())
			c.ok("prefix", name, "/%d", want.Bits())
			continue
		}
		again := append(steps(add), steps(network.RoutesOf(*c.e, ns)...)...)
		if other := slices.IndexFunc(c.inside.Addresses, func(a survey.Address) bool { return a.Prefix.Addr() == want.Addr() }); other >= 0 {
			wrong := c.inside.Addresses[other].Prefix
			c.fault(Finding{
				Check: "prefix", Object: name, What: fmt.Sprintf("%s has the length %d, not %d", want.Addr(), wrong.Bits(), want.Bits()),
				Why:  "the length says who is on the same cable: " + lengthMeans(wrong, want),
				Show: show, Remedies: append(sh(c.in("ip", fmt.Sprintf("addr del %s dev %s", wrong, name))), again...), Ours: true,
			})
			continue
		}
		f := Finding{
			Check: "address", Object: name, What: "it does not have its address " + want.String(), Ours: true,
			Why:  "answers come to that address, and the host's rules know the container by it: " + add.Words(),
			Show: show, Remedies: again,
		}
		if have := texts(c.inside); have != "" {
			f.What += ", but " + have
		}
		key := "net/ipv6/conf/" + name + "/disable_ipv6"
		if want.Addr().Is6() && c.Inside.sysctl(key) == "1" {
			f.Because = "sysctl-container"
			f.What += ": IPv6 is switched off"
		}
		c.fault(f)
	}
	c.extra()
}

func lengthMeans(wrong, want netip.Prefix) string {
	if wrong.Bits() < want.Bits() {
		return "it looks on the cable for machines that are behind the gateway"
	}
	return "it takes its neighbours, perhaps the gateway too, for far away"
}

// extra looks for addresses that were not leased.
func (c *cableOf) extra() {
	found := false
	gateway4, gateway6 := c.e.Network.Gateway.Addr(), c.e.Network.Gateway6.Addr()
	for _, l := range c.Inside.Links {
		if l.Name != "lo" && l.Name != c.e.Interface.Name {
			continue
		}
		for _, a := range l.Addresses {
			p := a.Prefix
			if p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || slices.Contains(c.e.Interface.Addresses(), p) || c.isWanted(p.Addr()) {
				continue
			}
			f := Finding{
				Check: "address-extra", Object: l.Name, What: "it has an address that minictr did not give it: " + p.String(),
				Show: c.in("ip", "addr show "+l.Name), Remedies: sh(c.in("ip", fmt.Sprintf("addr del %s dev %s", p, l.Name))),
			}
			found = true
			switch single := p.IsSingleIP(); {
			case p.Addr() == gateway4 || p.Addr() == gateway6:
				f.Why = "it is the gateway's: what is meant for the gateway, the container keeps to itself"
				c.fault(f)
			case !single && l.Name != "lo" && !c.within(p):
				f.Why = fmt.Sprintf("with it came a route: the container looks for all of %s on its own cable", p.Masked())
				c.fault(f)
			case c.speaksAs(p.Addr()):
				f.Why = "packets leave with it as their source: whoever knows the container does not know that address, and it may be somebody else's"
				c.fault(f)
			default:
				f.Why = "packets may leave with it as their source, which nobody else knows"
				c.warn(f)
			}
		}
	}
	if !found {
		c.ok("address-extra", "", "")
	}
}

// speaksAs reports whether the kernel chooses the address for what goes to the gateway or
// out.
func (c *cableOf) speaksAs(a netip.Addr) bool {
	for _, w := range c.Ways {
		if w.ToGateway.Source == a || w.Out.Source == a {
			return true
		}
	}
	return false
}

// isWanted reports whether the address is another endpoint's, or the same with another
// length, which is told elsewhere.
func (c *cableOf) isWanted(a netip.Addr) bool { return ownAddress(c.Network, a) }

// within reports whether the prefix is a part of the network's.
func (c *cableOf) within(p netip.Prefix) bool {
	for _, subnet := range []netip.Prefix{c.e.Network.Subnet(), c.e.Network.Subnet6()} {
		if subnet.IsValid() && subnet.Contains(p.Addr()) && p.Bits() >= subnet.Bits() {
			return true
		}
	}
	return false
}

// hardware is about MAC addresses.
func (c *cableOf) hardware() {
	if c.inside == nil {
		return
	}
	name, want := c.e.Interface.Name, c.e.Interface.MAC
	if c.inside.MAC != want {
		c.fault(Finding{
			Check: "mac", Object: name, What: fmt.Sprintf("its hardware address is %s, not %s", c.inside.MAC, want),
			Why:  "who has learnt the old one sends there, and finds nobody, until the entry is forgotten",
			Show: c.in("ip", "link show "+name), Remedies: sh(c.in("ip", fmt.Sprintf("link set %s address %s", name, want))), Ours: true,
		})
	} else {
		c.ok("mac", name, "%s", want)
	}
	twice := false
	for _, m := range c.Members {
		if m.Bridge == c.e.Network.Bridge && m.MAC == c.inside.MAC && m.MAC != "" {
			twice = true
			f := c.sameMAC(fmt.Sprintf("%s has it too (port %s)", whose(m), m.Port), m.Port)
			if m.Given != "" && m.Given != m.MAC {
				f.Remedies = sh(fmt.Sprintf("ip -n %s link set eth0 address %s", step.Quote(m.Name), m.Given))
				f.Ours = true
			}
			c.fault(f)
		}
	}
	if c.bridge != nil && c.bridge.MAC == c.inside.MAC {
		twice = true
		f := c.sameMAC("the bridge "+c.bridge.Name+" has it too", c.bridge.Name)
		if mac := c.e.Network.MAC; mac != "" {
			f.Remedies, f.Ours = sh(fmt.Sprintf("ip link set %s address %s", c.bridge.Name, mac)), true
		}
		c.fault(f)
	}
	if !twice {
		c.ok("duplicate-mac", name, "")
	}
}

func (c *cableOf) sameMAC(what, show string) Finding {
	return Finding{
		Check: "duplicate-mac", Object: c.inside.MAC, What: what,
		Why:  "a bridge sends a frame to the one port where it saw the address last: each of the two gets what is the other's",
		Show: "bridge fdb show | grep " + c.inside.MAC + "; ip link show " + show,
	}
}

func whose(m Member) string {
	if m.Known {
		return "container " + m.Name
	}
	return "a stranger"
}

// routes is about the container's way out and to the gateway.
func (c *cableOf) routes() {
	if c.inside == nil {
		return
	}
	for _, p := range c.e.Interface.Addresses() {
		a, gateway := p.Addr(), gatewayOf(c.e.Network, p.Addr())
		w := c.Ways[a]
		if w == nil {
			continue
		}
		if gateway.IsValid() && !c.onCable(w.ToGateway) {
			c.strayRoute(w.ToGateway, gateway, fmt.Sprintf("packets to the gateway %s do not go by %s: %s", gateway, c.inside.Name, w.ToGateway))
			continue
		}
		if !w.Out.Asked {
			c.ok("route", c.inside.Name, "%s is on the cable", p.Masked())
			continue
		}
		c.wayOut(w.Out, a, gateway)
	}
}

// onCable reports whether the way leads directly to the cable.
func (c *cableOf) onCable(w Way) bool {
	return !w.Asked || w.Errno == 0 && w.Link == c.e.Interface.Name && !w.Gateway.IsValid() && w.Type != "local"
}

func (c *cableOf) wayOut(w Way, a, gateway netip.Addr) {
	add := &network.AddRoute{Gateway: gateway, Link: c.e.Interface.Name, Netns: c.Network.Netns}
	best := c.Inside.defaultRoute(a)
	switch {
	case w.Errno == 0 && w.Link == c.e.Interface.Name && w.Gateway == gateway:
		c.ok("route", c.e.Interface.Name, "default by %s", c.e.Interface.Name)
		c.ok("gateway", c.e.Interface.Name, "%s", gateway)
	case best != nil && c.Inside.name(best.Link) == c.e.Interface.Name && best.Gateway != gateway && w.Gateway == best.Gateway:
		c.ok("route", c.e.Interface.Name, "default by %s", c.e.Interface.Name)
		c.fault(Finding{
			Check: "gateway", Object: gateway.String(), What: fmt.Sprintf("the default route goes to %s, not to the gateway %s", best.Gateway, gateway),
			Why: "only the gateway passes packets on; nobody answers at another address", Show: c.in("ip", family(a)+"route"), Ours: true,
			Remedies: append(sh(c.in("ip", family(a)+"route del default via "+best.Gateway.String())), steps(add)...),
		})
	case best == nil && !c.blocks(a):
		c.fault(Finding{
			Check: "route", Object: "default", What: "there is no default route", Why: "it is there to " + add.Words() + "; without it only neighbours are reached",
			Show: c.in("ip", family(a)+"route"), Remedies: steps(add), Ours: true,
		})
	default:
		c.strayRoute(w, a, "what is for outside does not leave by the gateway: "+w.String())
	}
}

// family is the option of ip(8).
func family(a netip.Addr) string {
	if a.Is6() {
		return "-6 "
	}
	return ""
}

// blocks reports whether there is a default route that leads nowhere.
func (c *cableOf) blocks(a netip.Addr) bool {
	return slices.ContainsFunc(c.Inside.Routes, func(r survey.Route) bool {
		return r.To.Bits() == 0 && r.To.Addr().Is4() == a.Is4() && r.Table == unix.RT_TABLE_MAIN && r.Type != "unicast" && r.Metric < 1<<31-1
	})
}

// strayRoute names the route that takes the packets to the address elsewhere. Where a
// rule of policy routing is to blame, that one is told.
func (c *cableOf) strayRoute(w Way, to netip.Addr, what string) {
	if w.Asked && w.To.IsValid() {
		to = w.To
	}
	f := Finding{Check: "route", Object: to.String(), What: what, Why: "the most exact route decides, whatever else there is", Show: c.in("ip", "route get "+to.String())}
	if c.has("policy-rule") || c.has("address-extra") {
		c.fault(f)
		return
	}
	for _, r := range c.culprits(&c.Inside, to, c.e.Interface.Name) {
		f.What += fmt.Sprintf(" (route %s)", routeText(&c.Inside, r))
		f.Remedies = append(f.Remedies, sh(c.in("ip", family(to)+"route del "+routeText(&c.Inside, r)))...)
	}
	if !slices.ContainsFunc(c.Inside.Routes, func(r survey.Route) bool {
		return r.To.Bits() == 0 && r.Type == "unicast" && r.To.Addr().Is4() == to.Is4()
	}) {
		f.Remedies = append(f.Remedies, steps(network.RoutesOf(*c.e, c.Network.Netns)...)...)
	}
	f.Ours = true
	c.fault(f)
}

// culprits are routes of the main table that take the address elsewhere than by the link.
func (d *diagnosis) culprits(s *Space, to netip.Addr, link string) (list []survey.Route) {
	for _, r := range s.Routes {
		if r.Table != unix.RT_TABLE_MAIN || !r.To.Contains(to) || r.Type == "unicast" && s.name(r.Link) == link && (!r.Gateway.IsValid() || r.To.Bits() == 0) {
			continue
		}
		if r.To.Bits() == 0 && r.Type == "unreachable" && r.Metric >= 1<<31-1 { // what IPv6 has by itself
			continue
		}
		list = append(list, r)
		if r.To.Bits() == 1 { // a pair of halves
			for _, other := range s.Routes {
				if other.To.Bits() == 1 && other.To != r.To && other.Link == r.Link && other.Table == r.Table && other.To.Addr().Is4() == to.Is4() {
					list = append(list, other)
				}
			}
		}
	}
	return list
}

// routeText is the route as ip(8) wants it.
func routeText(s *Space, r survey.Route) string {
	var words []string
	if r.Type != "unicast" {
		words = append(words, r.Type)
	}
	to := r.To.String()
	if r.To.Bits() == 0 {
		to = "default"
	}
	words = append(words, to)
	if r.Gateway.IsValid() {
		words = append(words, "via "+r.Gateway.String())
	}
	if r.Link != 0 && r.Type == "unicast" {
		words = append(words, "dev "+step.Quote(s.name(r.Link)))
	}
	return strings.Join(words, " ")
}
