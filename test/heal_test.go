package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// These tests kill minictr's own processes with SIGKILL, at every kind of moment,
// and hold the next command to its promise: the container goes on and is listed
// as running, or it is gone with everything that it held.

// host is a minictr of its own: programs just built, directories, a network
// namespace, and a root file system.
type host struct {
	t             *testing.T
	minictr       string
	root, runroot string
	rootfs        string
	mark          string // an argument that no other process of the machine has
}

func newHost(t *testing.T) *host {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "busybox")
	kernel.InNetns(t)
	dir := t.TempDir()
	h := &host{
		t: t, minictr: filepath.Join(kernel.Programs(t), "minictr"), root: dir + "/root", runroot: dir + "/run", rootfs: dir + "/rootfs",
		mark: fmt.Sprintf("8%d%06d", os.Getpid(), time.Now().UnixNano()%1e6),
	}
	h.makeRootfs()
	t.Cleanup(func() {
		if t.Failed() { // then there may be containers that nobody ends
			for _, pid := range h.asleep() {
				h.kill(pid)
			}
		}
		h.assertNothing()
	})
	return h
}

// makeRootfs makes a root file system of the machine's static busybox.
func (h *host) makeRootfs() {
	path, err := exec.LookPath("busybox")
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.MkdirAll(h.rootfs+"/bin", 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.rootfs+"/bin/busybox", b, 0o755); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range []string{"sh", "sleep", "true", "ip", "kill", "test", "cmp"} {
		if err := os.Symlink("busybox", h.rootfs+"/bin/"+name); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *host) command(args ...string) *exec.Cmd {
	return exec.Command(h.minictr, append([]string{"--root", h.root, "--runroot", h.runroot}, args...)...)
}

// must runs minictr and returns what it prints.
func (h *host) must(args ...string) string {
	h.t.Helper()
	c := h.command(args...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		h.t.Fatalf("minictr %s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// sleeper is the arguments of run for a container that sleeps; flags come first.
func (h *host) sleeper(flags ...string) []string {
	return append(append([]string{"run"}, flags...), "--rootfs", h.rootfs, "sleep", h.mark)
}

// asleep returns the pids of the sleeping containers of this test.
func (h *host) asleep() (pids []int) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range files {
		b, _ := os.ReadFile(f) // a process that has just ended
		if string(b) == "sleep\x00"+h.mark+"\x00" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err != nil {
				h.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// parentOf returns the pid of a process's parent.
func (h *host) parentOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		h.t.Fatal(err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		h.t.Fatal(err)
	}
	return parent
}

func (h *host) kill(pid int) {
	h.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.t.Fatalf("kill %d: %v", pid, err)
	}
}

// gone waits until no container of the test sleeps any more.
func (h *host) gone() {
	h.t.Helper()
	kernel.Eventually(h.t, 10*time.Second, func() error {
		if pids := h.asleep(); len(pids) > 0 {
			return fmt.Errorf("still there: %v", pids)
		}
		return nil
	})
}

// assertNothing checks that nothing is left of any container of the host.
func (h *host) assertNothing() {
	h.t.Helper()
	h.gone()
	for _, dir := range []string{h.root + "/containers", h.root + "/names", h.runroot + "/containers"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			h.t.Error(err)
		}
		for _, e := range entries {
			h.t.Errorf("left behind: %s/%s", dir, e.Name())
		}
	}
	kernel.Eventually(h.t, 10*time.Second, func() error {
		out, err := exec.Command("ip", "-br", "link", "show", "type", "veth").CombinedOutput()
		if err != nil || len(bytes.TrimSpace(out)) > 0 {
			return fmt.Errorf("left behind: %s %w", out, err)
		}
		return nil
	})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(h.root)) {
		h.t.Errorf("left behind: a mount below %s: %v", h.root, err)
	}
}

// groupsOf returns the cgroup directories of a container.
func groupsOf(id string) []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/minictr/" + id)
	v2, _ := filepath.Glob("/sys/fs/cgroup/minictr/" + id)
	return append(v1, v2...)
}

// status is what ps says of a container.
func (h *host) status(name string) string {
	h.t.Helper()
	var list []struct{ State struct{ Status string } }
	out := h.must("inspect", name)
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		h.t.Fatalf("%v: %s", err, out)
	}
	return list[0].State.Status
}

