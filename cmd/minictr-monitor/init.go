package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// initMain is what --init makes the first process of a container: it runs the
// command, hands signals on to it, and reaps whatever else becomes its child. It
// returns the command's exit code.
func initMain(argv []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	command, err := start(argv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "minictr: run "+argv[0]+":", err)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return 127
		}
		return 126
	}
	for s := range signals {
		switch s {
		case unix.SIGCHLD:
			if code, done := reapAll(command); done {
				return code
			}
		case unix.SIGURG: // the Go runtime's own
		default:
			_ = unix.Kill(command, s.(unix.Signal)) // it may just have ended
		}
	}
	return 0
}

// start runs the command, found as execvp(3) finds it, and returns its pid.
func start(argv []string) (pid int, err error) {
	files := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}}
	if strings.Contains(argv[0], "/") {
		return syscall.ForkExec(argv[0], argv, files)
	}
	result := error(unix.ENOENT)
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		pid, err := syscall.ForkExec(dir+"/"+argv[0], argv, files)
		if err == nil {
			return pid, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			result = err
		}
	}
	return 0, result
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
