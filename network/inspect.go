package network

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// An Attachment is what the kernel has of one endpoint of a container at this
// moment. Nothing in it is remembered: what is gone is missing.
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
	Gateway   netip.Addr     // of the IPv4 default route; the zero Addr when there is none by it
	Gateway6  netip.Addr     // of the IPv6 one
	Aliases   []string

	// Rules are the elements and rules of our nftables tables that concern the
	// network, as commands of nft(8).
	Rules []string
}

// A Live is what the kernel has of a container's network at this moment.
type Live struct {
	Attachments []*Attachment
	// Drift is what differs from what was set up, one line a step.
	Drift []string
}

// Inspect reads from the kernel what the container of the configuration has. In
// the modes that attach it to no network there is nothing but Drift.
func Inspect(cfg *Config) (*Live, error) {
	live := &Live{}
	for _, s := range slices.Concat(Shared(cfg), Inside(cfg), Publish(cfg)) {
		if err := s.Check(); err != nil {
			live.Drift = append(live.Drift, err.Error())
		}
	}
	var errs []error
	for _, e := range cfg.Endpoints {
		a, err := inspectEndpoint(e, cfg.Netns)
		if err == nil && e.isTarget() && len(cfg.Ports) > 0 {
			var ports []string
			ports, err = Published(e.Lease.Owner)
			a.Rules = append(a.Rules, ports...)
		}
		live.Attachments, errs = append(live.Attachments, a), append(errs, err)
	}
	return live, errors.Join(errs...)
}

func inspectEndpoint(e Endpoint, ns Netns) (*Attachment, error) {
	a := &Attachment{
		Network: e.Network.Name, Bridge: e.Network.Bridge, HostInterface: e.Interface.Host,
		Interface: e.Interface.Name, Aliases: e.Aliases,
	}
	if err := once(Netns{}, a.readHost); err != nil {
		return a, explain("inspect", a.HostInterface, err)
	}
	if err := once(ns, a.readContainer); err != nil {
		return a, explain("inspect", a.Interface+ns.where(), err)
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
	routes, err := c.routes(unix.AF_UNSPEC, unix.RT_TABLE_MAIN)
	if err != nil {
		return err
	}
	for _, r := range routes {
		switch {
		case r.to.Bits() != 0 || r.index != l.index:
		case r.to.Addr().Is4():
			a.Gateway = r.gateway
		default:
			a.Gateway6 = r.gateway
		}
	}
	return nil
}
