package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const (
	floorBridge  = "floor0"
	floorGateway = "10.99.0.1"
	firstWorker  = 2 // also the last byte of its address for floor
)

// A subject is a program that is measured: the commands for what is done with
// it. A command that is empty is one that it does not have. The words in braces
// are explained by arena.fill.
type subject struct {
	name   string
	words  string // what of it is measured, for the head of the table
	binary string // looked for in PATH when it has no slash

	setup  func(*arena) error
	run    string // runs true and removes the container
	start  string // starts a detached container that sleeps
	exec   string // runs true in it
	remove string // ends and removes it
	ours   string // beginning of the names of the processes that stay with a detached container
	pid    string // prints the process id of a container
	ports  string // with add or rm, a container and a port: changes what it publishes

	fresh func(a *arena, id string) error // what load needs, and is not measured
	load  []string                        // put the image {big} into a new store and unpack it
	peak  float64                         // bytes of memory that load had, at most

	version string
	skipped error // why it is not measured
}

var subjects = []*subject{
	{
		name: "minictr", words: "run, bridge network, overlay, seccomp", binary: "{bin}/minictr",
		setup: func(a *arena) error {
			return quiet(a.fill("{bin}/minictr --root {work}/minictr --runroot {runroot}/minictr import {archive} bench", "", 0)...)
		},
		run:    "{bin}/minictr --root {work}/minictr --runroot {runroot}/minictr run --rm --name {id} bench true",
		start:  "{bin}/minictr --root {work}/minictr --runroot {runroot}/minictr run -d --name {id} bench sleep 1000",
		exec:   "{bin}/minictr --root {work}/minictr --runroot {runroot}/minictr exec {id} true",
		remove: "{bin}/minictr --root {work}/minictr --runroot {runroot}/minictr rm -f {id}",
		pid:    "{bin}/minictr --root {work}/minictr --runroot {runroot}/minictr inspect -f {{.State.Pid}} {id}",
		ports:  "{bin}/minictr --root {work}/minictr --runroot {runroot}/minictr port",
		ours:   "minictr",
	},
	{
		name: "floor", words: "-b -c: what the kernel costs, with network, overlay and cgroup", binary: "gcc",
		setup: func(a *arena) error {
			return quiet("gcc", "-O2", "-static", "-o", a.work+"/floor", "test/bench/floor/floor.c")
		},
		run: "{work}/floor -c -b " + floorBridge + " -a 10.99.0.{worker}/24 -g " + floorGateway + " {rootfs} {work}/{id} /bin/true",
	},
	{
		name: "crun", words: "run --bundle: no network, overlay or seccomp", binary: "crun",
		setup: func(a *arena) error { return bundles(a, "crun") },
		run:   "crun --root {runroot}/crun run --bundle {work}/crun-true-{worker} {id}",
		start: "crun --root {runroot}/crun run --detach --bundle {work}/crun-sleep {id}",
		exec:  "crun --root {runroot}/crun exec {id} /bin/true", remove: "crun --root {runroot}/crun delete --force {id}",
	},
	{
		name: "runc", words: "run --bundle: no network, overlay or seccomp", binary: "runc",
		setup: func(a *arena) error { return bundles(a, "runc") },
		run:   "runc --root {runroot}/runc run --bundle {work}/runc-true-{worker} {id}",
		start: "runc --root {runroot}/runc run --detach --bundle {work}/runc-sleep {id}",
		exec:  "runc --root {runroot}/runc exec {id} /bin/true", remove: "runc --root {runroot}/runc delete --force {id}",
	},
	{
		name: "podman", words: "run --network bridge, with crun", binary: "podman",
		setup:  func(a *arena) error { return quiet(a.fill(podman+"import {archive} bench", "", 0)...) },
		run:    podman + "run --rm " + podmanRun + "bench true",
		start:  podman + "run -d " + podmanRun + "bench sleep 1000",
		exec:   podman + "exec {id} true",
		remove: podman + "rm --force --time 0 {id}",
		pid:    podman + "inspect -f {{.State.Pid}} {id}",
		ours:   "conmon",
	},
}

const (
	podman = "podman --root {work}/podman --runroot {runroot}/podman --tmpdir {runroot}/podman-tmp --network-config-dir {work}/podman-networks " +
		"--cgroup-manager cgroupfs --events-backend none --runtime crun "
	podmanRun = "--name {id} --network bridge --cgroup-parent /" + topCgroup + " --ulimit nofile={nofile}:{nofile} --ulimit nproc=1024:1024 "
)

func bundles(a *arena, name string) error {
	for worker := range a.workers { // each has a cgroup of its own
		if err := a.bundle(fmt.Sprintf("%s-true-%d", name, worker+firstWorker), "/bin/true"); err != nil {
			return err
		}
	}
	return a.bundle(name+"-sleep", "/bin/sleep", "1000")
}

// prepare looks for the subject, sets it up and tries it once. A subject that
// fails is not measured, and the table says why.
func (s *subject) prepare(a *arena) {
	binary := a.fill(s.binary, "", 0)[0]
	if _, err := exec.LookPath(binary); err != nil {
		s.skipped = err
		return
	}
	if out, err := exec.Command(binary, "--version").Output(); err == nil {
		s.version, _, _ = strings.Cut(string(out), "\n")
	}
	if s.setup != nil {
		if s.skipped = s.setup(a); s.skipped != nil {
			return
		}
	}
	if s.run == "" {
		return
	}
	s.skipped = quiet(a.fill(s.run, a.id(), 0)...)
}

// detached starts a container for a row that needs one.
func (s *subject) detached(a *arena) (id string, err error) {
	id = a.id()
	return id, quiet(a.fill(s.start, id, 0)...)
}

// pss is the proportional set size in bytes of the subject's own processes,
// proc_pid_smaps(5), smaps_rollup: shared pages are divided among their users.
func (s *subject) pss() (bytes float64, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		comm, err := os.ReadFile("/proc/" + entry.Name() + "/comm")
		if err != nil || s.ours == "" || !strings.HasPrefix(string(comm), s.ours) {
			continue
		}
		rollup, err := os.ReadFile("/proc/" + entry.Name() + "/smaps_rollup")
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(rollup)) {
			var kilobytes float64
			if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kilobytes); n == 1 {
				bytes += kilobytes * 1024
			}
		}
	}
	return bytes, nil
}
