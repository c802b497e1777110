package doctor

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// inRoot makes a thread whose root is the directory, as a container's process has it,
// and returns its id.
func inRoot(t *testing.T, dir string) (tid int) {
	t.Helper()
	ready, end, over := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		runtime.LockOSThread() // for good: it ends with the goroutine
		defer close(over)
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Chroot(dir)
		}
		tid = unix.Gettid()
		ready <- err
		<-end
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(end); <-over })
	return tid
}

// TestGuestFiles: what a container makes of its files leads nobody out of its root, and
// keeps nobody waiting.
func TestGuestFiles(t *testing.T) {
	kernel.RequireRoot(t)
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pid := inRoot(t, dir)
	if err := os.Mkdir(dir+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/etc/real", []byte("a\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"absolute": outside, "relative": strings.Repeat("../", 9) + outside[1:], "within": "/etc/real", "magic": "/proc/self/fd/0", "loop": "loop"} {
		if err := os.Symlink(to, dir+"/etc/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(dir+"/etc/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{"real": true, "within": true, "absolute": false, "relative": false, "magic": false, "loop": false, "fifo": false, "missing": false} {
		rewrite := &rewriting{pid, "etc/" + name, func(old string) string { return old + "c\n" }}
		if err := rewrite.do(); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := os.ReadFile(dir + "/etc/real"); err != nil || string(text) != "a\nb\nc\nc\n" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "untouched" {
		t.Errorf("outside: %q, %v", text, err)
	}
}
