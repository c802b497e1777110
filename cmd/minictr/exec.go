package main

import (
	"errors"
	"os"
	"strings"

	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func execCommand(a *app) *cobra.Command {
	var command runtime.Command
	var explain bool
	c := &cobra.Command{
		Use: "exec [FLAGS] CONTAINER COMMAND [ARG…]", Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if command.Detach && command.Terminal {
				return usageError{errors.New("-d with -t: nobody holds the terminal of a detached process, which would lose it at once; leave out one of them")}
			}
			if err := a.checkTerminal(command.Terminal && command.OpenStdin && !command.Detach); err != nil {
				return err
			}
			c, err := a.runtime().Container(args[0])
			if err != nil {
				return err
			}
			command.Args = args[1:]
			command.Env = expandEnv(command.Env)
			streams := runtime.Standard{Stdin: a.in, Stdout: a.out, Stderr: a.err}
			if command.Detach {
				streams = runtime.Standard{} // who reads our output must not wait for it
			}
			if err := a.runtime().HealNames(); err != nil {
				a.warn(err)
			}
			p, err := a.runtime().Exec(c, command, streams, a.watch(explain))
			if err != nil || command.Detach {
				return err
			}
			if !command.OpenStdin {
				streams.Stdin = nil
			}
			return a.wait(p, streams)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&command.OpenStdin, "interactive", "i", false, "connect standard input")
	f.BoolVarP(&command.Terminal, "tty", "t", false, "give it a terminal")
	f.BoolVarP(&command.Detach, "detach", "d", false, "do not wait for it")
	f.StringArrayVarP(&command.Env, "env", "e", nil, "set a variable, NAME=VALUE; NAME alone takes the value from here")
	f.StringVarP(&command.Cwd, "workdir", "w", "", "working directory in the container")
	f.StringVarP(&command.User, "user", "u", "", "user[:group] in the container, names or numbers")
	f.BoolVar(&command.Privileged, "privileged", false, "with all capabilities and no seccomp filter")
	f.BoolVar(&explain, "explain", false, "print every system call and every step as it happens")
	return c
}

// checkTerminal refuses an input that is no terminal where one is needed: typed
// lines could be neither edited nor ended.
func (a *app) checkTerminal(needed bool) error {
	if needed && !term.IsTerminal(int(a.in.Fd())) {
		return usageError{errors.New("the input is not a terminal: leave out -t, or run it from a terminal")}
	}
	return nil
}

// expandEnv gives variables without a value the value that they have here; those
// that are not set here are left out, as docker does.
func expandEnv(list []string) []string {
	var out []string
	for _, e := range list {
		if strings.Contains(e, "=") {
			out = append(out, e)
		} else if v, ok := os.LookupEnv(e); ok {
			out = append(out, e+"="+v)
		}
	}
	return out
}
