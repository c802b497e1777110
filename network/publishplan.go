package network

import "github.com/minictr/minictr/runtime/step"

// Publish is the steps that publish the container's ports: two that make them
// reachable at 127.0.0.1 and from the container itself, and then the ports. They
// come after Shared and Inside. Each port must have one of the host (ResolvePorts).
func Publish(cfg *Config) []step.Step { return publish(cfg, cfg.Ports) }

// publish is Publish of some ports.
func publish(cfg *Config, ports []Port) []step.Step {
	if len(ports) == 0 {
		return nil
	}
	p := &PublishPorts{Ports: ports, Name: cfg.Netns.Name}
	var list []step.Step
	for _, e := range cfg.Endpoints {
		if !e.isTarget() {
			continue
		}
		list = append(list, throughBridge(e)...)
		p.Lease, p.Owner = e.Lease, e.Lease.Owner
		if e.Default {
			p.Address = e.Interface.Address.Addr()
		}
		if e.Default6 {
			p.Address6 = e.Interface.Address6.Addr()
		}
	}
	return append(list, p)
}

// isTarget tells whether ports lead to the endpoint: the container's answers leave
// by it, and the host's bridge is at the other end.
func (e Endpoint) isTarget() bool {
	return (e.Default || e.Default6) && e.Network.Driver != MacvlanDriver && !e.Network.Internal
}

// throughBridge is what an endpoint needs beside the ports.
func throughBridge(e Endpoint) []step.Step {
	var list []step.Step
	if e.Default {
		// The kernel drops packets from 127.0.0.0/8 that leave by another link than
		// lo, and answers to there that come by one. The chain raw sees to it that
		// containers cannot use the exception.
		list = append(list, &SetSysctl{
			Key: "net/ipv4/conf/" + e.Network.Bridge + "/route_localnet", Value: "1", Own: true, Lease: e.Lease,
			Why: "let what is published answer at 127.0.0.1 of the host",
		})
	}
	if e.Default6 {
		list = append(list, &AddBounce{Lease: e.Lease})
	}
	return append(list, &SetHairpin{Link: e.Interface.Host})
}
