package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
)

// explainer prints what a launch does, as it happens: the steps on the host and
// the system calls of the child, each with its time, its words, and the command
// that does the same.
type explainer struct {
	mu  sync.Mutex // the host's steps and the child's calls go on at the same time
	out io.Writer
}

// watch tells of warnings and, with --explain, of everything.
func (a *app) watch(explain bool) runtime.Watch {
	w := runtime.Watch{Warn: func(text string) { fmt.Fprintln(a.err, "minictr: warning: "+terminal.OneLine(text)) }}
	if explain {
		e := &explainer{out: a.err}
		w.Step, w.Operation = e.step, e.operation
	}
	return w
}

func (e *explainer) step(s step.Step, took time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	words := s.Words()
	if err != nil {
		words += "   FAILED: " + err.Error()
	}
	fmt.Fprintf(e.out, "host  %9s  %s\n", milliseconds(took), words)
	e.command(s.String())
}

func (e *explainer) operation(v program.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v.Op.Words != "" {
		fmt.Fprintf(e.out, "child %9s  %s\n", "", v.Op.Words)
		e.command(v.Op.Command)
	}
	result := ""
	if v.Errno != 0 {
		result = "  = " + v.Errno.Error()
	}
	fmt.Fprintf(e.out, "child %9s      %s%s\n", milliseconds(v.Took), v.Op, result)
}

func (e *explainer) command(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(e.out, "%17s$ %s\n", "", strings.TrimRight(line, "\n"))
	}
}

// milliseconds prints a duration so that columns line up.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond))
}
