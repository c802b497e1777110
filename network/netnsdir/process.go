package netnsdir

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// identity is what makes two files the same namespace.
type identity struct{ device, inode uint64 }

func identify(path string) (identity, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return identity{}, false
	}
	return identity{st.Dev, st.Ino}, true
}

func processNetns(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }

// ended says of a process that /proc does not have that it is none.
func ended(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return unix.ESRCH
	}
	return cause(err)
}

// Identify lists the names of the network namespace that a process is in.
func (d Dir) Identify(pid int) ([]string, error) {
	if _, err := os.Stat(processNetns(pid)); err != nil {
		return nil, step.Fail("identify the network namespace of process", strconv.Itoa(pid), ended(err))
	}
	there, _ := identify(processNetns(pid)) // if it has ended since, none is the same
	names, err := d.Names()
	return slices.DeleteFunc(names, func(name string) bool {
		one, ok := identify(d.Path(name))
		return !ok || one != there
	}), err
}

// Pids lists the processes in the namespace of a name: those whose first thread is.
func (d Dir) Pids(name string) (pids []int, err error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	wanted, _ := identify("/proc/thread-self/fd/" + strconv.Itoa(int(f.Fd())))
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	entries, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry)
		if err != nil {
			continue
		}
		if one, ok := identify(processNetns(pid)); ok && one == wanted {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}
