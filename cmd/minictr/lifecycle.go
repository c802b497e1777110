package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

func startCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "start CONTAINER…", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			return a.each(names, func(name string) error { return a.runtime().Start(name, runtime.Watch{}) })
		},
	}
}

func stopCommand(a *app) *cobra.Command {
	var seconds int
	c := &cobra.Command{
		Use: "stop [-t SECONDS] CONTAINER…", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.each(names, func(name string) error {
				c, err := a.runtime().Container(name)
				if err != nil {
					return err
				}
				timeout := seconds
				if !cmd.Flags().Changed("time") {
					timeout = c.Config.StopTimeout
				}
				err = a.runtime().Stop(c, time.Duration(timeout)*time.Second)
				if is[*runtime.NotRunningError](err) {
					return nil // as docker stop: it has what it wants
				}
				return err
			})
		},
	}
	c.Flags().IntVarP(&seconds, "time", "t", 10, "seconds to wait before killing it; -1 waits for ever")
	return c
}

func killCommand(a *app) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "kill [-s SIGNAL] CONTAINER…", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			signal, err := runtime.ParseSignal(name)
			if err != nil {
				return usageError{err}
			}
			return a.each(names, func(name string) error {
				c, err := a.runtime().Container(name)
				if err != nil {
					return err
				}
				return a.runtime().Signal(c, signal)
			})
		},
	}
	c.Flags().StringVarP(&name, "signal", "s", "KILL", "signal to send, a name or a number")
	return c
}

func waitCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "wait CONTAINER…", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			var errs []error
			for _, name := range names {
				c, err := a.runtime().Container(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				result, err := a.runtime().Wait(c)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintln(a.out, result.ExitCode)
			}
			return errors.Join(errs...)
		},
	}
}

func rmCommand(a *app) *cobra.Command {
	var o runtime.RemoveOptions
	c := &cobra.Command{
		Use: "rm [-f] [-v] CONTAINER…", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			r := a.runtime()
			a.heal(r)
			return a.each(names, func(name string) error {
				err := r.Remove(name, o)
				if o.Force && is[*runtime.NotFoundError](err) {
					return nil
				}
				return err
			})
		},
	}
	c.Flags().BoolVarP(&o.Force, "force", "f", false, "kill it first when it runs; a container that does not exist is no error")
	c.Flags().BoolVarP(&o.Volumes, "volumes", "v", false, "remove its anonymous volumes too")
	return c
}

func renameCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rename CONTAINER NAME", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.runtime().Rename(args[0], args[1], a.watch(false))
		},
	}
}

func finishCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "finish ID", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.runtime().Finish(args[0]) },
	}
}