func TestMonitorKilled(t *testing.T) {
	h := newHost(t)
	id := h.must(h.sleeper("-d", "--name", "healed")...)
	pids := h.asleep()
	if len(pids) != 1 {
		t.Fatalf("containers: %v", pids)
	}
	h.kill(h.parentOf(pids[0]))
	h.gone() // it dies with its monitor
	if s := h.status("healed"); s != "exited" {
		t.Errorf("status %s", s)
	}
	h.must("ps", "-a")
	if g := groupsOf(id); len(g) > 0 {
		t.Errorf("left behind: %v", g)
	}
	h.must("start", "healed") // it is whole: it can be started again
	if s := h.status("healed"); s != "running" {
		t.Errorf("status %s", s)
	}
	h.must("rm", "-f", "healed")
}

func TestRunKilled(t *testing.T) {
	for _, flag := range []string{"--rm", "--rm=false"} {
		t.Run(flag, func(t *testing.T) {
			h := newHost(t)
			c := h.command(h.sleeper(flag, "--name", "healed")...)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			kernel.Eventually(t, 10*time.Second, func() error {
				if len(h.asleep()) == 0 {
					return errors.New("does not run yet")
				}
				return nil
			})
			h.kill(c.Process.Pid)
			c.Wait()
			h.gone()
			list := h.must("ps", "-a", "-q")
			if want := map[string]int{"--rm": 0, "--rm=false": 1}[flag]; len(strings.Fields(list)) != want {
				t.Errorf("ps -aq: %q", list)
			}
			if list != "" {
				h.must("rm", "healed")
			}
		})
	}
}

func TestInitKilled(t *testing.T) {
	h := newHost(t)
	h.must(h.sleeper("-d", "--name", "healed")...)
	h.kill(h.asleep()[0])
	if code := h.must("wait", "healed"); code != "137" {
		t.Errorf("exit code %s", code)
	}
	h.must("rm", "healed")
}

// minictr run is killed after every number of half milliseconds that a launch
// may take, foreground and detached. The next command leaves the container
// running or nothing of it.
func TestKilledAtAnyMoment(t *testing.T) {
	h := newHost(t)
	h.must("run", "--rm", "--rootfs", h.rootfs, "true")
	h.must("volume", "create", "-o", "type=tmpfs", "memory")
	for i := range 60 {
		// One volume goes with the container, one is filled, and one is mounted.
		flags := []string{"--rm", "-v", "/anonymous", "-v", "filled:/bin", "-v", "memory:/memory"}
		if i%2 == 1 {
			flags = append(flags, "-d")
		}
		c := h.command(h.sleeper(flags...)...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 500 * time.Microsecond) // the moment of this round
		c.Process.Kill()                                      // it may have ended by itself
		c.Wait()
		h.settle(i)
		h.settleVolumes(i)
	}
	h.must("volume", "rm", "memory")
}

// settleVolumes checks that only what has a name is left, whole or not there, and
// that nothing is mounted.
func (h *host) settleVolumes(round int) {
	h.t.Helper()
	entries, err := os.ReadDir(h.root + "/volumes")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "memory":
		case "filled":
			if left, err := os.ReadDir(h.root + "/volumes/filled"); err != nil || len(left) != 2 {
				h.t.Errorf("round %d: left behind: %v, %v", round, left, err)
			}
			h.must("run", "--rm", "-v", "filled:/bin", "--rootfs", h.rootfs, "sh", "-c", "test -L /bin/ip && cmp /bin/busybox /proc/self/exe")
			h.must("volume", "rm", "filled")
		default:
			h.t.Errorf("round %d: left behind: volume %s", round, e.Name())
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(mounts, []byte(h.root+"/volumes")) {
		h.t.Errorf("round %d: left behind: a mount of a volume: %v", round, err)
	}
}

// settle lets the next command heal, and checks that what is listed runs and
// what is not listed is gone.
func (h *host) settle(round int) {
	h.t.Helper()
	kernel.Eventually(h.t, 10*time.Second, func() error {
		listed := strings.Fields(h.must("ps", "-a", "-q", "--no-trunc"))
		running := h.asleep()
		if len(listed) != len(running) {
			return fmt.Errorf("round %d: listed %v, running %v", round, listed, running)
		}
		return nil
	})
	for _, id := range strings.Fields(h.must("ps", "-a", "-q", "--no-trunc")) {
		if s := h.status(id); s != "running" {
			h.t.Errorf("round %d: %s is %s", round, id, s)
		}
		h.must("rm", "-f", id)
	}
	// A monitor whose container was never released may still be at work.
	kernel.Eventually(h.t, 10*time.Second, func() error {
		h.must("ps", "-a", "-q") // heals
		for _, dir := range []string{h.root + "/containers", h.root + "/names", h.runroot + "/containers"} {
			if entries, _ := os.ReadDir(dir); len(entries) > 0 {
				return fmt.Errorf("round %d: left behind: %s/%s", round, dir, entries[0].Name())
			}
		}
		return nil
	})
}
