package network

import (
	"slices"

	"github.com/minictr/minictr/runtime/step"
)

// Shared is what all containers of its networks have in common: the bridges, the
// gateways' addresses on them, a kernel that forwards, and the way out. Every
// step is harmless where its object exists, and its Undo takes away only what its
// own Apply made and nobody else has come to use.
//
// It is the caller's business to tell people that ip_forward was switched on:
// after Apply, the step *SetSysctl says so by Changed.
func Shared(cfg *Config) []step.Step {
	var list []step.Step
	host := &place{}
	for _, e := range cfg.Endpoints {
		list = append(list, shared(e, host)...)
	}
	return list
}

// SharedOf is Shared of one endpoint.
func SharedOf(e Endpoint) []step.Step { return shared(e, &place{}) }

func shared(e Endpoint, host *place) []step.Step {
	n, lease := e.Network, e.Lease
	if n.Driver == MacvlanDriver {
		return parentOf(n, lease)
	}
	list := []step.Step{&AddBridge{Name: n.Bridge, MAC: n.MAC, Lease: lease, at: host.use()}}
	list = append(list, bridgeSysctls(n.Bridge, n.Gateway6.IsValid(), lease)...)
	for _, gateway := range n.gateways() {
		list = append(list, &AddAddress{Link: n.Bridge, Address: gateway, Lease: lease, at: host.use()})
	}
	list = append(list, &SetLinkUp{Link: n.Bridge, Lease: lease, at: host.use()})
	if n.Gateway.IsValid() && !n.Internal {
		list = append(list, &SetSysctl{
			Key: "net/ipv4/ip_forward", Value: "1", Lease: lease,
			Why: "let the host pass packets on from one link to another",
		})
	}
	if n.Gateway6.IsValid() && !n.Internal {
		list = append(list, &ForwardIPv6{Lease: lease})
	}
	return append(list, &AddFirewall{
		Network: n.Name, Bridge: n.Bridge, Gateway: n.Gateway, Gateway6: n.Gateway6, Internal: n.Internal, Lease: lease,
	})
}

// parentOf is what a macvlan needs on the host: its parent, where that is a VLAN
// that is made when it is missing.
func parentOf(n Network, lease Lease) []step.Step {
	if parent, id, ok := ParseVLAN(n.Bridge); ok {
		return []step.Step{&AddVLAN{Name: n.Bridge, Parent: parent, ID: id, Lease: lease}}
	}
	return nil
}

// Inside is what one container has: in mode Bridge for each of its networks a
// cable to the bridge, an address, and for one of them a default route; in mode
// None only lo. The other modes borrow a namespace that is somebody else's to set
// up. cfg.Netns must say where the container's namespace is before the steps are
// applied.
func Inside(cfg *Config) []step.Step {
	if cfg.Mode != Bridge && cfg.Mode != None {
		return nil
	}
	inside := &place{netns: cfg.Netns}
	var list []step.Step
	for _, e := range cfg.Endpoints {
		list = append(list, attach(e, cfg.Netns, inside)...)
	}
	// lo comes up before any route: it brings the main table with it.
	lo := &SetLinkUp{Link: "lo", Netns: cfg.Netns, at: inside.use()}
	return slices.Insert(list, min(loPlace, len(list)), step.Step(lo))
}

// loPlace is where lo comes in the list: behind the first step that visits the
// namespace on a thread, which is the dearest.
const loPlace = 3

// AttachOf is what Inside does for one endpoint, without lo and routes: those are
// RouteOf's, for a container that is on other networks too.
func AttachOf(e Endpoint, ns Netns) []step.Step { return attach(e, ns, &place{netns: ns}) }

func attach(e Endpoint, ns Netns, inside *place) []step.Step {
	i := e.Interface
	list := []step.Step{&SetLinkDefaults{Link: i.Name, IPv6: i.Address6.IsValid(), Netns: ns, at: inside.use()}}
	host := &place{}
	if e.Network.Driver == MacvlanDriver {
		list = append(list, &AddMacvlan{Parent: e.Network.Bridge, Name: i.Name, MAC: i.MAC, MTU: i.MTU, Netns: ns, at: host.use()})
	} else {
		list = append(list, &AddVeth{Host: i.Host, Bridge: e.Network.Bridge, Peer: i.Name, MAC: i.MAC, MTU: i.MTU, Netns: ns, at: host.use()})
	}
	for _, a := range i.Addresses() {
		list = append(list, &AddAddress{Link: i.Name, Address: a, Netns: ns, at: inside.use()})
	}
	list = append(list, &SetLinkUp{Link: i.Name, Netns: ns, at: inside.use()})
	if e.Network.Driver != MacvlanDriver {
		list = append(list, &SyncCarrier{Host: i.Host, Bridge: e.Network.Bridge, at: host.use()})
	}
	if ns.Foreign {
		list = onLink(list)
	}
	return append(list, routes(e, ns, inside)...)
}

// RoutesOf are the default routes that go by the endpoint.
func RoutesOf(e Endpoint, ns Netns) []step.Step { return routes(e, ns, &place{netns: ns}) }

func routes(e Endpoint, ns Netns, inside *place) []step.Step {
	var list []step.Step
	if e.Default {
		list = append(list, &AddRoute{Gateway: e.Network.Gateway.Addr(), Link: e.Interface.Name, Netns: ns, at: inside.use()})
	}
	if e.Default6 {
		list = append(list, &AddRoute{Gateway: e.Network.Gateway6.Addr(), Link: e.Interface.Name, Netns: ns, at: inside.use()})
	}
	return list
}
