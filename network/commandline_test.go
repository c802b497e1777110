package network

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// TestCommandLine: what a process calls its command line fills nobody's memory.
func TestCommandLine(t *testing.T) {
	kernel.RequireCommand(t, "sleep")
	for _, args := range [][]string{
		{"sleep", "60"},
		append([]string{"sleep", "60"}, slices.Repeat([]string{strings.Repeat("0", 100_000)}, 9)...),
	} {
		c := exec.Command(args[0], args[1:]...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		whole := strings.Join(args, "\x00") + "\x00"
		got, err := CommandLine(c.Process.Pid)
		if want := whole[:min(len(whole), maxCommandLine)]; err != nil || string(got) != want {
			t.Errorf("%d bytes, %v, not %d", len(got), err, len(want))
		}
		_ = c.Process.Kill() // and the error is that of Wait
		_ = c.Wait()
		if _, err := CommandLine(c.Process.Pid); err == nil {
			t.Error("no error of a process that is no more")
		}
	}
}
