package fault

import (
	"fmt"
	"slices"
)

// A Fault is something that breaks one thing of a container's networking.
type Fault struct {
	Name  string // "bridge-down"
	Story string // what somebody did, in one line
	Check string // the check of the doctor that finds it
	Scope Scope

	needs   needs
	resolve func(*view) ([]Change, error)
}

// A Scope says whom a fault affects.
type Scope string

// The scopes.
const (
	Inside  Scope = "container" // nothing but the container's own namespaces
	Network Scope = "network"   // what the host has for this container or its network
	Host    Scope = "host"      // the whole machine, and all that it carries
)

// List are all faults, from the inside of the container to the way out.
func List() []Fault {
	return slices.Concat(linkFaults(), addressFaults(), routeFaults(), insideFaults(), portFaults(), bridgeFaults(),
		firewallFaults(), ownTableFaults(), hostFaults())
}

// An UnknownError says that there is no fault of the name.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string { return fmt.Sprintf("no such fault: %q", e.Name) }

// Hint names the command that lists them.
func (e *UnknownError) Hint() string { return "minictr fault list shows all faults" }

// Find finds a fault by its name.
func Find(name string) (Fault, error) {
	for _, f := range List() {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, &UnknownError{name}
}

// A NotApplicableError says why a fault cannot be injected into a container.
type NotApplicableError struct {
	Fault, Container string
	Why              error
}

func (e *NotApplicableError) Error() string {
	return fmt.Sprintf("inject %s into %s: %v", e.Fault, e.Container, e.Why)
}

func (e *NotApplicableError) Unwrap() error { return e.Why }

// Resolve reads what the fault will change at the container, and how it is now. It
// changes nothing.
func (f Fault) Resolve(t Target) ([]Change, error) {
	changes, err := f.changes(t)
	if err == nil {
		err = f.applicable(changes)
	}
	if err != nil {
		return nil, &NotApplicableError{f.Name, t.Name, err}
	}
	return changes, nil
}

func (f Fault) changes(t Target) ([]Change, error) {
	v, err := look(t)
	if err != nil {
		return nil, err
	}
	if err := v.lacks(f.needs); err != nil {
		return nil, err
	}
	return f.resolve(v)
}

// applicable wants every change to be one: what is so already was not broken by us,
// and is not ours to put back.
func (f Fault) applicable(changes []Change) error {
	for _, c := range changes {
		has, err := c.Thing.has()
		if err != nil {
			return fmt.Errorf("%s: %w", c.Thing.what(), err)
		}
		if has != c.Take {
			return fmt.Errorf("%s: it is so already", c.Thing.what())
		}
	}
	return nil
}
