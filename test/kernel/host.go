package kernel

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// InHost moves the test into a host of its own until its end, as far as named network
// namespaces go: a network namespace, and a mount namespace whose /run is empty, so
// that ip netns and minictr find and leave nothing in the machine's /run/netns. What
// the test mounts and which namespaces it names is gone with it.
//
// As with InNetns only the goroutine of the test, and commands that it runs, are
// inside. Its thread cannot come back and ends with the test.
func InHost(t testing.TB) *Netns {
	t.Helper()
	n := InNetns(t)
	runtime.LockOSThread() // once more than is ever unlocked
	for _, step := range []struct {
		words string
		err   error
	}{
		{"unshare mount namespace", unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)},
		{"make / private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")},
		{"mount tmpfs on /run", unix.Mount("run", "/run", "tmpfs", 0, "mode=755")},
		{"mkdir /run/netns", os.Mkdir("/run/netns", 0o755)},
	} {
		if step.err != nil {
			t.Fatalf("%s: %v", step.words, step.err)
		}
	}
	return n
}
