package runtime

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Through /proc/1/fd a container could open a file of the caller's again, for
// more than it was opened for; so it gets a pipe, and what it writes arrives.
func TestNoFileOfTheCallersGetsIn(t *testing.T) {
	w := newWorld(t)
	output, code := w.run(t, w.config("links", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "/proc/self/fd/3", "/proc/self/exe"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, output)
	}
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for i, want := range []string{"/dev/null", "pipe:[", "pipe:["} {
		if len(lines) < 3 || !strings.Contains(lines[i], " "+want) {
			t.Errorf("descriptor %d is not %s:\n%s", i, want, output)
		}
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, "/bin/links") {
		t.Errorf("the executable is not the container's: %s", last)
	}
}

// A pipe gives no more than it is, and is handed on.
func TestPipesAreHandedOn(t *testing.T) {
	w := newWorld(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s := Standard{Stdout: write, Stderr: write}
	p, err := w.Run(w.config("say", "hello"), s, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.outputs) > 0 {
		t.Error("minictr copies what it could hand on")
	}
	if code, err := p.Wait(s); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	write.Close()
	b := make([]byte, 64)
	if n, err := read.Read(b); err != nil || string(b[:n]) != "hello\n" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// The mode of the container's root is not that of the caller's mask: its users
// must be able to enter it.
func TestMaskOfTheCallerIsNotTheContainers(t *testing.T) {
	w := newWorld(t)
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	c := w.layered("say", "hello")
	c.User = "1000"
	if output, code := w.run(t, c); code != 0 || output != "hello\n" {
		t.Errorf("exit code %d: %s", code, output)
	}
}
