// Package applet says what a command of the base image is: a name, a line of
// help, and a function that works on the streams it is given. The shell runs an
// applet as a process of its own, so that ps shows it and signals find it.
package applet

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// An Applet is one command of the base image.
type Applet struct {
	Name  string // what it is called by: "ls"
	Usage string // its synopsis, without the name: "[-la] [FILE…]"
	Short string // what it does, in a few words
	Run   func(c *Call) error

	// Literal says that --help is an argument like another: echo, test.
	Literal bool
}

// A Call is one run of an applet.
type Call struct {
	Name     string   // the applet's
	Args     []string // behind the name
	All      []Applet // of the program: the shell, xargs and such find them where PATH has none
	In       io.Reader
	Out, Err io.Writer
}

// An ExitError ends the applet with a code and without a word: grep that found
// nothing, false.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// A UsageError is a command line that makes no sense. The exit code is 2.
type UsageError string

func (e UsageError) Error() string { return string(e) }

// Warn prints an error on the way, which does not end the applet: one of several
// files that cannot be read. The applet returns ExitError(1) in the end.
func (c *Call) Warn(err error) { fmt.Fprintf(c.Err, "%s: %s\n", c.Name, plain(err)) }

// plain says an error of package os as people are used to: the file and what is
// wrong with it, without the name of a system call.
func plain(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch text := err.Error(); {
	case errors.As(err, &path):
		return strings.Replace(text, path.Error(), path.Path+": "+plain(path.Err), 1)
	case errors.As(err, &link):
		return strings.Replace(text, link.Error(), link.Old+" -> "+link.New+": "+plain(link.Err), 1)
	case errors.As(err, &call):
		return strings.Replace(text, call.Error(), call.Err.Error(), 1)
	default:
		return text
	}
}

// Exec runs the applet, prints its error, and returns its exit code.
func (a Applet) Exec(c *Call) int {
	if len(c.Args) == 1 && c.Args[0] == "--help" && !a.Literal {
		fmt.Fprintf(c.Out, "usage: %s %s\n%s\n", c.Name, a.Usage, a.Short)
		return 0
	}
	err := a.Run(c)
	var code ExitError
	var usage UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		c.Warn(err)
		fmt.Fprintf(c.Err, "usage: %s %s\n", c.Name, a.Usage)
		return 2
	}
	c.Warn(err)
	return 1
}
