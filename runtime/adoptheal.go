package runtime

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// locked calls f while nobody else adopts or releases, and when everything that was
// killed at it is healed.
func (l *adopting) locked(how int, f func() error) error {
	if err := os.MkdirAll(l.adoptedDir(), 0o700); err != nil {
		return err
	}
	lock, err := openLock(l.adoptedDir())
	if err != nil {
		return err
	}
	defer lock.release()
	if err := lock.take(how); err != nil {
		return err
	}
	list, err := l.Adoptions()
	errs := []error{err, l.removeUnfinished()}
	for _, a := range list {
		errs = append(errs, step.Fail("mend the network namespace", a.Name, l.settle(a)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f()
}

// removeUnfinished removes what somebody was writing when they were killed.
func (l *adopting) removeUnfinished() error {
	files, _ := filepath.Glob(l.adoptedFile("*") + ".new") // the pattern is well-formed
	var errs []error
	for _, file := range files {
		errs = append(errs, os.Remove(file))
	}
	return errors.Join(errs...)
}

// settle finishes what a killed process has begun, and forgets a namespace that is
// gone: with it went our cable.
func (l *adopting) settle(a *Adopted) error {
	if !a.alive() {
		return errors.Join(names.RemoveContainer(l.Runroot, a.ID), network.ReleaseOwner(l.Runroot, a.ID), ignoreMissing(os.Remove(l.adoptedFile(a.ID))))
	}
	if a.Want == nil && a.Taking == "" {
		return nil
	}
	now := a.Network
	if a.Want != nil {
		a.Network.Reach()
		now = network.Intersection(a.Network, a.Want)
		err := network.Settle(a.Network, a.Want)
		if err := errors.Join(err, releaseOthers(a.Network, now), releaseOthers(a.Want, now)); err != nil {
			return err
		}
	}
	if a.Taking != "" && now.Endpoint(a.Taking) == nil {
		if err := l.Networks().ReleaseOn(a.Taking, a.ID); err != nil {
			return err
		}
	}
	return l.keep(a, now)
}

// healAdopted does what locked does first, unless somebody is at it.
func (r *Runtime) healAdopted() error {
	if _, err := os.Lstat(r.adoptedDir()); err != nil {
		return ignoreMissing(err)
	}
	err := (&adopting{Runtime: r}).locked(unix.LOCK_EX|unix.LOCK_NB, func() error { return nil })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	return err
}
