package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The benchmark is three processes of this program:
//
//	outside   on the machine: makes the namespaces, waits, removes the directory
//	└ init    process 1 of the PID namespace: reaps orphans, as monitors are;
//	  │       the kernel kills all others in there when it ends
//	  └ bench measures
const (
	roleVariable = "MINICTR_BENCH_ROLE"
	roleInit     = "init"
	roleBench    = "bench"

	workVariable = "MINICTR_BENCH_WORK" // the directory of the run
	topCgroup    = "minictr-bench"      // the parent of the cgroups of crun, runc and podman
)

func self(ctx context.Context, role, work string) *exec.Cmd {
	c := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), roleVariable+"="+role, workVariable+"="+work)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c
}

func isolate() error {
	work, err := os.MkdirTemp("", "minictr-bench-")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	c := self(ctx, roleInit, work)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
	}
	err = c.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = errors.New("ended early") // it has said why
	}
	return errors.Join(err, removeCgroups(), os.RemoveAll(work))
}

// removeCgroups removes those that a subject left, deepest first.
func removeCgroups() error {
	tops, err := filepath.Glob("/sys/fs/cgroup/*/" + topCgroup)
	if err != nil {
		return err
	}
	var list []string
	for _, top := range append(tops, "/sys/fs/cgroup/"+topCgroup) {
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && entry.IsDir() {
				list = append(list, path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(list)))
	var errs []error
	for _, path := range list {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// reap is process 1: it starts the benchmark and waits for it and for every
// orphan until the benchmark has ended.
func reap() error {
	if err := furnish(); err != nil {
		return err
	}
	c := self(context.Background(), roleBench, os.Getenv(workVariable))
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := c.Start(); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait: %w", err)
		}
		if pid != c.Process.Pid {
			continue
		}
		if status.ExitStatus() != 0 {
			return errors.New("the benchmark failed")
		}
		return nil
	}
}

// furnish mounts what the subjects would write to, as far as options do not
// send them elsewhere, and brings up a network with a way out that ends here.
func furnish() error {
	work := os.Getenv(workVariable)
	for _, dir := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	overlay := fmt.Sprintf("lowerdir=/var/lib,upperdir=%s/upper,workdir=%s/work", work, work)
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		options              string
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", 0, ""},
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
		{"tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777"},
		{"overlay", "/var/lib", "overlay", 0, overlay}, // podman's CNI plugins keep their leases there
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
		}
	}
	// crun refuses a hybrid layout; without the unified hierarchy it is plain v1, for every subject.
	_ = unix.Unmount("/sys/fs/cgroup/unified", 0) // an error: there is none
	for _, words := range []string{
		"link set lo up",
		"link add outside type bridge",
		"address add 192.0.2.1/24 dev outside",
		"link set outside up",
		"route add default via 192.0.2.254",
		"link add " + floorBridge + " type bridge",
		"address add " + floorGateway + "/24 dev " + floorBridge,
		"link set " + floorBridge + " up",
	} {
		if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", words, err, out)
		}
	}
	return nil
}
