package network

import "github.com/minictr/minictr/runtime/step"

// Publish is the steps that publish ports of a container: two that make them
// reachable at 127.0.0.1 and from the container itself, and then the ports. They
// come after Shared and Inside. The ports may be all of cfg.Ports or some, for a
// running container; each must have a port of the host (ResolvePorts). The owner is
// the container's id, the name is for people.
func Publish(cfg *Config, ports []Port, owner, name string) []step.Step {
	if len(ports) == 0 {
		return nil
	}
	p := &PublishPorts{Ports: ports, Owner: owner, Name: name}
	var list []step.Step
	for _, e := range cfg.Endpoints {
		if !e.isTarget() {
			continue
		}
		list = append(list, throughBridge(e)...)
		p.Lease = e.Lease
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
	return append(list, &SetHairpin{Link: e.Interface.Host})
}
