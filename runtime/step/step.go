// Package step is the vocabulary of reversible changes to the host.
//
// A Step is one change: make a bridge, give an address, create a cgroup. It is
// a small value that knows how to make the change, take it back, tell whether
// the kernel has it, say it in plain words, and name the command that an
// administrator would type for the same effect. A plan is a list of steps, and
// everything else is a reading of that list:
//
//	Run       applies it, and undoes it in reverse when one step fails
//	Undo      takes it back, as after a crash
//	Script    prints it as a shell script that does the same
//	Asking    asks before each step whether to go on
//	FailAt    makes one step fail, for tests
//
// The package imports only the standard library; network, rootfs and cgroups
// define the steps, runtime orders them.
package step

import (
	"errors"
	"fmt"
	"time"
)

// A Step is one reversible change to the host. Its methods may be called by a
// process other than the one that applied it.
type Step interface {
	// Apply makes the change. An error means that it was not made.
	Apply() error
	// Undo takes the change back. A change that is already gone is no error.
	Undo() error
	// Check asks the kernel whether the change is in place: nil, or what differs.
	Check() error
	// Words says in plain words what the step does: "make the bridge minictr0".
	Words() string
	// String is the shell command that does the same: "ip link add …". It may
	// hold several lines.
	String() string
}

// Error is a failed operation on an object. It prints as
// "operation object: cause" and unwraps to the cause.
type Error struct {
	Operation string // "add address"
	Object    string // "172.17.0.2/16 on eth0"
	Err       error
}

func (e *Error) Error() string {
	if e.Object == "" {
		return e.Operation + ": " + e.Err.Error()
	}
	return e.Operation + " " + e.Object + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Fail returns an Error for the operation on the object, or nil when err is nil.
func Fail(operation, object string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Operation: operation, Object: object, Err: err}
}

// An Observer is told of each step when it has been applied or has failed, and
// how long that took.
type Observer func(s Step, took time.Duration, err error)

// Run applies the steps in order. When one fails, those applied before it are
// undone, newest first, and the error of the step comes back with the errors
// of the undoing joined behind it. The observer may be nil.
func Run(steps []Step, observe Observer) error {
	for i, s := range steps {
		begin := time.Now()
		err := s.Apply()
		if observe != nil {
			observe(s, time.Since(begin), err)
		}
		if err != nil {
			if undo := Undo(steps[:i]); undo != nil {
				return errors.Join(err, fmt.Errorf("undo: %w", undo))
			}
			return err
		}
	}
	return nil
}

// Asking returns the same steps, each of which asks before it is applied. An error of
// ask is that of the step, which is not applied then.
func Asking(steps []Step, ask func(Step) error) []Step {
	out := make([]Step, len(steps))
	for i, s := range steps {
		out[i] = asking{Step: s, ask: ask}
	}
	return out
}

type asking struct {
	Step
	ask func(Step) error
}

func (a asking) Apply() error {
	if err := a.ask(a.Step); err != nil {
		return err
	}
	return a.Step.Apply()
}

// Undo takes the steps back, newest first. It goes on after an error and
// returns all of them joined.
func Undo(steps []Step) error {
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		errs = append(errs, steps[i].Undo())
	}
	return errors.Join(errs...)
}

// Check asks the kernel for each step and returns what differs, joined.
func Check(steps []Step) error {
	var errs []error
	for _, s := range steps {
		errs = append(errs, s.Check())
	}
	return errors.Join(errs...)
}
