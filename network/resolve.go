package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// DefaultBridge is the link of the network "bridge".
const DefaultBridge = "minictr0"

// hostPrefix begins the names of the host's ends of our pairs; 8 digits of the
// container's id follow. A link's name has at most 15 bytes (IFNAMSIZ).
const hostPrefix = "veth"

// defaultMTU is Ethernet's, for a host without a default route.
const defaultMTU = 1500

// A Request is what somebody asks for. Only Owner is required in every mode,
// Uses, RunRoot and Alive in mode Bridge.
type Request struct {
	Mode  Mode
	Join  string // of mode Namespace: its path, or its name in /run/netns
	Uses  []Use  // the networks to be on, in the order of the interfaces
	Ports []Port // to be published
	// Servers are the container's own name servers.
	Servers []netip.Addr

	Owner string // the container's id: at least 8 letters or digits
	Name  string // what printed commands call its namespace; empty: the id's first 12 characters

	Store
	// Alive reports whether the container with the id lives and so keeps its
	// lease. It is called while other launches wait, and must not itself wait
	// for one of them.
	Alive func(owner string) bool
	// Settled reports whether the container with the id runs, and has for so long
	// that its network is made. Without it the bridge is not looked at.
	Settled func(owner string) bool
	// DryRun resolves to the same, but takes no lease and writes nothing.
	DryRun bool
}

// A Use is a network that a container is to be on, and how.
type Use struct {
	Network  string   `json:"network"`            // its name
	IP       string   `json:"ip,omitempty"`       // as --ip; empty: the next free
	IP6      string   `json:"ip6,omitempty"`      // as --ip6; empty: the next free
	MAC      string   `json:"mac,omitempty"`      // as --mac-address; empty: derived from the address
	Aliases  []string `json:"aliases,omitempty"`  // as --network-alias: more names on this network
	Priority int      `json:"priority,omitempty"` // the highest has the default routes
}

// Resolve fills in every blank of the request. It is the only reader of the
// host's state, changes nothing but the leases, and is done in this order: the
// bridge's address, or where there is no bridge, a subnet that overlaps
// nothing; then the addresses, leased until Release; then what follows from them.
//
// The namespace's Path is not known yet; the caller sets it.
func Resolve(r Request) (*Config, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	cfg := &Config{Mode: r.Mode, Netns: Netns{Name: r.netnsName()}, Servers: r.Servers}
	switch r.Mode {
	case Namespace:
		cfg.Netns = JoinedNetns(r.Join)
		f, err := cfg.Netns.Open()
		if err != nil {
			return nil, step.Fail("join network namespace", r.Join, err)
		}
		return cfg, f.Close()
	case Bridge:
		return cfg, r.resolveUses(cfg)
	}
	return cfg, nil
}

// JoinedNetns is the namespace that ns:TARGET means: a path, or the name of one
// that ip-netns(8) has made.
func JoinedNetns(target string) Netns {
	if strings.Contains(target, "/") {
		return Netns{Name: filepath.Base(target), Path: target}
	}
	return Netns{Name: target}
}

func (r Request) netnsName() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Owner[:min(12, len(r.Owner))]
}

