package runtime

import (
	"errors"
	"time"

	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// Stop asks the container to end with its stop signal, and kills it when it has
// not ended in time. It returns when all is cleaned up. A negative timeout waits
// for ever.
func (r *Runtime) Stop(c *Container, timeout time.Duration) error {
	fd, err := c.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	signal, err := ParseSignal(c.Config.StopSignal)
	if err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return step.Fail("stop", c.Config.Name, err)
	}
	if !waitPidfd(fd, timeout) {
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return step.Fail("kill", c.Config.Name, err)
		}
		waitPidfd(fd, -1)
	}
	return r.settle(c)
}

// settle waits until the end of the container's run has been dealt with, and
// deals with it where nobody does.
func (r *Runtime) settle(c *Container) error {
	lock, err := r.lockAfter(c.Config.ID, c.State)
	if err != nil || lock == nil {
		return err
	}
	defer lock.release()
	return r.healLocked(c.Config.ID)
}

// Wait waits until the container has ended and returns how. Of one with --rm the
// kernel tells no more than the exit code, and before Linux 6.15 nothing: then the
// error is a *NotFoundError.
func (r *Runtime) Wait(c *Container) (*Result, error) {
	fd, err := c.pidfd()
	if err == nil {
		defer unix.Close(fd)
		waitPidfd(fd, -1)
	}
	if err := r.settle(c); err != nil {
		return nil, err
	}
	if result := r.result(c.Config.ID); result != nil {
		return result, nil
	}
	if again, err := r.load(c.Config.ID); err == nil && c.State == nil && again.State != nil {
		return r.Wait(again) // it was about to run
	}
	if code, ok := exitCode(fd); ok {
		return &Result{ExitCode: code, Started: c.State.Started, Finished: time.Now()}, nil
	}
	return nil, &NotFoundError{c.Config.Name}
}

// exitCode is how the process ended that a descriptor was opened for while it
// lived: ioctl PIDFD_GET_INFO tells it once somebody has reaped the process
// (PIDFD_INFO_EXIT, Linux 6.15).
func exitCode(pidfd int) (code int, ok bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	status := unix.WaitStatus(info.Exit_code)
	if status.Signaled() {
		return 128 + int(status.Signal()), true
	}
	return status.ExitStatus(), true
}

// waitPidfd waits until the process has ended, and reports whether it has.
func waitPidfd(fd int, timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		ms := -1
		if timeout >= 0 {
			ms = int(max(0, time.Until(deadline).Milliseconds()))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}
