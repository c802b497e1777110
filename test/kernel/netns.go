package kernel

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A Netns is a network namespace of a test. It lives as long as the test.
type Netns struct {
	file *os.File
}

// NewNetns makes a network namespace that holds nothing but a lo that is down.
// The test stays where it is: enter the namespace with Do, or hand Path to
// another program.
func NewNetns(t testing.TB) *Netns {
	t.Helper()
	n := new(Netns)
	onOwnThread(t, func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Fatalf("unshare network namespace: %v", err)
		}
		n.file = openNetns(t)
	})
	t.Cleanup(func() {
		if err := n.file.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// InNetns moves the test into a network namespace of its own until its end and
// returns the namespace. The goroutine of the test is locked to its thread, and
// only it is inside: a subtest or a go statement starts outside again, whereas
// commands that the test runs are inside.
//
// A view of the namespace by way of procfs is /proc/thread-self/net; /proc/net
// and /proc/self/net show the namespace of the main thread.
func InNetns(t testing.TB) *Netns {
	t.Helper()
	inside := NewNetns(t)
	runtime.LockOSThread()
	outside := openNetns(t)
	inside.enter(t)
	t.Cleanup(func() {
		// When this fails the thread stays locked and dies with the goroutine.
		(&Netns{outside}).enter(t)
		runtime.UnlockOSThread()
		if err := outside.Close(); err != nil {
			t.Error(err)
		}
	})
	return inside
}

// Do runs f inside the namespace, in the goroutine of the caller, which may
// therefore end the test from within f. Calls may be nested.
func (n *Netns) Do(t testing.TB, f func()) {
	t.Helper()
	onOwnThread(t, func() {
		n.enter(t)
		f()
	})
}

// Path is a name of the namespace for other programs, as in "nsenter
// --net=PATH". It is good while the test runs.
func (n *Netns) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// Inode is the number that identifies the namespace: the one in
// "net:[4026531840]", which readlink(1) shows for /proc/PID/ns/net.
func (n *Netns) Inode(t testing.TB) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(n.file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func (n *Netns) enter(t testing.TB) {
	t.Helper()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatalf("enter network namespace: %v", err)
	}
}

// onOwnThread runs f on a locked thread and takes that thread back to the
// network namespace in which it was.
func onOwnThread(t testing.TB, f func()) {
	t.Helper()
	runtime.LockOSThread()
	before := &Netns{openNetns(t)}
	defer func() {
		before.enter(t)
		runtime.UnlockOSThread()
		if err := before.file.Close(); err != nil {
			t.Error(err)
		}
	}()
	f()
}

// openNetns opens the namespace of the calling thread.
func openNetns(t testing.TB) *os.File {
	t.Helper()
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return file
}
