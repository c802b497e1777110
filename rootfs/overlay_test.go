package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// stack makes n layer directories, topmost first: each has a file of its own and
// one that all have, which says the number. upper and work are beside them.
func stack(t testing.TB, base string, n int) Overlay {
	t.Helper()
	requireRoot(t)
	var o Overlay
	for i := range n {
		dir := filepath.Join(base, "l", fmt.Sprintf("%032d", n-i))
		check(t, os.MkdirAll(dir, 0o755))
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("own", n-i)), nil, 0o644))
		check(t, os.WriteFile(filepath.Join(dir, "all"), fmt.Append(nil, n-i), 0o644))
		o.Lower = append(o.Lower, dir)
	}
	upper, work, steps := WritableLayer(base)
	check(t, step.Run(steps, nil))
	o.Upper, o.Work = upper, work
	return o
}

// TestMountOverlay mounts stacks of layers by each way, reads through the
// descriptor, and writes.
func TestMountOverlay(t *testing.T) {
	requireRoot(t)
	for way, mount := range map[string]func(Overlay) (int, error){
		"any": MountOverlay, "by layer": mountByLayer, "by string": mountByString, "old": mountOldWay,
	} {
		for _, n := range []int{1, 2, 100} {
			t.Run(fmt.Sprint(way, " ", n), func(t *testing.T) {
				before := mountTable(t)
				o := stack(t, t.TempDir(), n)
				fd, err := mount(o)
				if way == "by string" && n == 100 {
					if !errors.Is(err, unix.EINVAL) {
						t.Fatalf("100 layers in 255 bytes: %v", err)
					}
					return
				}
				if errors.Is(err, unix.EINVAL) && way == "by layer" {
					t.Skip("needs Linux 6.5 for lowerdir+")
				}
				check(t, err)
				defer unix.Close(fd)
				for name, want := range map[string]string{"all": fmt.Sprint(n), "own1": "", fmt.Sprint("own", n): ""} {
					if data, err := ReadFile(fd, name, 100); err != nil || string(data) != want {
						t.Errorf("%s: %q, %v", name, data, err)
					}
				}
				check(t, EnsureFile(fd, "a/new"))
				if _, err := os.Stat(filepath.Join(o.Upper, "a/new")); err != nil {
					t.Error(err)
				}
				if after := mountTable(t); after != before {
					t.Errorf("mount table changed:\n%s", after)
				}
			})
		}
	}
}

func mountTable(t testing.TB) string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	check(t, err)
	return string(data)
}

