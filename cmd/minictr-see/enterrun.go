package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
)

// run starts the command and waits for it; its exit code is the result.
func (e *entry) run() (int, error) {
	stayOnThread()
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, passedOn...)
	pid, err := e.start()
	if err != nil {
		return failedCode(err), err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // it is our child and not reaped
		return 1, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	go passOn(signals, pidfd) // ends with this process
	return reap(pid, pidfd)
}

// start runs the program up to the command's execve.
func (e *entry) start() (pid int, err error) {
	child, err := program.Start(e.compile(), program.Options{})
	if err != nil {
		return 0, step.Fail("clone for", e.target, err)
	}
	defer child.Close()
	unix.Close(child.Pidfd)
	pid = child.Pid
	if e.fork {
		born, err := child.Receive()
		reapQuietly(child.Pid) // it is done, or it has failed
		if err != nil {
			return 0, e.explain(err)
		}
		pid = int(born)
	}
	if _, err := child.Receive(); !errors.Is(err, io.EOF) {
		reapQuietly(pid)
		return 0, e.explain(err)
	}
	return pid, nil
}

// passedOn are the signals that people and service managers send to programs.
var passedOn = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// passOn sends the command what this process gets. A key of the terminal has reached
// both already, if both are in its foreground.
func passOn(signals <-chan os.Signal, pidfd int) {
	for s := range signals {
		typed := s == unix.SIGINT || s == unix.SIGQUIT
		if typed && inForeground() {
			continue
		}
		_ = unix.PidfdSendSignal(pidfd, s.(unix.Signal), nil, 0) // it may just have ended
	}
}

// inForeground tells whether the keys of the terminal send signals to this process.
func inForeground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false // there is no terminal
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// reap waits for the command and returns its exit code as a shell would say it. When
// the command stops, so does this process, for the shell that started it to see.
func reap(pid, pidfd int) (int, error) {
	for {
		if err := settle(pid); err != nil {
			return 1, err
		}
		status, err := wait(pid, unix.WUNTRACED|unix.WNOHANG)
		switch {
		case err != nil:
			return 1, err
		case status == running: // it was woken
		case status.Exited():
			return status.ExitStatus(), nil
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		case status.Stopped():
			if err := unix.Kill(unix.Getpid(), unix.SIGSTOP); err != nil {
				return 1, os.NewSyscallError("kill", err)
			}
			_ = unix.PidfdSendSignal(pidfd, unix.SIGCONT, nil, 0) // it may have ended meanwhile
		}
	}
}

// settle waits until the command has ended or stopped, without taking notice of it.
// One that stops is given a moment: the terminal's key stops both processes, and when
// the shell wakes both, this one may be the first.
func settle(pid int) error {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		const stopped, wakingTime = 5, 20 * time.Millisecond // CLD_STOPPED, sigaction(2)
		if err == nil && info.Code == stopped {
			time.Sleep(wakingTime)
		}
		return os.NewSyscallError("waitid", err)
	}
}

// running is what wait returns of a process about which there is no news.
const running = unix.WaitStatus(1<<32 - 1)

func wait(pid, options int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		found, err := unix.Wait4(pid, &status, options, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && found == 0 {
			return running, nil
		}
		return status, os.NewSyscallError("wait4", err)
	}
}

// reapQuietly takes a child that has ended, or will, from the table of processes.
func reapQuietly(pid int) { _, _ = wait(pid, 0) }
