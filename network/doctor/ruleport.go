package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

// neighbours is about who knows whose hardware address.
func (c *cableOf) neighbours() {
	if c.inside == nil || c.bridge == nil {
		return
	}
	clean := true
	for _, p := range c.e.Interface.Addresses() {
		gateway := gatewayOf(c.e.Network, p.Addr())
		clean = c.entry(&c.Inside, c.inside, gateway, c.bridge.MAC, func(rest string) string { return c.in("ip", rest) }) && clean
		clean = c.entry(&c.Host, c.bridge, p.Addr(), c.inside.MAC, func(rest string) string { return "ip " + rest }) && clean
	}
	for _, l := range []*survey.Link{c.inside, c.bridge} {
		if l.NoARP {
			clean = false
			command := "ip link set " + l.Name + " arp on"
			if l == c.inside {
				command = c.in("ip", "link set "+l.Name+" arp on")
			}
			c.fault(Finding{
				Check: "neighbour", Object: l.Name, What: "ARP is switched off on " + l.Name, Ours: true,
				Why: "without ARP nobody learns the hardware address that belongs to an IP address", Show: strings.Replace(command, "link set "+l.Name+" arp on", "link show "+l.Name, 1), Remedies: sh(command),
			})
		}
	}
	if clean {
		c.ok("neighbour", c.inside.Name, "")
	}
}

// entry judges what a namespace remembers of a neighbour.
func (c *cableOf) entry(s *Space, link *survey.Link, a netip.Addr, mac string, ip func(string) string) (clean bool) {
	i := slices.IndexFunc(s.Neighbours, func(n survey.Neighbour) bool { return n.Link == link.Index && n.Address == a && !n.Proxy })
	if i < 0 {
		return true
	}
	n := s.Neighbours[i]
	f := Finding{
		Check: "neighbour", Object: a.String(), Show: ip("neigh show dev " + link.Name), Ours: true,
		Why:      "frames to " + a.String() + " are sent to that hardware address",
		Remedies: sh(ip(fmt.Sprintf("neigh del %s dev %s", a, link.Name))),
	}
	switch {
	case n.State == "permanent" && n.MAC != mac:
		f.What = fmt.Sprintf("%s is at %s by hand (permanent); it is at %s", a, n.MAC, mac)
		c.fault(f)
		return false
	case n.State == "failed":
		f.What = "nobody has answered the question who has " + a.String()
		c.warn(f)
		return false
	case n.MAC != "" && n.MAC != mac && n.State != "incomplete":
		f.What = fmt.Sprintf("%s was last heard from %s; it is at %s", a, n.MAC, mac)
		f.Why = "it may be the entry of who had the address before, and is asked for anew before long; or somebody else has the address"
		c.warn(f)
		return false
	}
	return true
}

// switchIsThere is about the bridge itself.
func (c *cableOf) switchIsThere() {
	name := c.e.Network.Bridge
	reload := []Remedy{{Reload: true}}
	switch {
	case c.bridge == nil:
		c.fault(Finding{Check: "bridge", Object: name, What: "there is no such link", Why: "it is the switch that the containers of network " + c.e.Network.Name + " are plugged into, and their gateway", Show: "ip link show " + name, Remedies: reload, Ours: true})
		return
	case c.bridge.Kind != "bridge":
		c.fault(Finding{Check: "bridge", Object: name, What: "the link of that name is no bridge but " + c.bridge.Kind, Why: "nothing can be plugged into it", Show: "ip -d link show " + name})
		return
	}
	c.ok("bridge", name, "")
	if !c.bridge.Up {
		c.fault(Finding{Check: "bridge-up", Object: name, What: "it is down", Why: "a bridge that is switched off passes nothing on, and the gateway's address on it is not reached", Show: "ip link show " + name, Remedies: steps(&network.SetLinkUp{Link: name, Lease: c.e.Lease}), Ours: true})
	} else {
		c.ok("bridge-up", name, "")
	}
	for _, gateway := range []netip.Prefix{c.e.Network.Gateway, c.e.Network.Gateway6} {
		if !gateway.IsValid() {
			continue
		}
		if has(c.bridge, gateway) {
			c.ok("bridge-address", name, "%s", gateway)
			continue
		}
		f := Finding{
			Check: "bridge-address", Object: name, What: "it does not have the gateway's address " + gateway.String(), Ours: true,
			Why: "nobody answers when the container asks for its gateway, and the host has no route to it", Show: "ip addr show " + name,
			Remedies: steps(&network.AddAddress{Link: name, Address: gateway, Lease: c.e.Lease}),
		}
		if have := texts(c.bridge); have != "" {
			f.What += ", but " + have
		}
		for _, a := range c.bridge.Addresses {
			if a.Prefix.Addr() == gateway.Addr() {
				f.Remedies = append(sh(fmt.Sprintf("ip addr del %s dev %s", a.Prefix, name)), f.Remedies...)
			}
		}
		c.fault(f)
	}
	c.frames()
}

