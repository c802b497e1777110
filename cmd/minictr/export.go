package main

import (
	"errors"
	"io"

	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func exportCommand(a *app) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "export [-o FILE] CONTAINER", Args: cobra.ExactArgs(1),
		Long: "Export writes the root file system of a container as a tar archive, without what is mounted in it.",
		RunE: func(_ *cobra.Command, args []string) error { return a.export(args[0], file) },
	}
	c.Flags().StringVarP(&file, "output", "o", "", "write to a file, instead of to standard output")
	return c
}

func (a *app) export(name, file string) error {
	if file == "" {
		if term.IsTerminal(int(a.out.Fd())) {
			return usageError{errors.New("an archive is nothing for a terminal: give -o FILE, or send the output elsewhere")}
		}
		return a.runtime().Export(name, a.out, a.warn)
	}
	if _, err := a.runtime().Container(name); err != nil {
		return err
	}
	return runtime.WriteWhole(file, func(w io.Writer) error { return a.runtime().Export(name, w, a.warn) })
}
