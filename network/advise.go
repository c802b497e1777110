package network

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

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

// uplinkName is the link that the host's default route leaves by; empty without one.
func uplinkName() (name string, err error) {
	err = once(Netns{}, func(c *conn) error {
		link, err := c.uplink()
		if link != nil {
			name = link.name
		}
		return err
	})
	return name, err
}

// uplink is the link that the host's IPv4 default route leaves by, or else that of
// IPv6; nil without any.
func (c *conn) uplink() (*link, error) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := c.routes(family, unix.RT_TABLE_MAIN)
		if err != nil {
			return nil, err
		}
		var best *route
		for i, r := range routes {
			if r.to.Bits() == 0 && r.index != 0 && (best == nil || r.metric < best.metric) {
				best = &routes[i]
			}
		}
		if best == nil {
			continue
		}
		link, err := c.linkAt(best.index)
		if errors.Is(err, unix.ENODEV) { // gone since
			return nil, nil
		}
		return link, err
	}
	return nil, nil
}