// plugged is about the host's end of the cable.
func (c *cableOf) plugged() {
	name := c.e.Interface.Host
	if c.host == nil {
		c.unplugged()
		return
	}
	if c.inside != nil && (c.host.Peer != c.inside.Index || c.inside.Peer != c.host.Index) {
		c.fault(Finding{Check: "peer", Object: name, What: "it is not the other end of " + c.inside.Name, Why: "what the container sends comes out elsewhere", Show: "ip -d link show " + name})
		return
	}
	c.ok("peer", name, "%s", name)
	if !c.host.Up {
		c.fault(Finding{
			Check: "peer-up", Object: name, What: "it is down", Why: "a cable carries a signal only when both ends are switched on", Show: "ip link show " + name,
			Remedies: steps(&network.SetLinkUp{Link: name, Lease: c.e.Lease}), Ours: true,
		})
	} else {
		c.ok("peer-up", name, "")
	}
	join := &network.JoinBridge{Host: name, Bridge: c.e.Network.Bridge}
	f := Finding{Check: "bridge-port", Object: name, Why: join.Words(), Show: "bridge link show dev " + name, Remedies: steps(join), Ours: true}
	f.Why = "what the container sends ends at the plug: the bridge is its way to everybody"
	switch {
	case c.host.Master == 0:
		f.What = "it is plugged into no bridge"
	case c.bridge == nil || c.host.Master != c.bridge.Index:
		f.What = fmt.Sprintf("it is plugged into %s, not into %s", c.Host.name(c.host.Master), c.e.Network.Bridge)
	default:
		c.ok("bridge-port", name, "%s", c.bridge.Name)
		return
	}
	if len(c.Network.Ports) > 0 { // a port that is new to a bridge has no hairpin mode
		f.Remedies = append(f.Remedies, steps(&network.SetHairpin{Link: name})...)
	}
	c.fault(f)
}

// unplugged looks where the host's end of the pair is.
func (c *cableOf) unplugged() {
	if c.inside == nil {
		return
	}
	name := c.e.Interface.Host
	f := Finding{Check: "peer", Object: name, What: "it is not on the host", Why: "it is the host's end of the container's cable: nothing that the container sends arrives", Show: "ip link show " + name, Ours: true}
	switch other := c.Host.Link(c.inside.Peer); {
	case c.inside.PeerNSID < 0 && c.Inside.Link(c.inside.Peer) != nil:
		there := c.Inside.Link(c.inside.Peer)
		f.What += fmt.Sprintf(": it is in the container, as %s", there.Name)
		f.Remedies = c.newCable()
	case other != nil && other.Kind == "veth" && other.Peer == c.inside.Index && other.PeerNSID >= 0:
		f.What = "it has another name now: " + other.Name
		f.Why = "minictr knows the cable by its name"
		f.Remedies = sh(fmt.Sprintf("ip link set %s name %s", step.Quote(other.Name), name))
	default:
		f.What += ": it is in another network namespace"
		f.Remedies = c.newCable()
	}
	c.fault(f)
}

// newCable takes the container's end away, and its other end with it, and lays another
// cable.
func (c *cableOf) newCable() []Remedy {
	list := sh(c.in("ip", "link delete "+c.inside.Name))
	list = append(list, steps(network.AttachOf(*c.e, c.Network.Netns)...)...)
	list = append(list, steps(network.RoutesOf(*c.e, c.Network.Netns)...)...)
	if len(c.Network.Ports) > 0 {
		list = append(list, steps(&network.SetHairpin{Link: c.e.Interface.Host})...)
	}
	return list
}

