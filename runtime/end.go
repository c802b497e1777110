package runtime

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// end gives back what the container held while it ran, and keeps the result or,
// with --rm, removes the container. The caller holds the lock. It can be called
// again after having been interrupted anywhere. A container that lives is left
// as it is, and so is one of which it cannot be known.
func (r *Runtime) end(id string, result Result) error {
	e := ending{id: id, result: result}
	lock, err := r.lockEnd(id)
	if err != nil {
		return err
	}
	defer lock.Close()
	e.rewired = lock != nil
	if e.state, err = r.readState(id); err != nil {
		return err
	}
	if e.state.alive() {
		return &RunningError{id[:12]}
	}
	if e.config, err = r.config(id); err != nil {
		return err
	}
	h, err := cgroups.Detect()
	if err == nil && h.Mode != cgroups.None {
		e.group, err = h.Open("/minictr/" + id)
	}
	return errors.Join(ignoreMissing(err), r.releaseAll(e))
}

// ending is what is known of a container that has ended.
type ending struct {
	id     string
	config *Config // nil when it was never written down
	state  *State  // nil when it never ran
	group  *cgroups.Group
	result Result
	// rewired is that its network was changed while it ran.
	rewired bool
}

// CleanupError is that a container has ended, and how is known, but not all that
// it held could be given back. Heal tries again.
type CleanupError struct{ Err error }

func (e *CleanupError) Error() string { return "clean up: " + e.Err.Error() }

// Unwrap returns the cause, which may be several, joined.
func (e *CleanupError) Unwrap() error { return e.Err }

// giveBack is end for who was the container's parent. Its error is a
// *CleanupError.
func (r *Runtime) giveBack(e ending) error {
	lock, err := r.lockEnd(e.id)
	if err == nil {
		defer lock.Close()
		e.rewired = lock != nil
		err = r.releaseAll(e)
	}
	if err != nil {
		return &CleanupError{err}
	}
	return nil
}

// releaseAll does what end says, with what is known.
func (r *Runtime) releaseAll(e ending) error {
	oom, err := e.endGroup()
	errs := []error{err, r.releaseNetwork(e)}
	keep := e.config != nil && !e.config.Remove
	if keep {
		e.result.OOMKilled = oom
		if e.state != nil {
			e.result.Started = e.state.Started
		}
		errs = append(errs, replace(r.lasting(e.id, "result.json"), &e.result))
	}
	errs = append(errs, rootfs.RemoveAll(r.running(e.id)), r.releaseVolumes(e.id, e.config))
	if keep {
		return errors.Join(errs...)
	}
	name := ""
	if e.config != nil {
		name = e.config.Name
	}
	return errors.Join(append(errs, r.erase(e.id, name))...)
}

// endGroup removes the cgroup and says whether a process in it was killed for
// want of memory.
func (e *ending) endGroup() (oom bool, err error) {
	if e.group == nil {
		return false, nil
	}
	if n, err := e.group.OOMKills(); err == nil && n > 0 {
		oom = true
	}
	return oom, e.group.Remove()
}

// erase removes the container's directory and name. config.json goes first: a
// directory without it is no container.
func (r *Runtime) erase(id, name string) error {
	err := ignoreMissing(os.Remove(r.lasting(id, "config.json")))
	names := []string{name}
	if !r.named(name, id) { // it never had one, or another since
		names = r.namesOf(id)
	}
	for _, name := range names {
		err = errors.Join(err, r.freeName(name, id))
	}
	return errors.Join(err, rootfs.RemoveAll(r.lasting(id)))
}

// RemoveOptions say how a container is removed.
type RemoveOptions struct {
	Force   bool // kill it first when it runs
	Volumes bool // its anonymous volumes too
}

// Remove removes a container. One that runs is refused with a *RunningError,
// or, with force, killed first.
func (r *Runtime) Remove(name string, o RemoveOptions) error {
	c, err := r.Container(name)
	if err != nil {
		return err
	}
	id := c.Config.ID
	lock, err := r.lockToRemove(c, o.Force)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // --rm has done it
	}
	if errors.Is(err, errLocked) {
		return step.Fail("remove", name, err)
	}
	if err != nil {
		return err
	}
	defer lock.release()
	config, err := r.config(id) // it may have another name by now
	if err != nil {
		return err
	}
	if config != nil {
		config.Remove, config.RemoveVolumes = true, config.RemoveVolumes || o.Volumes
		if err := replace(r.lasting(id, "config.json"), config); err != nil {
			return err
		}
	}
	return r.end(id, Result{})
}

// lockToRemove takes the lock of a container that does not run. One that is being
// started, or whose end is being dealt with, is waited for; one that runs then is
// killed with force. SIGKILL may have to be repeated: another run can have begun.
func (r *Runtime) lockToRemove(c *Container, force bool) (*lock, error) {
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(lockPause) {
		lock, err := r.lock(c.Config.ID)
		if err != nil && !errors.Is(err, errLocked) {
			return nil, err
		}
		now := Container{Config: c.Config, State: r.state(c.Config.ID), Status: Running}
		if !now.State.alive() {
			if err == nil || time.Now().After(deadline) {
				return lock, err
			}
			continue
		}
		lock.release()
		if !force || time.Now().After(deadline) {
			return nil, &RunningError{c.Config.Name}
		}
		if err := r.Signal(&now, unix.SIGKILL); err != nil && !isNotRunning(err) {
			return nil, err
		}
	}
}

// RunningError is a container that would have to be stopped.
type RunningError struct{ Name string }

func (e *RunningError) Error() string { return "container " + e.Name + " is running" }

func isNotRunning(err error) bool {
	var n *NotRunningError
	return errors.As(err, &n)
}
