package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/rootfs"
	"github.com/spf13/cobra"
)

// historyFlags choose how the history is printed.
type historyFlags struct {
	quiet, noTrunc, human bool
	format                string
}

func historyCommand(a *app) *cobra.Command {
	var f historyFlags
	c := &cobra.Command{
		Use: "history [FLAGS] IMAGE", Args: cobra.ExactArgs(1),
		Long: "History prints the steps in which an image was made, the last first, as its maker tells\nthem, and what each added to its files.",
		RunE: func(_ *cobra.Command, args []string) error { return a.history(args[0], f) },
	}
	s := c.Flags()
	s.BoolVarP(&f.quiet, "quiet", "q", false, "ids only")
	s.BoolVar(&f.noTrunc, "no-trunc", false, "cut nothing off")
	s.BoolVarP(&f.human, "human", "H", true, "print sizes and dates for people")
	s.StringVar(&f.format, "format", "", formatHelp)
	return c
}

func (a *app) history(name string, f historyFlags) error {
	store := rootfs.OpenStore(a.root)
	image, err := store.Lookup(name)
	if err != nil {
		return err
	}
	config, err := publishedConfigOf(store, image)
	if err != nil {
		return err
	}
	var rows []any
	now := time.Now()
	for i, s := range sizedHistory(config.History, image.Layers) {
		row := newHistoryRow(s, now, f)
		if row.ID = "<missing>"; i == 0 {
			row.ID = image.ID
		}
		if !f.noTrunc {
			row.ID = shortID(row.ID)
		}
		rows = append(rows, row)
	}
	l := listing{format: f.format, columns: []string{"ID", "CreatedSince", "CreatedBy", "Size", "Comment"}}
	if f.quiet {
		l.quiet = "ID"
	}
	return a.list(l, rows, historyRow{})
}

// sizedStep is a step with the bytes of the files that it added.
type sizedStep struct {
	publishedStep
	size int64
}

// sizedHistory gives the steps that changed files the layers in their order, and
// returns the last first. A layer of which the history does not tell, as with
// images of some builders, has a step without words.
func sizedHistory(steps []publishedStep, layers []rootfs.Layer) []sizedStep {
	var sized []sizedStep
	for _, s := range steps {
		one := sizedStep{publishedStep: s}
		if !s.EmptyLayer && len(layers) > 0 {
			one.size, layers = layers[0].Size, layers[1:]
		}
		sized = append(sized, one)
	}
	for _, l := range layers {
		sized = append(sized, sizedStep{size: l.Size})
	}
	slices.Reverse(sized)
	return sized
}

// historyRow is a line of history; the fields are Docker's.
type historyRow struct {
	ID           string `head:"IMAGE"`
	CreatedSince string `head:"CREATED"`
	CreatedAt    string `head:"CREATED AT"`
	CreatedBy    string `head:"CREATED BY"`
	Size         string
	Comment      string
}

func newHistoryRow(s sizedStep, now time.Time, f historyFlags) historyRow {
	row := historyRow{
		CreatedSince: ago(now, s.Created), CreatedAt: s.Created.Local().Format(time.RFC3339),
		CreatedBy: onOneLine(s.CreatedBy), Size: humanSize(s.size), Comment: onOneLine(s.Comment),
	}
	if s.Created.IsZero() {
		row.CreatedSince, row.CreatedAt = "N/A", "N/A"
	}
	if !f.human {
		row.CreatedSince, row.Size = row.CreatedAt, strconv.FormatInt(s.size, 10)
	}
	if !f.noTrunc {
		row.CreatedBy = terminal.Ellipsis(row.CreatedBy, 45)
	}
	return row
}

// onOneLine shows text that may have lines of its own.
func onOneLine(text string) string {
	return terminal.Visible(strings.NewReplacer("\t", " ", "\r\n", " ", "\n", " ").Replace(text))
}
