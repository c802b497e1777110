package runtime

import (
	"errors"
	"io/fs"
	"os"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
	"golang.org/x/sys/unix"
)

// lockEnd waits until nobody changes the network of a container that has ended. The
// lock is nil when nobody ever did. Closing a nil file is harmless.
func (r *Runtime) lockEnd(id string) (*os.File, error) {
	if _, err := os.Lstat(r.running(id, "rewired")); err != nil {
		return nil, ignoreMissing(err)
	}
	lock, err := (&rewiring{Runtime: r, id: id}).lockRewired(unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lock, err
}

// releaseNetwork gives back what a container that has ended had of its networks.
// What is in its namespace is gone with it, unless another container has joined it.
func (r *Runtime) releaseNetwork(e ending) error {
	if e.state != nil && e.state.Network != nil {
		if err := network.Unplug(e.state.Network); err != nil {
			return err // the addresses are in use
		}
	}
	if e.rewired || e.state == nil {
		return errors.Join(network.Unpublish(e.id), names.RemoveContainer(r.Runroot, e.id), network.ReleaseOwner(r.Runroot, e.id), r.unlinkNetns(e))
	}
	n := e.state.Network
	if n == nil {
		return nil
	}
	return errors.Join(network.Withdraw(n), network.Nameless(n), network.Release(n), r.unlinkNetns(e))
}

// unlinkNetns takes away the name of its network namespace.
func (r *Runtime) unlinkNetns(e ending) error {
	if e.state == nil || e.config == nil || !e.config.ownNetwork() {
		return nil
	}
	names := []string{e.config.Name}
	if !r.named(e.config.Name, e.id) { // it has another since
		names = r.namesOf(e.id)
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, r.netnsLink(name, e.state.Pid).Undo())
	}
	return errors.Join(errs...)
}

// netnsLink is the name by which ip-netns(8) knows a container's network.
func (r *Runtime) netnsLink(name string, pid int) *network.LinkNetns {
	return &network.LinkNetns{Dir: network.NetnsDir(r.Runroot), Name: name, Pid: pid}
}

// linkNetns names the container's network namespace. That the name is another's is
// no reason not to run.
func (l *launch) linkNetns() error {
	if !l.config.ownNetwork() {
		return nil
	}
	return l.watch.tellUnnamed(l.apply(l.netnsLink(l.config.Name, l.pid)))
}

// tellUnnamed makes a warning of the error that a name is another namespace's.
func (w Watch) tellUnnamed(err error) error {
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	w.warn(err.Error() + ": ip netns does not know the container by it")
	return nil
}

func (l *launch) warn(text string) { l.watch.warn(text) }

func (w Watch) warn(text string) {
	if w.Warn != nil {
		w.Warn(text)
	}
}
