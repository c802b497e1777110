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
// inside.
func InHost(t testing.TB) *Netns {
	t.Helper()
	n := InNetns(t)
	machine, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	directory, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // once more than is ever unlocked: no other goroutine shares its root
	t.Cleanup(func() {
		for _, err := range []error{unix.Setns(int(machine.Fd()), unix.CLONE_NEWNS), unix.Chdir(directory), machine.Close()} {
			if err != nil {
				t.Errorf("leave the mount namespace: %v", err)
			}
		}
	})
	for _, step := range []struct {
		words string
		do    func() error
	}{
		{"unshare mount namespace", func() error { return unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS) }},
		{"make / private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount tmpfs on /run", func() error { return unix.Mount("run", "/run", "tmpfs", 0, "mode=755") }},
		{"mkdir /run/netns", func() error { return os.Mkdir("/run/netns", 0o755) }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.words, err)
		}
	}
	return n
}
