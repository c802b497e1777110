package network

import (
	"errors"
	"slices"

	"github.com/minictr/minictr/runtime/step"
)

// Naming is the step that lets ip-netns(8), and so the script of a dry run, know a
// guest that was not given by its name; nil for the others.
func (c *Config) Naming() step.Step {
	if c.Netns.Path == "" {
		return nil
	}
	return &LinkNetns{Dir: netnsDir, Name: c.Netns.Name, Path: c.Netns.Path}
}

// around switches the guest's lo on with the first network, and back off behind the
// last one.
func (g *Guest) around(list []step.Step, from, to *Config) []step.Step {
	if g == nil || !g.LoDown {
		return list
	}
	lo := SetLinkUp{Link: "lo", Netns: from.Netns, KeepAddress: !g.LoBare}
	switch {
	case len(from.Endpoints) == 0 && len(to.Endpoints) > 0:
		return append([]step.Step{&lo}, list...)
	case len(from.Endpoints) > 0 && len(to.Endpoints) == 0:
		return append(list, &SetLinkDown{lo})
	}
	return list
}

// SetLinkDown switches lo of a guest off again.
type SetLinkDown struct{ Up SetLinkUp }

// Apply switches it off, and takes away the address that came with its coming up.
func (s *SetLinkDown) Apply() error { return s.Up.Undo() }

// Undo switches it on again.
func (s *SetLinkDown) Undo() error { return s.Up.Apply() }

// Check wants the link down.
func (s *SetLinkDown) Check() error {
	if s.Up.Check() == nil {
		return step.Fail("check link", s.Up.Link+s.Up.Netns.where(), errors.New("it is up"))
	}
	return nil
}

// Words says the step in plain words.
func (s *SetLinkDown) Words() string {
	return "switch off " + s.Up.Link + s.Up.Netns.where() + ", as it was before"
}

func (s *SetLinkDown) String() string {
	text := s.Up.Netns.ip() + " link set " + s.Up.Link + " down"
	if !s.Up.KeepAddress {
		text += "\n" + s.Up.Netns.ip() + " addr del 127.0.0.1/8 dev " + s.Up.Link
	}
	return text
}

// onLink sets on the link of ours itself what attach sets for all links to come: in a
// guest these are somebody else's.
func onLink(list []step.Step) []step.Step {
	i := slices.IndexFunc(list, func(s step.Step) bool { _, ok := s.(*SetLinkDefaults); return ok })
	born := slices.IndexFunc(list, func(s step.Step) bool { _, ok := s.(*AddVeth); return ok })
	if i < 0 || born < i {
		return list
	}
	defaults := list[i].(*SetLinkDefaults)
	defaults.Born = true
	return slices.Delete(slices.Insert(list, born+1, step.Step(defaults)), i, i+1)
}
