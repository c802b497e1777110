package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// usageError is a command line that cannot be understood.
type usageError struct{ problem, usage string }

func (e *usageError) Error() string { return e.problem }

// hintedError is an error that knows what can be done about it.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }
func (e *hintedError) Hint() string  { return e.hint }

var errNotRoot = &hintedError{errors.New("the image store belongs to root"), "run it as root, for example with sudo"}

// hints is what to try after an errno or a known error, whatever the command.
var hints = []struct {
	cause error
	hint  string
}{
	{unix.ENOSPC, "see `df -h` and `df -i`; `minictr rmi IMAGE` frees what no other image uses"},
	{unix.EDQUOT, "the disk quota is used up; `minictr rmi IMAGE` frees what no other image uses"},
	{unix.EROFS, "choose another place for the store with `--root DIR`"},
	{tar.ErrHeader, "`minictr load` takes an image archive, `minictr import` a tar of a root file system"},
}

// report prints the error on one line and its hint on the next.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "minictr: %s\n", oneLine(err))
	var u *usageError
	if errors.As(err, &u) {
		fmt.Fprintf(w, "hint: usage: minictr-image [--root DIR] %s\n", u.usage)
		return
	}
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

func hintFor(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	for _, row := range hints {
		if errors.Is(err, row.cause) {
			return row.hint
		}
	}
	return ""
}

// oneLine keeps what a registry or a file said from breaking the line, and from
// steering the terminal.
func oneLine(err error) string {
	text := visible(strings.TrimSpace(err.Error()))
	const most = 1000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || 0x7f <= r && r < 0xa0 || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069:
			return -1 // as steers in cmd/minictr has it
		}
		return r
	}, text)
}

// cause returns why ctx ended, if that is what err comes from.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// plain takes the operation and path out of an error of package os, for an
// error that names both in its own words.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
