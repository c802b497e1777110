package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/minictr/minictr/runtime/step"
)

// A Mode is the kind of network a container has, as in docker run --network.
type Mode string

// The modes. Only Bridge makes anything on the host.
const (
	Bridge    Mode = "bridge"    // a port on one network or more: the default one, or made ones
	None      Mode = "none"      // a namespace of its own with nothing but lo
	Host      Mode = "host"      // the host's namespace
	Container Mode = "container" // the namespace of another container
	Namespace Mode = "ns"        // a namespace that somebody else set up, named by its path or as ip-netns(8) does
)

// DefaultNetwork is the network of a container that asks for none. It is always
// there; its bridge and its subnet are settled when it is first used.
const DefaultNetwork = "bridge"

// ParseMode reads the argument of --network: "bridge" (or ""), "none", "host",
// "container:NAME", "ns:PATH", "ns:NAME", or the name of a network. The target
// is what follows the colon, or the network's name.
func ParseMode(text string) (mode Mode, target string, err error) {
	word, target, colon := strings.Cut(text, ":")
	switch Mode(word) {
	case "", "default", Bridge:
		mode, word = Bridge, DefaultNetwork
	case None, Host:
		mode, word = Mode(word), ""
	case Container, Namespace:
		if target == "" {
			return "", "", fmt.Errorf("network %q: nothing follows %q", text, word+":")
		}
		return Mode(word), target, nil
	default:
		if err := ValidateName(word); err != nil || colon {
			return "", "", fmt.Errorf("network %q: neither a network's name nor host, none, container:NAME or ns:NAME", text)
		}
		return Bridge, word, nil
	}
	if colon {
		return "", "", fmt.Errorf("network %q: nothing may follow %q", text, text[:strings.IndexByte(text, ':')])
	}
	return mode, word, nil
}

// Config is a container's network with every blank filled in. It is plain
// data: Resolve makes it, the container's state keeps it as JSON, and any later
// process can turn it into the same plan again.
type Config struct {
	Mode  Mode  `json:"mode"`
	Netns Netns `json:"netns,omitzero"`
	// Endpoints and Ports are set in mode Bridge only: the networks that it is
	// on, in the order of its interfaces, and what it publishes.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	Ports     []Port     `json:"ports,omitempty"`
	// Servers are asked for names that are not ours, in place of the host's.
	Servers []netip.Addr `json:"servers,omitempty"`
	// Guest is set of a namespace that is somebody else's.
	Guest *Guest `json:"guest,omitempty"`
}

// An Endpoint is a container's place on a network.
type Endpoint struct {
	Network   Network   `json:"network"`
	Lease     Lease     `json:"lease"`
	Interface Interface `json:"interface"`
	Aliases   []string  `json:"aliases,omitempty"`
	// Priority is compared to find the one endpoint that has the default
	// routes; of equals the one that was asked for first.
	Priority int `json:"priority,omitempty"`
	// Default and Default6 say that the default route goes by this endpoint.
	Default  bool `json:"default,omitempty"`
	Default6 bool `json:"default6,omitempty"`
}

// A Network is one bridge and its subnets.
type Network struct {
	Name    string    `json:"name"`
	ID      string    `json:"id,omitempty"` // 64 hexadecimal digits; none for the network "bridge"
	Driver  Driver    `json:"driver,omitempty"`
	Created time.Time `json:"created,omitzero"`

	Bridge   string       `json:"bridge"`             // the link on the host: "minictr0"; of a macvlan its parent
	Gateway  netip.Prefix `json:"gateway,omitzero"`   // the bridge's address and the subnet's length: 172.17.0.1/16
	Gateway6 netip.Prefix `json:"gateway6,omitzero"`  // the same for IPv6: fd4d:…::1/64
	Range    netip.Prefix `json:"range,omitzero"`     // addresses are given out of this part of the subnet
	Range6   netip.Prefix `json:"range6,omitzero"`    // the same for IPv6
	MAC      string       `json:"mac,omitempty"`      // the bridge's; fixed, or it would change with the ports
	MTU      int          `json:"mtu,omitempty"`      // bytes; 0: that of the host's default route
	Internal bool         `json:"internal,omitempty"` // without a way out

	Reserved map[string]netip.Addr `json:"reserved,omitempty"` // addresses that no container gets, and what they are for

	Labels  map[string]string `json:"labels,omitempty"`
	Options map[string]string `json:"options,omitempty"` // of network create -o
}