// validate checks what can be checked without looking at the host.
func (r Request) validate() error {
	word := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	if len(r.Owner) < 8 || strings.TrimFunc(r.Owner, word) != "" {
		return fmt.Errorf("container id %q: it must be 8 or more letters and digits", r.Owner)
	}
	seen := map[string]bool{}
	for _, u := range r.Uses {
		if seen[u.Network] {
			return fmt.Errorf("network %s: asked for twice", u.Network)
		}
		seen[u.Network] = true
		if err := u.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (u Use) validate() error {
	for _, a := range u.Aliases {
		if err := ValidateName(a); err != nil {
			return fmt.Errorf("alias %w", err)
		}
	}
	return validateMAC(u.MAC)
}

func validateMAC(text string) error {
	if text == "" {
		return nil
	}
	mac, err := net.ParseMAC(text)
	switch {
	case err != nil || len(mac) != 6:
		return fmt.Errorf("mac-address %q: not of the form 02:42:ac:11:00:02", text)
	case mac[0]&1 != 0:
		return fmt.Errorf("mac-address %s: a multicast address, its first byte is odd", text)
	case [6]byte(mac) == [6]byte{}:
		return fmt.Errorf("mac-address %s: all zero", text)
	}
	return nil
}

// resolveUses makes an endpoint of each use. When one fails, the leases of those
// before it are given back.
func (r Request) resolveUses(cfg *Config) error {
	c, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		return explain("resolve network", "of "+cfg.Netns.Name, err)
	}
	defer c.close()
	for _, u := range r.Uses {
		e, err := r.resolveUse(c, u, cfg)
		if err != nil {
			if r.DryRun {
				return err
			}
			return errors.Join(err, Release(cfg))
		}
		cfg.Endpoints = append(cfg.Endpoints, *e)
	}
	chooseDefault(cfg.Endpoints)
	if err := r.resolvePorts(cfg); err != nil {
		if r.DryRun {
			return err
		}
		return errors.Join(err, Release(cfg))
	}
	return nil
}

func (r Request) resolvePorts(cfg *Config) (err error) {
	if err = checkPorts(cfg, r.Ports); err == nil {
		cfg.Ports, err = ResolvePorts(r.Runroot, r.Ports, r.DryRun)
	}
	return err
}

// ResolveUse makes the endpoint of one more network, for a container that has
// the configuration.
func (r Request) ResolveUse(u Use, have *Config) (*Endpoint, error) {
	if err := u.validate(); err != nil {
		return nil, err
	}
	if have.Endpoint(u.Network) != nil {
		return nil, step.Fail("connect to network", u.Network, ErrConnected)
	}
	c, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("resolve network", u.Network, err)
	}
	defer c.close()
	return r.resolveUse(c, u, have)
}

// ErrConnected says that a container is on a network already.
var ErrConnected = errors.New("the container is on it already")

func (r Request) resolveUse(c *conn, u Use, have *Config) (*Endpoint, error) {
	n, err := r.Lookup(u.Network)
	if err != nil {
		return nil, err
	}
	if err := n.settle(c, r.Store); err != nil {
		return nil, explain("resolve bridge", n.Bridge, err)
	}
	if err := r.checkIntact(c, n); err != nil {
		return nil, err
	}
	mtu, err := n.mtu(c)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		Network: *n, Lease: Lease{File: leaseFile(r.Runroot, n.Name), Owner: r.Owner},
		Aliases: u.Aliases, Priority: u.Priority,
	}
	e.Interface.MTU = mtu
	e.Interface.Name, e.Interface.Host = freeInterface(have, r.Owner)
	if err := r.takeAddresses(c, e, u); err != nil {
		return nil, err
	}
	e.Interface.MAC = macFor(u.MAC, e.Interface)
	return e, nil
}

// mtu is what the containers' interfaces get: of a macvlan at most the parent's.
func (n *Network) mtu(c *conn) (int, error) {
	if n.MTU != 0 {
		return n.MTU, nil
	}
	if n.Driver == MacvlanDriver {
		if parent, err := c.link(n.Bridge); err == nil {
			return parent.mtu, nil
		}
		return defaultMTU, nil // the step that needs the parent says that it is missing
	}
	mtu, err := uplinkMTU(c)
	return mtu, explain("resolve MTU of", "the default route", err)
}

// macFor is the hardware address that was asked for, as the kernel spells it
// (02-42-… and 0242.… are spelt with colons), or the one of the IP address.
func macFor(asked string, i Interface) string {
	if hw, err := net.ParseMAC(asked); err == nil {
		return hw.String()
	}
	if i.Address.IsValid() {
		return macOf(i.Address.Addr())
	}
	return macOf6(i.Address6)
}

