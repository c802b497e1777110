package cgroups

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
	"github.com/minictr/minictr/test/kernel"
)

// roleVariable makes the test binary play a process in a group.
const roleVariable = "MINICTR_CGROUPS_ROLE"

var roles = map[string]func(){
	"eat":     eat,
	"devices": tryDevices,
}

// patience is for what the kernel does in its own time; the machine may be an
// emulated one.
const patience = time.Minute

// parent is where all groups of this test process lie.
func parent() string { return "/minictr-test-" + strconv.Itoa(os.Getpid()) }

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		role()
		os.Exit(0)
	}
	status, err := runAndRestore(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// runAndRestore runs the tests and then switches off the controllers that were
// not on before.
func runAndRestore(m *testing.M) (int, error) {
	h, err := Detect()
	if err != nil {
		return 1, err
	}
	v2, ok := h.unified()
	if !ok || os.Geteuid() != 0 {
		return m.Run(), nil
	}
	file := filepath.Join(v2.Mountpoint, "cgroup.subtree_control")
	before, err := readWords(file)
	if err != nil {
		return 1, err
	}
	status := m.Run()
	after, err := readWords(file)
	for _, c := range after {
		// Another launch on this machine may have come to use it: EBUSY.
		if !slices.Contains(before, c) {
			_ = writeFile(file, "-"+c)
		}
	}
	return status, err
}

// requireHost returns what Detect finds. At the test's end nothing may be left.
func requireHost(t testing.TB) *Host {
	t.Helper()
	kernel.RequireRoot(t)
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if h.Mode == None {
		t.Skip("no cgroup file system that may be written")
	}
	kernel.Snapshot(t)
	t.Cleanup(func() {
		if err := h.RemoveTree(parent()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// onEachHost runs a test on the host as it is and, if it is a hybrid one, as if
// it had only its v1 or only its v2 hierarchies. The latter, and a real host of
// v2, make what is done without controllers, or by a BPF program, be tested.
func onEachHost(t *testing.T, test func(t *testing.T, h *Host)) {
	only := func(h *Host, mode Mode) *Host {
		other := *h
		other.Mode = mode
		other.Hierarchies = slices.DeleteFunc(slices.Clone(h.Hierarchies), func(i Hierarchy) bool { return i.V2 != (mode == V2) })
		return &other
	}
	h := requireHost(t)
	t.Run(h.Mode.String(), func(t *testing.T) { test(t, h) })
	if h.Mode == Hybrid {
		t.Run("hybrid as v1", func(t *testing.T) { test(t, only(h, V1)) })
		t.Run("hybrid as v2", func(t *testing.T) { test(t, only(h, V2)) })
	}
}

// has tells whether the host has all the controllers, named as v2 names them.
func (h *Host) has(controllers ...string) bool {
	for _, c := range controllers {
		if _, ok := h.find(c); !ok {
			return false
		}
	}
	return true
}

// newGroup makes a group that is removed, with its processes, when the test
// ends.
func newGroup(t testing.TB, h *Host, name string, r *specs.LinuxResources) *Group {
	t.Helper()
	g, err := h.New(parent()+"/"+name, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := step.Run(g.Steps(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Kill(), g.Remove()); err != nil {
			t.Error(err)
		}
		checkGone(t, h, g.Path)
	})
	return g
}

func checkGone(t testing.TB, h *Host, path string) {
	t.Helper()
	for _, hierarchy := range h.Hierarchies {
		if _, err := os.Stat(filepath.Join(hierarchy.Mountpoint, path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left in %s (%v)", path, hierarchy.Mountpoint, err)
		}
	}
}

// start starts a shell script in the group as the runtime starts a container:
// born there on v2, and writing 0 to the task files itself on v1. The shell has
// one thread, as the child of clone3 has. A "read x" in the script waits until
// the test ends.
func start(t testing.TB, g *Group, script string, env ...string) (*exec.Cmd, io.ReadCloser) {
	t.Helper()
	enter := ""
	for _, file := range g.TaskFiles() {
		enter += "echo 0 > " + quote(file) + " || exit 99\n"
	}
	cmd := exec.Command("/bin/sh", "-c", enter+script)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	fd, err := g.OpenDir()
	if err == nil {
		defer unix.Close(fd)
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	} else if !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, out
}

// self is the script by which the test binary plays a role.
func self(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "exec " + quote(exe)
}

// readLine waits for the process to say that it has got so far.
func readLine(t testing.TB, out io.Reader) {
	t.Helper()
	b := make([]byte, 1)
	for b[0] != '\n' {
		if _, err := out.Read(b); err != nil {
			t.Fatal(err)
		}
	}
}

func waitStatus(c *exec.Cmd) syscall.WaitStatus {
	c.Wait()
	return c.ProcessState.Sys().(syscall.WaitStatus)
}
