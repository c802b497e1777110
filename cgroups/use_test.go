package cgroups

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// eat allocates 256 MiB and touches each page.
func eat() {
	const page, size = 4096, 256 << 20
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		os.Exit(3)
	}
	for i := 0; i < size; i += page {
		memory[i] = 1
	}
}

func TestMemoryLimitKills(t *testing.T) {
	h := requireHost(t)
	if !h.has("memory") {
		t.Skip("no memory controller")
	}
	limit := int64(48 << 20)
	g := newGroup(t, h, "memory", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}})
	if kills, err := g.OOMKills(); kills != 0 || err != nil {
		t.Errorf("before: %d kills, %v", kills, err)
	}
	cmd, _ := start(t, g, self(t), roleVariable+"=eat")
	if status := waitStatus(cmd); status.Signal() != unix.SIGKILL {
		t.Fatalf("the process ended with %v, want SIGKILL", status)
	}
	if kills, err := g.OOMKills(); kills != 1 || err != nil {
		t.Errorf("after: %d kills, %v", kills, err)
	}
	s, err := g.Stats()
	if err != nil || s.Memory.Limit != uint64(limit) || s.Memory.Peak < uint64(limit)/2 || s.Memory.Peak > 2*uint64(limit) {
		t.Errorf("stats %+v, %v", s.Memory, err)
	}
}

func TestPidsLimitStopsFork(t *testing.T) {
	h := requireHost(t)
	if !h.has("pids") {
		t.Skip("no pids controller")
	}
	limit := int64(8)
	g := newGroup(t, h, "pids", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}})
	start(t, g, "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; wait")
	d, _ := g.dir("pids")
	kernel.Eventually(t, patience, func() error {
		events, err := readKeys(filepath.Join(d.path, "pids.events"))
		if err == nil && events["max"] == 0 {
			err = fmt.Errorf("no fork has been refused: %v", events)
		}
		return err
	})
	s, err := g.Stats()
	if err != nil || s.Pids.Limit != 8 || s.Pids.Current > 8 {
		t.Errorf("stats %+v, %v", s.Pids, err)
	}
}

func TestStats(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		g := newGroup(t, h, "stats", nil)
		_, out := start(t, g, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read x")
		readLine(t, out)
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.CPU.Usage <= 0 || s.CPU.User <= 0 {
			t.Errorf("cpu: %+v", s.CPU)
		}
		if h.has("memory") && (s.Memory.Usage == 0 || s.Memory.Limit != Unlimited || s.Memory.SwapLimit != Unlimited && s.Memory.SwapLimit != 0) {
			t.Errorf("memory: %+v", s.Memory)
		}
		if h.has("pids") && (s.Pids.Current != 1 || s.Pids.Limit != Unlimited) {
			t.Errorf("pids: %+v", s.Pids)
		}
		_, noPressure := os.Stat("/proc/pressure/cpu")
		if _, ok := g.unified(); ok && noPressure == nil && s.Pressure.CPU == nil {
			t.Error("no pressure")
		}
	})
}
