package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minictr/minictr/cgroups"
	"golang.org/x/sys/unix"
)

// TestLayerStandsStill: while its layer is packed, a container does not run; then
// it goes on, also when that has failed.
func TestLayerStandsStill(t *testing.T) {
	w := newWorld(t)
	if h, err := cgroups.Detect(); err != nil || h.Mode == cgroups.None {
		t.Skipf("needs cgroups, to freeze one: %v", err)
	}
	c, root := w.box(t, 350, true, nil)
	must(t, os.WriteFile(root+"/new", []byte("new"), 0o600))
	for _, line := range []struct {
		pause bool
		fail  error
	}{{true, nil}, {false, nil}, {true, errors.New("the disk is full")}} {
		still := 0
		err := w.Layer(c.Name, writerFunc(func(b []byte) (int, error) {
			if w.frozen(t, c.ID) {
				still++
			}
			return len(b), line.fail
		}), line.pause, func(err error) { t.Errorf("warning: %v", err) })
		if !errors.Is(err, line.fail) {
			t.Errorf("error %v, not %v", err, line.fail)
		}
		if (still > 0) != line.pause {
			t.Errorf("pause %v: it stood still at %d writes", line.pause, still)
		}
		if w.frozen(t, c.ID) {
			t.Error("it stands still for ever")
		}
	}
}

// frozen asks the kernel.
func (w *world) frozen(t *testing.T, id string) bool {
	t.Helper()
	var all []byte
	for _, pattern := range []string{"cgroup.events", "freezer.state"} {
		for _, depth := range []string{"", "*/", "*/*/", "*/*/*/"} {
			files, err := filepath.Glob("/sys/fs/cgroup/" + depth + "minictr/" + id + "/" + pattern)
			must(t, err)
			for _, f := range files {
				b, err := os.ReadFile(f)
				must(t, err)
				all = append(all, b...)
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("there is no freezer to ask")
	}
	return strings.Contains(string(all), "FROZEN") || strings.Contains(string(all), "frozen 1")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestLayerNeedsAnImage: of a container on a directory there is no layer.
func TestLayerNeedsAnImage(t *testing.T) {
	w := newWorld(t)
	c, _ := w.box(t, 351, true, func(c *Config) { c.Image = Image{Rootfs: w.rootfs} })
	_, err := w.Changes(c.Name)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("compare %s: it has no image", c.Name)) {
		t.Errorf("error %v", err)
	}
}

// TestPauseIsHealed: a process that has stopped a container for a moment is killed
// in that moment. What comes next lets the container go on.
func TestPauseIsHealed(t *testing.T) {
	w := newWorld(t)
	if h, err := cgroups.Detect(); err != nil || h.Mode == cgroups.None {
		t.Skipf("needs cgroups, to freeze one: %v", err)
	}
	c, _, end := w.startBox(t, 1, nil)
	defer end()
	found, err := w.Container(c.Name)
	must(t, err)
	mark := w.running(c.ID, "paused")
	for name, next := range map[string]func() error{
		"Heal":   w.Heal,
		"Signal": func() error { return w.Signal(found, unix.SIGWINCH) },
	} {
		resume, err := w.pause(found)
		must(t, err)
		must(t, next())
		if !w.frozen(t, c.ID) {
			t.Errorf("%s: let go on under the hands of the living", name)
		}
		must(t, resume())
		if w.frozen(t, c.ID) || exists(mark) {
			t.Errorf("%s: not let go on", name)
		}

		resume, err = w.pause(found)
		must(t, err)
		must(t, os.Remove(mark)) // the lock of the killed is gone; here it is of a file that has no name any more
		must(t, os.WriteFile(mark, nil, 0o600))
		must(t, next())
		if w.frozen(t, c.ID) || exists(mark) {
			t.Errorf("%s: still frozen", name)
		}
		must(t, resume())
	}
}
