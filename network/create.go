package network

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Creation is what network create asks for.
type Creation struct {
	Name     string
	Driver   Driver
	Subnets  []string          // at most one of each family; none: chosen
	Gateways []string          // of the subnets; none: the first address of each
	Ranges   []string          // parts of the subnets that addresses are given out of
	Reserved map[string]string // addresses that no container gets, by what they are for
	IPv4     bool
	IPv6     bool // without a subnet of that family: a ULA prefix
	Internal bool
	MTU      int // bytes; 0: of the host's default route
	Labels   map[string]string
	Options  map[string]string
}

// The options of network create -o: Docker's, and their short forms.
const (
	bridgeNameOption = "com.docker.network.bridge.name"
	mtuOption        = "com.docker.network.driver.mtu"
	parentOption     = "parent"
)

// Create makes a network: its definition, and on the host its bridge. On an error
// nothing is left. The observer, which may be nil, is told of each step.
func (s Store) Create(c Creation, observe step.Observer) (*Network, error) {
	var n *Network
	err := s.locked(func() (err error) {
		if n, err = s.plan(c); err != nil {
			return err
		}
		return step.Run(s.creation(n), observe)
	})
	return n, explain("create network", c.Name, err)
}

// Script returns, as a shell script, what would make the network on the host.
func (s Store) Script(c Creation) (string, error) {
	n, err := s.plan(c)
	if err != nil {
		return "", explain("create network", c.Name, err)
	}
	return step.Script(SharedOf(Endpoint{Network: *n})), nil
}

// creation is the steps that make a network.
func (s Store) creation(n *Network) []step.Step {
	return append([]step.Step{&define{s, n}}, SharedOf(s.unleased(n))...)
}

// plan fills in every blank of the network. It changes nothing.
func (s Store) plan(c Creation) (*Network, error) {
	c.Driver = cmp.Or(c.Driver, BridgeDriver)
	if err := ValidateName(c.Name); err != nil {
		return nil, fmt.Errorf("name %w", err)
	}
	list, err := s.All()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(n *Network) bool { return n.Name == c.Name }) {
		return nil, ErrExists
	}
	n := &Network{
		Name: c.Name, ID: newID(), Driver: c.Driver, Created: time.Now(), MTU: c.MTU, Internal: c.Internal,
		Labels: c.Labels, Options: c.Options,
	}
	if err := n.applyOptions(); err != nil {
		return nil, err
	}
	if err := c.checkDriver(n); err != nil {
		return nil, err
	}
	conn, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	if err := n.nameBridge(conn); err != nil {
		return nil, err
	}
	if err := n.chooseSubnets(conn, c, list); err != nil {
		return nil, err
	}
	n.MAC = macFor("", Interface{Address: n.Gateway, Address6: n.Gateway6})
	return n, nil
}

func newID() string {
	b := make([]byte, 32)
	for n := 0; n < len(b); { // getrandom(2); crypto/rand would cost every command 0.1 ms
		m, err := unix.Getrandom(b[n:], 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic("getrandom: " + err.Error()) // is in every kernel since 3.17
		}
		n += max(m, 0)
	}
	return hex.EncodeToString(b)
}

// applyOptions reads network create -o.
func (n *Network) applyOptions() error {
	for key, value := range n.Options {
		switch key {
		case bridgeNameOption:
			n.Bridge = value
		case parentOption:
			if n.Driver != MacvlanDriver {
				return fmt.Errorf("option parent=%s: only of driver macvlan", value)
			}
			n.Bridge = value
		case mtuOption, "mtu":
			mtu, err := strconv.Atoi(value)
			if err != nil {
				return fmt.Errorf("option %s=%s: not a number", key, value)
			}
			n.MTU = mtu
		default:
			return fmt.Errorf("option %s: unknown; there are %s, %s and, of driver macvlan, %s", key, bridgeNameOption, mtuOption, parentOption)
		}
	}
	if n.MTU != 0 && (n.MTU < minMTU || n.MTU > maxVethMTU) {
		return fmt.Errorf("mtu %d: it must be %d to %d bytes", n.MTU, minMTU, maxVethMTU)
	}
	return nil
}

// checkDriver refuses what the driver cannot do.
func (c Creation) checkDriver(n *Network) error {
	if c.Driver != BridgeDriver && c.Driver != MacvlanDriver {
		return fmt.Errorf("driver %q: unknown; there are %s and %s", c.Driver, BridgeDriver, MacvlanDriver)
	}
	if c.IPv6 {
		if err := HasIPv6(); err != nil {
			return err
		}
		if n.MTU != 0 && n.MTU < minMTU6 {
			return fmt.Errorf("mtu %d: IPv6 needs %d bytes (RFC 8200, section 5)", n.MTU, minMTU6)
		}
	}
	if c.Driver == BridgeDriver {
		return nil
	}
	switch {
	case n.Bridge == "":
		return fmt.Errorf("driver %s: -o %s=LINK is missing, the link of the host that the containers share", c.Driver, parentOption)
	case len(c.Subnets) == 0:
		return fmt.Errorf("driver %s: --subnet is missing: the one that the hosts on %s are in", c.Driver, n.Bridge)
	case c.Internal:
		return fmt.Errorf("driver %s: what its containers reach is not ours to say, so --internal is not possible", c.Driver)
	}
	return nil
}

// minMTU is the least with which IPv4 works (RFC 791, "every internet module must
// be able to forward a datagram of 68 octets").
const minMTU = 68

// nameBridge chooses the name of the bridge, or checks the one that was asked for.
func (n *Network) nameBridge(c *conn) error {
	if n.Driver == MacvlanDriver {
		return nil
	}
	if n.Bridge == "" {
		n.Bridge = "br-" + n.Name
		if len(n.Bridge) >= unix.IFNAMSIZ {
			n.Bridge = "br-" + n.ID[:12]
		}
	}
	if len(n.Bridge) >= unix.IFNAMSIZ {
		return fmt.Errorf("bridge name %s: %d bytes long, the kernel allows %d", n.Bridge, len(n.Bridge), unix.IFNAMSIZ-1)
	}
	_, err := c.link(n.Bridge)
	if err == nil {
		return fmt.Errorf("bridge name %s: the host has a link of that name", n.Bridge)
	}
	return missing(err)
}

// define writes the definition of a network.
type define struct {
	store   Store
	network *Network
}

func (s *define) Apply() error {
	return step.Fail("write the definition of network", s.network.Name, s.store.write(s.network))
}

func (s *define) Undo() error { return s.store.forget(s.network) }

func (s *define) Check() error {
	_, err := s.store.read(s.network.Name)
	return step.Fail("check the definition of network", s.network.Name, err)
}

func (s *define) Words() string { return "write down what the network " + s.network.Name + " is" }

// String is a remark: to the kernel a network has no name.
func (s *define) String() string { return "# " + s.store.file(s.network.Name) }
