package network

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A State is a network, and what the kernel has of it now.
type State struct {
	Network

	// The rest is of a bridge. Without one, before the first launch or after
	// Remove, it is zero.
	Link  string   // the bridge, when it is there
	Index int      // of the bridge
	Up    bool     //
	MTU   int      // bytes
	Ports []string // the names of the links on the bridge

	Leases map[netip.Addr]string // address -> container id, of the dead too
	Rules  []string              // its elements and rules in nftables, as commands of nft(8)
	Drift  []string              // what of it somebody has changed, one line each
}

// States returns all networks, in the order of their names.
func (s Store) States() ([]*State, error) {
	list, err := s.All()
	errs := []error{err}
	var states []*State
	for _, n := range list {
		state, err := s.state(n)
		errs = append(errs, err)
		if err == nil {
			states = append(states, state)
		}
	}
	return states, errors.Join(errs...)
}

// Inspect returns the network of the name.
func (s Store) Inspect(name string) (*State, error) {
	n, err := s.Lookup(name)
	if err != nil {
		return nil, err
	}
	return s.state(n)
}

func (s Store) state(n *Network) (*State, error) {
	state := &State{Network: *n, Leases: map[netip.Addr]string{}}
	if n.Driver != BridgeDriver && n.Driver != MacvlanDriver {
		return state, nil
	}
	err := readTable(leaseFile(s.Runroot, n.Name), func(t *leaseTable) error {
		maps.Insert(state.Leases, t.all())
		return nil
	})
	if err == nil {
		err = once(Netns{}, state.read)
	}
	if err == nil {
		state.Rules, err = rulesOf(n.Name)
	}
	if err == nil {
		err = state.lookForDrift()
	}
	return state, explain("inspect network", n.Name, err)
}

// lookForDrift compares the bridge with what it should be.
func (s *State) lookForDrift() error {
	list, err := DriftOf(s.Network, len(s.Leases))
	for _, d := range list {
		s.Drift = append(s.Drift, d.Error())
	}
	return err
}

func leaseFile(runroot, network string) string {
	return filepath.Join(runroot, leasesDir, network)
}

// read reads the bridge and its ports.
func (s *State) read(c *conn) error {
	l, err := c.link(s.Bridge)
	if err != nil {
		return missing(err)
	}
	if s.Driver == BridgeDriver && l.kind != "bridge" {
		return fmt.Errorf("%s: %w", s.Bridge, errNoBridge)
	}
	s.Link, s.Index, s.Up, s.MAC, s.MTU = l.name, l.index, l.up, l.mac, l.mtu
	if s.Driver != BridgeDriver {
		return nil
	}
	if gateway, err := c.gatewayOf(l); err == nil && s.Name == DefaultNetwork {
		s.Gateway = gateway
	}
	ports, err := c.ports(l.index)
	for _, p := range ports {
		s.Ports = append(s.Ports, p.name)
	}
	return err
}

// InUseError says what keeps a network from being removed.
type InUseError struct {
	Containers []string // ids of live containers that have a lease
	Adopted    []string // names of network namespaces that are adopted
	Ports      []string // links on the bridge that are not ours
}

func (e *InUseError) Error() string {
	var users []string
	if len(e.Containers) > 0 {
		users = append(users, "container "+strings.Join(e.Containers, ", "))
	}
	if len(e.Adopted) > 0 {
		users = append(users, "the adopted network namespace "+strings.Join(e.Adopted, ", "))
	}
	if len(users) > 0 {
		return "in use by " + strings.Join(users, " and ")
	}
	return "the bridge has ports that minictr did not make: " + strings.Join(e.Ports, ", ")
}

// Unwrap returns EBUSY.
func (e *InUseError) Unwrap() error { return unix.EBUSY }

// Remove takes the network's bridge, its elements in the nftables table (the
// table, when they are the last), its leases and its definition away. The network
// "bridge" is made again by the next container that wants it. It fails with
// InUseError while a live container has a lease. ip_forward stays on: others may
// have come to rely on it.
func (s Store) Remove(name string, alive func(owner string) bool) error {
	n, err := s.Lookup(name)
	if err != nil {
		return err
	}
	if n.Driver == "host" || n.Driver == "null" {
		return step.Fail("remove network", name, ErrPredefined)
	}
	return explain("remove network", name, s.locked(func() error { return s.remove(n, alive) }))
}

func (s Store) remove(n *Network, alive func(owner string) bool) error {
	return withLock(filepath.Join(s.Runroot, leasesDir), func() error {
		state, err := s.state(n)
		if err != nil {
			return err
		}
		if err := state.inUse(alive); err != nil {
			return err
		}
		if err := removeNetwork(n.Name); err != nil {
			return err
		}
		if err := once(Netns{}, state.deleteLink); err != nil {
			return err
		}
		return errors.Join(ignoreMissing(os.Remove(leaseFile(s.Runroot, n.Name))), s.forget(n))
	})
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// deleteLink deletes the bridge, or a VLAN that we made.
func (s *State) deleteLink(c *conn) error {
	switch {
	case s.Link == "":
		return nil
	case s.Driver == MacvlanDriver:
		return c.deleteVLAN(s.Bridge)
	}
	return c.deleteLink(s.Bridge)
}

// inUse returns what keeps the network from being removed. A port that is
// called as ours are, but has no lease, is a dead container's that the kernel
// has not cleaned up yet.
func (s *State) inUse(alive func(owner string) bool) error {
	var e InUseError
	for _, owner := range s.Leases {
		if alive(owner) && !slices.Contains(e.Containers, owner) {
			e.Containers = append(e.Containers, owner)
		}
	}
	slices.Sort(e.Containers)
	for _, port := range s.Ports {
		if !strings.HasPrefix(port, hostPrefix) {
			e.Ports = append(e.Ports, port)
		}
	}
	if len(e.Containers)+len(e.Ports) > 0 {
		return &e
	}
	return nil
}