// port is about what the bridge does with the container's port.
func (c *cableOf) port() {
	if c.host == nil || c.host.Port == nil || c.bridge == nil || c.host.Master != c.bridge.Index {
		return
	}
	p, name := c.host.Port, c.host.Name
	show := "bridge -d link show dev " + name
	for _, x := range c.portRows(p) {
		f := Finding{Check: "port-state", Object: name, What: x.what, Why: x.why, Show: show, Remedies: sh("bridge link set dev " + name + " " + x.cure), Ours: true}
		switch {
		case x.wrong && x.fatal:
			c.fault(f)
		case x.wrong:
			c.warn(f)
		}
	}
	if !c.said("port-state") {
		c.ok("port-state", name, "%s", p.State)
	}
	if p.Isolated {
		c.fault(Finding{
			Check: "port-isolated", Object: name, What: "the port is isolated", Why: "isolated ports do not reach each other, only the others and the host", Show: show,
			Remedies: sh("bridge link set dev " + name + " isolated off"), Ours: true,
		})
	} else {
		c.ok("port-isolated", name, "")
	}
	c.vlans(p)
	c.hairpin(p)
}

// A portRow is a setting of a port that keeps frames from passing.
type portRow struct {
	wrong, fatal    bool
	what, why, cure string
}

func (c *cableOf) portRows(p *survey.BridgePort) []portRow {
	return []portRow{
		{p.State != "forwarding", true, "the port is " + p.State, "a port passes frames on only in the state forwarding", "state 3"},
		{p.Locked, true, "the port is locked (802.1X)", "a locked port takes frames only from senders that the bridge's table was told", "locked off"},
		{!p.Broadcast, true, "frames to everybody are not sent to the port (bcast_flood off)", "the question who has the container's address (ARP) is such a frame", "bcast_flood on flood on"},
		{!p.Flood && p.Broadcast, false, "frames for whom the bridge does not know are not sent to the port (flood off)", "a container that has said nothing for a while is not reached", "flood on"},
		{!p.Multicast, c.e.Interface.Address6.IsValid(), "frames to groups are not sent to the port (mcast_flood off)", "IPv6 asks for neighbours by groups", "mcast_flood on"},
		{!p.Learning, false, "the bridge does not learn who is behind the port (learning off)", "every frame for the container is sent to all ports", "learning on"},
	}
}

func (c *cableOf) vlans(p *survey.BridgePort) {
	if c.bridge.Bridge == nil || !c.bridge.Bridge.VLANFiltering {
		c.ok("vlan-filter", c.bridge.Name, "it does not filter by VLAN")
		return
	}
	own := uint16(0)
	for _, v := range p.VLANs {
		if v.PVID {
			own = v.ID
		}
	}
	bridge := c.bridge.Bridge.PVID
	if own == bridge && own != 0 {
		c.ok("vlan-filter", c.host.Name, "VLAN %d, as the bridge itself", own)
		return
	}
	c.fault(Finding{
		Check: "vlan-filter", Object: c.host.Name, What: fmt.Sprintf("the port is in VLAN %d, the bridge itself in %d, and the bridge filters by VLAN", own, bridge),
		Why:  "frames of one VLAN are not passed on to another",
		Show: "bridge vlan show", Remedies: sh(fmt.Sprintf("ip link set %s type bridge vlan_filtering 0", c.bridge.Name)), Ours: true,
	})
}

// hairpin is needed where ports are published.
func (c *cableOf) hairpin(p *survey.BridgePort) {
	s := planned(c.diagnosis, func(s *network.SetHairpin) bool { return s.Link == c.host.Name })
	switch {
	case s == nil:
		c.skip("hairpin", "nothing is published by this network")
	case p.Hairpin:
		c.ok("hairpin", c.host.Name, "")
	default:
		c.fault(Finding{
			Check: "hairpin", Object: c.host.Name, What: "hairpin mode is off", Show: "bridge -d link show dev " + c.host.Name, Remedies: steps(s), Ours: true,
			Why: "where br_netfilter is on, the container reaches its own published port only if the bridge may send a frame back by the port it came from",
		})
	}
}

