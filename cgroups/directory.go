package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// MakeGroup makes the directory of a group in one hierarchy, and its parents
// where they are missing. A group that is there already is an error: it may
// hold processes of something else. Undo removes the group, with what was made
// below it, and leaves the parents to others.
type MakeGroup struct {
	Mountpoint string // "/sys/fs/cgroup/memory"
	Path       string // "/minictr/ID"
}

// Dir is the directory that the step makes.
func (s MakeGroup) Dir() string { return filepath.Join(s.Mountpoint, s.Path) }

// Apply makes the directory. The parents are there but for the first launch on
// the machine, so they are made only when the kernel misses one.
func (s MakeGroup) Apply() error {
	err := unix.Mkdir(s.Dir(), 0o755)
	if errors.Is(err, unix.ENOENT) {
		for _, dir := range ancestors(s.Mountpoint, s.Path)[1:] {
			if err := unix.Mkdir(dir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
				return step.Fail("make cgroup", dir, err)
			}
		}
		err = unix.Mkdir(s.Dir(), 0o755)
	}
	return step.Fail("make cgroup", s.Dir(), err)
}

// Undo removes the group; see Group.Remove.
func (s MakeGroup) Undo() error { return removeGroup(s.Dir()) }

// Check tells whether the group is there.
func (s MakeGroup) Check() error {
	_, err := os.Stat(filepath.Join(s.Dir(), "cgroup.procs"))
	return step.Fail("find cgroup", s.Dir(), unwrapPath(err))
}

// Words implements step.Step.
func (s MakeGroup) Words() string {
	return fmt.Sprintf("make the control group %s in %s", s.Path, s.Mountpoint)
}

func (s MakeGroup) String() string { return "mkdir -p " + quote(s.Dir()) }

// ancestors returns the groups above a path from the hierarchy's top down:
// "/sys/fs/cgroup", "/sys/fs/cgroup/minictr" for "/minictr/ID".
func ancestors(mountpoint, path string) []string {
	dirs := []string{mountpoint}
	for i, c := range path {
		if c == '/' && i > 0 {
			dirs = append(dirs, filepath.Join(mountpoint, path[:i]))
		}
	}
	return dirs
}

// quote makes a word that the shell takes as it is.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@,=", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// unwrapPath takes the errno out of an error of package os, whose path the
// caller names himself.
func unwrapPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
