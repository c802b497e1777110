package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// An arena is where the subjects compete: directories, the image in the forms
// that they want, and names that nobody has used yet.
type arena struct {
	options
	bin     string // where "make build" leaves the binaries
	work    string // on the disk; all of it is removed at the end
	rootfs  string // the image unpacked
	archive string // the image as a tar
	ids     atomic.Int64
}

// runroot is on a tmpfs, as /run is on most machines.
const runroot = "/run/minictr-bench"

func newArena(o options) (*arena, error) {
	work := os.Getenv(workVariable)
	a := &arena{options: o, work: work, rootfs: work + "/rootfs", archive: o.image, bin: "bin"}
	for _, dir := range []string{a.rootfs, runroot} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	bin, err := filepath.Abs(a.bin)
	if err != nil {
		return nil, err
	}
	a.bin = bin
	if a.archive == "" {
		return a, a.makeImage()
	}
	return a, quiet("tar", "-C", a.rootfs, "-xf", a.archive)
}

// makeImage makes the smallest image that can do what is measured.
func (a *arena) makeImage() error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("make an image: %w", err)
	}
	for _, dir := range []string{"bin", "etc", "dev", "proc", "sys", "tmp"} {
		if err := os.Mkdir(filepath.Join(a.rootfs, dir), 0o755); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.rootfs+"/bin/busybox", text, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(a.rootfs+"/etc/passwd", []byte("root:x:0:0:root:/:/bin/sh\n"), 0o644); err != nil {
		return err
	}
	for _, applet := range []string{"sh", "true", "sleep"} {
		if err := os.Symlink("busybox", a.rootfs+"/bin/"+applet); err != nil {
			return err
		}
	}
	a.archive = a.work + "/image.tar"
	return quiet("tar", "-C", a.rootfs, "-cf", a.archive, ".")
}

// id is the name of a new container.
func (a *arena) id() string { return "bench" + strconv.FormatInt(a.ids.Add(1), 10) }

// bundle writes an OCI bundle for the image that runs the command: the
// configuration that "runc spec" prints, which has Docker's mounts and a
// network namespace that nothing is in.
func (a *arena) bundle(name string, command ...string) error {
	dir := filepath.Join(a.work, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	generator, err := exec.LookPath("runc")
	if err != nil {
		generator = "crun"
	}
	spec := exec.Command(generator, "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", generator, err, out)
	}
	text, err := os.ReadFile(dir + "/config.json")
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	process, ok := config["process"].(map[string]any)
	linux, isLinux := config["linux"].(map[string]any)
	if !ok || !isLinux {
		return errors.New("spec: no process or linux object")
	}
	process["terminal"] = false
	process["args"] = command
	delete(process, "rlimits") // may be more than this root may give
	linux["cgroupsPath"] = "/" + topCgroup + "/" + name
	config["root"] = map[string]any{"path": a.rootfs}
	text, err = json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(dir+"/config.json", text, 0o644)
}

// fill replaces the words in braces. A worker has its own address.
func (a *arena) fill(template, id string, worker int) []string {
	return strings.Fields(strings.NewReplacer(
		"{id}", id, "{work}", a.work, "{runroot}", runroot, "{rootfs}", a.rootfs, "{archive}", a.archive,
		"{bin}", a.bin, "{big}", a.work+"/big.tar", "{worker}", strconv.Itoa(worker+firstWorker), "{nofile}", nofile(),
	).Replace(template))
}

// nofile is the limit of open files that containers get. podman would ask for
// more than a root without CAP_SYS_RESOURCE may set.
func nofile() string {
	limit := unix.Rlimit{Max: 1024}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // an error: 1024 will do
	return strconv.FormatUint(min(limit.Max, 1024), 10)
}

// quiet runs a command and returns what it said only when it fails. What it
// says goes to a file, not a pipe: a detached container would hold the pipe open.
func quiet(argv ...string) error {
	said, err := os.CreateTemp("", "said")
	if err != nil {
		return err
	}
	defer said.Close()
	if err := os.Remove(said.Name()); err != nil {
		return err
	}
	c := exec.Command(argv[0], argv[1:]...)
	c.Stderr = said
	if err := c.Run(); err != nil {
		text := make([]byte, 500)
		n, _ := said.ReadAt(text, 0) // io.EOF: it said less
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(text[:n])))
	}
	return nil
}