// members is about who else is on the bridge.
func (c *cableOf) members() {
	strangers, left := false, false
	for _, m := range c.Members {
		if m.Bridge != c.e.Network.Bridge || m.Known {
			continue
		}
		f := Finding{
			Object: m.Port, Show: "bridge link show; ip -d link show " + step.Quote(m.Port),
			Why: "it hears what the containers ask everybody, and may take any of their addresses", Remedies: sh("ip link set " + step.Quote(m.Port) + " nomaster"),
		}
		if m.Alone {
			left = true
			f.Check, f.What, f.Ours = "leaked-link", "the cable of a container that is not there any more is in "+m.Bridge, true
			f.Why, f.Remedies = "nobody needs it", sh("ip link delete "+step.Quote(m.Port))
			c.warn(f)
			continue
		}
		strangers = true
		f.Check, f.What = "foreign-link", fmt.Sprintf("%s (%s) is a port of %s, and minictr did not put it there", m.Port, m.Kind, m.Bridge)
		if m.MTU < c.e.Interface.MTU && m.MTU > 0 {
			f.What += fmt.Sprintf("; its MTU of %d is now that of the bridge", m.MTU)
			f.Why = "a bridge has the smallest MTU of its ports: what the host passes on to the containers is cut or refused"
			c.fault(f)
			continue
		}
		c.warn(f)
	}
	if !strangers {
		c.ok("foreign-link", c.e.Network.Bridge, "")
	}
	if !left {
		c.ok("leaked-link", c.e.Network.Bridge, "")
	}
	c.duplicates()
}

// duplicates looks for the container's addresses and the gateway's at others.
func (c *cableOf) duplicates() {
	own := map[netip.Addr]string{}
	for _, p := range c.e.Interface.Addresses() {
		own[p.Addr()], own[gatewayOf(c.e.Network, p.Addr())] = "the container's", "the gateway's"
	}
	clean := true
	tell := func(a netip.Addr, who, show string, cure []Remedy) {
		clean = false
		c.fault(Finding{
			Check: "duplicate-address", Object: a.String(), What: fmt.Sprintf("%s has %s address, too", who, own[a]),
			Why: "who answers first gets the packets, and that may change from one minute to the next", Show: show, Remedies: cure,
		})
	}
	for _, m := range c.Members {
		for _, p := range m.Addresses {
			if m.Bridge == c.e.Network.Bridge && own[p.Addr()] != "" {
				cure := []Remedy(nil)
				if m.Known {
					cure = sh(fmt.Sprintf("ip -n %s addr del %s dev eth0", step.Quote(m.Name), p))
				}
				tell(p.Addr(), fmt.Sprintf("%s (port %s)", whose(m), m.Port), "ip -n … addr show", cure)
			}
		}
	}
	for _, l := range c.Host.Links {
		for _, a := range l.Addresses {
			if own[a.Prefix.Addr()] != "" && l.Name != c.e.Network.Bridge && !a.Prefix.Addr().IsLinkLocalUnicast() {
				tell(a.Prefix.Addr(), "the host's "+l.Name, "ip addr show "+step.Quote(l.Name), sh(fmt.Sprintf("ip addr del %s dev %s", a.Prefix, step.Quote(l.Name))))
			}
		}
	}
	if clean {
		c.ok("duplicate-address", "", "")
	}
}

// parent is what a macvlan has in place of a cable and a bridge.
func (c *cableOf) parent() {
	name := c.e.Network.Bridge
	switch {
	case c.bridge == nil:
		c.fault(Finding{Check: "peer", Object: name, What: "the host has no such link", Why: "it is the parent of the container's link", Show: "ip link show " + name})
	case !c.bridge.Up:
		c.fault(Finding{Check: "peer-up", Object: name, What: "it is down", Why: "a link without its parent hears nothing", Show: "ip link show " + name, Remedies: sh("ip link set " + name + " up")})
	default:
		c.ok("peer", name, "")
		c.ok("peer-up", name, "")
	}
}
