package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cmd/terminal"
)

func diffCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "diff [FLAGS] CONTAINER", Args: cobra.ExactArgs(1),
		Long: "Diff lists what is different in a container from its image: A is added, C changed, D deleted.",
		RunE: func(_ *cobra.Command, args []string) error { return a.diff(args[0], format) },
	}
	c.Flags().StringVar(&format, "format", "", formatHelp)
	return c
}

// diffRow is a line of diff.
type diffRow struct {
	Kind string
	Path string
}

func (a *app) diff(name, format string) error {
	changes, err := a.runtime().Changes(name)
	if err != nil {
		return err
	}
	if format == "" {
		for _, c := range changes {
			fmt.Fprintf(a.out, "%s %s\n", c.Kind, terminal.Visible(c.Path))
		}
		return nil
	}
	var rows []any
	for _, c := range changes {
		rows = append(rows, diffRow{Kind: string(c.Kind), Path: c.Path})
	}
	return a.list(listing{format: format, columns: []string{"Kind", "Path"}}, rows, diffRow{})
}
