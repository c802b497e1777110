package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/logfile"
	"github.com/spf13/cobra"
)

// logsFlags choose the part of the log and how it is printed.
type logsFlags struct {
	follow, timestamps bool
	tail, since, until string
}

func logsCommand(a *app) *cobra.Command {
	var f logsFlags
	c := &cobra.Command{
		Use: "logs [FLAGS] CONTAINER", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.logs(args[0], f) },
	}
	s := c.Flags()
	s.BoolVarP(&f.follow, "follow", "f", false, "go on until the container has ended")
	s.BoolVarP(&f.timestamps, "timestamps", "t", false, "print before each line when it was written")
	s.StringVarP(&f.tail, "tail", "n", "all", "how many lines from the end, or all")
	s.StringVar(&f.since, "since", "", "only what was written since: 10m, or 2026-01-02T15:04:05Z")
	s.StringVar(&f.until, "until", "", "only what was written until then")
	return c
}

// options understands the flags.
func (f logsFlags) options(now time.Time) (runtime.LogOptions, error) {
	o := runtime.LogOptions{Tail: runtime.AllLines, Follow: f.follow}
	var err error
	if f.tail != "all" {
		if o.Tail, err = strconv.Atoi(f.tail); err != nil {
			return o, usageError{fmt.Errorf("--tail %q: neither a number of lines nor \"all\"", f.tail)}
		}
		o.Tail = max(o.Tail, runtime.AllLines) // as docker: a negative number is all
	}
	if o.Since, err = parseMoment(f.since, now); err != nil {
		return o, usageError{fmt.Errorf("--since %w", err)}
	}
	if o.Until, err = parseMoment(f.until, now); err != nil {
		return o, usageError{fmt.Errorf("--until %w", err)}
	}
	return o, nil
}

// logs prints the log, what came from standard error to standard error.
func (a *app) logs(name string, f logsFlags) error {
	o, err := f.options(time.Now())
	if err != nil {
		return err
	}
	r := a.runtime()
	a.heal(r)
	c, err := r.Container(name)
	if err != nil {
		return err
	}
	out := map[string]*logOutput{"stdout": {w: a.out, stamp: f.timestamps}, "stderr": {w: a.err, stamp: f.timestamps}}
	return r.Logs(c, o, func(e logfile.Entry) error { return out[e.Stream].print(e) })
}

// logOutput prints the entries of one stream.
type logOutput struct {
	w      io.Writer
	stamp  bool
	inLine bool // the last entry was the beginning of a line
}

// stampLayout is docker's: RFC 3339 with all digits, so that lines line up.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

func (o *logOutput) print(e logfile.Entry) error {
	var line []byte
	if o.stamp && !o.inLine {
		line = append(e.Time.AppendFormat(line, stampLayout), ' ')
	}
	line = append(line, e.Text...)
	if e.Full {
		line = append(line, '\n')
	}
	o.inLine = !e.Full
	_, err := o.w.Write(line)
	return err
}
