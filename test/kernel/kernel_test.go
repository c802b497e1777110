package kernel_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
	"golang.org/x/sys/unix"
)

// A recorder is a test that is only looked at: it keeps what is reported to it.
type recorder struct {
	testing.TB
	cleanups []func()
	reports  []string
	skipped  bool
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.reports = append(r.reports, fmt.Sprintf(format, args...))
}
func (r *recorder) Skipf(format string, args ...any) { r.Errorf(format, args...); r.skipped = true }

func (r *recorder) end() {
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		r.cleanups[last]()
		r.cleanups = r.cleanups[:last]
	}
}

func TestRequireCommandNamesWhatIsMissing(t *testing.T) {
	r := &recorder{TB: t}
	kernel.RequireCommand(r, "sh", "no-such-command", "nor-this")
	if got := strings.Join(r.reports, ""); !r.skipped || !strings.Contains(got, "no-such-command, nor-this in PATH") {
		t.Errorf("skipped %v with %q", r.skipped, got)
	}
	r = &recorder{TB: t}
	kernel.RequireCommand(r, "sh")
	if r.skipped {
		t.Errorf("skipped for sh: %q", r.reports)
	}
}

func TestEventuallyWaits(t *testing.T) {
	calls := 0
	kernel.Eventually(t, time.Minute, func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}

func netnsOfThread(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestNetnsDo(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	outside := netnsOfThread(t)
	a, b := kernel.NewNetns(t), kernel.NewNetns(t)
	if got := netnsOfThread(t); got != outside {
		t.Fatalf("NewNetns moved the test from %s to %s", outside, got)
	}
	inode := func(n *kernel.Netns) string { return fmt.Sprintf("net:[%d]", n.Inode(t)) }
	a.Do(t, func() {
		b.Do(t, func() {
			if got := netnsOfThread(t); got != inode(b) {
				t.Errorf("in b: %s, want %s", got, inode(b))
			}
		})
		if got := netnsOfThread(t); got != inode(a) {
			t.Errorf("back in a: %s, want %s", got, inode(a))
		}
	})
	if got := netnsOfThread(t); got != outside {
		t.Errorf("back outside: %s, want %s", got, outside)
	}
}

func TestNetnsPath(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nsenter")
	kernel.Snapshot(t)
	n := kernel.NewNetns(t)
	out, err := exec.Command("nsenter", "--net="+n.Path(), "readlink", "/proc/self/ns/net").CombinedOutput()
	if want := fmt.Sprintf("net:[%d]\n", n.Inode(t)); err != nil || string(out) != want {
		t.Errorf("nsenter: %v %q, want %q", err, out, want)
	}
}

func TestInNetns(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	outside := netnsOfThread(t)
	t.Cleanup(func() {
		if got := netnsOfThread(t); got != outside {
			t.Errorf("after the test: %s, want %s", got, outside)
		}
	})
	n := kernel.InNetns(t)
	want := fmt.Sprintf("net:[%d]", n.Inode(t))
	if got := netnsOfThread(t); got != want || got == outside {
		t.Errorf("inside: %s, want %s and not %s", got, want, outside)
	}
	out, err := exec.Command("readlink", "/proc/self/ns/net").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		t.Errorf("a command: %v %s, want %s", err, got, want)
	}
}

// leaks are the ways to leave something behind: each is made, must be seen by
// Snapshot, and is taken away, which Snapshot must see too.
var leaks = []struct {
	name string // what the report has to say
	make func(t *testing.T) (undo func())
}{
	{"descriptor", func(t *testing.T) func() {
		f, err := os.Open(os.DevNull)
		check(t, err)
		return func() { check(t, f.Close()) }
	}},
	{"process", func(t *testing.T) func() {
		c := exec.Command("sleep", "1000")
		check(t, c.Start())
		return func() { _ = c.Process.Kill(); _ = c.Wait() } // killed: Wait says so
	}},
	{"in state Z", func(t *testing.T) func() {
		c := exec.Command("true")
		check(t, c.Start())
		return func() { check(t, c.Wait()) }
	}},
	{"child of 1: sleep 1001", func(t *testing.T) func() { // an orphan, in a session of its own
		out, err := exec.Command("sh", "-c", "setsid sleep 1001 >/dev/null 2>&1 & echo $!").Output()
		check(t, err)
		var pid int
		_, err = fmt.Sscan(string(out), &pid)
		check(t, err)
		return func() { check(t, unix.Kill(pid, unix.SIGKILL)) }
	}},
	{"mount of leak (tmpfs)", func(t *testing.T) func() {
		dir := t.TempDir()
		check(t, unix.Mount("leak", dir, "tmpfs", 0, ""))
		return func() { check(t, unix.Unmount(dir, 0)) }
	}},
	{"link leak0", func(t *testing.T) func() {
		check(t, exec.Command("ip", "link", "add", "leak0", "type", "bridge").Run())
		return func() { check(t, exec.Command("ip", "link", "del", "leak0").Run()) }
	}},
	{"nftables table inet leak", func(t *testing.T) func() {
		check(t, exec.Command("nft", "add", "table", "inet", "leak").Run())
		return func() { check(t, exec.Command("nft", "delete", "table", "inet", "leak").Run()) }
	}},
	{"cgroup ", func(t *testing.T) func() {
		dir := filepath.Join(cgroupMount(t), fmt.Sprintf("minictr-leak-%d", os.Getpid()))
		check(t, os.Mkdir(dir, 0o755))
		return func() { check(t, os.Remove(dir)) }
	}},
}

func TestSnapshotSeesWhatIsLeft(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "setsid", "sleep")
	kernel.Snapshot(t)
	for _, leak := range leaks {
		t.Run(leak.name, func(t *testing.T) {
			kernel.InNetns(t)
			r := &recorder{TB: t}
			kernel.SnapshotWithin(r, 200*time.Millisecond)
			undo := leak.make(t)
			r.end()
			if got := strings.Join(r.reports, "\n"); !strings.Contains(got, leak.name) {
				t.Errorf("reported %q", got)
			}

			r = &recorder{TB: t}
			kernel.Snapshot(r)
			undo()
			r.end()
			if len(r.reports) > 0 {
				t.Errorf("reported after it was taken back: %q", r.reports)
			}
		})
	}
}

