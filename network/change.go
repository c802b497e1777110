package network

import (
	"errors"
	"slices"

	"github.com/minictr/minictr/runtime/step"
)

// Change is the steps that turn the network of a running container into another
// one: first what goes, then what comes. A family has one default route, so the old
// one goes before the new one comes; published ports follow it.
func Change(from, to *Config) []step.Step {
	gone, come := reroute(from, to)
	list, published := republish(from, to)
	for _, e := range from.Endpoints {
		if to.Endpoint(e.Network.Name) == nil {
			if e.Network.hasNames() {
				list = append(list, &RemoveName{nameOf(from, e)})
			}
			list = append(list, &Detach{Endpoint: e, Netns: from.Netns})
		}
	}
	list = append(list, gone...)
	for _, e := range to.Endpoints {
		if from.Endpoint(e.Network.Name) == nil {
			list = slices.Concat(list, SharedOf(e), namesOf(to, e), AttachOf(e, to.Netns))
		}
	}
	return from.Guest.around(slices.Concat(list, come, published), from, to)
}

// reroute moves the default routes of the endpoints that stay.
func reroute(from, to *Config) (gone, come []step.Step) {
	for _, e := range to.Endpoints {
		was := from.Endpoint(e.Network.Name)
		if was == nil {
			continue
		}
		before, after := *was, e
		before.Default, after.Default = was.Default && !e.Default, e.Default && !was.Default
		before.Default6, after.Default6 = was.Default6 && !e.Default6, e.Default6 && !was.Default6
		for _, s := range routes(before, to.Netns, nil) {
			gone = append(gone, &DeleteRoute{*s.(*AddRoute)})
		}
		come = append(come, routes(after, to.Netns, nil)...)
	}
	return gone, come
}

// Without is the configuration without the endpoint on the network, and with
// default routes by those that are left.
func (c *Config) Without(network string) *Config {
	other := *c
	other.Endpoints = slices.DeleteFunc(slices.Clone(c.Endpoints), func(e Endpoint) bool { return e.Network.Name == network })
	chooseDefault(other.Endpoints)
	other.keepRoutes()
	return &other
}

// With is the configuration with one endpoint more.
func (c *Config) With(e Endpoint) *Config {
	other := *c
	other.Endpoints = append(slices.Clone(c.Endpoints), e)
	chooseDefault(other.Endpoints)
	other.keepRoutes()
	return &other
}

// Detach pulls a container's cable to a network out. The addresses and routes of
// its interface go with it.
type Detach struct {
	Endpoint Endpoint
	Netns    Netns

	made bool
}

// Apply deletes the pair. One that is gone is no error.
func (s *Detach) Apply() error {
	err := s.cable().Undo()
	s.made = err == nil
	return err
}

// cable is the step that has made the interface.
func (s *Detach) cable() step.Step {
	if s.Endpoint.Network.Driver == MacvlanDriver {
		return &AddMacvlan{Parent: s.Endpoint.Network.Bridge, Name: s.Endpoint.Interface.Name, Netns: s.Netns}
	}
	return &AddVeth{Host: s.Endpoint.Interface.Host, Peer: s.Endpoint.Interface.Name, Netns: s.Netns}
}

// errStillThere says that something is there that should be gone.
var errStillThere = errors.New("it is there")

// Undo plugs it in again.
func (s *Detach) Undo() error {
	if !s.made {
		return nil
	}
	s.made = false
	return step.Run(AttachOf(s.Endpoint, s.Netns), nil)
}

// Check wants the pair to be gone.
func (s *Detach) Check() error {
	where, link := Netns{}, s.Endpoint.Interface.Host
	if s.Endpoint.Network.Driver == MacvlanDriver {
		where, link = s.Netns, s.Endpoint.Interface.Name
	}
	return step.Fail("check that there is no", link, once(where, func(c *conn) error {
		_, err := c.link(link)
		if err == nil {
			return errStillThere
		}
		return missing(err)
	}))
}

// Words says the step in plain words.
func (s *Detach) Words() string {
	return "pull the cable to the network " + s.Endpoint.Network.Name + " out of " + s.Netns.whose() + ": with one end goes the other"
}

func (s *Detach) String() string {
	if s.Endpoint.Network.Driver == MacvlanDriver {
		return s.Netns.ip() + " link del " + s.Endpoint.Interface.Name
	}
	return "ip link del " + s.Endpoint.Interface.Host
}

// DeleteRoute takes a default route away.
type DeleteRoute struct{ Route AddRoute }

// Apply deletes it; one that is gone is no error.
func (s *DeleteRoute) Apply() error { return s.Route.Undo() }

// Undo adds it again.
func (s *DeleteRoute) Undo() error { return s.Route.Apply() }

// Check wants it to be gone.
func (s *DeleteRoute) Check() error {
	if s.Route.Check() == nil {
		return step.Fail("check that there is no route", s.Route.object(), errStillThere)
	}
	return nil
}

// Words says the step in plain words.
func (s *DeleteRoute) Words() string {
	return "no longer send everything else to the gateway " + s.Route.Gateway.String()
}

func (s *DeleteRoute) String() string {
	return s.Route.Netns.ip() + " route del default via " + s.Route.Gateway.String() + " dev " + s.Route.Link
}
