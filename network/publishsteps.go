package network

import (
	"errors"
	"slices"

	"github.com/minictr/minictr/runtime/step"
)

// ErrNoWayOut says that ports cannot be published: a container that can send no
// answer cannot be reached either.
var ErrNoWayOut = errors.New("none of the container's networks has a way out")

// checkPorts tells which port could not be published by any endpoint.
func checkPorts(cfg *Config, ports []Port) error {
	a, a6 := cfg.PortTargets()
	for _, p := range ports {
		switch {
		case !a.IsValid() && !a6.IsValid():
			return step.Fail("publish port", p.String(), ErrNoWayOut)
		case p.HostIP.IsValid() && p.HostIP.Is4() && !a.IsValid():
			return step.Fail("publish port", p.String(), errors.New("the container has no IPv4 address with a way out"))
		case p.HostIP.IsValid() && p.HostIP.Is6() && !a6.IsValid():
			return step.Fail("publish port", p.String(), errors.New("the container has no IPv6 address with a way out"))
		}
	}
	return nil
}

// republish is the steps that turn the published ports of a container into others.
// When they lead to another address than before, all of them go and come.
func republish(from, to *Config) (gone, come []step.Step) {
	fromA, fromA6 := from.PortTargets()
	toA, toA6 := to.PortTargets()
	old, wanted := from.Ports, to.Ports
	if fromA == toA && fromA6 == toA6 {
		old, wanted = portsWithout(from.Ports, to.Ports), portsWithout(to.Ports, from.Ports)
	}
	return unpublish(from, old), publish(to, wanted)
}

// unpublish is the steps that take ports back.
func unpublish(cfg *Config, ports []Port) (list []step.Step) {
	for _, s := range publish(cfg, ports) {
		if p, ok := s.(*PublishPorts); ok {
			list = append(list, &UnpublishPorts{*p})
		}
	}
	return list
}

func portsWithout(ports, others []Port) []Port {
	return slices.DeleteFunc(slices.Clone(ports), func(p Port) bool { return slices.Contains(others, p) })
}

// Withdraw takes back what the ports of a container that has ended are in the
// tables. It is no error when they are gone.
func Withdraw(cfg *Config) error {
	var errs []error
	for _, s := range unpublish(cfg, cfg.Ports) {
		errs = append(errs, s.Apply())
	}
	return errors.Join(errs...)
}

// UnpublishPorts takes ports of a container back.
type UnpublishPorts struct{ Ports PublishPorts }

// Apply deletes the elements; those that are gone are no error.
func (s *UnpublishPorts) Apply() error { return s.Ports.Undo() }

// Undo publishes them again.
func (s *UnpublishPorts) Undo() error { return s.Ports.Apply() }

// Check wants none of them to be published.
func (s *UnpublishPorts) Check() error {
	if s.Ports.Check() == nil {
		return step.Fail("check that nobody is at port", s.Ports.object(), errStillThere)
	}
	return nil
}

// Words says the step in plain words.
func (s *UnpublishPorts) Words() string {
	return "no longer send what comes to the host at " + s.Ports.object() + " to the container"
}

func (s *UnpublishPorts) String() string { return s.Ports.script("delete") }

// WithPorts is the configuration with more ports published, each at a port of the
// host.
func (r Request) WithPorts(have *Config, ports []Port) (*Config, error) {
	if err := checkPorts(have, ports); err != nil {
		return nil, err
	}
	chosen, err := ResolvePorts(r.Runroot, ports, r.DryRun)
	if err != nil {
		return nil, err
	}
	other := *have
	other.Ports = append(slices.Clone(have.Ports), chosen...)
	return &other, nil
}

// Matches reports whether q is what p, as the argument of port rm, means. Without a
// port of the host p is any that leads to the same port of the container.
func (p Port) Matches(q Port) bool {
	if p.HostPort == 0 {
		p.HostPort, q.Among = q.HostPort, 0
		if !p.HostIP.IsValid() {
			p.HostIP = q.HostIP
		}
	}
	return p == q
}

// Leads reports whether the published port leads to the port of the container.
func (p Port) Leads(port uint16) bool {
	return port >= p.ContainerPort && int(port) < int(p.ContainerPort)+int(p.Count)
}
