package network

import (
	"errors"

	"golang.org/x/sys/unix"
)

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

// uplinkMTU is the MTU of the link that the host's default route leaves by: the
// largest packet that gets out without being cut. Without one it is 1500.
func uplinkMTU(c *conn) (int, error) {
	uplink, err := c.uplink()
	if err != nil || uplink == nil {
		return defaultMTU, err
	}
	return min(uplink.mtu, maxVethMTU), nil
}

// maxVethMTU is ETH_MAX_MTU, the most that a veth takes (drivers/net/veth.c).
const maxVethMTU = 65535
