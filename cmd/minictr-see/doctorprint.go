package main

import (
	"fmt"
	"strings"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/doctor"
)

// print writes the cause first, and then the chain, a line a check.
func (d *doctoring) print(r *doctor.Report) {
	if r.Cause != nil {
		d.line("cause: %s", sentence(*r.Cause))
		d.explain(*r.Cause, "  ")
		fmt.Fprintln(d.out)
	}
	d.rows(r.Checks, r.Cause)
	switch {
	case r.Healthy && !d.quiet:
		d.line("\n%s is well%s", r.Container, notes(r))
	case r.Healthy:
		d.line("%s is well%s", r.Container, notes(r))
	}
}

// line writes a line in which nothing steers the terminal.
func (d *doctoring) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	rest := strings.TrimLeft(text, "\n")
	fmt.Fprintln(d.out, text[:len(text)-len(rest)]+terminal.Visible(rest))
}

// sentence is a finding in one line.
func sentence(f doctor.Finding) string {
	if f.Object == "" || strings.Contains(f.What, f.Object) {
		return fmt.Sprintf("%s: %s", f.Check, f.What)
	}
	return fmt.Sprintf("%s: %s: %s", f.Check, f.Object, f.What)
}

// explain writes why it matters, how it is seen and how it is cured.
func (d *doctoring) explain(f doctor.Finding, margin string) {
	if f.Why != "" {
		d.line("%swhy:   %s", margin, f.Why)
	}
	if f.Show != "" {
		d.line("%sshow:  %s", margin, f.Show)
	}
	for _, cure := range f.Cure {
		for i, line := range strings.Split(cure, "\n") {
			if i == 0 {
				d.line("%scure:  %s", margin, line)
			} else {
				d.line("%s       %s", margin, line)
			}
		}
	}
}

// rows joins the findings of a check that are well into one.
func rows(list []doctor.Finding) (rows []doctor.Finding) {
	for _, f := range list {
		n := len(rows)
		if n > 0 && rows[n-1].Check == f.Check && rows[n-1].Status == f.Status && f.Status == doctor.OK {
			if f.What != "" && !strings.Contains(rows[n-1].What, f.What) {
				rows[n-1].What = strings.TrimPrefix(rows[n-1].What+", "+f.What, ", ")
			}
			continue
		}
		rows = append(rows, f)
	}
	return rows
}

// mostRows is how many findings of a check are written: somebody in a container may give
// it thousands of addresses.
const mostRows = 10

// few keeps the first findings of each check and status, and the number of the others.
func few(list []doctor.Finding) (shown []doctor.Finding) {
	type kind struct {
		check  doctor.ID
		status doctor.Status
	}
	seen, last := map[kind]int{}, map[kind]int{}
	for _, f := range list {
		k := kind{f.Check, f.Status}
		if seen[k]++; seen[k] <= mostRows || f.Status == doctor.OK || f.Status == doctor.Skipped {
			last[k] = len(shown)
			shown = append(shown, f)
			continue
		}
		shown[last[k]] = doctor.Finding{Check: f.Check, Status: f.Status, Because: f.Because, What: fmt.Sprintf("and %d more, which --json lists", seen[k]-mostRows+1)}
	}
	return shown
}

// rows writes the checklist, and at its end what was not asked, by the reasons.
func (d *doctoring) rows(list []doctor.Finding, cause *doctor.Finding) {
	var reasons []string
	names := map[string][]string{}
	for _, f := range few(rows(list)) {
		if f.Status != doctor.Skipped {
			d.row(f, cause)
			continue
		}
		if names[f.What] == nil {
			reasons = append(reasons, f.What)
		}
		names[f.What] = append(names[f.What], string(f.Check))
	}
	for _, reason := range reasons {
		if !d.quiet {
			d.line("– %s: %s", reason, strings.Join(names[reason], ", "))
		}
	}
}

// row writes one line of the checklist.
func (d *doctoring) row(f doctor.Finding, cause *doctor.Finding) {
	marks := map[doctor.Status]string{doctor.OK: "✓", doctor.Fault: "✗", doctor.Consequence: "✗", doctor.Warn: "!"}
	if d.quiet && f.Status == doctor.OK {
		return
	}
	text := f.What
	switch {
	case f.Status == doctor.OK:
		text = asked(f)
	case f.Object != "" && !strings.Contains(text, f.Object):
		text = f.Object + ": " + text
	}
	if f.Status == doctor.Consequence {
		text += fmt.Sprintf(" (a consequence of %s)", f.Because)
	}
	d.line("%s %-18s %s", marks[f.Status], f.Check, text)
	same := cause != nil && f.Check == cause.Check && f.What == cause.What && f.Object == cause.Object
	if f.Status == doctor.Fault && !same || f.Status == doctor.Warn {
		d.explain(f, "                     ")
	}
}

// asked is what the check asks, and what was seen.
func asked(f doctor.Finding) string {
	words := ""
	for _, c := range doctor.Checks() {
		if c.ID == f.Check {
			words = c.Words
		}
	}
	if f.What == "" {
		return words
	}
	return words + ": " + f.What
}

// notes counts what is worth knowing.
func notes(r *doctor.Report) string {
	n := 0
	for _, f := range r.Checks {
		if f.Status == doctor.Warn {
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return ", with one remark"
	}
	return fmt.Sprintf(", with %d remarks", n)
}

// printHost writes the host's own checks, and of each container a line.
func (d *doctoring) printHost(r *hostReport) {
	if r.Cause != nil {
		d.line("cause: %s", sentence(*r.Cause))
		d.explain(*r.Cause, "  ")
		fmt.Fprintln(d.out)
	}
	d.rows(r.Checks, r.Cause)
	ill := 0
	for _, c := range r.Containers {
		if c.Healthy {
			continue
		}
		ill++
		d.line("✗ container %s: %s", c.Container, sentence(*c.Cause))
	}
	switch n := len(r.Containers); {
	case n == 0:
		d.line("no container runs")
	case ill == 0 && n == 1:
		d.line("1 container: well")
	case ill == 0:
		d.line("%d containers: all well", n)
	default:
		d.line("%d of %d containers: minictr doctor CONTAINER says more", ill, n)
	}
}
