package network

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// An Attachment is what the kernel has of a container's network at this moment.
// Nothing in it is remembered: what is gone is missing.
type Attachment struct {
	Network string // "bridge"

	Bridge      string // "minictr0"
	BridgeIndex int    // on the host

	HostInterface string // the host's end of the pair: "veth4f0c9d2e"
	HostIndex     int    // on the host
	PortState     string // "forwarding", "disabled", …: bridge(8)

	Interface string // the container's end: "eth0"
	Index     int    // in the container
	MAC       string
	MTU       int            // bytes
	Addresses []netip.Prefix // of eth0, IPv4 and IPv6
	Gateway   netip.Addr     // of the default route; the zero Addr when there is none

	// Rules are the elements and rules of the nftables table ip minictr that
	// concern the container, as commands of nft(8).
	Rules []string
	// Drift is what differs from what was set up, one line a step.
	Drift []string
}

// Inspect reads from the kernel what the container of the configuration has. In
// the modes that attach it to no network it returns an Attachment with nothing
// but Drift.
func Inspect(cfg *Config) (*Attachment, error) {
	a := &Attachment{}
	for _, s := range append(Shared(cfg), Endpoint(cfg)...) {
		if err := s.Check(); err != nil {
			a.Drift = append(a.Drift, err.Error())
		}
	}
	if cfg.Mode != Bridge {
		return a, nil
	}
	a.Network, a.Bridge = cfg.Network.Name, cfg.Network.Bridge
	a.HostInterface, a.Interface = cfg.Interface.Host, cfg.Interface.Name
	if err := once(Netns{}, a.readHost); err != nil {
		return nil, explain("inspect", a.HostInterface, err)
	}
	if err := once(cfg.Netns, a.readContainer); err != nil {
		return nil, explain("inspect", a.Interface+cfg.Netns.where(), err)
	}
	rules, err := rulesOf(a.Network)
	a.Rules = rules
	return a, step.Fail("inspect table", "ip "+tableName, err)
}

// missing is err, unless it says that a link is not there.
func missing(err error) error {
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func (a *Attachment) readHost(c *conn) error {
	bridge, err := c.link(a.Bridge)
	if err != nil {
		return missing(err)
	}
	a.BridgeIndex = bridge.index
	host, err := c.link(a.HostInterface)
	if err != nil {
		return missing(err)
	}
	a.HostIndex, a.PortState = host.index, host.port
	return nil
}

func (a *Attachment) readContainer(c *conn) error {
	l, err := c.link(a.Interface)
	if err != nil {
		return missing(err)
	}
	a.Index, a.MAC, a.MTU = l.index, l.mac, l.mtu
	addresses, err := c.addresses(unix.AF_UNSPEC, l.index)
	if err != nil {
		return err
	}
	for _, x := range addresses {
		a.Addresses = append(a.Addresses, x.prefix)
	}
	routes, err := c.routes(unix.RT_TABLE_MAIN)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.to.Bits() == 0 && r.index == l.index {
			a.Gateway = r.gateway
		}
	}
	return nil
}
