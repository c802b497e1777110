package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPorts is how many ports a bridge can have: their numbers have BR_PORT_BITS,
// 10 bits, and 0 is none (net/bridge/br_private.h; br_if.c, find_portno).
const maxPorts = 1<<10 - 1

// countPortsFrom is the number of containers from which on the ports of a bridge
// are counted before another one is let in. Counting costs some milliseconds, and
// a network with fewer of them cannot be full, unless by ports of somebody else's;
// then the kernel says so (cause.go).
const countPortsFrom = 1000

// PortsFullError says that a network's bridge can take no more containers.
type PortsFullError struct {
	Ports int // that are there, or are being made
}

func (e *PortsFullError) Error() string {
	return fmt.Sprintf("its bridge has %d ports, the most that Linux gives a bridge (BR_PORT_BITS)", e.Ports)
}

// Hint is the way out.
func (e *PortsFullError) Hint() string {
	return "put it on another network: minictr network create NAME, then run --network NAME"
}

// Unwrap returns EXFULL, which the kernel itself would say.
func (e *PortsFullError) Unwrap() error { return unix.EXFULL }

// room fails with PortsFullError when the bridge has no port for another
// container. It counts as ports those of launches, too, that have a lease and
// will have their port soon.
func (p pool) room(t *leaseTable, owner string) error {
	if p.ports == nil || t.leased >= 0 && t.leased < countPortsFrom {
		return nil
	}
	owners := map[string]bool{}
	for _, o := range t.all() {
		owners[o] = true
	}
	if t.err != nil {
		return t.err
	}
	t.leased = len(owners)
	if t.leased < countPortsFrom {
		return nil
	}
	ports, err := p.ports()
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range ports {
		there[strings.TrimPrefix(name, hostPrefix)] = true
	}
	n := len(ports)
	for o := range owners {
		if o != owner && !there[o[:min(8, len(o))]] && (p.alive == nil || p.alive(o)) {
			n++
		}
	}
	if n >= maxPorts {
		return &PortsFullError{Ports: n}
	}
	return nil
}

// pool is what gives out the network's addresses.
func (n Network) pool(c *conn, file string) pool {
	p := pool{
		file: file, gateway: n.Gateway, gateway6: n.Gateway6, within: n.Range, within6: n.Range6,
		reserved: slices.Collect(maps.Values(n.Reserved)),
	}
	if n.Driver != MacvlanDriver {
		p.ports = func() ([]string, error) { return c.portNames(n.Bridge) }
	}
	return p
}

// spareHost keeps the host's own addresses on the parent of a macvlan from being
// given: it is on the same segment. On a bridge it has none but the gateway's.
func (p *pool) spareHost(c *conn, n *Network, want [2]netip.Addr) error {
	if n.Driver != MacvlanDriver {
		return nil
	}
	l, err := c.link(n.Bridge)
	if err != nil {
		return missing(err) // the step that needs it says so
	}
	list, err := c.addresses(unix.AF_UNSPEC, l.index)
	for _, a := range list {
		p.reserved = append(p.reserved, a.prefix.Addr())
		if slices.Contains(want[:], a.prefix.Addr()) {
			return fmt.Errorf("ip %s: the address of the host on %s", a.prefix.Addr(), n.Bridge)
		}
	}
	return err
}

// portNames lists the links on a bridge; none when there is no bridge.
func (c *conn) portNames(bridge string) (names []string, err error) {
	l, err := c.link(bridge)
	if err != nil {
		return nil, missing(err)
	}
	ports, err := c.ports(l.index)
	for _, p := range ports {
		names = append(names, p.name)
	}
	return names, err
}