// A Driver is what a network is made of.
type Driver string

// The drivers. The empty one is BridgeDriver.
const (
	BridgeDriver  Driver = "bridge"
	MacvlanDriver Driver = "macvlan"
)

// Subnet is the range of IPv4 addresses of the network: 172.17.0.0/16.
func (n Network) Subnet() netip.Prefix { return masked(n.Gateway) }

// Subnet6 is the range of IPv6 addresses of the network.
func (n Network) Subnet6() netip.Prefix { return masked(n.Gateway6) }

func masked(p netip.Prefix) netip.Prefix {
	if !p.IsValid() {
		return p
	}
	return p.Masked()
}

// An Interface is the container's end of the pair, eth0, and the name of the
// host's end.
type Interface struct {
	Name     string       `json:"name"`              // "eth0"
	Host     string       `json:"host,omitempty"`    // "veth" and the first 8 digits of the container's id
	Address  netip.Prefix `json:"address,omitzero"`  // 172.17.0.2/16
	Address6 netip.Prefix `json:"address6,omitzero"` // fd4d:…::2/64
	MAC      string       `json:"mac"`               // 02:42:ac:11:00:02
	MTU      int          `json:"mtu"`               // bytes
}

// Addresses are those that it has, IPv4 first.
func (i Interface) Addresses() []netip.Prefix {
	return slices.DeleteFunc([]netip.Prefix{i.Address, i.Address6}, func(p netip.Prefix) bool { return !p.IsValid() })
}

// PortTargets are the addresses that published ports lead to, of each family the
// one by which the container's answers leave; the zero Addr without one.
func (c *Config) PortTargets() (a, a6 netip.Addr) {
	for _, e := range c.Endpoints {
		if !e.isTarget() {
			continue
		}
		if e.Default {
			a = e.Interface.Address.Addr()
		}
		if e.Default6 {
			a6 = e.Interface.Address6.Addr()
		}
	}
	return a, a6
}

// Endpoint is the one on the network of the name; nil without one.
func (c *Config) Endpoint(network string) *Endpoint {
	for i := range c.Endpoints {
		if c.Endpoints[i].Network.Name == network {
			return &c.Endpoints[i]
		}
	}
	return nil
}

// Netns says where the container's network namespace is.
type Netns struct {
	// Name is what the printed commands call the namespace: ip -n NAME.
	Name string `json:"name,omitempty"`
	// Path opens it: /proc/PID/ns/net. Without one it is /run/netns/NAME, which
	// is what the printed commands mean too.
	Path string `json:"path,omitempty"`
	// Inode, when set, is the namespace that Path must lead to. It keeps a
	// late undo from reaching a stranger through a process id used again.
	Inode uint64 `json:"inode,omitempty"`
	// Foreign says that it is somebody else's: a Guest's.
	Foreign bool `json:"foreign,omitempty"`
}

// netnsDir is where ip-netns(8) keeps named namespaces.
const netnsDir = "/run/netns"

// path is where to open the namespace.
func (n Netns) path() string {
	if n.Path != "" {
		return n.Path
	}
	return netnsDir + "/" + n.Name
}

// here reports whether n is the zero value: the namespace of the caller.
func (n Netns) here() bool { return n.Name == "" && n.Path == "" }

// ip is the beginning of an ip(8) command in the namespace.
func (n Netns) ip() string {
	if n.here() {
		return "ip"
	}
	return "ip -n " + step.Quote(n.Name)
}

// where says in words where the namespace is, to be put behind a noun.
func (n Netns) where() string {
	if n.here() {
		return ""
	}
	return " in " + n.whose()
}

// whose says in words what the namespace is.
func (n Netns) whose() string {
	if n.Foreign {
		return "the network namespace " + n.Name
	}
	return "the container"
}
