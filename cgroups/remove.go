package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// removeTimeout bounds the wait for a group whose processes are dying. They
// leave it at the end of exit(2), which takes as long as freeing their memory.
const removeTimeout = 10 * time.Second

// Remove removes the group from every hierarchy, with the groups that the
// container has made below it. It waits for processes that are dying, up to ten
// seconds, but ends none: see Kill. A group that is gone is no error.
func (g *Group) Remove() error {
	var errs []error
	for _, d := range g.dirs {
		errs = append(errs, removeGroup(d.path))
	}
	return errors.Join(errs...)
}

// removeGroup removes a directory and those below it, trying again while the
// kernel says EBUSY.
func removeGroup(dir string) error {
	deadline := time.Now().Add(removeTimeout)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || gone(err) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINTR) {
			return step.Fail("remove cgroup", dir, err)
		}
		removeBelow(dir)
		if time.Now().After(deadline) {
			return step.Fail("remove cgroup", dir, err)
		}
		time.Sleep(pause)
	}
}

// removeBelow removes what it can of the groups below a directory, deepest
// first. Its errors come back as EBUSY of the directory itself.
func removeBelow(dir string) {
	for _, child := range children(dir) {
		child = filepath.Join(dir, child)
		removeBelow(child)
		_ = unix.Rmdir(child) // see above
	}
}

// children returns the names of the groups directly below one, sorted. The link
// count of a directory of kernfs is two more than that of its directories,
// which saves reading it.
func children(dir string) []string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || st.Nlink <= 2 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // gone meanwhile
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// Groups returns the paths of the groups directly below parent, such as
// "/minictr", in any hierarchy, sorted. After a crash they tell which
// containers' groups are left: Open each, Kill and Remove it.
func (h *Host) Groups(parent string) ([]string, error) {
	if err := validatePath(parent); err != nil {
		return nil, err
	}
	var paths []string
	for _, hierarchy := range h.Hierarchies {
		for _, name := range children(filepath.Join(hierarchy.Mountpoint, parent)) {
			paths = append(paths, filepath.Join(parent, name))
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// RemoveTree removes the group at path, and all below it, from every hierarchy.
// It is for taking minictr off a machine, and for tests. Groups with processes
// stay and are an error.
func (h *Host) RemoveTree(path string) error {
	if err := validatePath(path); err != nil {
		return err
	}
	var errs []error
	for _, hierarchy := range h.Hierarchies {
		if !hierarchy.ReadOnly {
			errs = append(errs, removeGroup(filepath.Join(hierarchy.Mountpoint, path)))
		}
	}
	return errors.Join(errs...)
}