func TestSnapshotWaits(t *testing.T) {
	kernel.RequireCommand(t, "sleep")
	r := &recorder{TB: t}
	kernel.Snapshot(r)
	c := exec.Command("sleep", "0.2")
	check(t, c.Start())
	go c.Wait() // reaps it
	r.end()
	if len(r.reports) > 0 {
		t.Errorf("reported %q", r.reports)
	}
}

// Processes and cgroups of other tests are not ours, whether they come while
// our test runs or were there and lose their processes meanwhile.
func TestSnapshotIgnoresOthers(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "prlimit", "sleep")
	kernel.Snapshot(t)
	r := &recorder{TB: t}
	kernel.SnapshotWithin(r, 200*time.Millisecond)
	end := otherTest(t)
	r.end()
	if got := strings.Join(r.reports, "\n"); strings.Contains(got, "process") || strings.Contains(got, "cgroup") {
		t.Errorf("came meanwhile: reported %q", got)
	}
	r = &recorder{TB: t}
	kernel.SnapshotWithin(r, 200*time.Millisecond)
	removeCgroup := end()
	r.end()
	if len(r.reports) > 0 {
		t.Errorf("ended meanwhile: reported %q", r.reports)
	}
	removeCgroup()
}

// otherTest starts a process with the mark of another test, in a cgroup.
func otherTest(t *testing.T) (end func() (removeCgroup func())) {
	t.Helper()
	c := exec.Command("prlimit", "--rttime=1099511627776:", "sleep", "1000")
	check(t, c.Start())
	end = sync.OnceValue(func() func() {
		_ = c.Process.Kill()
		_ = c.Wait() // killed: Wait says so
		dir := otherCgroup(t)
		return func() { kernel.Eventually(t, time.Minute, func() error { return os.Remove(dir) }) }
	})
	t.Cleanup(func() { end() })
	kernel.Eventually(t, time.Minute, func() error {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.Process.Pid))
		if err == nil && string(comm) != "sleep\n" {
			err = fmt.Errorf("still %q", comm)
		}
		return err
	})
	check(t, os.Mkdir(otherCgroup(t), 0o755))
	check(t, os.WriteFile(otherCgroup(t)+"/cgroup.procs", fmt.Append(nil, c.Process.Pid), 0))
	return end
}

func otherCgroup(t *testing.T) string {
	t.Helper()
	return filepath.Join(cgroupMount(t), fmt.Sprintf("minictr-other-%d", os.Getpid()))
}

// cgroupMount is where a hierarchy without obstacles is mounted: the unified
// one, or that of the controller pids.
func cgroupMount(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			return dir
		}
	}
	t.Skip("needs cgroups mounted on /sys/fs/cgroup")
	return ""
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestProgramsRun(t *testing.T) {
	if out, err := exec.Command(filepath.Join(kernel.Programs(t), "minictr"), "--version").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
