package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/runtime/step"
)

// remove ends the lab, whatever state it is in, and removes its directory. The caller
// holds the lock.
func (l *Lab) remove() error {
	if err := l.empty(); err != nil {
		return err
	}
	if err := os.Remove(l.dir); err != nil {
		return err
	}
	if err := os.Remove(filepath.Dir(l.dir)); !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// empty ends the lab and removes what is in its directory.
func (l *Lab) empty() error {
	if err := l.killHolder(); err != nil {
		return err
	}
	if err := l.eachGroup((*cgroups.Group).Remove); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(l.file(e.Name())))
	}
	return err
}

// killHolder kills the holder, and the kernel all other processes of the lab before that
// is over.
func (l *Lab) killHolder() error {
	holder, err := l.open()
	if holder == nil || err != nil {
		return err
	}
	defer holder.Close()
	// A paused container would keep the holder from ending: what is frozen does not die.
	if err := l.eachGroup((*cgroups.Group).Kill); err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(int(holder.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return step.Fail("kill the holder of", l.Name, err)
	}
	return step.Fail("wait for the end of", l.Name, waitFor(holder))
}

// endTime is how long the end of a lab may take.
const endTime = 20 * time.Second

var errStays = errors.New("a process in it does not end")

// waitFor waits until the process has ended.
func waitFor(process *os.File) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(process.Fd()), Events: unix.POLLIN}}, int(endTime.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return errStays
		default:
			return nil
		}
	}
}

// eachGroup does something with the control group of each container of the lab.
func (l *Lab) eachGroup(do func(*cgroups.Group) error) error {
	containers, err := os.ReadDir(l.file("root/containers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	host, err := cgroups.Detect()
	if err != nil || host.Mode == cgroups.None {
		return err
	}
	var errs []error
	for _, c := range containers {
		group, err := host.Open("/minictr/" + c.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = do(group)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
