package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func cpCommand(a *app) *cobra.Command {
	var o runtime.CopyOptions
	var quiet bool
	c := &cobra.Command{
		Use: "cp [FLAGS] CONTAINER:SRC DST|-  or  cp [FLAGS] SRC|- CONTAINER:DST", Args: cobra.ExactArgs(2),
		Long: `Cp copies files between the host and a container, running or not. A path in a container starts at its root.

A directory DST gets SRC in it, or with "SRC/." what is in SRC. A DST that is not there is made, in a directory
that is. As SRC, - is a tar archive on standard input, unpacked in the directory DST; as DST, one on standard output.

Without -a, files become those of root in the container, or of the user here; and on the host setuid bits, devices
and capabilities are left out. An archive keeps its owners.`,
		RunE: func(_ *cobra.Command, args []string) error {
			o.Warn = a.warn
			return a.cp(args[0], args[1], o, quiet || !term.IsTerminal(int(a.err.Fd())))
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.Archive, "archive", "a", false, "keep owners by their numbers")
	f.BoolVarP(&o.FollowLink, "follow-link", "L", false, "copy what a symbolic link SRC points to")
	f.BoolVarP(&quiet, "quiet", "q", false, "say nothing on the way")
	return c
}

// cpPlace is an argument of cp.
type cpPlace struct {
	container string // empty: the host
	path      string
}

// newCpPlace divides at the first colon, as docker does: a path that has one is
// written with a "/" or a "." at its beginning.
func newCpPlace(argument string) cpPlace {
	name, path, found := strings.Cut(argument, ":")
	if !found || name == "" || strings.HasPrefix(argument, "/") || strings.HasPrefix(argument, ".") {
		return cpPlace{path: argument}
	}
	return cpPlace{name, path}
}

// betweenContainersError is a copy from one container to another.
type betweenContainersError struct{ from, to string }

func (e betweenContainersError) Error() string {
	return "copying between containers is not supported"
}

// Hint is the way round.
func (e betweenContainersError) Hint() string {
	return fmt.Sprintf("minictr cp %s - | minictr cp - %s", e.from, e.to)
}

func (a *app) cp(source, target string, o runtime.CopyOptions, quiet bool) error {
	from, to := newCpPlace(source), newCpPlace(target)
	switch {
	case source == "" || target == "":
		return usageError{errors.New("the empty path is none")}
	case from.container != "" && to.container != "":
		return betweenContainersError{source, target}
	case from.container == "" && to.container == "":
		return usageError{errors.New("one of both paths must be in a container: CONTAINER:PATH")}
	}
	p := &cpProgress{out: a.err, what: source + " to " + target, quiet: quiet || target == "-"}
	o.Progress = p.show
	n, err := a.cpBetween(from, to, o)
	p.end()
	if err == nil && !p.quiet {
		fmt.Fprintf(a.err, "Successfully copied %s to %s\n", humanSize(n), terminal.Visible(target))
	}
	return err
}

func (a *app) cpBetween(from, to cpPlace, o runtime.CopyOptions) (int64, error) {
	r := a.runtime()
	switch {
	case to.path == "-" && to.container == "":
		if term.IsTerminal(int(a.out.Fd())) {
			return 0, usageError{errors.New("an archive is nothing for a terminal: send the output elsewhere")}
		}
		return r.CopyToStream(from.container, from.path, a.out, o)
	case from.path == "-" && from.container == "":
		if term.IsTerminal(int(a.in.Fd())) {
			return 0, usageError{errors.New("an archive does not come from a terminal: minictr cp - NAME:DIR < FILE.tar")}
		}
		return r.CopyFromStream(to.container, a.in, to.path, o)
	case to.container != "":
		return r.CopyIn(to.container, from.path, to.path, o)
	}
	return r.CopyOut(from.container, from.path, to.path, o)
}

// cpProgress is a line on a terminal that says how much has been copied.
type cpProgress struct {
	out   *os.File
	what  string
	quiet bool
	last  time.Time
	shown bool
}

// show is called for every piece; it writes ten times a second at most.
func (p *cpProgress) show(bytes int64) {
	now := time.Now()
	if p.last.IsZero() {
		p.last = now // what is done at once needs no line
	}
	if p.quiet || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.out, "\r\x1b[KCopying %s: %s", terminal.Visible(p.what), humanSize(bytes))
}

// end takes the line away.
func (p *cpProgress) end() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
