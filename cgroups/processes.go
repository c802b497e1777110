package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// freezeTimeout bounds the wait for the last process to stop. One that is in an
// uninterruptible sleep, as on a dead NFS server, never does.
const freezeTimeout = 10 * time.Second

// Pids returns the processes of the group and of those below it, as the caller's
// PID namespace numbers them, sorted. Zombies are not among them.
func (g *Group) Pids() ([]int, error) {
	if len(g.dirs) == 0 {
		return nil, nil
	}
	pids, err := pidsBelow(g.dirs[0].path)
	slices.Sort(pids)
	return slices.Compact(pids), err
}

func pidsBelow(dir string) ([]int, error) {
	file := filepath.Join(dir, "cgroup.procs")
	words, err := readWords(file)
	if errors.Is(err, unix.EOPNOTSUPP) {
		words, err = nil, nil // a threaded group: its processes are listed above it
	}
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, step.Fail("read", file, err)
	}
	var pids []int
	for _, word := range words {
		// 0 stands for a process outside the caller's PID namespace.
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	for _, child := range children(dir) {
		below, err := pidsBelow(filepath.Join(dir, child))
		if err != nil {
			return nil, err
		}
		pids = append(pids, below...)
	}
	return pids, nil
}

// Kill ends all processes of the group and of those below it by SIGKILL. It does
// not wait for their deaths: Remove does. A group that is gone is no error.
//
// Where there is a v2 hierarchy the kernel does it in one stroke, so that no
// fork escapes (cgroup.kill, Linux 5.14). Elsewhere the group is frozen, each
// process signalled, and the group thawed.
func (g *Group) Kill() error {
	if d, ok := g.unified(); ok {
		file := filepath.Join(d.path, "cgroup.kill")
		err := writeFile(file, "1")
		if err == nil {
			return nil
		}
		if !gone(err) {
			return step.Fail("write 1", "to "+file, err)
		}
	}
	return g.killOneByOne()
}

func (g *Group) killOneByOne() error {
	frozen := g.Freeze(true)
	killed := g.signalAll()
	if frozen != nil && killed == nil {
		// Without a freezer, or where a process did not stop: a second look
		// catches what was forked during the first, for a finite time.
		killed = g.signalUntilEmpty()
	}
	thawed := g.Freeze(false)
	if errors.Is(thawed, errors.ErrUnsupported) {
		thawed = nil // it was never frozen
	}
	return errors.Join(killed, thawed)
}

// killRounds bounds the race with a process that forks without end.
const killRounds = 100

func (g *Group) signalUntilEmpty() error {
	for range killRounds {
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := g.signalAll(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return step.Fail("kill cgroup", g.Path, unix.EBUSY)
}

func (g *Group) signalAll() error {
	pids, err := g.Pids()
	errs := []error{err}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, step.Fail("kill process", strconv.Itoa(pid), err))
		}
	}
	return errors.Join(errs...)
}

// Freeze stops all processes of the group and of those below it, or lets them
// go on. It returns when all have stopped; if that takes longer than ten
// seconds it lets them go on and returns ETIMEDOUT. A group that is gone is no
// error. A host without a freezer gives errors.ErrUnsupported.
func (g *Group) Freeze(frozen bool) error {
	if d, ok := g.unified(); ok {
		return d.freezeV2(frozen)
	}
	if d, ok := g.dir("freezer"); ok {
		return d.freezeV1(frozen)
	}
	return step.Fail("freeze cgroup", g.Path, errors.ErrUnsupported)
}

// freezeV2 writes cgroup.freeze (Linux 5.2) and waits for cgroup.events to say
// "frozen 1".
func (d *directory) freezeV2(frozen bool) error {
	state := "0"
	if frozen {
		state = "1"
	}
	file := filepath.Join(d.path, "cgroup.freeze")
	if err := writeFile(file, state); err != nil {
		if !absent(file, err) && gone(err) {
			return nil
		}
		return step.Fail("write "+state, "to "+file, err)
	}
	if !frozen {
		return nil
	}
	err := waitForEvent(d.path, "frozen 1", time.Now().Add(freezeTimeout))
	if err != nil {
		err = errors.Join(step.Fail("freeze cgroup", d.path, err), writeFile(file, "0"))
	}
	return err
}

// waitForEvent waits until cgroup.events has the line. The kernel wakes a poll
// for POLLPRI when the file's content has changed since it was last read.
func waitForEvent(dir, line string, deadline time.Time) error {
	fd, err := openFile(filepath.Join(dir, "cgroup.events"), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer closeFile(fd)
	buffer := make([]byte, 256)
	for {
		n, err := unix.Pread(fd, buffer, 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if slices.Contains(strings.Split(string(buffer[:max(n, 0)]), "\n"), line) {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err := unix.Poll(poll, int(left/time.Millisecond)+1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// freezeV1 writes freezer.state until the kernel says FROZEN. While it says
// FREEZING some process has not stopped yet, and one that is being forked can
// slip through: writing the state again catches it, and thawing now and then
// breaks a tie (as in opencontainers/cgroups fs/freezer.go).
func (d *directory) freezeV1(frozen bool) error {
	file := filepath.Join(d.path, "freezer.state")
	if !frozen {
		return step.Fail("write THAWED", "to "+file, passGone(writeFile(file, "THAWED")))
	}
	deadline := time.Now().Add(freezeTimeout)
	for attempt := 1; ; attempt++ {
		err := writeFile(file, "FROZEN")
		state, readErr := readFile(file)
		if err = errors.Join(passGone(err), passGone(readErr)); err != nil {
			return step.Fail("freeze cgroup", d.path, err)
		}
		if len(state) == 0 || strings.TrimSpace(string(state)) == "FROZEN" {
			return nil
		}
		if attempt%50 == 0 || time.Now().After(deadline) {
			if err := passGone(writeFile(file, "THAWED")); err != nil {
				return step.Fail("write THAWED", "to "+file, err)
			}
			if time.Now().After(deadline) {
				return step.Fail("freeze cgroup", d.path, unix.ETIMEDOUT)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// passGone takes a group that is gone for success.
func passGone(err error) error {
	if gone(err) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
