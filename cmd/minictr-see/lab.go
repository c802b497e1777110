package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cmd/minictr-see/lab"
	"github.com/minictr/minictr/cmd/terminal"
)

// labCommand is minictr lab: exercises, each in a host of its own.
func labCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "lab COMMAND",
		Short: "exercises in a host of their own",
		Long: `Exercises in a host of their own

An exercise begins with "minictr lab start NAME", which makes a host in namespaces of its own
and opens a shell in it. "minictr lab check" says how far you are, "minictr lab hint" helps.
Whatever you do there ends with "minictr lab stop"; the machine's network is never touched.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	for _, sub := range []struct {
		use, short string
		args       cobra.PositionalArgs
		run        func(a *app, args []string) error
	}{
		{"text [NAME]", "print what an exercise is about", cobra.MaximumNArgs(1), labText},
		{"check [NAME]", "say how far you are", cobra.MaximumNArgs(1), labCheck},
		{"solution [NAME]", "print a shell script that does it", cobra.MaximumNArgs(1), labSolution},
		{"reset [NAME]", "make the exercise's host anew", cobra.MaximumNArgs(1), labReset},
	} {
		c.AddCommand(&cobra.Command{
			Use: sub.use, Short: sub.short, Args: sub.args, ValidArgsFunction: labNames,
			RunE: func(_ *cobra.Command, args []string) error { return sub.run(a, args) },
		})
	}
	c.AddCommand(labListCommand(a), labStartCommand(a), labEnterCommand(a), labHintCommand(a), labStopCommand(a), labHoldCommand())
	return c
}

// labNames completes the name of an exercise, which no command takes two of.
func labNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for _, e := range lab.Exercises() {
		names = append(names, e.Name+"\t"+e.Title)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// labs opens the labs and heals what was killed.
func (a *app) labs() (*lab.Labs, error) {
	labs := lab.Open(a.runroot)
	return labs, labs.Heal()
}

// lab returns the lab that the arguments name. Without a name it is that in which one is,
// or the only one that runs.
func (a *app) lab(args []string) (*lab.Lab, error) {
	labs, err := a.labs()
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		e, err := lab.Find(args[0])
		if err == nil && labs.Inside != "" && labs.Inside != e.Name {
			err = insideError{labs.Inside}
		}
		return labs.Lab(e), err
	}
	running, err := labs.Running()
	if err != nil {
		return nil, err
	}
	if len(running) != 1 {
		return nil, whichError(running)
	}
	return running[0], nil
}

// An insideError is that another lab was asked for from within one.
type insideError struct{ name string }

func (e insideError) Error() string {
	return "this is lab " + e.name + ", and others are not to be seen from here"
}
func (insideError) Hint() string { return "exit leaves it" }

// A whichError is that no lab was named, and not exactly one runs.
type whichError []*lab.Lab

func (e whichError) Error() string {
	if len(e) == 0 {
		return "no lab runs"
	}
	return fmt.Sprintf("%d labs run: name one", len(e))
}

func (e whichError) Hint() string {
	if len(e) == 0 {
		return "minictr lab start NAME starts one; minictr lab list lists them"
	}
	var names []string
	for _, l := range e {
		names = append(names, l.Name)
	}
	return strings.Join(names, ", ")
}

// exercise returns the exercise that the arguments name, for which no lab need run, nor
// the caller be root; without a name, as lab does.
func (a *app) exercise(args []string) (lab.Exercise, error) {
	if len(args) > 0 {
		return lab.Find(args[0])
	}
	l, err := a.lab(args)
	if err != nil {
		return lab.Exercise{}, err
	}
	return l.Exercise, nil
}

func labText(a *app, args []string) error {
	e, err := a.exercise(args)
	if err == nil {
		fmt.Fprint(a.out, e.Text())
	}
	return err
}

func labSolution(a *app, args []string) error {
	e, err := a.exercise(args)
	if err == nil {
		fmt.Fprint(a.out, e.Solution())
	}
	return err
}

func labCheck(a *app, args []string) error {
	l, err := a.lab(args)
	if err != nil {
		return err
	}
	goals, done, err := l.Check()
	for _, g := range goals {
		fmt.Fprintln(a.out, terminal.OneLine(g.String()))
	}
	if err != nil {
		return err
	}
	if !done {
		fmt.Fprintln(a.err, "minictr lab hint helps; minictr lab text is what it is about")
		return silentError{}
	}
	fmt.Fprintf(a.out, "\nDone. What you have learnt:\n\n%s", l.Learnt())
	if next, err := lab.Find(strconv.Itoa(l.Number + 1)); err == nil {
		fmt.Fprintf(a.err, "\nNext: minictr lab stop %s; minictr lab start %s   (%s)\n", l.Name, next.Name, next.Title)
	}
	return nil
}

func labReset(a *app, args []string) error {
	l, err := a.lab(args)
	if err != nil {
		return err
	}
	if lab.Open(a.runroot).Inside != "" {
		return l.StopToReset()
	}
	if err := l.Stop(); err != nil {
		return err
	}
	if _, err := l.Start(); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "lab %s is as it was at the beginning\n", l.Name)
	return nil
}

func labListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the exercises", Args: cobra.NoArgs}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	c.RunE = func(*cobra.Command, []string) error {
		rows, err := a.labRows()
		if errors.Is(err, fs.ErrPermission) {
			a.warn(fmt.Errorf("which of them run, only root sees: %w", err))
			err = nil
		}
		if err != nil {
			return err
		}
		if asJSON {
			return terminal.JSON(a.out, rows)
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', 0)
		fmt.Fprintln(w, "\tNAME\tWHAT IT IS ABOUT\tSTATE")
		for _, r := range rows {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", r.Number, r.Name, r.Title, r.State)
		}
		return w.Flush()
	}
	return c
}

// A labRow is a line of the list.
type labRow struct {
	lab.Exercise
	State string `json:"state"` // "", "running", "running, solved"
}

func (a *app) labRows() ([]labRow, error) {
	labs, err := a.labs()
	var running []*lab.Lab
	if err == nil {
		running, err = labs.Running()
	}
	var rows []labRow
	for _, e := range lab.Exercises() {
		row := labRow{Exercise: e}
		if i := slices.IndexFunc(running, func(l *lab.Lab) bool { return l.Name == e.Name }); i >= 0 {
			row.State = "running"
			if running[i].Solved() {
				row.State += ", solved"
			}
		}
		rows = append(rows, row)
	}
	return rows, err
}

func labHintCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "hint [NAME]", Short: "print the next hint", Args: cobra.MaximumNArgs(1), ValidArgsFunction: labNames}
	c.Flags().BoolVarP(&all, "all", "a", false, "all hints")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if all {
			e, err := a.exercise(args)
			if err == nil {
				fmt.Fprintln(a.out, strings.Join(e.Hints(), "\n\n"))
			}
			return err
		}
		l, err := a.lab(args)
		if err != nil {
			return err
		}
		hint, left, err := l.NextHint()
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, hint)
		switch left {
		case 0:
			fmt.Fprintln(a.err, "(That was the last hint. minictr lab solution does it.)")
		default:
			fmt.Fprintf(a.err, "(%d more: minictr lab hint)\n", left)
		}
		return nil
	}
	return c
}

func labStopCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "stop [NAME]", Short: "take a lab away, and all that was made in it", Args: cobra.MaximumNArgs(1), ValidArgsFunction: labNames}
	c.Flags().BoolVarP(&all, "all", "a", false, "all labs")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if !all {
			l, err := a.lab(args)
			if err != nil {
				return err
			}
			return l.Stop()
		}
		labs, err := a.labs()
		if err != nil {
			return err
		}
		running, err := labs.Running()
		for _, l := range running {
			err = errors.Join(err, l.Stop())
		}
		return err
	}
	return c
}

// labHoldCommand is what the process that holds a lab runs; lab start starts it.
func labHoldCommand() *cobra.Command {
	return &cobra.Command{
		Use: lab.HoldCommand, Hidden: true, Args: cobra.ExactArgs(2),
		Run: func(_ *cobra.Command, args []string) { lab.Hold(args[0], args[1]) },
	}
}
