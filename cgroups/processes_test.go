package cgroups

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startTree starts processes in the group and in one below it, as a container
// with an init system of its own makes.
func startTree(t *testing.T, h *Host, g *Group) []*exec.Cmd {
	t.Helper()
	cmd, out := start(t, g, "sleep 1000 & sleep 1000 & (sleep 1000 & wait) & echo started; wait")
	readLine(t, out)
	below, err := h.New(g.Path+"/below", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range below.dirs {
		if err := os.Mkdir(d.path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inner, out := start(t, below, "echo started; read x")
	readLine(t, out)
	pids, err := g.Pids()
	if err != nil || len(pids) < 5 || !slices.Contains(pids, inner.Process.Pid) {
		t.Errorf("pids %v, %v", pids, err)
	}
	return []*exec.Cmd{cmd, inner}
}

func TestKill(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		g := newGroup(t, h, "kill", nil)
		started := startTree(t, h, g)
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		checkKilled(t, started)
		if err := g.Remove(); err != nil {
			t.Fatal(err)
		}
		checkGone(t, h, g.Path)
		if err := errors.Join(g.Kill(), g.Remove(), g.Freeze(true), g.Freeze(false)); err != nil {
			t.Errorf("on a group that is gone: %v", err)
		}
		if _, err := g.Stats(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("stats of a group that is gone: %v", err)
		}
	})
}

// Kernels before 5.14 have no cgroup.kill.
func TestKillOneByOne(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		g := newGroup(t, h, "kill", nil)
		started := startTree(t, h, g)
		if err := g.killOneByOne(); err != nil {
			t.Fatal(err)
		}
		checkKilled(t, started)
	})
}

func checkKilled(t *testing.T, started []*exec.Cmd) {
	t.Helper()
	for _, c := range started {
		if status := waitStatus(c); status.Signal() != unix.SIGKILL {
			t.Errorf("process %d ended with %v", c.Process.Pid, status)
		}
	}
}

// A frozen process does nothing: the pipe that it writes to without end, once
// emptied, stays empty, and fills again when it is thawed.
func TestFreeze(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		g := newGroup(t, h, "freeze", nil)
		_, out := start(t, g, "while :; do echo x; done")
		readLine(t, out)
		if err := g.Freeze(true); err != nil {
			t.Fatal(err)
		}
		pipe := out.(*os.File)
		empty(t, pipe)
		before, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if n := empty(t, pipe); n > 0 {
			t.Errorf("a frozen process wrote %d bytes", n)
		}
		after, err := g.Stats()
		if err != nil || after.CPU.Usage != before.CPU.Usage {
			t.Errorf("a frozen process used %v of cpu time (%v)", after.CPU.Usage-before.CPU.Usage, err)
		}
		if err := g.Freeze(false); err != nil {
			t.Fatal(err)
		}
		pipe.SetReadDeadline(time.Time{})
		readLine(t, out)
	})
}

// empty reads until nothing has come for a while.
func empty(t *testing.T, pipe *os.File) int {
	t.Helper()
	buffer := make([]byte, 1<<16)
	for total := 0; ; {
		pipe.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := pipe.Read(buffer)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Frozen processes die of Kill too.
func TestKillFrozen(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		g := newGroup(t, h, "frozen", nil)
		cmd, out := start(t, g, "echo started; read x")
		readLine(t, out)
		if err := errors.Join(g.Freeze(true), g.Kill()); err != nil {
			t.Fatal(err)
		}
		checkKilled(t, []*exec.Cmd{cmd})
	})
}
