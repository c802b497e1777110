package network

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A State is a network as the kernel has it now.
type State struct {
	Name   string // "bridge", "host", "none"
	Driver string // Docker's word for its kind: "bridge", "host", "null"

	// The rest is the network bridge's. Without a bridge, before the first
	// launch or after Remove, it is zero.
	Bridge  string       // "minictr0"
	Index   int          // of the bridge
	Up      bool         //
	MAC     string       // of the bridge
	MTU     int          // bytes
	Subnet  netip.Prefix // 172.17.0.0/16
	Gateway netip.Addr   // 172.17.0.1
	Ports   []string     // the names of the links on the bridge

	Leases map[netip.Addr]string // address -> container id, of the dead too
	Rules  []string              // its elements and rules in nftables, as commands of nft(8)
}

// List returns all networks, in the order of their names. RunRoot is the
// directory for what dies with the machine.
func List(runroot string) ([]State, error) {
	bridge, err := InspectNetwork(runroot, string(Bridge))
	if err != nil {
		return nil, err
	}
	return []State{*bridge, {Name: string(Host), Driver: "host"}, {Name: string(None), Driver: "null"}}, nil
}

// errNoNetwork says that there is no network of a name.
var errNoNetwork = errors.New("no such network")

// InspectNetwork returns the network of the name.
func InspectNetwork(runroot, name string) (*State, error) {
	switch Mode(name) {
	case Bridge:
	case Host:
		return &State{Name: name, Driver: "host"}, nil
	case None:
		return &State{Name: name, Driver: "null"}, nil
	default:
		return nil, step.Fail("inspect network", name, errNoNetwork)
	}
	s := &State{Name: name, Driver: "bridge", Leases: map[netip.Addr]string{}}
	err := readTable(leaseFile(runroot, name), func(t *leaseTable) error {
		maps.Insert(s.Leases, t.all())
		return nil
	})
	if err == nil {
		err = once(Netns{}, s.read)
	}
	if err == nil {
		s.Rules, err = rulesOf(name)
	}
	if err != nil {
		return nil, explain("inspect network", name, err)
	}
	return s, nil
}

func leaseFile(runroot, network string) string {
	return filepath.Join(runroot, leasesDir, network)
}

// read reads the bridge and its ports.
func (s *State) read(c *conn) error {
	l, err := c.link(DefaultBridge)
	if err != nil {
		return missing(err)
	}
	if l.kind != "bridge" {
		return fmt.Errorf("%s: %w", DefaultBridge, errNoBridge)
	}
	s.Bridge, s.Index, s.Up, s.MAC, s.MTU = l.name, l.index, l.up, l.mac, l.mtu
	if gateway, err := c.gatewayOf(l); err == nil {
		s.Subnet, s.Gateway = gateway.Masked(), gateway.Addr()
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
	Ports      []string // links on the bridge that are not ours
}

func (e *InUseError) Error() string {
	if len(e.Containers) > 0 {
		return "in use by container " + strings.Join(e.Containers, ", ")
	}
	return "the bridge has ports that minictr did not make: " + strings.Join(e.Ports, ", ")
}

// Unwrap returns EBUSY.
func (e *InUseError) Unwrap() error { return unix.EBUSY }

// Remove takes the network's bridge, its elements in the nftables table (the
// table, when they are the last) and its leases away. The next container that
// wants the network makes it again. It fails with InUseError while a live
// container has a lease. ip_forward stays on: others may have come to rely on it.
func Remove(runroot, name string, alive func(owner string) bool) error {
	if Mode(name) != Bridge {
		return step.Fail("remove network", name, errNoNetwork)
	}
	root := filepath.Join(runroot, leasesDir)
	err := withLock(root, func() error {
		s, err := InspectNetwork(runroot, name)
		if err != nil {
			return err
		}
		if err := s.inUse(alive); err != nil {
			return err
		}
		if err := removeNetwork(name); err != nil {
			return err
		}
		if err := once(Netns{}, func(c *conn) error { return c.deleteLink(DefaultBridge) }); err != nil {
			return err
		}
		err = os.Remove(leaseFile(runroot, name))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return err
	})
	return explain("remove network", name, err)
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
