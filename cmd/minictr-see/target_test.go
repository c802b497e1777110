package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/runtime"
)

// bareApp has no containers, and a directory of its own for names of namespaces.
func bareApp(t *testing.T) *app {
	t.Helper()
	directory := t.TempDir()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, root: directory + "/root", runroot: directory + "/run/minictr"}
	if err := os.MkdirAll(directory+"/run/netns", 0o755); err != nil {
		t.Fatal(err)
	}
	return a
}

// sleeper is a process that ends with the test.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "4711")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c
}

// TestTargets: each form, and the order in which a word is tried.
func TestTargets(t *testing.T) {
	a := bareApp(t)
	pid := sleeper(t).Process.Pid
	names := filepath.Join(filepath.Dir(a.runroot), "netns")
	for name, to := range map[string]string{"blue": "/proc/self/ns/net", fmt.Sprint(pid): "/proc/self/ns/net", "gone": "/proc/4194305/ns/net"} {
		if err := os.Symlink(to, filepath.Join(names, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(names, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		word, want string // what it is, or the error
		kinds      int    // how many namespaces it has
		err        error
	}{
		{"self", "self", 8, nil},
		{"host", "host", 8, nil},
		{fmt.Sprintf("pid:%d", pid), fmt.Sprintf("process %d", pid), 8, nil},
		{fmt.Sprint(os.Getppid()), fmt.Sprintf("process %d", os.Getppid()), 8, nil},
		{fmt.Sprint(pid), fmt.Sprintf("netns %d", pid), 1, nil},
		{"blue", "netns blue", 1, nil},
		{"netns:blue", "netns blue", 1, nil},
		{"/proc/self/ns/pid", "/proc/self/ns/pid", 1, nil},
		{"", "an empty name is no target", 0, nil},
		{"nosuch", "no such target: nosuch is no container's name or id, no name in " + names + " and no process", 0, fs.ErrNotExist},
		{"4194305", "there is no process 4194305", 0, nil},
		{"pid:x", `"x" is no number of a process`, 0, unix.EINVAL},
		{"pid:-1", `"-1" is no number of a process`, 0, unix.EINVAL},
		{"container:blue", "no such container: blue", 0, nil},
		{"netns:nosuch", `no network namespace is named "nosuch" in ` + names, 0, fs.ErrNotExist},
		{"netns:", `no network namespace is named "" in ` + names, 0, fs.ErrNotExist},
		{"netns:..", `no network namespace is named ".." in ` + names, 0, fs.ErrNotExist},
		{"gone", names + "/gone leads nowhere: its process has ended", 0, fs.ErrNotExist},
		{"empty", names + "/empty is a file on which no namespace is mounted", 0, namespaces.ErrNone},
		{"/dev/null", "/dev/null is not a namespace", 0, namespaces.ErrNone},
		{"/nowhere/at/all", "open /nowhere/at/all: no such file or directory", 0, fs.ErrNotExist},
	} {
		t.Run(c.word, func(t *testing.T) {
			got, err := a.target(c.word)
			if c.kinds == 0 {
				if err == nil || err.Error() != c.want || c.err != nil && !errors.Is(err, c.err) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer got.close()
			if got.String() != c.want || len(got.set) != c.kinds {
				t.Errorf("got %s with %d namespaces", got, len(got.set))
			}
		})
	}
}

// A zombie is in no network, and whoever was held may end.
func TestTargetEnds(t *testing.T) {
	a := bareApp(t)
	c := sleeper(t)
	held, err := a.target(fmt.Sprint(c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	ns, err := held.netns()
	if err != nil || ns.Inode != held.set[namespaces.Network] {
		t.Fatalf("got %+v, %v", ns, err)
	}
	c.Process.Kill()
	var status unix.Siginfo
	if err := unix.Waitid(unix.P_PID, c.Process.Pid, &status, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := a.target(fmt.Sprint(c.Process.Pid)); err == nil || err.Error() != fmt.Sprintf("there is no process %d", c.Process.Pid) {
		t.Errorf("a zombie: got %v, %v", got, err)
	}
	e := entry{target: "it", pidfd: held.pidfd, kinds: []namespaces.Kind{namespaces.Network}, uid: -1, gid: -1}
	if err := e.resolve(held, enterFlags{withCommand: []string{"true"}}); err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if _, err := e.run(); !errors.Is(err, unix.ESRCH) || hint(err) != "the process has ended meanwhile" {
		t.Errorf("entering it: %v", err)
	}
	if _, err := ns.Open(); err == nil {
		t.Error("its network could be opened")
	}
}

func TestTargetIsNoNetwork(t *testing.T) {
	got, err := bareApp(t).target("/proc/self/ns/uts")
	if err != nil {
		t.Fatal(err)
	}
	defer got.close()
	if ns, err := got.netns(); err == nil || !strings.Contains(err.Error(), "is not a network namespace") {
		t.Errorf("got %+v, %v", ns, err)
	}
}

// The container of another runtime is found by what its cgroup says.
func TestForeignContainers(t *testing.T) {
	one, two := strings.Repeat("0123456789abcdef", 4), "0123"+strings.Repeat("f", 60)
	of := func(pid int, cgroup string) namespaces.Namespace {
		return namespaces.Namespace{Kind: namespaces.Mount, Inode: uint64(pid), Processes: []namespaces.Process{{Pid: pid, PPid: 1, Cgroup: cgroup}}}
	}
	list := []namespaces.Namespace{
		of(10, "/docker/"+one), of(11, "/docker/"+one+"/system.slice/x.service"), of(12, "/libpod_parent/libpod-"+two),
		of(13, "/lxc.payload.web"), of(14, "/minictr/"+one), of(15, "/system.slice/web.service"),
	}
	for _, c := range []struct{ kind, name, want string }{
		{"", "01234", "[docker 0123456789ab]"},
		{"", "0123", "[docker 0123456789ab podman 0123ffffffff]"},
		{"podman", "0123", "[podman 0123ffffffff]"},
		{"", "012", "[]"},
		{"", "web", "[lxc web]"},
		{"", "we", "[]"},
		{"docker", "web", "[]"},
		{"", two, "[podman 0123ffffffff]"},
	} {
		if got := fmt.Sprint(distinct(ownedBy(list, c.kind, c.name))); got != c.want {
			t.Errorf("%s:%s: got %s, want %s", c.kind, c.name, got, c.want)
		}
	}
	if _, err := bareApp(t).target("docker:4711"); err == nil || err.Error() != `no container of docker runs whose id begins with "4711"` {
		t.Errorf("got %v", err)
	}
}

// Every form that the help names is understood.
func TestTargetFormsAreThere(t *testing.T) {
	a := bareApp(t)
	for _, form := range []string{"container:x", "netns:x", "pid:x"} {
		if !strings.Contains(targetForms, form[:len(form)-1]) {
			t.Errorf("the help does not have %s", form)
		}
		if _, err := a.target(form); err == nil || is[*targetError](err) && strings.Contains(err.Error(), "no such target") {
			t.Errorf("%s: %v", form, err)
		}
	}
	if _, err := a.target("container:x"); !is[*runtime.NotFoundError](err) {
		t.Errorf("got %v", err)
	}
}
