package fault

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// A Target is the container that a fault is injected into.
type Target struct {
	Name, ID string
	Pid      int             // its first process
	Config   *network.Config // its network; nil for the host's
	Cgroup   string          // its directory of cgroup v2; empty without one
	Runroot  string
	Others   []*network.Config // the networks of the other containers that run
}

// view is the target and what the kernel has of it. What is not there is nil.
type view struct {
	Target
	ns       network.Netns
	endpoint network.Endpoint // the one with the default route
	address  netip.Addr
	gateway  netip.Addr

	inner  *netlink.LinkAttrs // eth0
	peer   *netlink.LinkAttrs // the host's end
	bridge *netlink.LinkAttrs
	uplink *netlink.LinkAttrs // of the host's default route
	router netip.Addr         // the gateway of that
	other  *neighbouring
}

// neighbouring is another container on the same network.
type neighbouring struct {
	ns    network.Netns
	inner *netlink.LinkAttrs
	peer  *netlink.LinkAttrs
}

// needs are what a fault needs.
type needs int

const (
	needInner needs = 1 << iota
	needPeer
	needBridge
	needUplink
	needPorts
	needOther
	needIPv6
	needCgroup

	needCable  = needInner | needPeer
	needSwitch = needPeer | needBridge
)

// lacks says which of the needs the target has not.
func (v *view) lacks(n needs) error {
	for _, row := range []struct {
		need    needs
		missing bool
		why     string
	}{
		{needInner, v.inner == nil, "it has no interface on a network with a bridge and IPv4, or that is gone"},
		{needPeer, v.peer == nil, "the host's end of its cable is not there"},
		{needBridge, v.bridge == nil, "the bridge of its network is not there"},
		{needUplink, v.uplink == nil, "the host has no default route"},
		{needPorts, len(v.ports()) == 0, "it publishes no tcp port; run it with -p 8080:80"},
		{needOther, v.other == nil, "it is alone on its network; run another container there"},
		{needIPv6, !v.endpoint.Interface.Address6.IsValid(), "its network has no IPv6"},
		{needCgroup, v.Cgroup == "", "it has no cgroup of its own in cgroup v2"},
	} {
		if n&row.need != 0 && row.missing {
			return errors.New(row.why)
		}
	}
	return nil
}

// ports are the published ports that one element of the maps stands for.
func (v *view) ports() (list []network.Port) {
	if v.Config == nil {
		return nil
	}
	for _, p := range v.Config.Ports {
		if p.Protocol == "tcp" && p.Count <= 1 && (!p.HostIP.IsValid() || p.HostIP.Is4()) {
			list = append(list, p)
		}
	}
	return list
}

// look reads what there is.
func look(t Target) (*view, error) {
	v := &view{Target: t}
	if t.Config == nil || t.Config.Mode == network.Host {
		return nil, errors.New("it has no network of its own")
	}
	if t.Config.Mode == network.Container || t.Config.Mode == network.Namespace {
		return nil, errors.New("its network is somebody else's")
	}
	v.ns = t.Config.Netns
	ns, err := v.ns.Open()
	if err != nil {
		return nil, err
	}
	defer ns.Close() // nothing was written
	endpoint := endpointOf(t.Config)
	if endpoint == nil {
		return v, v.lookOut()
	}
	v.endpoint = *endpoint
	v.address, v.gateway = endpoint.Interface.Address.Addr(), endpoint.Network.Gateway.Addr()
	if v.inner, err = linkNamed(v.ns, endpoint.Interface.Name); err != nil {
		return nil, err
	}
	if v.peer, err = linkNamed(network.Netns{}, endpoint.Interface.Host); err != nil {
		return nil, err
	}
	if v.bridge, err = linkNamed(network.Netns{}, endpoint.Network.Bridge); err != nil {
		return nil, err
	}
	if v.other, err = v.lookBeside(); err != nil {
		return nil, err
	}
	return v, v.lookOut()
}

// endpointOf is the container's place on the network that it goes out by.
func endpointOf(c *network.Config) (found *network.Endpoint) {
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		if e.Network.Driver != network.MacvlanDriver && e.Interface.Address.IsValid() && (found == nil || e.Default) {
			found = e
		}
	}
	return found
}

