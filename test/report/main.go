// Report runs "go test -json", prints what "go test" would print, and says
// beside each package which of its tests were skipped and why, which "go test"
// keeps to itself. A test that nobody runs is then at least seen.
//
// Usage:
//
//	report [-allowed FILE] go test -json PACKAGES…
//
// With -allowed, a skip fails the run unless the file names it. Each line of
// the file is
//
//	PACKAGE TEST REASON
//
// PACKAGE is the folder in the module, TEST a regular expression that matches
// the whole name of the test, and REASON the beginning of the reason it gives.
// What follows a # is for the reader.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	allowed := flag.String("allowed", "", "`file` that lists the skips that are no failure")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, *allowed, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, allowed string, args []string) error {
	r := newReport(w)
	if allowed != "" {
		var err error
		if r.allowed, err = readAllowed(allowed); err != nil {
			return err
		}
	}
	c := exec.Command(args[0], args[1:]...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	readErr := r.read(out)
	if r.failed {
		fmt.Fprintln(w, "FAIL")
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return errors.Join(readErr, r.verdict())
}

// An event is one line of "go test -json"; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

func (r *report) read(from io.Reader) error {
	decoder := json.NewDecoder(from)
	for {
		var e event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, from) // let go test end
			return fmt.Errorf("read the output of go test: %w", err)
		}
		r.add(e)
	}
}
