package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// OpenDir opens the group's directory in the v2 hierarchy for clone3's
// CLONE_INTO_CGROUP. The caller closes it. On a host of pure v1 the error is
// errors.ErrUnsupported. On a hybrid host the new process still has to enter
// the v1 hierarchies: see TaskFiles.
func (g *Group) OpenDir() (int, error) {
	d, ok := g.unified()
	if !ok {
		return -1, step.Fail("open cgroup v2", g.Path, errors.ErrUnsupported)
	}
	fd, err := openFile(d.path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, step.Fail("open cgroup", d.path, err)
	}
	return fd, nil
}

// TaskFiles returns the files to which a new process of one thread writes "0"
// to enter the group in the hierarchies of v1: none on a host of pure v2. This
// is the cheap way in; the package comment says why.
func (g *Group) TaskFiles() []string {
	var files []string
	for _, d := range g.dirs {
		if !d.V2 {
			files = append(files, filepath.Join(d.path, "tasks"))
		}
	}
	return files
}

// Attach returns the steps that move a process, with all its threads, into the
// group in every hierarchy. The first of them may wait 10 ms for an RCU grace
// period: a process of one's own enters faster by OpenDir and TaskFiles.
func (g *Group) Attach(pid int) []step.Step {
	var steps []step.Step
	for _, d := range g.dirs {
		steps = append(steps, Attach{Dir: d.path, Pid: pid})
	}
	return steps
}

// Attach moves a process into a group of one hierarchy. Undo does nothing: the
// process leaves the group by its death.
type Attach struct {
	Dir string // "/sys/fs/cgroup/pids/minictr/ID"
	Pid int    // as seen by the caller
}

func (s Attach) file() string { return filepath.Join(s.Dir, "cgroup.procs") }

// Apply writes the number to cgroup.procs.
func (s Attach) Apply() error {
	err := writeFile(s.file(), strconv.Itoa(s.Pid))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("%w (the group is of type %s)", err, groupType(s.Dir))
	}
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w (the group shares out controllers to groups below it, so it cannot have processes of its own)", err)
	}
	return step.Fail("attach process "+strconv.Itoa(s.Pid), "to "+s.Dir, err)
}

// Undo does nothing; see the type.
func (s Attach) Undo() error { return nil }

// Check looks for the process in the group.
func (s Attach) Check() error {
	words, err := readWords(s.file())
	if err == nil && !slices.Contains(words, strconv.Itoa(s.Pid)) {
		err = unix.ESRCH
	}
	return step.Fail("find process "+strconv.Itoa(s.Pid), "in "+s.Dir, err)
}

// Words implements step.Step.
func (s Attach) Words() string {
	return fmt.Sprintf("move process %d into %s", s.Pid, strings.TrimPrefix(s.Dir, defaultMountpoint))
}

func (s Attach) String() string { return fmt.Sprintf("echo %d > %s", s.Pid, quote(s.file())) }
