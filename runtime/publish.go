package runtime

import (
	"fmt"
	"slices"

	"github.com/minictr/minictr/network"
)

// Publish publishes more ports of a container. Those of one that does not run are
// published when it is next started.
func (r *Runtime) Publish(name string, ports []network.Port, w Watch) error {
	return r.rewire(name, w, r.publishing(ports), "publish a port of container", "")
}

func (r *Runtime) publishing(ports []network.Port) changer {
	return func(c *Config, have *network.Config) (*network.Config, error) {
		if err := c.connectable(); err != nil {
			return nil, err
		}
		for _, p := range ports {
			if p.HostPort != 0 && slices.Contains(c.Network.Ports, p) {
				return nil, fmt.Errorf("%s: it is published already", p)
			}
		}
		c.Network.Ports = append(slices.Clone(c.Network.Ports), ports...)
		if have == nil {
			return nil, network.CheckTwice(c.Network.Ports)
		}
		if err := network.CheckTwice(slices.Concat(have.Ports, ports)); err != nil {
			return nil, err
		}
		return r.request(c).WithPorts(have, ports)
	}
}

// Unpublish no longer publishes ports of a container. One without a port of the host
// is any that leads to that port of the container.
func (r *Runtime) Unpublish(name string, ports []network.Port, w Watch) error {
	return r.rewire(name, w, unpublishing(ports), "no longer publish a port of container", "")
}

func unpublishing(ports []network.Port) changer {
	return func(c *Config, have *network.Config) (*network.Config, error) {
		if err := c.connectable(); err != nil {
			return nil, err
		}
		published := c.Network.Ports
		if have != nil {
			published = have.Ports
		}
		for _, p := range ports {
			if !slices.ContainsFunc(published, p.Matches) {
				return nil, fmt.Errorf("%s: it is not published", p)
			}
		}
		gone := func(q network.Port) bool {
			return slices.ContainsFunc(ports, func(p network.Port) bool { return p.Matches(q) })
		}
		c.Network.Ports = slices.DeleteFunc(slices.Clone(c.Network.Ports), gone)
		if have == nil {
			return nil, nil
		}
		want := *have
		want.Ports = slices.DeleteFunc(slices.Clone(have.Ports), gone)
		return &want, nil
	}
}
