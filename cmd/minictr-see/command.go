package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/runtime"
)

// app is one call of the program: where it reads and writes, and which containers
// it is about.
type app struct {
	in, out, err *os.File
	root         string // --root
	runroot      string // --runroot
	code         int    // the exit code, when a command sets one without failing
}

// command is a line of the table of commands; only the one that was asked for is
// built. cmd/minictr has the same names in its table, for its help.
type command struct {
	name  string
	build func(*app) *cobra.Command // flags, RunE, Short; Use, at least the arguments behind the name
}

// commands is the table.
func commands() []command {
	return []command{
		{"ns", nsCommand},
		{"enter", enterCommand},
		{"sniff", sniffCommand},
		{"netns", netnsCommand},
		{"bridge", bridgeCommand},
		{"lab", labCommand},
		{"map", mapCommand},
		{"fault", faultCommand},
		{"trace", traceCommand},
		{"doctor", doctorCommand},
	}
}

// runtime returns the containers below the directories of the command line.
func (a *app) runtime() *runtime.Runtime {
	return &runtime.Runtime{Root: a.root, Runroot: a.runroot}
}

// main runs the command of the arguments, of which the first is its name, and
// returns the exit code. minictr puts it there, before its own flags.
func (a *app) main(args []string) int {
	root := a.rootCommand()
	name, i := "", -1
	if len(args) > 0 {
		name = args[0]
		if name == cobra.ShellCompRequestCmd && len(args) > 1 {
			name = args[1]
		}
		i = slices.IndexFunc(commands(), func(c command) bool { return c.name == name })
	}
	if i < 0 {
		return a.fail(usageError{fmt.Errorf("unknown command %q; 'minictr help' lists them", name)})
	}
	built := commands()[i].build(a)
	if built.Use == "" {
		built.Use = name
	}
	built.DisableFlagsInUseLine = true
	usageChecked(built)
	root.AddCommand(built)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	if err := root.Execute(); err != nil {
		return a.fail(err)
	}
	return a.code
}

// rootCommand is minictr itself, with the flags that stand before a command.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "minictr",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			if a.root, err = filepath.Abs(a.root); err != nil {
				return err
			}
			a.runroot, err = filepath.Abs(a.runroot)
			return err
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&a.root, "root", "/var/lib/minictr", "directory for what lasts: images, containers")
	f.StringVar(&a.runroot, "runroot", "/run/minictr", "directory for what ends with the machine's uptime")
	return root
}

// usageChecked makes complaints about the arguments of c, and of the commands below
// it, name the usage.
func usageChecked(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{fmt.Errorf("%w; usage: %s", err, c.UseLine())}
			}
			return nil
		}
	}
	for _, below := range c.Commands() {
		below.DisableFlagsInUseLine = true
		usageChecked(below)
	}
}
