// Package applet says what a command of the base image is: a name, a line of
// help, and a function that works on the streams it is given. The shell runs an
// applet as a process of its own, so that ps shows it and signals find it.
package applet

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// An Applet is one command of the base image.
type Applet struct {
	Name  string // what it is called by: "ls"
	Usage string // its synopsis, without the name: "[-la] [FILE…]"
	Short string // what it does, in a few words
	Run   func(c *Call) error
}

// A Call is one run of an applet.
type Call struct {
	Name     string   // the applet's
	Args     []string // behind the name
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
func (c *Call) Warn(err error) { fmt.Fprintf(c.Err, "%s: %v\n", c.Name, err) }

// Main runs the applet on the process's streams and returns its exit code.
func (a Applet) Main(args []string) int {
	return a.Exec(&Call{Name: a.Name, Args: args, In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

// Exec runs the applet, prints its error, and returns its exit code.
func (a Applet) Exec(c *Call) int {
	if len(c.Args) == 1 && c.Args[0] == "--help" && a.Name != "echo" && a.Name != "test" {
		fmt.Fprintf(c.Out, "usage: %s %s\n%s\n", a.Name, a.Usage, a.Short)
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
		fmt.Fprintf(c.Err, "usage: %s %s\n", a.Name, a.Usage)
		return 2
	}
	c.Warn(err)
	return 1
}
