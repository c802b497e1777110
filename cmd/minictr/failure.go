package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/rootfs/volume"
	"github.com/minictr/minictr/runtime"
	"golang.org/x/sys/unix"
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitError is a failure without a word: a program of minictr, run as a child,
// has spoken.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Exit codes beside those of the container itself, as docker run has them.
const (
	exitFailed        = 125 // minictr could not do it
	exitNotExecutable = 126 // the command could not be run
	exitNotFound      = 127 // the command was not found
)

// fail prints the error, one line each for what happened and what may help, and
// returns the exit code of the command of that name.
func (a *app) fail(command string, err error) int {
	code := exitCode(command, err)
	var spoken []string
	for _, e := range terminal.Joined(err) {
		if is[exitError](e) {
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
	return code
}

// warn prints the error, which does not keep the command from what it was asked.
func (a *app) warn(err error) {
	for _, e := range terminal.Joined(err) {
		fmt.Fprintln(a.err, "minictr: warning: "+terminal.OneLine(e.Error()))
	}
}

// heal cleans up after containers that nobody looks after. That it cannot for one
// of them is no failure of a command about others.
func (a *app) heal(r *runtime.Runtime) {
	if err := r.Heal(); err != nil {
		a.warn(err)
	}
}

// wait waits for the process, whose exit code becomes this one's, even when not
// all that its container held could be given back.
func (a *app) wait(p *runtime.Process, streams runtime.Standard) error {
	code, err := p.Wait(streams)
	if cleanup := (*runtime.CleanupError)(nil); errors.As(err, &cleanup) {
		a.warn(cleanup.Err)
		err = nil
	}
	a.code = code
	return err
}

// exitCode is Docker's: run and exec end with the code of the process in the
// container, so what minictr could not do has codes that are told apart from
// those: 125, 126 and 127. All other commands end with 1, whether the command
// line or the deed was wrong.
func exitCode(command string, err error) int {
	if command != "run" && command != "exec" {
		return 1
	}
	var c *runtime.CommandError
	if !errors.As(err, &c) {
		return exitFailed
	}
	if c.Errno == unix.ENOENT || c.Errno == unix.ENOTDIR {
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
	if c := (*network.Cause)(nil); errors.As(err, &c) && c.Hint != "" {
		return c.Hint
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
	{is[*runtime.NoLogError], "only what runs detached (minictr run -d) has a log"},
	{is[*runtime.AmbiguousError], "give more digits of the id, or the container's name; minictr ps -a lists them"},
	{is[*rootfs.InUseError], "minictr ps -a --filter ancestor=IMAGE lists the containers; remove them first, or take only the name away with --force"},
	{is[*rootfs.NotFoundError], "minictr images lists those that are here; minictr pull gets one from a registry"},
	{is[*volume.InUseError], "remove those containers first; minictr ps -a --filter volume=NAME lists them"},
	{is[*volume.NotFoundError], "minictr volume ls lists the volumes"},
	{is[*notFoundError], "minictr ps -a lists all containers, minictr images all images"},
	{isAdoptedInUse, "minictr network release NAMESPACE gives it back; minictr network adopted lists them"},
	{is[*network.Drift], "minictr network reload puts it back as it was"},
	{is[*network.InUseError], "minictr ps --filter network=NETWORK lists the containers; stop them first, or disconnect them"},
	{is[*runtime.NotAdoptedError], "minictr network adopted lists those that are"},
	{is[*rootfs.ReplaceError], "remove what is there first, or copy to another name"},
	{is[*runtime.CompressedError], "decompress it on the way: gzip -dc FILE | minictr cp - NAME:DIR (or bzip2, xz, zstd)"},
	{is[*runtime.ReadOnlyError], "a container that is not --read-only, or another path of it, can be written to"},
	{is[*runtime.MissingProgramError], "make build puts all programs of minictr into one directory; keep them together"},
	{isNetworkNotFound, "minictr network ls lists the networks"},
	{isRoot, "minictr makes namespaces, mounts and bridges, for which it must be root: sudo minictr …"},
}

// is reports whether the error is, or wraps, one of the type.
func is[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}

func isNetworkNotFound(err error) bool { return errors.Is(err, network.ErrNotFound) }

func isAdoptedInUse(err error) bool {
	inUse := (*network.InUseError)(nil)
	return errors.As(err, &inUse) && len(inUse.Adopted) > 0
}

func isRoot(err error) bool {
	return unix.Geteuid() != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES))
}
