package namespaces

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// started runs a command until the end of the test, and returns when it is what it is
// to be: ready is a word of its command line.
func started(t *testing.T, ready string, words ...string) int {
	t.Helper()
	c := exec.Command(words[0], words[1:]...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have been ended by what is tested
		_ = c.Wait()         // killed: Wait says so
	})
	kernel.Eventually(t, 10*time.Second, func() error {
		if line := command(c.Process.Pid); !strings.HasPrefix(line, ready) {
			return fmt.Errorf("still %q", line)
		}
		return nil
	})
	return c.Process.Pid
}

// keeping says what keeps a namespace alive, without numbers that differ.
func keeping(t *testing.T, inode uint64) (list []string) {
	t.Helper()
	h, err := HoldsOf(Network, inode)
	if err != nil {
		t.Fatal(err)
	}
	who := func(p Process) string {
		if p.Pid == os.Getpid() {
			return "self"
		}
		return p.Command
	}
	for _, m := range h.Members {
		list = append(list, fmt.Sprintf("member %s, a part: %v", who(m.Process), len(m.Threads) > 0))
	}
	for _, f := range h.Files {
		list = append(list, fmt.Sprintf("%s of %s", f.What, who(f.Process)))
	}
	for _, m := range h.Mounts {
		list = append(list, fmt.Sprintf("mount %s, in another namespace: %v, of %s", m.Path, m.Namespace != 0, who(m.Process)))
	}
	slices.Sort(list)
	return list
}

// TestHolds makes all that keeps a network namespace alive, one thing after the other,
// and finds each, and nothing else.
func TestHolds(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nsenter", "unshare", "sleep")
	kernel.Snapshot(t)
	dir := t.TempDir()
	kernel.InHost(t)
	n := kernel.NewNetns(t) // whose descriptor is the first that is found
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string {
		path := dir + "/" + name
		check(os.WriteFile(path, nil, 0o600))
		return path
	}
	here, there, nowhere := file("here"), file("there"), file("nowhere")
	var want []string
	for _, step := range []struct {
		want string
		make func()
	}{
		{"the namespace of self", func() {}},
		{"member sleep 1000, a part: false", func() { started(t, "sleep", "nsenter", "--net="+n.Path(), "sleep", "1000") }},
		{"a socket of self", func() {
			var fd int
			n.Do(t, func() {
				var err error
				fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				check(err)
			})
			t.Cleanup(func() { check(unix.Close(fd)) })
		}},
		{"mount " + here + ", in another namespace: false, of ", func() { check(unix.Mount(n.Path(), here, "", unix.MS_BIND, "")) }},
		{"the namespace of self", func() { // by the mount, whose path is what its link says
			f, err := os.Open(here)
			check(err)
			t.Cleanup(func() { check(f.Close()) })
		}},
		{"mount " + there + ", in another namespace: true, of sleep 1001", func() {
			started(t, "sleep", "unshare", "-m", "sh", "-c", "umount "+here+" && mount --bind "+n.Path()+" "+there+" && exec sleep 1001")
		}},
		{"mount " + nowhere + ", in another namespace: true, of ", func() {
			// A mount namespace that is left has to be mounted where it is not itself.
			script := "umount " + here + " && mount --bind " + n.Path() + " " + nowhere + " && exec sleep 1002"
			c := exec.Command("unshare", "-m", "sh", "-c", script)
			check(c.Start())
			kernel.Eventually(t, 10*time.Second, func() error {
				if line := command(c.Process.Pid); line != "sleep 1002" {
					return fmt.Errorf("still %q", line)
				}
				return nil
			})
			f, err := Open(c.Process.Pid, Mount)
			check(err)
			t.Cleanup(func() { check(f.Close()) })
			check(c.Process.Kill())
			_ = c.Wait() // killed: Wait says so
		}},
	} {
		step.make()
		want = append(want, step.want)
		slices.Sort(want)
		if got := keeping(t, n.Inode(t)); !slices.Equal(got, want) {
			t.Fatalf("have\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
}

// A descriptor that was opened by a bind mount is found when the mount is gone: it may be
// all that is left of the namespace.
func TestReadDetached(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	path := t.TempDir() + "/blue"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kernel.InHost(t)
	n := kernel.NewNetns(t)
	if err := unix.Mount(n.Path(), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	list, err := Read(Network)
	if err != nil {
		t.Fatal(err)
	}
	want := Holder{Pid: os.Getpid(), FD: int(f.Fd())}
	if i := slices.IndexFunc(list, func(one Namespace) bool { return one.Inode == n.Inode(t) }); i < 0 || !slices.Contains(list[i].Held, want) {
		t.Errorf("%+v is not among what was found", want)
	}
}

// A thread that has gone into a namespace alone is told from the whole process.
func TestHoldsThread(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	n := kernel.NewNetns(t)
	n.Do(t, func() {
		if got := keeping(t, n.Inode(t)); !slices.Contains(got, "member self, a part: true") {
			t.Errorf("this thread was not found: %q", got)
		}
	})
}

// TestEnd ends what is in the namespace, whether it listens to SIGTERM or not, and
// nothing else: not what has only a descriptor, nor a thread there.
func TestEnd(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nsenter", "sleep", "sh")
	kernel.Snapshot(t)
	n := kernel.NewNetns(t)
	net := "--net=" + n.Path()
	polite := started(t, "sleep", "nsenter", net, "sleep", "1000")
	stubborn := started(t, "sh -c trap", "nsenter", net, "sh", "-c", "trap '' TERM; while :; do sleep 0.2; done")
	outside := started(t, "sleep", "sleep", "1003")
	kernel.Eventually(t, 10*time.Second, func() error { // the trap is set before it sleeps
		if out, _ := exec.Command("sh", "-c", fmt.Sprintf("cat /proc/%d/task/%d/children", stubborn, stubborn)).Output(); len(out) == 0 {
			return fmt.Errorf("the shell has not begun")
		}
		return nil
	})
	var list []Ending
	n.Do(t, func() {
		var err error
		if list, err = End(Network, n.Inode(t), 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	})
	for pid, want := range map[int]string{polite: "SIGTERM", stubborn: "SIGKILL", os.Getpid(): "this command was started from it", outside: "nothing"} {
		got := "nothing"
		for _, e := range list {
			if e.Err != nil {
				t.Errorf("%+v", e)
			}
			if e.Process.Pid == pid {
				got = e.Spared + unix.SignalName(e.Signal)
			}
		}
		if got != want {
			t.Errorf("process %d: %s, want %s", pid, got, want)
		}
	}
	if Ended(pidfd(t, outside)) {
		t.Error("a process outside was ended")
	}
	if left := keeping(t, n.Inode(t)); !slices.Equal(left, []string{"the namespace of self"}) {
		t.Errorf("left: %q", left)
	}
}

func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}
