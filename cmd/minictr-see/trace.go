package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/trace"
)

// traceFlags are those of minictr trace.
type traceFlags struct {
	static, json bool
	timeout      time.Duration
}

func traceCommand(a *app) *cobra.Command {
	var f traceFlags
	c := &cobra.Command{
		Use:   "trace FROM TO[:PORT][/udp|/icmp]",
		Short: "Send a packet, and tell where it went and what each rule did",
		Long: `trace sends one packet (a TCP SYN; a UDP datagram with /udp; an ICMP echo request without a port) and tells where it
went: links, bridges, the rules of every firewall, routes, address translation, and the way back; and where and why it ended.

FROM is a container, host (the network in which this is called), another target as minictr ns takes it, or an address of one of
them. TO is one of these, an alias of a container, a name that FROM's name server knows, or any address. With --static nothing is sent: the same is told from cables, routes and rules, for a FROM that is outside, too.

The exit code is 0 if the packet was answered, and 1 if not.`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.trace(args[0], args[1], f) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return append(a.runningNames(), hostName), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVar(&f.static, "static", false, "send nothing: tell it from routes and rules")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Second, "how long to wait for the answer")
	return c
}

func (a *app) trace(from, to string, f traceFlags) error {
	if f.timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %s: a packet needs more time than that", f.timeout)}
	}
	t, err := parseTraceTarget(to)
	if err != nil {
		return usageError{err}
	}
	r, err := a.traceRequest(from, t, f.static)
	if err != nil {
		return err
	}
	r.Timeout = f.timeout
	run := trace.Run
	if f.static {
		run = trace.Static
	}
	j, err := run(r)
	if err != nil {
		return err
	}
	if !j.Verdict.Good() {
		a.code = 1
	}
	if f.json {
		return terminal.JSON(a.out, j)
	}
	return printJourney(a.out, j)
}

// printJourney writes the verdict, and below it the hops. Links, rules and
// comments have names that others chose.
func printJourney(out io.Writer, j *trace.Journey) error {
	heading := func(e trace.End) string {
		text := e.Name
		if e.Name != e.Address.String() && !e.Address.IsUnspecified() {
			text = fmt.Sprintf("%s (%s)", e.Name, e.Address)
		}
		return text
	}
	to := heading(j.To)
	if j.Protocol != "icmp" {
		to += fmt.Sprintf(" port %d", j.To.Port)
	}
	lines := []string{fmt.Sprintf("%s -> %s/%s: %s", heading(j.From), to, j.Protocol, j.Verdict.Words)}
	width := 0
	for _, h := range j.Hops {
		width = max(width, len(h.Place))
	}
	for i, h := range j.Hops {
		if i > 0 && h.Direction != j.Hops[i-1].Direction {
			lines = append(lines, "back:")
		}
		mark := " "
		if h.Event == trace.Dropped {
			mark = "!"
		}
		lines = append(lines, fmt.Sprintf("%s%2d  %-*s  %s", mark, i+1, width, h.Place, h.Words))
	}
	for _, n := range j.Notes {
		lines = append(lines, "note: "+n)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, terminal.Visible(line)); err != nil {
			return err
		}
	}
	return nil
}