// freeInterface names the next pair of the container: eth0 and veth1f3c…, eth1
// and veth1f3c…-1.
func freeInterface(have *Config, owner string) (inside, host string) {
	for i := 0; ; i++ {
		inside, host = fmt.Sprintf("eth%d", i), hostPrefix+owner[:8]
		if i > 0 {
			host = fmt.Sprintf("%s-%d", host, i)
		}
		if !slices.ContainsFunc(have.Endpoints, func(e Endpoint) bool { return e.Interface.Name == inside }) {
			return inside, host
		}
	}
}

// chooseDefault settles which endpoint has the default route of each family: of
// those with a way out the one of the highest priority, and of equals the first.
func chooseDefault(list []Endpoint) {
	best, best6 := -1, -1
	for i := range list {
		e := &list[i]
		e.Default, e.Default6 = false, false
		if e.Network.Internal {
			continue
		}
		if e.Interface.Address.IsValid() && (best < 0 || e.Priority > list[best].Priority) {
			best = i
		}
		if e.Interface.Address6.IsValid() && (best6 < 0 || e.Priority > list[best6].Priority) {
			best6 = i
		}
	}
	if best >= 0 {
		list[best].Default = true
	}
	if best6 >= 0 {
		list[best6].Default6 = true
	}
}

// settle fills in what a network leaves open until it is used: of the default
// one, its subnet.
func (n *Network) settle(c *conn, s Store) error {
	if n.Gateway.IsValid() || n.Gateway6.IsValid() {
		return nil
	}
	gateway, mac, err := findGateway(c, n.Bridge, s)
	n.Gateway, n.MAC = gateway, mac
	return err
}

// findGateway returns the address that the bridge has, or is to have, and its
// hardware address.
func findGateway(c *conn, name string, s Store) (netip.Prefix, string, error) {
	bridge, err := c.link(name)
	if errors.Is(err, unix.ENODEV) {
		return newGateway(c, name, s)
	}
	if err != nil {
		return netip.Prefix{}, "", err
	}
	if bridge.kind != "bridge" {
		return netip.Prefix{}, "", errNoBridge
	}
	gateway, err := c.gatewayOf(bridge)
	return gateway, bridge.mac, err
}

// newGateway chooses the address for a bridge that is to be made.
func newGateway(c *conn, name string, s Store) (netip.Prefix, string, error) {
	made, err := s.made()
	if err != nil {
		return netip.Prefix{}, "", err
	}
	list, err := c.taken(made)
	if err != nil {
		return netip.Prefix{}, "", err
	}
	// Another launch may have made the bridge since; its route is then among
	// the taken ones, and would make us choose another subnet than it did.
	if _, err := c.index(name); err == nil {
		return findGateway(c, name, s)
	}
	gateway, err := c.chooseSubnet(bridgeBlocks(), list, hintBridge)
	if err != nil {
		return netip.Prefix{}, "", err
	}
	return gateway, macOf(gateway.Addr()), nil
}

// takeAddresses leases the addresses that were asked for, or the next free ones.
func (r Request) takeAddresses(c *conn, e *Endpoint, u Use) error {
	n := e.Network
	want, err := n.readAddresses(u)
	if err != nil {
		return err
	}
	p := n.pool(c, e.Lease.File)
	p.alive, p.dry = r.Alive, r.DryRun
	if err := p.spareHost(c, &n, want); err != nil {
		return err
	}
	if n.ID != "" {
		p.there = func() error { return r.stillThere(&n) }
	}
	given, err := p.leaseBoth(r.Owner, want)
	if err != nil {
		return err
	}
	if given[0].IsValid() {
		e.Interface.Address = netip.PrefixFrom(given[0], n.Gateway.Bits())
	}
	if given[1].IsValid() {
		e.Interface.Address6 = netip.PrefixFrom(given[1], n.Gateway6.Bits())
	}
	return nil
}
