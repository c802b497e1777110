package runtime

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// Status is where a container is in its life; the words are Docker's.
type Status string

// The states of a container.
const (
	Created Status = "created" // made, never run
	Running Status = "running"
	Exited  Status = "exited"
)

// A Container is what is known of one at the moment of asking.
type Container struct {
	Config *Config
	Status Status
	State  *State  // while it runs
	Result *Result // of its last run
}

// Pid is the process in the caller's PID namespace, or 0.
func (c *Container) Pid() int {
	if c.Status != Running {
		return 0
	}
	return c.State.Pid
}

// NotFoundError is a container that does not exist.
type NotFoundError struct{ Name string }

func (e *NotFoundError) Error() string { return "no such container: " + e.Name }

// AmbiguousError is a prefix of more than one id.
type AmbiguousError struct {
	Prefix string
	IDs    []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s is the beginning of %d container ids", e.Prefix, len(e.IDs))
}

// NotRunningError is a container that would have to run.
type NotRunningError struct{ Name string }

func (e *NotRunningError) Error() string { return "container " + e.Name + " is not running" }

// NameInUseError is a name that another container has.
type NameInUseError struct{ Name, ID string }

func (e *NameInUseError) Error() string {
	return fmt.Sprintf("the name %s is in use by container %.12s", e.Name, e.ID)
}

// newID returns 64 hexadecimal digits, as Docker's ids are. One that is all
// decimal in its short form is not used: it could be taken for a number.
func newID() string {
	for {
		b := make([]byte, 32)
		for n := 0; n < len(b); { // getrandom(2); crypto/rand would cost 0.1 ms of start-up
			m, err := unix.Getrandom(b[n:], 0)
			if err != nil && !errors.Is(err, unix.EINTR) {
				panic("getrandom: " + err.Error()) // is in every kernel since 3.17
			}
			n += max(m, 0)
		}
		id := hex.EncodeToString(b)
		if strings.ContainsAny(id[:12], "abcdef") {
			return id
		}
	}
}

// ValidateName reports a name that a container cannot have.
func ValidateName(name string) error {
	if !nameIsValid(name) {
		return fmt.Errorf("container name %q: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at least two and at most 253 characters", name)
	}
	return nil
}

// nameIsValid holds Docker's rule: [a-zA-Z0-9][a-zA-Z0-9_.-]+.
func nameIsValid(name string) bool {
	const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return len(name) >= 2 && len(name) <= 253 && strings.Contains(alphanumeric, name[:1]) && strings.Trim(name, alphanumeric+"_.-") == ""
}

// takeName makes the name the container's. The link is made whole or not at all;
// a link to a container that is gone is replaced.
func (r *Runtime) takeName(name, id string) error {
	path := filepath.Join(r.Root, "names", name)
	for {
		err := os.Symlink(id, path)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			continue
		}
		if !errors.Is(err, fs.ErrExist) {
			return step.Fail("take the name", name, err)
		}
		if err := r.freeStale(name); err != nil {
			return err
		}
	}
}

// freeStale gives back the name of a container that is gone, or returns a
// *NameInUseError. To look and to remove is one under the lock of the directory:
// of two that find the same stale name, the second would remove the link that the
// first has made since.
func (r *Runtime) freeStale(name string) error {
	path := filepath.Join(r.Root, "names", name)
	lock, err := openLock(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer lock.release()
	if err := lock.take(unix.LOCK_EX); err != nil {
		return step.Fail("lock", filepath.Dir(path), err)
	}
	owner, err := os.Readlink(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return step.Fail("read the name", name, err)
	}
	_, err = os.Stat(r.lasting(owner))
	if err == nil {
		return &NameInUseError{Name: name, ID: owner}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return step.Fail("free the name", name, ignoreMissing(os.Remove(path)))
}

// freeName gives a name back when it is the container's.
func (r *Runtime) freeName(name, id string) error {
	if !r.named(name, id) {
		return nil // not ours, or gone: nothing to give back
	}
	return os.Remove(filepath.Join(r.Root, "names", name))
}

// named reports whether the name is the container's.
func (r *Runtime) named(name, id string) bool {
	owner, err := os.Readlink(filepath.Join(r.Root, "names", name))
	return err == nil && owner == id
}

// namesOf returns the names of a container of which nothing else is known.
func (r *Runtime) namesOf(id string) (names []string) {
	entries, err := os.ReadDir(filepath.Join(r.Root, "names"))
	if err != nil {
		return nil // then there are none
	}
	for _, e := range entries {
		if owner, err := os.Readlink(filepath.Join(r.Root, "names", e.Name())); err == nil && owner == id {
			names = append(names, e.Name())
		}
	}
	return names
}

// ids returns all container ids, sorted.
func (r *Runtime) ids() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(r.Root, "containers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		if len(e.Name()) == 64 {
			ids = append(ids, e.Name())
		}
	}
	return ids, err
}

