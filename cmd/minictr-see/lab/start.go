package lab

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Start makes the lab and sets the exercise up, unless it runs; then started is false.
func (l *Lab) Start() (started bool, err error) {
	if err := missing(l.Exercise); err != nil {
		return false, err
	}
	// What stays running in the lab shall not keep a pipe of the caller's open.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return false, step.Fail("keep descriptors from", l.Name, err)
	}
	lock, err := l.lock()
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if up, err := l.Running(); up || err != nil {
		return false, err
	}
	if err := l.start(); err != nil {
		return false, errors.Join(err, l.remove())
	}
	return true, nil
}

// start is Start, under the lock. What it leaves after an error is not ready.
func (l *Lab) start() error {
	if err := l.empty(); err != nil {
		return err
	}
	if err := l.write("name", l.Name); err != nil {
		return err
	}
	if err := l.hold(); err != nil {
		return err
	}
	if out, err := l.Run(l.script("setup.sh")); err != nil {
		return step.Fail("set up", l.Name, fmt.Errorf("%w: %s", err, lastWords(out)))
	}
	return l.write("ready", "")
}

// hold starts the holder and waits until it has made the host.
func (l *Lab) hold() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	c := exec.Command(self, "lab", HoldCommand, l.dir, filepath.Dir(self))
	c.ExtraFiles = []*os.File{write}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // the end of the terminal is not the lab's
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	err = c.Start()
	write.Close()
	if err != nil {
		return step.Fail("start the holder of", l.Name, err)
	}
	answer, err := io.ReadAll(read)
	if err == nil && string(answer) == held {
		return c.Process.Release() // it stays
	}
	_ = c.Process.Kill() // it has ended, or is none
	_ = c.Wait()         // it tells nothing that the answer does not
	return step.Fail("make the host", l.Name, errors.Join(err, errors.New(string(answer))))
}

// Stop ends the lab and removes all that is left of it. From within, it ends the
// caller as well.
func (l *Lab) Stop() error {
	if l.dir == stateDir {
		return l.terminate()
	}
	lock, err := l.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	return l.remove()
}

// StopToReset ends the lab from within, so that it is started again by who has opened
// the shell in it; see [Lab.WantsAgain].
func (l *Lab) StopToReset() error {
	if err := l.write("again", ""); err != nil {
		return err
	}
	return l.terminate()
}

// WantsAgain reports whether the lab has ended in order to be started again.
func (l *Lab) WantsAgain() bool {
	up, err := l.Running()
	return err == nil && !up && l.has("again")
}

// terminate asks the holder to end; a SIGKILL from within would not reach it.
func (l *Lab) terminate() error {
	pid, err := l.holder()
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		return step.Fail("stop", l.Name, err)
	}
	time.Sleep(endTime) // it ends with the lab
	return step.Fail("stop", l.Name, errStays)
}

// lastWords are the last two lines of what a script has printed: an error, and perhaps
// its hint.
func lastWords(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], "; ")
}
