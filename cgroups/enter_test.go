package cgroups

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

func TestEnter(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		r := &specs.LinuxResources{Devices: DefaultDevices()}
		if h.has("cpuset") {
			r.CPU = &specs.LinuxCPU{Cpus: "0"}
		}
		g := newGroup(t, h, "enter", r)
		cmd, out := start(t, g, "echo in; read x")
		readLine(t, out)
		checkMember(t, h, g, cmd.Process.Pid)
		pids, err := g.Pids()
		if err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
			t.Errorf("pids %v, %v; want %d", pids, err, cmd.Process.Pid)
		}
	})
}

// checkMember asks /proc whether the process is in the group in each hierarchy
// that the group uses, and not in the one that systemd numbers its units by.
func checkMember(t *testing.T, h *Host, g *Group, pid int) {
	t.Helper()
	member, err := Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	for controller, dir := range g.Paths() {
		key := controller
		if hierarchy, ok := h.find(controller); ok && hierarchy.V2 {
			key = Unified
		}
		if member[key] != g.Path {
			t.Errorf("%s: in %q, want %q (%s)", controller, member[key], g.Path, dir)
		}
	}
	if member["name=systemd"] == g.Path {
		t.Error("the hierarchy of systemd has been touched")
	}
}

func TestAttach(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		g := newGroup(t, h, "attach", nil)
		cmd := exec.Command("/bin/sh", "-c", "read x")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer in.Close()
		steps := g.Attach(cmd.Process.Pid)
		if step.Check(steps) == nil {
			t.Error("Check finds the process before it is attached")
		}
		if err := step.Run(steps, nil); err != nil {
			t.Fatal(err)
		}
		if err := step.Check(steps); err != nil {
			t.Error(err)
		}
		checkMember(t, h, g, cmd.Process.Pid)
	})
}

func TestAttachDeadProcess(t *testing.T) {
	g := newGroup(t, requireHost(t), "dead", nil)
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	err := step.Run(g.Attach(cmd.Process.Pid), nil)
	var failed *step.Error
	if !errors.Is(err, unix.ESRCH) || !errors.As(err, &failed) {
		t.Errorf("error %v, want ESRCH", err)
	}
}

// After a crash the groups are found and removed without knowing the limits.
func TestOpenAndGroups(t *testing.T) {
	h := requireHost(t)
	path := parent() + "/left"
	if _, err := h.Open(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open of nothing: %v", err)
	}
	made := newGroup(t, h, "left", &specs.LinuxResources{Devices: DefaultDevices()})
	left, err := h.Groups(parent())
	if err != nil || !slices.Equal(left, []string{path}) {
		t.Errorf("groups %v, %v", left, err)
	}
	g, err := h.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for controller, dir := range made.Paths() {
		if got := g.Paths()[controller]; got != dir {
			t.Errorf("%s: opened %q, made %q", controller, got, dir)
		}
	}
	cmd, out := start(t, g, "echo in; read x")
	readLine(t, out)
	if err := errors.Join(g.Kill(), g.Remove()); err != nil {
		t.Error(err)
	}
	if status := waitStatus(cmd); status.Signal() != unix.SIGKILL {
		t.Errorf("ended with %v", status)
	}
	checkGone(t, h, path)
}
