package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// topColumn is a column that top can print; the names are those of ps(1) -o.
type topColumn struct {
	name, head string
	value      func(runtime.ProcessStatus) string
}

func topColumns() []topColumn {
	number := func(n int) string { return strconv.Itoa(n) }
	return []topColumn{
		{"pid", "PID", func(p runtime.ProcessStatus) string { return number(p.Pid) }},
		{"nspid", "NSPID", func(p runtime.ProcessStatus) string { return number(p.NSPid) }},
		{"ppid", "PPID", func(p runtime.ProcessStatus) string { return number(p.PPid) }},
		{"user", "USER", func(p runtime.ProcessStatus) string { return terminal.Visible(p.User) }},
		{"time", "TIME", func(p runtime.ProcessStatus) string { return clock(p.CPU) }},
		{"args", "COMMAND", commandLine},
		{"comm", "NAME", func(p runtime.ProcessStatus) string { return terminal.Visible(p.Name) }},
		{"uid", "UID", func(p runtime.ProcessStatus) string { return number(int(p.UID)) }},
		{"gid", "GID", func(p runtime.ProcessStatus) string { return number(int(p.GID)) }},
		{"state", "STATE", func(p runtime.ProcessStatus) string { return p.State }},
		{"nlwp", "THREADS", func(p runtime.ProcessStatus) string { return number(p.Threads) }},
		{"rss", "RSS", func(p runtime.ProcessStatus) string { return humanSize(p.RSSBytes) }},
	}
}

const usualTopColumns = "pid,nspid,ppid,user,time,args"

func topCommand(a *app) *cobra.Command {
	var names []string
	for _, c := range topColumns() {
		names = append(names, c.name)
	}
	return &cobra.Command{
		Use: "top CONTAINER [COLUMN…]", Args: cobra.MinimumNArgs(1),
		Long: "Top lists the processes of a container with their numbers in the host (PID) and in the container (NSPID).\nColumns: " + strings.Join(names, ", ") + ".",
		RunE: func(_ *cobra.Command, args []string) error { return a.top(args[0], args[1:]) },
	}
}

// top prints the processes of a container.
func (a *app) top(name string, asked []string) error {
	columns, err := chooseColumns(asked)
	if err != nil {
		return err
	}
	r := a.runtime()
	c, err := r.Container(name)
	if err != nil {
		return err
	}
	list, err := r.Top(c)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 1, 3, ' ', 0)
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.head
	}
	fmt.Fprintln(w, strings.Join(line, "\t"))
	for _, p := range list {
		for i, c := range columns {
			line[i] = c.value(p)
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	return w.Flush()
}

// chooseColumns finds the columns of names that commas or arguments separate.
func chooseColumns(asked []string) ([]topColumn, error) {
	names := strings.Split(strings.Join(asked, ","), ",")
	if len(asked) == 0 {
		names = strings.Split(usualTopColumns, ",")
	}
	known := topColumns()
	var columns []topColumn
	for _, name := range names {
		i := slices.IndexFunc(known, func(c topColumn) bool { return c.name == strings.ToLower(name) })
		if i < 0 {
			return nil, usageError{fmt.Errorf("no column %q; 'minictr top --help' lists them", name)}
		}
		columns = append(columns, known[i])
	}
	return columns, nil
}

// commandLine is what the process was called with or, for a zombie, its name.
func commandLine(p runtime.ProcessStatus) string {
	if len(p.Args) == 0 {
		return "[" + terminal.Visible(p.Name) + "]"
	}
	return terminal.Visible(strings.Join(p.Args, " "))
}

// clock prints a duration as ps does: hours, minutes, seconds.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}
