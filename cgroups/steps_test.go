package cgroups

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// The steps, the script that they print, and Check agree: both ways make groups
// with the same limits, and Check finds them in place.
func TestScriptDoesTheSame(t *testing.T) {
	h := requireHost(t)
	ran := 0
	for i, c := range resources {
		if cpuOf(&c.r).Cpus != "" {
			c.r.CPU = &specs.LinuxCPU{Cpus: "0", Mems: "0"}
		}
		if !everywhere(h, &c.r) {
			continue
		}
		ran++
		t.Run(c.name, func(t *testing.T) {
			ours := newGroup(t, h, "apply"+strconv.Itoa(i), &c.r)
			if err := step.Check(ours.Steps()); err != nil {
				t.Errorf("check: %v", err)
			}
			theirs, err := h.New(parent()+"/script"+strconv.Itoa(i), &c.r)
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Remove()
			script := step.Script(theirs.Steps())
			if out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s\n%s", err, out, script)
			}
			if diff := cmp.Diff(settingsOf(t, ours), settingsOf(t, theirs)); diff != "" {
				t.Errorf("steps and script differ:\n%s", diff)
			}
		})
	}
	if h.has("memory", "pids", "cpu") && ran < 15 {
		t.Errorf("only %d cases ran", ran)
	}
}

// everywhere tells whether the limits can be set on any machine that has the
// controllers: those of block and rdma devices, of network interfaces and of
// real-time scheduling need more, and v1 cannot limit swap without memory.
func everywhere(h *Host, r *specs.LinuxResources) bool {
	memory, cpu := memoryOf(r), cpuOf(r)
	d, ok := h.find("memory")
	_, err := h.New("/x", r)
	return err == nil && len(r.Rdma) == 0 && r.BlockIO == nil && r.Network == nil && r.Unified["io.max"] == "" &&
		cpu.RealtimePeriod == nil && cpu.Burst == nil &&
		(!ok || d.V2 || value(memory.Limit) >= 0 || value(memory.Swap) <= 0)
}

// settingsOf reads the files of a group that can be written and keep what was
// written.
func settingsOf(t *testing.T, g *Group) map[string]string {
	t.Helper()
	settings := make(map[string]string)
	for _, d := range g.dirs {
		entries, err := os.ReadDir(d.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() || info.Mode()&0o600 != 0o600 || strings.Contains(e.Name(), "pressure") {
				continue
			}
			content, err := readFile(filepath.Join(d.path, e.Name()))
			if err != nil {
				content = []byte(err.Error())
			}
			settings[d.Mountpoint+" "+e.Name()] = string(content)
		}
	}
	return settings
}

// Limits that are raised and lowered need their files in different orders.
func TestRaiseAndLower(t *testing.T) {
	h := requireHost(t)
	if !h.has("memory", "cpu") {
		t.Skip("no controllers for memory and cpu")
	}
	newGroup(t, h, "raise", nil)
	for _, mb := range []int64{64, 256, 32, 32, -1, 128} {
		limit, quota := mb<<20, mb*1000
		if mb < 0 {
			limit, quota = -1, -1
		}
		r := &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit},
			CPU:    &specs.LinuxCPU{Quota: &quota, Period: of(uint64(max(mb, 1)) * 1000)},
		}
		g, err := h.New(parent()+"/raise", r)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range g.Steps() {
			if l, ok := s.(SetLimit); ok {
				if err := errors.Join(l.Apply(), l.Check()); err != nil {
					t.Errorf("%d MiB: %v", mb, err)
				}
			}
		}
	}
}

// Each step is failed in turn: the error comes back, and no group stays.
func TestEachStepFails(t *testing.T) {
	h := requireHost(t)
	if !h.has("memory", "pids", "cpu", "cpuset") {
		t.Skip("no controllers for memory, pids, cpu and cpuset")
	}
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: of[int64](64 << 20)}, Pids: &specs.LinuxPids{Limit: of[int64](10)},
		CPU: &specs.LinuxCPU{Shares: of[uint64](512), Cpus: "0"}, Devices: DefaultDevices(),
	}
	g, err := h.New(parent()+"/fail", r)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range g.Steps() {
		err := step.Run(step.FailAt(g.Steps(), i, unix.EIO), nil)
		if !errors.Is(err, unix.EIO) {
			t.Errorf("%s: error %v", s, err)
		}
		checkGone(t, h, g.Path)
	}
}

// Every step says what is wrong with which object.
func TestErrors(t *testing.T) {
	h := requireHost(t)
	g := newGroup(t, h, "errors", nil)
	d := g.dirs[len(g.dirs)-1]
	for _, test := range []struct {
		s    step.Step
		want string
		is   error
	}{
		{MakeGroup{d.Mountpoint, g.Path}, "make cgroup " + d.path + ": file exists", unix.EEXIST},
		{
			SetLimit{d.path, "", []Setting{{File: "none", Value: "1"}}},
			"write 1 to " + d.path + "/none: unsupported operation: the kernel has no such file", errors.ErrUnsupported,
		},
		{
			SetLimit{d.path + "x", "", []Setting{{File: "none", Value: "1"}}},
			"write 1 to " + d.path + "x/none: no such file or directory", unix.ENOENT,
		},
		{
			SetLimit{d.path, "", []Setting{{File: "cgroup.procs", Value: "x"}}},
			"write x to " + d.path + "/cgroup.procs: invalid argument", unix.EINVAL,
		},
	} {
		err := test.s.Apply()
		if err == nil || err.Error() != test.want || !errors.Is(err, test.is) {
			t.Errorf("error %v\nwant  %s", err, test.want)
		}
	}
}