// resolve returns the id for a name, an id, or a prefix of an id that is unique.
func (r *Runtime) resolve(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, '/') {
		return "", &NotFoundError{name}
	}
	if id, err := os.Readlink(filepath.Join(r.Root, "names", name)); err == nil {
		if _, err := os.Stat(r.lasting(id)); err == nil {
			return id, nil
		}
	}
	ids, err := r.ids()
	if err != nil {
		return "", err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, name) })
	switch len(ids) {
	case 0:
		return "", &NotFoundError{name}
	case 1:
		return ids[0], nil
	}
	return "", &AmbiguousError{name, ids}
}

// Container returns the container of that name, id, or unique beginning of an
// id. The error is a *NotFoundError or an *AmbiguousError.
func (r *Runtime) Container(name string) (*Container, error) {
	id, err := r.resolve(name)
	if err != nil {
		return nil, err
	}
	c, err := r.load(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{name}
	}
	return c, err
}

// load reads a container and asks the kernel whether it runs.
func (r *Runtime) load(id string) (*Container, error) {
	c := &Container{Status: Created}
	var err error
	if c.Config, err = r.config(id); err != nil {
		return nil, err
	}
	if c.Config == nil {
		return nil, step.Fail("read", r.lasting(id, "config.json"), fs.ErrNotExist)
	}
	if c.Config.Resources, err = cgroups.Resources(c.Config.Limits, nil); err != nil {
		return nil, err
	}
	c.State = r.state(id)
	c.Result = r.result(id)
	switch {
	case c.State.alive():
		c.Status = Running
	case c.State != nil || c.Result != nil:
		c.Status = Exited
	}
	if c.Status == Exited && c.Result == nil { // it ended a moment ago
		c.Result = &Result{ExitCode: lostExitCode, Started: c.State.Started}
	}
	return c, nil
}

// List returns all containers, the newest first. With an error about some of them
// come those that could be read.
func (r *Runtime) List() ([]*Container, error) {
	ids, err := r.ids()
	if err != nil {
		return nil, err
	}
	var list []*Container
	var errs []error
	for _, id := range ids {
		c, err := r.load(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // being made, or being removed
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b *Container) int { return b.Config.Created.Compare(a.Config.Created) })
	return list, errors.Join(errs...)
}

// Rename gives the container another name.
func (r *Runtime) Rename(name, to string, w Watch) error {
	if err := ValidateName(to); err != nil {
		return err
	}
	c, err := r.Container(name)
	if err != nil {
		return err
	}
	if err := r.takeName(to, c.Config.ID); err != nil {
		return err
	}
	old := c.Config.Name
	c.Config.Name = to
	if err := replace(r.lasting(c.Config.ID, "config.json"), c.Config); err != nil {
		return errors.Join(err, r.freeName(to, c.Config.ID))
	}
	return errors.Join(r.freeName(old, c.Config.ID), r.renameNetwork(c, old, w))
}

// renameNetwork gives what bears the name of a running container the new one.
func (r *Runtime) renameNetwork(c *Container, old string, w Watch) error {
	if c.Status != Running || !c.Config.ownNetwork() {
		return nil
	}
	err := w.tellUnnamed(r.netnsLink(old, c.State.Pid).Rename(c.Config.Name))
	if c.State.Network == nil {
		return err
	}
	l := &rewiring{Runtime: r, id: c.Config.ID}
	lock, locked := l.lockRewired(unix.LOCK_EX)
	if locked != nil {
		return errors.Join(err, ignoreMissing(locked)) // it has ended
	}
	defer lock.Close()
	return errors.Join(err, l.withState(func(config *Config, s *State) error {
		s.Network.Netns.Name = config.Name
		return errors.Join(l.write(config, s, s.Network), step.Run(network.Names(s.Network), nil))
	}))
}

// Signal sends a signal to the container's first process, through a pidfd, so
// that it cannot reach another one.
func (r *Runtime) Signal(c *Container, signal unix.Signal) error {
	fd, err := c.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := r.healPaused(c.Config.ID); err != nil { // what stands still does not even die
		return err
	}
	err = unix.PidfdSendSignal(fd, signal, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return &NotRunningError{c.Config.Name}
	}
	return step.Fail("signal", c.Config.Name, err)
}

// pidfd returns a descriptor of the container's first process, the caller's to
// close.
func (c *Container) pidfd() (int, error) {
	if c.Status != Running {
		return -1, &NotRunningError{c.Config.Name}
	}
	fd, err := unix.PidfdOpen(c.State.Pid, 0)
	if errors.Is(err, unix.ESRCH) || err == nil && !c.State.alive() {
		if err == nil {
			unix.Close(fd)
		}
		return -1, &NotRunningError{c.Config.Name}
	}
	return fd, step.Fail("open process", fmt.Sprint(c.State.Pid), err)
}
