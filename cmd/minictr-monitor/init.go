package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"
)

// initMain is what --init makes the first process of a container: it runs the
// command, hands signals on to it, and reaps whatever else becomes its child. It
// returns the command's exit code.
func initMain(argv []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	command := exec.Command(argv[0], argv[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := command.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "minictr-init:", err)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOEXEC) {
			return 126
		}
		return 127
	}
	for s := range signals {
		switch s {
		case unix.SIGCHLD:
			if code, done := reapAll(command.Process.Pid); done {
				return code
			}
		case unix.SIGURG: // the Go runtime's own
		default:
			_ = unix.Kill(command.Process.Pid, s.(unix.Signal)) // it may just have ended
		}
	}
	return 0
}

// reapAll reaps all children that have ended, and says whether the command was
// among them.
func reapAll(command int) (code int, done bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return code, done
		}
		if pid == command {
			done, code = true, status.ExitStatus()
			if status.Signaled() {
				code = 128 + int(status.Signal())
			}
		}
	}
}