// linkNamed is the link of the name; nil without one.
func linkNamed(ns network.Netns, name string) (attributes *netlink.LinkAttrs, err error) {
	err = in(ns, func() error {
		l, err := linkByName(name)
		if err == nil {
			attributes = l.Attrs()
		}
		return ignoreMissing(err)
	})
	return attributes, err
}

// lookBeside finds another container on the network.
func (v *view) lookBeside() (*neighbouring, error) {
	for _, c := range v.Others {
		e := c.Endpoint(v.endpoint.Network.Name)
		if e == nil || c.Mode != network.Bridge || !e.Interface.Address.IsValid() {
			continue
		}
		n := &neighbouring{ns: c.Netns}
		var err error
		if n.inner, err = linkNamed(n.ns, e.Interface.Name); err != nil && !isGone(err) {
			return nil, err
		}
		if n.peer, err = linkNamed(network.Netns{}, e.Interface.Host); err != nil {
			return nil, err
		}
		if n.inner != nil && n.peer != nil {
			return n, nil
		}
	}
	return nil, nil
}

// lookOut finds the host's way out.
func (v *view) lookOut() error {
	list, err := routes(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list the host's routes: %w", err)
	}
	for _, r := range list {
		if r.Dst != nil && r.Dst.String() != "0.0.0.0/0" || r.LinkIndex == 0 || v.uplink != nil {
			continue
		}
		l, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return missingLink(err)
		}
		v.uplink = l.Attrs()
		if gateway, ok := netip.AddrFromSlice(r.Gw); ok {
			v.router = gateway.Unmap()
		}
	}
	return nil
}

// set is the change of a link's setting.
func (v *view) set(ns network.Netns, l *netlink.LinkAttrs, key, value string) (Change, error) {
	s := &linkSetting{Netns: ns, Index: l.Index, Link: l.Name, Key: key, Value: value}
	var err error
	s.Was, err = s.now()
	return Change{Thing: s}, err
}

// setLosing is set of what takes addresses and routes of the link with it.
func (v *view) setLosing(ns network.Netns, l *netlink.LinkAttrs, key, value string) ([]Change, error) {
	c, err := v.set(ns, l, key, value)
	if err == nil {
		c.Lost, err = layer3Of(ns, l.Index)
	}
	return []Change{c}, err
}

// port is the change of a setting of a port.
func port(l *netlink.LinkAttrs, key string, value uint8) (Change, error) {
	was, err := readPort(l.Index, key)
	return Change{Thing: &portSetting{Index: l.Index, Link: l.Name, Key: key, Was: was, Value: value}}, err
}

// sysctlTo is the change of a sysctl.
func sysctlTo(ns network.Netns, key, value string) (Change, error) {
	was, err := readSysctl(ns, key)
	return Change{Thing: &sysctl{Netns: ns, Key: key, Was: strings.Join(strings.Fields(was), " "), Value: value}}, err
}

// one is a list of one change.
func one(c Change, err error) ([]Change, error) { return []Change{c}, err }

func put(things ...thing) (list []Change) {
	for _, t := range things {
		list = append(list, Change{Thing: t})
	}
	return list
}

// unused is an address of the network that nobody has.
func (v *view) unused() netip.Addr {
	taken := map[netip.Addr]bool{v.address: true, v.gateway: true}
	for _, c := range v.Others {
		for _, e := range c.Endpoints {
			taken[e.Interface.Address.Addr()] = true
		}
	}
	subnet := v.endpoint.Network.Subnet()
	for a := lastOf(subnet).Prev(); subnet.Contains(a); a = a.Prev() { // the last is the broadcast address
		if !taken[a] {
			return a
		}
	}
	return v.gateway
}

// lastOf is the last address of the prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// freeIndex is an index that no link has, out of the way of those that the kernel gives.
func freeIndex() (int, error) {
	list, err := links()
	highest := 0
	for _, l := range list {
		highest = max(highest, l.Attrs().Index)
	}
	return highest + spareIndexes, err
}

const spareIndexes = 1000
