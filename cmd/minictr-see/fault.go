package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/fault"
	"github.com/minictr/minictr/runtime"
)

func faultCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "fault",
		Short: "break one thing of a container's network, to practise",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("usage: minictr fault list|inject|show|clear")}
		},
	}
	c.AddCommand(faultListCommand(a), faultInjectCommand(a), faultShowCommand(a), faultClearCommand(a))
	return c
}

func (a *app) faults() fault.Store { return fault.Store{Runroot: a.runroot} }

// faultRow is a line of fault list.
type faultRow struct {
	Name    string `json:"name"`
	Affects string `json:"affects"`
	Story   string `json:"story"`
	Check   string `json:"check"`
}

func faultListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list [--json]", Aliases: []string{"ls"}, Short: "list all faults, and what somebody did", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rows := []faultRow{}
			for _, f := range fault.List() {
				rows = append(rows, faultRow{f.Name, string(f.Scope), f.Story, f.Check})
			}
			if asJSON {
				return terminal.JSON(a.out, rows)
			}
			table := [][]string{{"NAME", "AFFECTS", "STORY"}}
			for _, r := range rows {
				table = append(table, []string{r.Name, r.Affects, r.Story})
			}
			a.columns(table, "")
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, with the check of the doctor that finds it")
	return c
}

func faultInjectCommand(a *app) *cobra.Command {
	var yes, quiet bool
	c := &cobra.Command{
		Use:   "inject [--yes] [--quiet] NAME CONTAINER",
		Short: "break one thing of a container's network; the NAME random picks one",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			t, err := a.faultTarget(args[1])
			if err != nil {
				return err
			}
			if err := a.sweepFaults(); err != nil {
				return err
			}
			f, err := pickFault(args[0], t)
			if err != nil {
				return err
			}
			if f.Scope == fault.Host && !yes && !a.agrees(f) {
				return &hostWideError{f.Name}
			}
			r, err := a.faults().Inject(f, t, nil)
			if err != nil {
				return err
			}
			if quiet {
				return nil
			}
			fmt.Fprintf(a.out, "%s: %s\n", f.Name, f.Story)
			for line := range strings.Lines(fault.Script(r.Changes)) {
				fmt.Fprintln(a.out, "$ "+terminal.Visible(strings.TrimSuffix(line, "\n")))
			}
			fmt.Fprintf(a.err, "minictr doctor %s looks for it; minictr fault clear %s takes it back\n", t.Name, t.Name)
			return nil
		},
	}
	s := c.Flags()
	s.BoolVarP(&yes, "yes", "y", false, "do not ask before the whole machine is affected")
	s.BoolVarP(&quiet, "quiet", "q", false, "do not tell what was done: a riddle")
	return c
}

// hostWideError says that a fault affects more than containers.
type hostWideError struct{ name string }

func (e *hostWideError) Error() string {
	return e.name + " affects the whole machine, and all that it carries; nothing was changed"
}

func (e *hostWideError) Hint() string { return "--yes does it; minictr fault clear takes it back" }

// agrees asks, on a terminal, whether that is meant.
func (a *app) agrees(f fault.Fault) bool {
	if !term.IsTerminal(int(a.in.Fd())) {
		return false
	}
	fmt.Fprintf(a.err, "%s affects the whole machine: %s.\nAre you sure you want to continue? [y/N] ", f.Name, f.Story)
	answer, _ := bufio.NewReader(a.in).ReadString('\n') // the end of the input is no yes
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// pickFault is the fault of the name; for "random" any that can be injected and leaves
// the rest of the machine alone.
func pickFault(name string, t fault.Target) (fault.Fault, error) {
	if name != "random" {
		return fault.Find(name)
	}
	list := fault.List()
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, f := range list {
		if _, err := f.Resolve(t); err == nil && f.Scope != fault.Host {
			return f, nil
		}
	}
	return fault.Fault{}, fmt.Errorf("container %s: no fault can be injected into it", t.Name)
}

// faultTarget is the container of the name, which must run.
func (a *app) faultTarget(name string) (fault.Target, error) {
	c, err := a.runtime().Container(name)
	if err != nil {
		return fault.Target{}, err
	}
	if c.Status != runtime.Running {
		return fault.Target{}, &runtime.NotRunningError{Name: c.Config.Name}
	}
	list, err := a.runtime().List()
	return fault.Target{
		Name: c.Config.Name, ID: c.Config.ID, Pid: c.State.Pid, Config: c.State.Network,
		Cgroup: c.State.Cgroups[cgroups.Unified], Runroot: a.runroot, Others: othersOf(list, c),
	}, err
}

// othersOf are the networks of the other containers that run.
func othersOf(list []*runtime.Container, c *runtime.Container) (others []*network.Config) {
	for _, o := range list {
		if o.Config.ID != c.Config.ID && o.Status == runtime.Running && o.State.Network != nil {
			others = append(others, o.State.Network)
		}
	}
	return others
}

// sweepFaults takes back what faults of containers that have ended left on the host.
func (a *app) sweepFaults() error {
	swept, err := a.faults().Sweep(func(id string, pid int) bool {
		c, err := a.runtime().Container(id)
		return err == nil && c.Pid() == pid
	})
	for _, r := range swept {
		fmt.Fprintf(a.err, "%s: %s was taken back: the container has ended\n", r.Container, r.Fault)
	}
	return err
}

// injectedRow is a line of fault show.
type injectedRow struct {
	Container string    `json:"container"`
	Fault     string    `json:"fault"`
	State     string    `json:"state"`
	Injected  time.Time `json:"injected"`
	Story     string    `json:"story"`
	Commands  []string  `json:"commands"`
}

func faultShowCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show [--json]", Short: "show what is broken now", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := a.faults().List()
			if err != nil {
				return err
			}
			rows := []injectedRow{}
			for _, r := range list {
				f, err := fault.Find(r.Fault)
				if err != nil {
					return err
				}
				commands := strings.Split(fault.Script(r.Changes), "\n")
				rows = append(rows, injectedRow{r.Container, r.Fault, string(r.State()), r.Injected, f.Story, commands})
			}
			if asJSON {
				return terminal.JSON(a.out, rows)
			}
			table := [][]string{{"CONTAINER", "FAULT", "STATE", "STORY"}}
			for _, r := range rows {
				table = append(table, []string{terminal.Visible(r.Container), r.Fault, r.State, r.Story})
			}
			a.columns(table, "")
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, with the commands that do the same by hand")
	return c
}

func faultClearCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "clear [CONTAINER...]",
		Short: "take faults back, all of them without CONTAINER; also of containers that have ended",
		RunE: func(_ *cobra.Command, names []string) error {
			list, err := a.faults().List()
			if err != nil && len(list) == 0 {
				return err
			}
			errs := []error{err}
			for _, name := range names {
				if !slices.ContainsFunc(list, func(r *fault.Record) bool { return a.called(r, name) }) {
					errs = append(errs, fmt.Errorf("container %s has no fault", name))
				}
			}
			for _, r := range list {
				if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return a.called(r, name) }) {
					continue
				}
				if err := a.faults().Clear(r); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(a.out, "%s: %s was taken back\n", terminal.Visible(r.Container), r.Fault)
			}
			return errors.Join(errs...)
		},
	}
}

// called tells whether the record is of the container of the name, or of the id, of
// which the beginning is enough. It may have been renamed since, or be gone.
func (a *app) called(r *fault.Record, name string) bool {
	c, err := a.runtime().Container(name)
	return r.Container == name || err == nil && c.Config.ID == r.ID
}
