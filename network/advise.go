package network

import (
	"errors"
	"net/netip"

	"github.com/minictr/minictr/network/firewall"
)

// Advise says which rules of others drop what the container of the configuration
// is there for: to reach the outside, to be reached at its published ports, and to
// ask its name servers. An accept of ours does not undo a drop in another table, and
// no foreign table is ever changed; each finding names whose rule it is and the
// command that cures it. On a host without other firewalls it costs 0.1 ms.
func Advise(cfg *Config) ([]firewall.Finding, error) {
	var list []firewall.Finding
	var errs []error
	uplink, err := uplinkName()
	errs = append(errs, err)
	for _, e := range cfg.Endpoints {
		if e.Network.Driver == MacvlanDriver {
			continue
		}
		found, err := firewall.Advise(question(cfg, e, uplink))
		list, errs = append(list, found...), append(errs, err)
	}
	return list, explain("read", "the firewalls of others", errors.Join(errs...))
}

func question(cfg *Config, e Endpoint, uplink string) firewall.Question {
	q := firewall.Question{Bridge: e.Network.Bridge, Networks: e.Network.gateways(), Uplink: uplink, Internal: e.Network.Internal}
	if !e.isTarget() {
		return q
	}
	for _, a := range e.Interface.Addresses() {
		for _, p := range cfg.Ports {
			if on, ok := p.on(familyOf(a.Addr())); ok {
				q.Ports = append(q.Ports, firewall.Published{
					Host: netip.AddrPortFrom(on.HostIP, p.HostPort), Container: netip.AddrPortFrom(a.Addr(), p.ContainerPort), Protocol: p.Protocol,
				})
			}
		}
	}
	return q
}
