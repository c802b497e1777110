package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minictr/minictr/runtime"
	"golang.org/x/sys/unix"
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitError ends minictr with a code and no word: who gave it has spoken.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Exit codes beside those of the container itself, as docker run has them.
const (
	exitFailed        = 125 // minictr could not do it
	exitNotExecutable = 126 // the command could not be run
	exitNotFound      = 127 // the command was not found
)

// fail prints the error, one line each for what happened and what may help, and
// returns the exit code.
func (a *app) fail(err error) int {
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintln(a.err, "minictr: "+line)
		}
	}
	if h := hint(err); h != "" {
		fmt.Fprintln(a.err, "hint: "+h)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var command *runtime.CommandError
	if !errors.As(err, &command) {
		return exitFailed
	}
	if command.Errno == unix.ENOENT || command.Errno == unix.ENOTDIR {
		return exitNotFound
	}
	return exitNotExecutable
}

// A hinter is an error that knows what may help.
type hinter interface{ Hint() string }

// hint says what may help against the error; empty when nothing is known.
func hint(err error) string {
	var h hinter
	if errors.As(err, &h) {
		return h.Hint()
	}
	for _, row := range hints {
		if row.matches(err) {
			return row.hint
		}
	}
	return ""
}

// hints is the table of what may help, by the kind of the error.
var hints = []struct {
	matches func(error) bool
	hint    string
}{
	{is[*runtime.NameInUseError], "take another --name, or remove that container: minictr rm NAME"},
	{is[*runtime.RunningError], "stop it first (minictr stop NAME), or remove it with --force"},
	{is[*runtime.NotFoundError], "minictr ps -a lists all containers"},
	{is[*runtime.NotRunningError], "minictr ps -a shows how it ended; minictr start NAME starts it again"},
	{is[*runtime.MissingProgramError], "make build puts all programs of minictr into one directory; keep them together"},
	{isRoot, "minictr makes namespaces, mounts and bridges, for which it must be root: sudo minictr …"},
}

// is reports whether the error is, or wraps, one of the type.
func is[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}

func isRoot(err error) bool {
	return unix.Geteuid() != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES))
}
