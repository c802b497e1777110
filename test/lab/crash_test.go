package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// A change is a command that may be killed, and what takes it back. Afterwards
// everything has to be as before, whether the command had done it or not.
type change struct {
	name string
	// do is killed. The steps of before are done first, those of after are done
	// then, and may find that there is nothing to do.
	before, after [][]string
	do            []string
}

// changes are made to a container box on the network bridge, where there is a
// network net, too.
var changes = []change{
	{name: "connect", do: words("network connect net box"), after: [][]string{words("network disconnect -f net box")}},
	{name: "disconnect", before: [][]string{words("network connect net box")}, do: words("network disconnect net box"), after: [][]string{words("network disconnect -f net box")}},
	{name: "port add", do: words("port add box 9000:90"), after: [][]string{words("port rm box 9000:90")}},
	{name: "port add range", do: words("port add box 9000-9099:9000-9099/udp"), after: [][]string{words("port rm box 9000-9099:9000-9099/udp")}},
	{name: "port rm", before: [][]string{words("port add box 9000:90")}, do: words("port rm box 9000:90"), after: [][]string{words("port rm box 9000:90")}},
	{name: "create", do: words("network create --ipv6 new"), after: [][]string{words("network rm -f new")}},
	{name: "network rm", before: [][]string{words("network create --ipv6 new")}, do: words("network rm new"), after: [][]string{words("network rm -f new")}},
	{name: "run", do: sleeper("other", "--network", "net", "-p", "9000:90"), after: [][]string{words("rm -f other")}},
	{name: "rm", before: [][]string{sleeper("other", "--network", "net", "-p", "9000:90")}, do: words("rm -f other"), after: [][]string{words("rm -f other")}},
}

func words(text string) []string { return strings.Fields(text) }

// mayFail are the changes back that are not needed when the command was killed
// before it did anything, and say so.
func mayFail(command []string) bool { return command[0] == "port" || command[0] == "rm" }

// minictr is killed at any moment of what it does to networks. The next command
// mends: it is done or not, and nothing else is left.
func TestKilledWhileChanging(t *testing.T) {
	programs := require(t)
	rounds := int(fromEnvironment(t, stepsVariable, 30)) / 5
	t.Run("changes", func(t *testing.T) {
		for _, c := range changes {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t, programs)
				l.must("network", "create", "net")
				l.run("box", "-p", "8000:80")
				c.undisturbed(l)
				for round := range rounds {
					c.check(l, time.Duration(rand.Int64N(int64(longest))))
					if t.Failed() {
						t.Fatalf("in round %d", round)
					}
				}
			})
		}
	})
}

// longest is more than any of the commands takes.
const longest = 30 * time.Millisecond

// undisturbed does the change once: some traces stay for good, like ip_forward.
func (c change) undisturbed(l *lab) {
	l.t.Helper()
	for _, command := range append(append(c.before, c.do), c.after...) {
		if _, _, err := l.try(command...); err != nil && !mayFail(command) {
			l.t.Error(err)
		}
	}
}

// check does the change and kills it after the time.
func (c change) check(l *lab, after time.Duration) {
	l.t.Helper()
	kernel.Eventually(l.t, 20*time.Second, l.alone)
	calm, leases := l.state(), l.memory()
	for _, command := range c.before {
		l.must(command...)
	}
	l.killed(after, c.do...)
	_, said, err := l.try("ps") // mends
	if err != nil {
		l.t.Fatal(err)
	}
	if said != "" {
		l.t.Log(said)
	}
	kernel.Eventually(l.t, 20*time.Second, l.whole) // a container that has lost its parent is ended in the background
	for _, command := range c.after {
		if _, _, err := l.try(command...); err != nil && !mayFail(command) {
			l.t.Error(err)
		}
	}
	var diff string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		diff = difference(calm, l.state()) + difference(leases, l.memory())
		if diff == "" {
			return
		}
	}
	l.t.Errorf("%s, killed after %v: before (-) and after (+) differ:\n%s", strings.Join(c.do, " "), after, diff)
}

// alone wants box's cable to be the only one: the kernel takes that of a container
// that has gone away in the background.
func (l *lab) alone() error {
	if n := strings.Count(l.state(), "veth…: <"); n != 1 {
		return fmt.Errorf("%d cables", n)
	}
	return nil
}

// killed runs minictr and kills it after the time.
func (l *lab) killed(after time.Duration, args ...string) {
	l.t.Helper()
	c := l.command(context.Background(), args...)
	if err := l.host.do(c.Start); err != nil {
		l.t.Fatal(err)
	}
	time.Sleep(after)
	c.Process.Kill() // it may have ended by itself
	c.Wait()
}

