package main

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/runtime"
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// A silentError is a failure of which all is said.
type silentError struct{}

func (silentError) Error() string { return "failed, as was said" }

// A statusError is a failure with another exit code than 1.
type statusError struct {
	error
	code int
}

func (e statusError) Unwrap() error { return e.error }

// hinted is an error with what may help against it.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// Hint says what may help.
func (e hinted) Hint() string { return e.hint }

// A hinter is an error that knows what may help.
type hinter interface{ Hint() string }

// fail prints the error, one line each for what happened and what may help, and
// returns the exit code: 1, but for a statusError.
func (a *app) fail(err error) int {
	var spoken []string
	for _, e := range terminal.Joined(err) {
		if is[silentError](e) {
			continue
		}
		if line := terminal.OneLine(e.Error()); !slices.Contains(spoken, line) {
			fmt.Fprintln(a.err, "minictr: "+line)
			spoken = append(spoken, line)
		}
	}
	if h := hint(err); h != "" && len(spoken) > 0 {
		fmt.Fprintln(a.err, "hint: "+h)
	}
	if s := (statusError{}); errors.As(err, &s) {
		return s.code
	}
	return 1
}

// warn prints the error, which does not keep the command from what it was asked.
func (a *app) warn(err error) {
	for _, e := range terminal.Joined(err) {
		fmt.Fprintln(a.err, "minictr: warning: "+terminal.OneLine(e.Error()))
	}
}

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
	{is[*runtime.NotFoundError], "minictr ps -a lists all containers"},
	{is[*runtime.NotRunningError], "minictr ps -a shows how it ended; minictr start NAME starts it again"},
	{is[*runtime.AmbiguousError], "give more digits of the id, or the container's name; minictr ps -a lists them"},
	{isRoot, "other processes' namespaces are root's to read: sudo minictr …"},
}

// is reports whether the error is, or wraps, one of the type.
func is[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}

func isRoot(err error) bool {
	return unix.Geteuid() != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES))
}
