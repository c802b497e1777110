package network

import "github.com/minictr/minictr/runtime/step"

// Shared is what all containers of a network have in common: the bridge, the
// gateway's address on it, a kernel that forwards, and the way out. Every step
// is harmless where its object exists, and its Undo takes away only what its
// own Apply made and nobody else has come to use.
//
// It is the caller's business to tell people that ip_forward was switched on:
// after Apply, the step *SetSysctl says so by Changed.
func Shared(cfg *Config) []step.Step {
	if cfg.Mode != Bridge {
		return nil
	}
	n, lease := cfg.Network, cfg.Lease
	host := &place{steps: 3}
	return []step.Step{
		&AddBridge{Name: n.Bridge, MAC: n.MAC, Lease: lease, at: host},
		&SetSysctl{
			Key: "net/ipv6/conf/" + n.Bridge + "/accept_ra", Value: "0", Optional: true, Lease: lease,
			Why: "do not let a container pose as an IPv6 router of the host (CVE-2020-13401)",
		},
		&AddAddress{Link: n.Bridge, Address: n.Gateway, Lease: lease, at: host},
		&SetLinkUp{Link: n.Bridge, Lease: lease, at: host},
		&SetSysctl{
			Key: "net/ipv4/ip_forward", Value: "1", Lease: lease,
			Why: "let the host pass packets on from one link to another",
		},
		&AddMasquerade{Network: n.Name, Bridge: n.Bridge, Subnet: n.Subnet(), Lease: lease},
	}
}

// Endpoint is what one container has: in mode Bridge a cable to the bridge, an
// address, and a default route; in mode None only lo. The other modes borrow a
// namespace that is somebody else's to set up. cfg.Netns must say where the
// container's namespace is before the steps are applied.
func Endpoint(cfg *Config) []step.Step {
	ns, i := cfg.Netns, cfg.Interface
	inside := &place{netns: ns, steps: 1}
	lo := &SetLinkUp{Link: "lo", Netns: ns, at: inside}
	switch cfg.Mode {
	case Bridge:
		inside.steps = 5
	case None:
		return []step.Step{lo}
	default:
		return nil
	}
	return []step.Step{
		&SetSysctl{
			// Before eth0 is born: set on eth0 itself it costs ten times as much.
			Key: "net/ipv6/conf/default/disable_ipv6", Value: "1", Optional: true, Netns: ns, at: inside,
			Why: "no IPv6 on a network without IPv6: no address by itself, no router that a neighbour poses as",
		},
		&AddVeth{Host: i.Host, Bridge: cfg.Network.Bridge, Peer: i.Name, MAC: i.MAC, MTU: i.MTU, Netns: ns},
		&AddAddress{Link: i.Name, Address: i.Address, Netns: ns, at: inside},
		lo,
		&SetLinkUp{Link: i.Name, Netns: ns, at: inside},
		&AddRoute{Gateway: cfg.Network.Gateway.Addr(), Link: i.Name, Netns: ns, at: inside},
	}
}