// memory is what minictr has written of networks.
func (l *lab) memory() string {
	l.t.Helper()
	var b strings.Builder
	for _, dir := range []string{l.runroot + "/leases", l.runroot + "/names", filepath.Dir(l.runroot) + "/netns", l.root + "/networks"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && (e.IsDir() || isLock(path)) {
				return nil
			}
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if e.Type()&fs.ModeSymlink != 0 {
				text, err = nil, nil
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if filepath.Base(filepath.Dir(path)) == "leases" { // who has an address; not, which is the next
				text = []byte(strings.Join(owner.FindAllString(string(text), -1), " "))
			}
			if len(text) > 0 || e.Type()&fs.ModeSymlink != 0 {
				fmt.Fprintf(&b, "%s: %s\n", path, text)
			}
			return err
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
	return b.String()
}

var owner = regexp.MustCompile(`[0-9a-f]{64}`)

// whole checks that what is listed is there, as it is described.
func (l *lab) whole() error {
	var errs []error
	for name := range strings.FieldsSeq(l.must("ps", "--format", "{{.Names}}")) {
		seen, err := l.look(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		links, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", seen.State.Pid))
		if n := strings.Count(string(links), "eth"); err != nil || n != len(seen.NetworkSettings.Networks) {
			errs = append(errs, fmt.Errorf("%s: %w, on networks %v with links\n%s", name, err, seen.NetworkSettings.Networks, links))
		}
	}
	return errors.Join(errs...)
}

// After a reboot there are no processes, no links and no files of the run; the
// next command finds out, and what is started again works as before.
func TestReboot(t *testing.T) {
	programs := require(t)
	next := newWorld(t)
	l := newLab(t, programs)
	l.must("network", "create", "--ipv6", "net")
	l.run("box", "--network", "net", "-p", "8000:80")
	l.run("second", "--network", "bridge", "-p", "8001:80/udp")
	l.reboot(next)
	if out := l.must("ps", "-q"); out != "" {
		t.Errorf("running after the reboot: %s", out)
	}
	l.must("start", "box", "second")
	box, second := l.inspect("box"), l.inspect("second")
	box.serve(t, "[::]:80")
	second.serve(t, "[::]:80")
	expected := map[question]string{
		{l.lan, "tcp", addrPort(hostAddress, 8000)}:  lanAddress,
		{l.lan, "tcp", addrPort(hostAddress6, 8000)}: lanAddress6,
		{l.lan, "udp", addrPort(hostAddress, 8001)}:  lanAddress,
	}
	for q, got := range askAll(expected) {
		t.Errorf("%s: answer %q, want %q", q, got, expected[q])
	}
}

// reboot kills all that runs in the host's namespace and in those of its
// containers, and goes on in the next world, with an empty runroot and without
// cgroups.
func (l *lab) reboot(next *world) {
	l.t.Helper()
	namespaces := map[string]bool{inode(l.host.path()): true}
	ids := strings.Fields(l.must("ps", "-q", "--no-trunc"))
	for _, id := range ids {
		seen, err := l.look(id)
		if err != nil {
			l.t.Fatal(err)
		}
		namespaces[inode(fmt.Sprintf("/proc/%d/ns/net", seen.State.Pid))] = true
	}
	kernel.Eventually(l.t, 10*time.Second, func() error {
		left := inside(namespaces)
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL) // it may be gone
		}
		if len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
	for _, dir := range []string{l.runroot, filepath.Dir(l.runroot) + "/netns"} {
		if err := os.RemoveAll(dir); err != nil {
			l.t.Fatal(err)
		}
	}
	kernel.Eventually(l.t, 10*time.Second, func() error { return removeCgroups(ids) })
	l.world = next
	l.before = l.state()
}

// removeCgroups removes those of the containers, of both versions.
func removeCgroups(ids []string) error {
	var errs []error
	for _, id := range ids {
		for _, pattern := range []string{"/sys/fs/cgroup/*/minictr/", "/sys/fs/cgroup/minictr/"} {
			found, err := filepath.Glob(pattern + id)
			errs = append(errs, err)
			for _, dir := range found {
				errs = append(errs, os.Remove(dir))
			}
		}
	}
	return errors.Join(errs...)
}

func inode(path string) string {
	name, _ := os.Readlink(path) // an error: gone
	return name
}

// inside are the processes in the namespaces. This one is in none.
func inside(namespaces map[string]bool) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/ns/net") // the pattern is right
	for _, file := range files {
		pid, err := strconv.Atoi(strings.Split(file, "/")[2])
		if err == nil && pid != os.Getpid() && namespaces[inode(file)] {
			pids = append(pids, pid)
		}
	}
	return pids
}
