package network

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"path/filepath"
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
// RunRoot and Alive in mode Bridge.
type Request struct {
	Network string // as --network: bridge (or empty), none, host, container:NAME, ns:PATH
	IP      string // as --ip; empty: the next free
	MAC     string // as --mac-address; empty: derived from the address

	Owner string // the container's id: at least 8 letters or digits
	Name  string // what printed commands call its namespace; empty: the id's first 12 characters

	// RunRoot is the directory for what dies with the machine, /run/minictr.
	RunRoot string
	// Alive reports whether the container with the id lives and so keeps its
	// lease. It is called while other launches wait, and must not itself wait
	// for one of them.
	Alive func(owner string) bool
	// DryRun resolves to the same, but takes no lease and writes nothing.
	DryRun bool
}

// Resolve fills in every blank of the request. It is the only reader of the
// host's state, changes nothing but the lease, and is done in this order: the
// bridge's address, or where there is no bridge, a subnet that overlaps
// nothing; then the address, leased until Release; then what follows from it.
//
// The namespace's Path is not known yet; the caller sets it.
func Resolve(r Request) (*Config, error) {
	mode, target, err := ParseMode(r.Network)
	if err != nil {
		return nil, err
	}
	if err := r.validate(mode); err != nil {
		return nil, err
	}
	cfg := &Config{Mode: mode, Netns: Netns{Name: r.netnsName()}}
	switch mode {
	case Namespace:
		cfg.Netns = Netns{Name: filepath.Base(target), Path: target}
		f, err := cfg.Netns.Open()
		if err != nil {
			return nil, step.Fail("join network namespace", target, err)
		}
		return cfg, f.Close()
	case Bridge:
		return cfg, r.resolveBridge(cfg)
	}
	return cfg, nil
}

func (r Request) netnsName() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Owner[:min(12, len(r.Owner))]
}

// validate checks what can be checked without looking at the host.
func (r Request) validate(mode Mode) error {
	word := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	if len(r.Owner) < 8 || strings.TrimFunc(r.Owner, word) != "" {
		return fmt.Errorf("container id %q: it must be 8 or more letters and digits", r.Owner)
	}
	if mode != Bridge && r.IP != "" {
		return fmt.Errorf("ip %s: network %s gives no addresses", r.IP, r.Network)
	}
	if mode != Bridge && r.MAC != "" {
		return fmt.Errorf("mac-address %s: network %s has no interface to give it to", r.MAC, r.Network)
	}
	return validateMAC(r.MAC)
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

func (r Request) resolveBridge(cfg *Config) error {
	c, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		return explain("resolve network", "bridge", err)
	}
	defer c.close()
	gateway, mac, err := findGateway(c, DefaultBridge)
	if err != nil {
		return explain("resolve bridge", DefaultBridge, err)
	}
	mtu, err := uplinkMTU(c)
	if err != nil {
		return explain("resolve MTU of", "the default route", err)
	}
	cfg.Network = Network{Name: string(Bridge), Bridge: DefaultBridge, Gateway: gateway, MAC: mac}
	cfg.Lease = Lease{File: leaseFile(r.RunRoot, string(Bridge)), Owner: r.Owner}
	address, err := r.takeAddress(cfg)
	if err != nil {
		return err
	}
	cfg.Interface = Interface{
		Name:    "eth0",
		Host:    hostPrefix + r.Owner[:8],
		Address: netip.PrefixFrom(address, gateway.Bits()),
		MAC:     strings.ToLower(r.MAC),
		MTU:     mtu,
	}
	if r.MAC == "" {
		cfg.Interface.MAC = macOf(address)
	} else if hw, err := net.ParseMAC(r.MAC); err == nil {
		cfg.Interface.MAC = hw.String() // 02-42-… and 0242.… are spelt with colons
	}
	return nil
}

// findGateway returns the address that the bridge has, or is to have, and its
// hardware address.
func findGateway(c *conn, name string) (netip.Prefix, string, error) {
	bridge, err := c.link(name)
	if errors.Is(err, unix.ENODEV) {
		return newGateway(c, name)
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
func newGateway(c *conn, name string) (netip.Prefix, string, error) {
	used, err := c.used()
	if err != nil {
		return netip.Prefix{}, "", err
	}
	// Another launch may have made the bridge since; its route is then among
	// the used ones, and would make us choose another subnet than it did.
	if _, err := c.index(name); err == nil {
		return findGateway(c, name)
	}
	gateway, err := chooseGateway(used)
	if err != nil {
		return netip.Prefix{}, "", err
	}
	return gateway, macOf(gateway.Addr()), nil
}

// uplinkMTU is the MTU of the link that the host's default route leaves by: the
// largest packet that gets out without being cut. Without one it is 1500.
func uplinkMTU(c *conn) (int, error) {
	routes, err := c.routes(unix.RT_TABLE_MAIN)
	if err != nil {
		return 0, err
	}
	index, metric := 0, math.MaxInt
	for _, r := range routes {
		if r.to.Bits() == 0 && r.index != 0 && r.metric < metric {
			index, metric = r.index, r.metric
		}
	}
	if index == 0 {
		return defaultMTU, nil
	}
	uplink, err := c.linkAt(index)
	if errors.Is(err, unix.ENODEV) { // gone since
		return defaultMTU, nil
	}
	if err != nil {
		return 0, err
	}
	return min(uplink.mtu, maxVethMTU), nil
}

// maxVethMTU is ETH_MAX_MTU, the most that a veth takes (drivers/net/veth.c).
const maxVethMTU = 65535

// takeAddress leases the address that was asked for, or the next free one.
func (r Request) takeAddress(cfg *Config) (netip.Addr, error) {
	p := pool{file: cfg.Lease.File, gateway: cfg.Network.Gateway, alive: r.Alive, dry: r.DryRun}
	if r.IP == "" {
		return p.lease(r.Owner)
	}
	a, err := checkAddress(r.IP, cfg.Network)
	if err != nil {
		return netip.Addr{}, err
	}
	return a, p.leaseThis(r.Owner, a)
}

// checkAddress parses the argument of --ip and tells why a container of the
// network cannot have it.
func checkAddress(text string, n Network) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	subnet := n.Subnet()
	reason := ""
	switch {
	case err != nil:
		reason = "not an IP address"
	case !a.Is4():
		reason = "not an IPv4 address"
	case !subnet.Contains(a):
		reason = fmt.Sprintf("not in the subnet %s of network %s", subnet, n.Name)
	case a == subnet.Addr():
		reason = "the address of the network itself"
	case a == broadcast(subnet):
		reason = "the broadcast address of the network"
	case a == n.Gateway.Addr():
		reason = "the address of the gateway"
	default:
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("ip %s: %s", text, reason)
}
