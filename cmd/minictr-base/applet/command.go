package applet

import (
	"errors"
	"io/fs"
	"os/exec"
	"syscall"
)

// Self is the path by which a process starts this program again.
const Self = "/proc/self/exe"

// Command prepares a process with the call's streams. An applet need not be in
// PATH; what is there comes first.
func (c *Call) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	if errors.Is(cmd.Err, exec.ErrNotFound) && c.Knows(args[0]) {
		cmd.Path, cmd.Err = Self, nil
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.In, c.Out, c.Err
	return cmd
}

// Knows reports whether there is an applet of that name.
func (c *Call) Knows(name string) bool {
	for _, a := range c.All {
		if a.Name == name {
			return true
		}
	}
	return false
}

// ExitCode is what a shell calls the end of a command: its exit code, 128 and
// the signal, 127 for one that is not there, 126 for one that cannot be run.
func ExitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return 127
	}
	return 126
}
