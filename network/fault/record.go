package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// A Record is a fault that was injected, and all that it takes to undo it. It is
// written before the first change, so that any process can take back what a killed one
// has begun.
type Record struct {
	Fault     string    `json:"fault"`
	Container string    `json:"container"` // its name
	ID        string    `json:"id"`
	Pid       int       `json:"pid"`
	Injected  time.Time `json:"injected"`
	// Host is the inode of the network namespace that was the host's.
	Host    uint64   `json:"host"`
	Changes []Change `json:"changes"`
}

// Steps are the changes, in the order of their making.
func (r *Record) Steps() []step.Step {
	var list []step.Step
	for _, c := range r.Changes {
		list = append(list, c)
	}
	return list
}

// A State says how much of an injected fault is there now.
type State string

// The states.
const (
	Active State = "active"
	Partly State = "partly healed"
	Healed State = "healed"
	Gone   State = "gone" // with its container; on the host nothing is left
)

// State asks the kernel.
func (r *Record) State() State {
	active, gone := 0, 0
	for _, c := range r.Changes {
		err := c.Check()
		switch {
		case err == nil:
			active++
		case isGone(err):
			gone++
		}
	}
	switch {
	case active == len(r.Changes):
		return Active
	case active > 0:
		return Partly
	case gone == len(r.Changes):
		return Gone
	}
	return Healed
}

// Store is where the records are: RUNROOT/faults, a file for each container that has
// a fault.
type Store struct{ Runroot string }

func (s Store) dir() string { return filepath.Join(s.Runroot, "faults") }

func (s Store) path(id string) string { return filepath.Join(s.dir(), id+".json") }

// List are the records of all containers, in the order of their injection.
func (s Store) List() (list []*Record, err error) {
	files, err := filepath.Glob(filepath.Join(s.dir(), "*.json"))
	errs := []error{err}
	for _, name := range files {
		r, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // cleared meanwhile
		}
		errs = append(errs, err)
		if err == nil {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Record) int { return a.Injected.Compare(b.Injected) })
	return list, errors.Join(errs...)
}

func read(name string) (*Record, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(Record)
	return r, step.Fail("read", name, json.Unmarshal(b, r))
}

// Get is the record of a container; nil when it has no fault.
func (s Store) Get(id string) (*Record, error) {
	r, err := read(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}

// An ActiveError says that a container has a fault already. Two at a time would hide
// each other, from who looks for them and from who puts them back.
type ActiveError struct{ Fault, Container string }

func (e *ActiveError) Error() string {
	return fmt.Sprintf("container %s has the fault %s already", e.Container, e.Fault)
}

// Hint names the command that takes it back.
func (e *ActiveError) Hint() string { return "minictr fault clear " + e.Container + " takes it back" }

// Inject breaks the thing: the record first, then the changes. When one fails, those
// before it are taken back, and the record with them.
func (s Store) Inject(f Fault, t Target, observe step.Observer) (*Record, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if old, err := s.Get(t.ID); err != nil || old != nil {
		if old != nil {
			err = &ActiveError{old.Fault, t.Name}
		}
		return nil, err
	}
	changes, err := f.Resolve(t)
	if err != nil {
		return nil, err
	}
	host, err := network.Inode(hostNetns)
	if err != nil {
		return nil, err
	}
	r := &Record{Fault: f.Name, Container: t.Name, ID: t.ID, Pid: t.Pid, Injected: time.Now().UTC(), Host: host, Changes: changes}
	if err := s.write(r); err != nil {
		return nil, err
	}
	if err := step.Run(r.Steps(), observe); err != nil {
		err = step.Fail("inject", f.Name+" into "+t.Name, err)
		// What could not be applied may be there in part.
		if undo := step.Undo(r.Steps()); undo != nil {
			return nil, errors.Join(err, undo)
		}
		return nil, errors.Join(err, os.Remove(s.path(t.ID)))
	}
	return r, nil
}

// hostNetns is the namespace of the caller, which is the host's.
const hostNetns = "/proc/thread-self/ns/net"

// write puts the record on the disk whole: the machine may stop in the middle.
func (s Store) write(r *Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	name := s.path(r.ID)
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Clear takes the fault of a record back, whoever injected it and whatever has become
// of the container. The record goes when all is as it was.
func (s Store) Clear(r *Record) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	host, err := network.Inode(hostNetns)
	if err != nil {
		return err
	}
	if host != r.Host {
		return fmt.Errorf("clear %s of %s: it was injected from another network namespace, net:[%d]", r.Fault, r.Container, r.Host)
	}
	if err := step.Undo(r.Steps()); err != nil {
		return fmt.Errorf("clear %s of %s: %w", r.Fault, r.Container, err)
	}
	if err := os.Remove(s.path(r.ID)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sweep takes back the faults of containers that run no more: what they left on the
// host. It returns their records.
func (s Store) Sweep(running func(id string, pid int) bool) (swept []*Record, err error) {
	list, err := s.List()
	errs := []error{err}
	for _, r := range list {
		if running(r.ID, r.Pid) {
			continue
		}
		if err := s.Clear(r); err != nil {
			errs = append(errs, err)
			continue
		}
		swept = append(swept, r)
	}
	return swept, errors.Join(errs...)
}

// lock keeps others from injecting and clearing meanwhile.
func (s Store) lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir(), "lock"), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(step.Fail("lock", f.Name(), err), f.Close())
	}
	return func() { _ = f.Close() }, nil // an empty file: nothing is lost with it
}

// Script is the fault as a person would type it.
func Script(changes []Change) string {
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}
