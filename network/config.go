package network

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Mode is the kind of network a container has, as in docker run --network.
type Mode string

// The modes. Only Bridge makes anything on the host.
const (
	Bridge    Mode = "bridge"    // a port on a bridge of the host
	None      Mode = "none"      // a namespace of its own with nothing but lo
	Host      Mode = "host"      // the host's namespace
	Container Mode = "container" // the namespace of another container
	Namespace Mode = "ns"        // a namespace that somebody else set up, named by its path
)

// ParseMode reads the argument of --network: "bridge" (or ""), "none", "host",
// "container:NAME" or "ns:PATH". The target is what follows the colon.
func ParseMode(text string) (mode Mode, target string, err error) {
	word, target, colon := strings.Cut(text, ":")
	switch Mode(word) {
	case "", "default", Bridge:
		mode = Bridge
	case None, Host:
		mode = Mode(word)
	case Container, Namespace:
		if target == "" {
			return "", "", fmt.Errorf("network %q: nothing follows %q", text, word+":")
		}
		return Mode(word), target, nil
	default:
		return "", "", fmt.Errorf("network %q: unknown; there are bridge, none, host, container:NAME and ns:PATH", text)
	}
	if colon {
		return "", "", fmt.Errorf("network %q: nothing may follow %q", text, word)
	}
	return mode, "", nil
}

// Config is a container's network with every blank filled in. It is plain
// data: Resolve makes it, the container's state keeps it as JSON, and any later
// process can turn it into the same plan again.
type Config struct {
	Mode  Mode  `json:"mode"`
	Netns Netns `json:"netns,omitzero"`
	// Lease, Network and Interface are set in mode Bridge only.
	Lease     Lease     `json:"lease,omitzero"`
	Network   Network   `json:"network,omitzero"`
	Interface Interface `json:"interface,omitzero"`
}

// A Network is one bridge and its subnet. The network "bridge" on minictr0 is
// there by default; a user-defined network is another value of this type, with
// another bridge and one element more in the sets of the nftables table.
type Network struct {
	Name    string       `json:"name"`    // "bridge"
	Bridge  string       `json:"bridge"`  // the link on the host: "minictr0"
	Gateway netip.Prefix `json:"gateway"` // the bridge's address and the subnet's length: 172.17.0.1/16
	MAC     string       `json:"mac"`     // the bridge's; fixed, or it would change with the ports
}

// Subnet is the range of addresses of the network: 172.17.0.0/16.
func (n Network) Subnet() netip.Prefix { return n.Gateway.Masked() }

// An Interface is the container's end of the pair, eth0, and the name of the
// host's end.
type Interface struct {
	Name    string       `json:"name"`    // "eth0"
	Host    string       `json:"host"`    // "veth" and the first 8 digits of the container's id
	Address netip.Prefix `json:"address"` // 172.17.0.2/16
	MAC     string       `json:"mac"`     // 02:42:ac:11:00:02
	MTU     int          `json:"mtu"`     // bytes
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
	return "ip -n " + n.Name
}

// where says in words where the namespace is, to be put behind a noun.
func (n Netns) where() string {
	if n.here() {
		return ""
	}
	return " in the container"
}
