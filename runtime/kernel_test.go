package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	stdruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests of this package start real containers. TestMain runs the whole test
// binary a second time in network and mount namespaces of its own, so that the
// machine's are never touched, whatever a test does wrong.

const insideVariable = "MINICTR_TEST_INSIDE"

func TestMain(m *testing.M) {
	if len(os.Args) == 7 && os.Args[5] == "finish" { // a monitor becomes minictr, which is this program
		r := &Runtime{Root: os.Args[2], Runroot: os.Args[4]}
		if err := r.Finish(os.Args[6]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Geteuid() != 0 || os.Getenv(insideVariable) != "" {
		stdruntime.LockOSThread() // containers die with the thread that made them
		os.Exit(m.Run())
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), insideVariable+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// world is a runtime with directories of its own and a root file system that
// holds one program under several names.
type world struct {
	*Runtime
	rootfs string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts containers")
	}
	dir := t.TempDir()
	w := &world{Runtime: &Runtime{Root: filepath.Join(dir, "root"), Runroot: filepath.Join(dir, "run")}, rootfs: filepath.Join(dir, "rootfs")}
	bin := filepath.Join(w.rootfs, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	build(t, filepath.Join(bin, "true"), "./testdata/program")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	build(t, filepath.Join(filepath.Dir(self), "minictr-monitor"), "../cmd/minictr-monitor")
	for _, name := range []string{"sleep", "say", "exit", "pid", "cat", "links"} {
		if err := os.Link(filepath.Join(bin, "true"), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		reap(t)
		w.assertEmpty(t)
	})
	return w
}

// reap waits for the monitors of detached containers, which have ended with them.
// minictr itself has gone by then; here they would be zombies, and children in the
// eyes of the tests to come.
func reap(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for _, field := range strings.Fields(string(children(t))) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		for {
			got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
			if got == pid || errors.Is(err, unix.ECHILD) {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("process %d has not ended", pid)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// build builds a static program.
func build(t *testing.T, to, from string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go: it builds what runs in the containers")
	}
	c := exec.Command("go", "build", "-o", to, from)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// config is a container of the world that is removed when it ends.
func (w *world) config(args ...string) *Config {
	c := &Config{Args: args, Image: Image{Rootfs: w.rootfs}, Remove: true, Network: Network{Mode: "bridge"}}
	names, err := Capabilities(false, nil, nil)
	if err != nil {
		panic(err)
	}
	c.Capabilities = names
	c.DefaultUlimits()
	return c
}

// layered is a container with an overlay, whose layer is the world's rootfs.
func (w *world) layered(args ...string) *Config {
	c := w.config(args...)
	c.Image = Image{Layers: []string{w.rootfs}}
	return c
}

// run runs a container to its end and returns its output and exit code.
func (w *world) run(t *testing.T, c *Config) (output string, code int) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s := Standard{Stdout: out, Stderr: out}
	p, err := w.Run(c, s, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if code, err = p.Wait(s); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b), code
}

// assertEmpty fails the test when a container has left anything behind.
func (w *world) assertEmpty(t *testing.T) {
	t.Helper()
	for _, dir := range []string{w.Root + "/containers", w.Root + "/names", w.Root + "/volumes", w.Runroot + "/containers"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s/%s", dir, e.Name())
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/minictr/????????????????????????????????????????????????????????????????")
	for _, g := range groups {
		if w.made(filepath.Base(g)) {
			t.Errorf("left behind: %s", g)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, w.Root) || strings.Contains(line, w.rootfs) {
			t.Errorf("left behind: mount %s", line)
		}
	}
	if err := w.Networks().Remove("bridge", w.holds); err != nil {
		t.Errorf("remove the bridge: %v", err)
	}
}

// made tells this world's cgroups from those of other tests: their ids begin alike.
func (w *world) made(id string) bool { return strings.HasSuffix(id, testSuffix) }

// testSuffix ends the ids of containers whose test looks for leftovers.
const testSuffix = "fee1deadfee1dead"

// testID differs in its first digits too, which the veth is named after: the one
// before may still be on its way out.
func testID(n int) string { return fmt.Sprintf("%08x%040x%s", n, n, testSuffix) }

// descriptors returns the open descriptors of this process, to find leaks.
func descriptors(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "anon_inode") {
			fmt.Fprintln(&b, e.Name(), target)
		}
	}
	return b.String()
}

// children returns the pids of this process's children.
func children(t *testing.T) []byte {
	t.Helper()
	var all []byte
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		b, _ := os.ReadFile(f) // a thread that has just ended
		all = append(all, b...)
	}
	return bytes.TrimSpace(all)
}
