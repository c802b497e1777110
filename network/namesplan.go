package network

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/runtime/step"
)

// Names is what makes the container known to others by its names, and lets it find
// them: a record on each of its networks, and a name server for it. It comes after
// Shared, which makes the addresses that the servers listen on.
func Names(cfg *Config) []step.Step {
	var list []step.Step
	for _, e := range cfg.Endpoints {
		list = append(list, namesOf(cfg, e)...)
	}
	return list
}

func namesOf(cfg *Config, e Endpoint) []step.Step {
	if !e.Network.hasNames() {
		return nil
	}
	return []step.Step{nameOf(cfg, e), &StartNames{Runroot: e.Lease.runroot(), Network: e.Network}}
}

// hasNames reports whether the network has a name server. It listens on the
// bridge; where there is none, there is none.
func (n Network) hasNames() bool { return n.Driver != MacvlanDriver }

// runroot is the directory for what dies with the machine, of which the leases are
// a part.
func (l Lease) runroot() string { return filepath.Dir(filepath.Dir(l.File)) }

func nameOf(cfg *Config, e Endpoint) names.AddName {
	return names.AddName{Runroot: e.Lease.runroot(), Network: e.Network.Name, Record: names.Record{
		Container: e.Lease.Owner, Name: cfg.Netns.Name, Aliases: e.Aliases,
		Address: e.Interface.Address.Addr(), Address6: e.Interface.Address6.Addr(),
		Gateway: e.Network.Gateway, Gateway6: e.Network.Gateway6,
		Internal: e.Network.Internal, Servers: cfg.Servers,
	}}
}

// Nameless takes the names of a container that has ended away.
func Nameless(cfg *Config) error { return step.Undo(Names(cfg)) }

// NameServers are the addresses of the name servers of a container's networks, the
// one of the default route first.
func (c *Config) NameServers() []netip.Addr {
	var first, others []netip.Addr
	for _, e := range c.Endpoints {
		if gateways := e.Network.gateways(); e.Network.hasNames() && len(gateways) > 0 {
			if e.Default || !gateways[0].Addr().Is4() && e.Default6 {
				first = append(first, gateways[0].Addr())
				continue
			}
			others = append(others, gateways[0].Addr())
		}
	}
	return append(first, others...)
}

// StartNames makes sure that a network has a name server. That it cannot have one,
// because a program of the host has port 53 of every address, is no reason not to
// run a container: Failed tells it.
type StartNames struct {
	Runroot string
	Network Network

	failed error
}

// Apply starts the server, if there is none.
func (s *StartNames) Apply() error {
	s.failed = names.Start(s.Runroot, s.Network.Name, []netip.Addr{s.Network.Gateway.Addr(), s.Network.Gateway6.Addr()}, s.Network.Bridge)
	return nil
}

// Failed is why the network has no name server; nil when it has one.
func (s *StartNames) Failed() error { return s.failed }

// Undo has nothing to do: the server goes when the last name has gone.
func (s *StartNames) Undo() error { return nil }

// Check wants a name server.
func (s *StartNames) Check() error {
	alive, err := names.Alive(s.Runroot, s.Network.Name)
	if err == nil && !alive {
		err = fmt.Errorf("there is none")
	}
	return step.Fail("check name server of network", s.Network.Name, err)
}

// Words says the step in plain words.
func (s *StartNames) Words() string {
	return fmt.Sprintf("let a name server listen on the bridge %s: it knows the containers of the network, and asks the host's servers for the rest", s.Network.Bridge)
}

// String is a remark: no usual program knows the names of containers.
func (s *StartNames) String() string {
	return fmt.Sprintf("# minictr-dns answers at port 53 of %s", texts(s.Network.gateways()))
}

// RemoveName takes the names of a container away from one network.
type RemoveName struct{ Name names.AddName }

// Apply removes the record. One that is gone is no error.
func (s *RemoveName) Apply() error { return s.Name.Undo() }

// Undo writes it again.
func (s *RemoveName) Undo() error { return s.Name.Apply() }

// Check wants it to be gone.
func (s *RemoveName) Check() error {
	if s.Name.Check() == nil {
		return step.Fail("check that nobody knows", s.Name.Record.Name, errStillThere)
	}
	return nil
}

// Words says the step in plain words.
func (s *RemoveName) Words() string {
	return "let the containers of network " + s.Name.Network + " no longer find " + s.Name.Record.Name
}

func (s *RemoveName) String() string { return "# no longer in their /etc/hosts: " + s.Name.Record.Name }
