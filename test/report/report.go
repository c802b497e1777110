package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A report prints the results of packages as they end.
type report struct {
	w          io.Writer
	allowed    []allowance // nil: every skip is
	packages   map[string]*result
	unexpected int
	failed     bool
}

// A result is what is known of one package while its tests run.
type result struct {
	lines   []string            // the package's own output
	tests   map[string][]string // the output of each test that has not passed
	order   []string            // names of those tests, by their start
	skipped []string
}

func newReport(w io.Writer) *report {
	return &report{w: w, packages: map[string]*result{}}
}

func (r *report) add(e event) {
	p := r.packages[e.Package]
	if p == nil {
		p = &result{tests: map[string][]string{}}
		r.packages[e.Package] = p
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		p.output(e)
	case "pass":
		delete(p.tests, e.Test)
	case "skip":
		p.skipped = append(p.skipped, e.Test)
	}
	if e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
		r.print(e.Package, p, e.Action == "fail")
		delete(r.packages, e.Package)
	}
}

func (p *result) output(e event) {
	if e.Test == "" {
		p.lines = append(p.lines, e.Output)
		return
	}
	if _, ok := p.tests[e.Test]; !ok {
		p.order = append(p.order, e.Test)
	}
	p.tests[e.Test] = append(p.tests[e.Test], e.Output)
}

// print prints a package that has ended: the output of the tests that failed or
// did not end, then the skips, then the lines of the package.
func (r *report) print(name string, p *result, failed bool) {
	if failed {
		r.failed = true
		for _, test := range p.order {
			if !slices.Contains(p.skipped, test) {
				r.printTest(p.tests[test])
			}
		}
	}
	r.printSkips(name, p)
	for _, line := range p.lines {
		if failed || !isNoise(line) {
			fmt.Fprint(r.w, line)
		}
	}
}

func (r *report) printTest(lines []string) {
	for _, line := range lines {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(r.w, line)
		}
	}
}

// isNoise tells whether "go test" without -v keeps the line to itself.
func isNoise(line string) bool {
	return line == "PASS\n" || strings.HasPrefix(line, "-test.shuffle ")
}

// printSkips prints one line for each reason, with the tests that gave it.
func (r *report) printSkips(name string, p *result) {
	byReason := map[string][]string{}
	var reasons []string
	for _, test := range p.skipped {
		if test == "" {
			continue // the package has no tests
		}
		reason := skipReason(p.tests[test])
		if byReason[reason] == nil {
			reasons = append(reasons, reason)
		}
		if !r.allows(name, test, reason) {
			r.unexpected++
			test += " (not expected)"
		}
		byReason[reason] = append(byReason[reason], test)
	}
	for _, reason := range reasons {
		fmt.Fprintf(r.w, "skip\t%s\t%s: %s\n", name, reason, strings.Join(byReason[reason], ", "))
	}
}

// skipReason finds the text of t.Skip in "    file_test.go:12: text".
func skipReason(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if m := logLine.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return "no reason given"
}

var logLine = regexp.MustCompile(`^\s+\S+\.go:\d+: (.*)\n$`)

func (r *report) verdict() error {
	if r.failed {
		return errors.New("tests failed")
	}
	if r.unexpected > 0 {
		return fmt.Errorf("%d skipped that should have run", r.unexpected)
	}
	return nil
}

// An allowance is one line of the file of allowed skips.
type allowance struct {
	folder string
	test   *regexp.Regexp
	reason string
}

func (r *report) allows(name, test, reason string) bool {
	if r.allowed == nil {
		return true
	}
	return slices.ContainsFunc(r.allowed, func(a allowance) bool {
		return (name == a.folder || strings.HasSuffix(name, "/"+a.folder)) &&
			a.test.MatchString(test) && strings.HasPrefix(reason, a.reason)
	})
}

func readAllowed(path string) ([]allowance, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list := []allowance{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 3 {
			return nil, fmt.Errorf("parse %s:%d: want PACKAGE TEST REASON", path, number)
		}
		test, err := regexp.Compile("^(?:" + fields[1] + ")$")
		if err != nil {
			return nil, fmt.Errorf("parse %s:%d: %w", path, number, err)
		}
		list = append(list, allowance{fields[0], test, strings.Join(fields[2:], " ")})
	}
	return list, nil
}