// TestMountOverlayUnpacked: what Unpack wrote for a deletion is one.
func TestMountOverlayUnpacked(t *testing.T) {
	o := stack(t, t.TempDir(), 2)
	top, err := unix.Open(o.Lower[0], unix.O_PATH|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(top)
	check(t, os.MkdirAll(filepath.Join(o.Lower[1], "d/e"), 0o755))
	below, err := unix.Open(o.Lower[1], unix.O_PATH|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(below)
	_, err = Unpack(top, layerOf(t, file(".wh.own1", ""), dir("d"), file("d/.wh..wh..opq", ""), file("d/f", "")), UnpackOptions{Parents: []int{below}})
	check(t, err)
	fd, err := MountOverlay(o)
	check(t, err)
	defer unix.Close(fd)
	for name, want := range map[string]error{"own1": unix.ENOENT, "d/e": unix.ENOENT, "d/f": nil, "all": nil} {
		if _, err := Stat(fd, name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

func TestMountOverlayReadOnly(t *testing.T) {
	requireRoot(t)
	for way, mount := range map[string]func(Overlay) (int, error){"any": MountOverlay, "old": mountOldWay} {
		o := stack(t, t.TempDir(), 2)
		o.ReadOnly = true
		noUpper := Overlay{Lower: o.Lower, ReadOnly: true}
		one := Overlay{Lower: o.Lower[:1], ReadOnly: true}
		for i, o := range []Overlay{o, noUpper, one} {
			if way == "old" && i == 2 {
				continue // overlay wants two; MountOverlay clones the one
			}
			fd, err := mount(o)
			check(t, err)
			if err := EnsureFile(fd, "new"); !errors.Is(err, unix.EROFS) {
				t.Errorf("%s %d: got %v, want EROFS", way, i, err)
			}
			unix.Close(fd)
		}
	}
}

// TestMountOverlayPaths has names that options cannot hold as they are.
func TestMountOverlayPaths(t *testing.T) {
	requireRoot(t)
	for _, name := range []string{`a,b:c\d "e`, strings.Repeat("long", 60)} {
		for way, mount := range map[string]func(Overlay) (int, error){"any": MountOverlay, "old": mountOldWay} {
			base := filepath.Join(t.TempDir(), name, way)
			fd, err := mount(stack(t, base, 3))
			if err != nil {
				t.Errorf("%s: %v", way, err)
				continue
			}
			if data, err := ReadFile(fd, "all", 10); string(data) != "3" {
				t.Errorf("%s: %q, %v", way, data, err)
			}
			unix.Close(fd)
		}
	}
}

func TestMountOverlayFails(t *testing.T) {
	o := stack(t, t.TempDir(), 2)
	lower, err := MountOverlay(o)
	check(t, err)
	defer unix.Close(lower)
	check(t, MkdirAll(lower, "diff", 0o755, 0, 0))
	check(t, MkdirAll(lower, "work", 0o755, 0, 0))
	onOverlay := descriptorPath(lower)
	missing := o.Lower[0] + "none"
	tooMany := "too many lower directories"
	if fd, err := mountByLayer(o); err != nil {
		tooMany = "options too large" // before Linux 6.5
	} else {
		unix.Close(fd)
	}
	for _, c := range []struct {
		o      Overlay
		errno  unix.Errno
		phrase string
	}{
		{Overlay{Lower: []string{missing}, Upper: o.Upper, Work: o.Work}, unix.ENOENT, "mount overlay " + o.Upper + ": " + missing + ": no such file or directory"},
		{Overlay{Lower: []string{o.Lower[0] + "/all"}, Upper: o.Upper, Work: o.Work}, unix.ENOTDIR, "/all: not a directory"},
		{Overlay{Lower: o.Lower[:1], Upper: o.Upper, Work: o.Upper}, unix.EINVAL, "mount overlay"},
		{Overlay{Lower: append(slices.Repeat([]string{"/"}, 501), o.Lower...), Upper: o.Upper, Work: o.Work}, unix.EINVAL, tooMany},
		{Overlay{Lower: []string{o.Lower[0], o.Lower[0]}, Upper: o.Upper, Work: o.Work}, unix.ELOOP, "lie inside each other, or a layer is given twice"},
		{Overlay{Lower: o.Lower, Upper: onOverlay + "/diff", Work: onOverlay + "/work"}, unix.EINVAL, "upper directory is on overlay, which cannot hold one"},
	} {
		fd, err := MountOverlay(c.o)
		if !errors.Is(err, c.errno) || !strings.Contains(fmt.Sprint(err), c.phrase) {
			t.Errorf("got %v (%d)\nwant %v with %q", err, fd, c.errno, c.phrase)
		}
	}
	if _, err := MountOverlay(Overlay{}); err == nil || err.Error() != "mount overlay: no layers" {
		t.Errorf("nothing: %v", err)
	}
}

// TestBindDirectory: changes go to the directory, and what is mounted below
// comes along.
func TestBindDirectory(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	fd, err := BindDirectory(dir)
	check(t, err)
	defer unix.Close(fd)
	check(t, EnsureFile(fd, "made"))
	if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
		t.Error(err)
	}
	if _, err := BindDirectory(filepath.Join(dir, "made")); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	if _, err := BindDirectory(filepath.Join(dir, "none")); err == nil || err.Error() != "bind "+dir+"/none: no such file or directory" {
		t.Errorf("nothing: %v", err)
	}
}

func TestAddDirectory(t *testing.T) {
	base := t.TempDir() + "/it's"
	check(t, os.Mkdir(base, 0o700))
	_, work, steps := WritableLayer(base)
	for i := range steps {
		if err := step.Run(step.FailAt(steps, i, unix.EIO), nil); !errors.Is(err, unix.EIO) {
			t.Errorf("step %d: %v", i, err)
		}
		if left, _ := os.ReadDir(base); len(left) != 0 {
			t.Errorf("step %d left %v", i, left)
		}
	}
	check(t, step.Run(steps, nil))
	check(t, step.Check(steps))
	check(t, os.MkdirAll(filepath.Join(work, "work", "x"), 0o000))
	if err := steps[0].Apply(); !errors.Is(err, unix.EEXIST) {
		t.Errorf("twice: %v", err)
	}
	for range 2 { // gone is success
		check(t, step.Undo(steps))
	}
	if err := step.Check(steps); !errors.Is(err, unix.ENOENT) {
		t.Errorf("after undo: %v", err)
	}
	if want := `mkdir -m 0755 '` + strings.ReplaceAll(base, "'", `'\''`) + `/upper'`; steps[0].String() != want {
		t.Errorf("got %s, want %s", steps[0], want)
	}
	if want := "make a directory for the changes of the container"; steps[0].Words() != want {
		t.Errorf("got %s", steps[0].Words())
	}
}

func BenchmarkMountOverlay(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		for way, mount := range map[string]func(Overlay) (int, error){"any": MountOverlay, "old": mountOldWay} {
			b.Run(fmt.Sprint(way, "-", n), func(b *testing.B) {
				o := stack(b, b.TempDir(), n)
				for b.Loop() {
					fd, err := mount(o)
					check(b, err)
					b.StopTimer() // the last close syncs the file system of upper
					unix.Close(fd)
					b.StartTimer()
				}
			})
		}
	}
}
