package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// imageSubjects load an archive and unpack its layers, each time into a new store
// on the disk. Nothing is deleted before the end: for a minute after that, ext4
// looks long for each new inode (recently_deleted in fs/ext4/ialloc.c), which
// would fall on whoever comes next.
var imageSubjects = []*subject{
	{
		name: "minictr", words: "load", binary: "{bin}/minictr-image",
		load: []string{"{bin}/minictr-image --root {work}/{id} load -q -i {big}"},
	},
	{
		name: "podman", words: "load, overlay", binary: "podman",
		load: []string{"podman --root {work}/{id} --runroot {runroot}/{id} --storage-driver overlay --events-backend none load -q -i {big}"},
	},
	{
		name: "skopeo+umoci", words: "skopeo copy to a layout, umoci unpack", binary: "umoci",
		setup: func(*arena) error { _, err := exec.LookPath("skopeo"); return err },
		load: []string{
			"mkdir {work}/{id}",
			"skopeo --insecure-policy copy -q oci-archive:{big} oci:{work}/{id}/layout:big",
			"umoci unpack --image {work}/{id}/layout:big {work}/{id}/bundle",
		},
	},
	{
		name: "containerd", words: "ctr images import, overlayfs", binary: "containerd",
		fresh: startContainerd,
		load:  []string{"ctr --address {runroot}/{id}.sock --namespace bench images import {big}"},
	},
}

// startContainerd starts a daemon with directories of its own. It ends with the
// PID namespace of the benchmark.
func startContainerd(a *arena, id string) error {
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		a.work+"/"+id, runroot+"/"+id, runroot+"/"+id+".sock")
	file := a.work + "/" + id + ".toml"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	if err := exec.Command("containerd", "--config", file).Start(); err != nil {
		return err
	}
	var err error
	for range 100 {
		if err = quiet("ctr", "--address", runroot+"/"+id+".sock", "version"); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

var imageRows = []row{
	{
		name: "load and unpack", unit: "ms", rounds: slow,
		can:  func(s *subject) bool { return len(s.load) > 0 },
		once: func(a *arena, s *subject, _ string) (float64, error) { return unpackOnce(a, s) },
	},
	{
		name: "its memory, most", unit: "MB", rounds: func(*arena) int { return 1 },
		can:  func(s *subject) bool { return s.peak > 0 && s.name != "containerd" }, // whose client does nothing
		once: func(_ *arena, s *subject, _ string) (float64, error) { return s.peak / 1e6, nil },
	},
}

// unpackOnce loads the image into an empty store. What it has written goes to
// the disk before the next one begins, and is not counted for those that do not
// wait for it.
func unpackOnce(a *arena, s *subject) (float64, error) {
	id := a.id()
	if s.fresh != nil {
		if err := s.fresh(a, id); err != nil {
			return 0, err
		}
	}
	defer unix.Sync()
	return timed(func() error {
		for _, command := range s.load {
			peak, err := quietPeak(a.fill(command, id, 0)...)
			if err != nil {
				return err
			}
			s.peak = max(s.peak, peak)
		}
		return nil
	})
}

// quietPeak is quiet, with the most memory that the command had resident, or one
// of those that it started, in bytes (getrusage(2), ru_maxrss).
func quietPeak(argv ...string) (float64, error) {
	c := exec.Command(argv[0], argv[1:]...)
	out, err := c.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, nil
	}
	return float64(usage.Maxrss) * 1024, nil
}

// benchImages makes the second table.
func benchImages(a *arena) (string, error) {
	big, err := makeBigImage(a.work + "/big")
	if err != nil {
		return "", fmt.Errorf("make the image to unpack: %w", err)
	}
	unix.Sync()
	for _, s := range imageSubjects {
		s.prepare(a)
	}
	t := table{subjects: imageSubjects}
	for _, r := range imageRows {
		fmt.Fprintf(os.Stderr, "measuring: %s\n", r.name)
		t.add(r.name, r.unit, measure(a, imageSubjects, r))
	}
	head := fmt.Sprintf("\nAn image of %d layers, %d files, %.0f MB:\n", bigLayers, big.files, float64(big.bytes)/1e6)
	return head + subjectWords(imageSubjects) + "\n" + t.String(), nil
}
