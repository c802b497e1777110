package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// EnableControllers makes controllers available to a group of the v2 hierarchy
// by switching them on for the children of every group above it. Undo leaves
// them on: they cost nothing, and other groups may have come to use them.
type EnableControllers struct {
	Mountpoint string
	Path       string
	Wanted     []string // those the group can use
	Required   []string // those of them without which it is an error
}

// Apply looks at what the group has, and only if something is missing goes down
// the path. What cannot be switched on and is not required is passed over: a
// container without limits runs where nothing has been delegated.
func (s EnableControllers) Apply() error {
	missing, err := s.missing(s.Wanted)
	if err != nil || len(missing) == 0 {
		return err
	}
	var refused error
	for _, dir := range ancestors(s.Mountpoint, s.Path) {
		if err := enable(dir, missing); err != nil && refused == nil {
			refused = err
		}
	}
	missing, err = s.missing(s.Required)
	if err != nil || len(missing) == 0 {
		return err
	}
	if refused == nil {
		refused = errors.ErrUnsupported
	}
	return step.Fail("enable controller "+strings.Join(missing, " "), "for "+filepath.Join(s.Mountpoint, s.Path), refused)
}

// missing returns the controllers that the group does not have.
func (s EnableControllers) missing(controllers []string) ([]string, error) {
	file := filepath.Join(s.Mountpoint, s.Path, "cgroup.controllers")
	have, err := readWords(file)
	if err != nil {
		return nil, step.Fail("read", file, err)
	}
	var missing []string
	for _, c := range controllers {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	return missing, nil
}

// enable switches controllers on for the children of a group, one by one after
// the kernel has refused the whole line: it takes all of a line or nothing.
func enable(dir string, controllers []string) error {
	file := filepath.Join(dir, "cgroup.subtree_control")
	if writeFile(file, "+"+strings.Join(controllers, " +")) == nil {
		return nil
	}
	for _, c := range controllers {
		if err := writeFile(file, "+"+c); err != nil {
			return &DelegationError{Controller: c, File: file, Type: groupType(dir), Err: err}
		}
	}
	return nil
}

// A DelegationError reports that the kernel does not let a controller be
// switched on for the children of a v2 group. It unwraps to the errno.
type DelegationError struct {
	Controller string // "memory"
	File       string // "/sys/fs/cgroup/cgroup.subtree_control"
	Type       string // content of the group's cgroup.type, empty at the top
	Err        error
}

func (e *DelegationError) Error() string {
	return fmt.Sprintf("write +%s to %s: %v%s", e.Controller, e.File, e.Err, e.reason())
}

// Unwrap returns the errno of the write.
func (e *DelegationError) Unwrap() error { return e.Err }

// reason says what the errno means here; the rules are in cgroups(7), "Cgroups
// v2 no internal processes rule" and "Thread mode".
func (e *DelegationError) reason() string {
	switch {
	case errors.Is(e.Err, unix.EBUSY):
		return " (the group has processes of its own, so it cannot share out this controller: move them to a group below it)"
	case errors.Is(e.Err, unix.ENOENT):
		return " (the group itself does not have this controller: see cgroup.controllers there and on the levels above)"
	case errors.Is(e.Err, unix.EOPNOTSUPP):
		return " (the group is of type " + e.Type + ", and a group of threads cannot have this controller)"
	case errors.Is(e.Err, unix.EACCES), errors.Is(e.Err, unix.EPERM), errors.Is(e.Err, unix.EROFS):
		return " (the group is not delegated to this user)"
	}
	return ""
}

func groupType(dir string) string {
	content, _ := readFile(filepath.Join(dir, "cgroup.type")) // absent at the top: no type
	return strings.TrimSpace(string(content))
}

// Undo does nothing; see the type.
func (s EnableControllers) Undo() error { return nil }

// Check tells which of the required controllers the group lacks.
func (s EnableControllers) Check() error {
	missing, err := s.missing(s.Required)
	if err != nil || len(missing) == 0 {
		return err
	}
	return step.Fail("find controller "+strings.Join(missing, " "), "in "+filepath.Join(s.Mountpoint, s.Path), os.ErrNotExist)
}

// Words implements step.Step.
func (s EnableControllers) Words() string {
	return fmt.Sprintf("let %s use the controllers %s", s.Path, strings.Join(s.Wanted, ", "))
}

func (s EnableControllers) String() string {
	var lines []string
	optional := slices.DeleteFunc(slices.Clone(s.Wanted), func(c string) bool { return slices.Contains(s.Required, c) })
	for _, dir := range ancestors(s.Mountpoint, s.Path) {
		file := quote(filepath.Join(dir, "cgroup.subtree_control"))
		if len(s.Required) > 0 {
			lines = append(lines, fmt.Sprintf("echo %s > %s", quote("+"+strings.Join(s.Required, " +")), file))
		}
		if len(optional) > 0 {
			lines = append(lines, fmt.Sprintf("for c in %s; do echo +$c > %s || true; done", strings.Join(optional, " "), file))
		}
	}
	return strings.Join(lines, "\n")
}
