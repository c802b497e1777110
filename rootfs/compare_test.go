package rootfs

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// makeTree fills a directory with one of each kind.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	when := time.Unix(1_700_000_000, 123456789)
	check(t, errors.Join(
		os.Mkdir(dir+"/sub", 0o755),
		os.WriteFile(dir+"/sub/file", []byte("content"), 0o644),
		os.Link(dir+"/sub/file", dir+"/hard"),
		os.WriteFile(dir+"/other", []byte("content"), 0o644),
		os.Symlink("sub/file", dir+"/link"),
		os.Symlink("/nowhere", dir+"/dangling"),
		unix.Mknod(dir+"/whiteout", unix.S_IFCHR, 0),
		unix.Mkfifo(dir+"/fifo", 0o600),
		unix.Setxattr(dir+"/sub/file", "user.one", []byte("1"), 0),
		os.Chtimes(dir+"/sub/file", when, when),
		os.Chtimes(dir+"/other", when, when),
	))
	for _, name := range []string{"/link", "/dangling", "/whiteout", "/fifo"} {
		ts := unix.NsecToTimespec(when.UnixNano())
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// TestCompareTrees changes one thing of a tree at a time.
func TestCompareTrees(t *testing.T) {
	requireRoot(t)
	for _, c := range []struct {
		name   string
		change func(dir string) error
		want   string
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"content", func(d string) error {
			return keepTime(d+"/other", func() error { return os.WriteFile(d+"/other", []byte("CONTENT"), 0o644) })
		}, "other: other content"},
		{"size", func(d string) error { return keepTime(d+"/other", func() error { return os.Truncate(d+"/other", 3) }) }, "other: 3 bytes instead of 7"},
		{"time", func(d string) error { return os.Chtimes(d+"/other", time.Time{}, time.Unix(1, 0)) }, "other: modified at another time"},
		{"mode", func(d string) error { return unix.Chmod(d+"/other", 0o4755) }, "other: mode 4755 instead of 0644"},
		{"mode of a directory", func(d string) error { return os.Chmod(d+"/sub", 0o700) }, "sub: mode 0700 instead of 0755"},
		{"owner", func(d string) error { return os.Lchown(d+"/link", 7, 8) }, "link: owner 7:8 instead of 0:0"},
		{"target", func(d string) error {
			return keepTime(d+"/link", func() error { return errors.Join(os.Remove(d+"/link"), os.Symlink("evil\x1b", d+"/link")) })
		}, `link: link to "evil\x1b" instead of sub/file`},
		{"device", func(d string) error {
			return keepTime(d+"/whiteout", func() error {
				return errors.Join(os.Remove(d+"/whiteout"), unix.Mknod(d+"/whiteout", unix.S_IFCHR, int(unix.Mkdev(1, 3))))
			})
		}, "whiteout: device 1:3 instead of 0:0"},
		{"kind", func(d string) error { return errors.Join(os.Remove(d+"/fifo"), os.Mkdir(d+"/fifo", 0o755)) }, "fifo: a directory instead of a fifo"},
		{"more", func(d string) error { return os.WriteFile(d+"/sub/zz", nil, 0o644) }, "sub/zz: not of the layer"},
		{"less", func(d string) error { return os.Remove(d + "/dangling") }, "dangling: missing"},
		{"attribute", func(d string) error { return unix.Setxattr(d+"/sub/file", "user.one", []byte("2"), 0) }, `extended attributes user.one="2" instead of user.one="1"`},
		{"opaque", func(d string) error { return unix.Setxattr(d+"/sub", opaqueXattr, []byte("y"), 0) }, `sub: extended attributes trusted.overlay.opaque="y" instead of none`},
		{"a copy for a hard link", func(d string) error {
			return errors.Join(os.Remove(d+"/hard"), os.Link(d+"/other", d+"/hard"))
		}, "hard links"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, got := t.TempDir(), t.TempDir()
			makeTree(t, want)
			makeTree(t, got)
			check(t, errors.Join(os.Chmod(want, 0o755), os.Chmod(got, 0o755), c.change(got)))
			found, err := compareDirectories(got, want)
			check(t, err)
			if c.want == "" && len(found) == 0 {
				return
			}
			if c.want == "" || !slices.ContainsFunc(found, func(d Difference) bool { return strings.Contains(d.String(), c.want) }) {
				t.Errorf("got %v, want %s", found, c.want)
			}
		})
	}
}

// keepTime changes a file and sets its time back.
func keepTime(file string, change func() error) error {
	var st unix.Stat_t
	err := unix.Lstat(file, &st)
	return errors.Join(err, change(), unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// TestCheckLayer: what a store has of a layer, against the layer.
func TestCheckLayer(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	data := testLayer(t, "a")
	image := addImage(t, s, []string{"x"}, data)
	l := image.Layers[0]
	tx := begin(t, s)
	if found, err := tx.CheckLayer(t.Context(), nil, l, opens(data)); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := tx.CheckLayer(context.Background(), nil, l, opens(testLayer(t, "b"))); !errors.Is(err, ErrDigest) {
		t.Errorf("of another layer: %v", err)
	}
	for i := range 20 {
		check(t, os.WriteFile(l.Dir+"/"+strings.Repeat("n", i+2), nil, 0o644))
	}
	if found, err := tx.CheckLayer(t.Context(), nil, l, opens(data)); err != nil || len(found) != maxDifferences {
		t.Errorf("%v, %v", found, err)
	}
	check(t, os.RemoveAll(l.Dir))
	if found, err := tx.CheckLayer(t.Context(), nil, l, opens(data)); err != nil || len(found) != 1 || found[0].What != "missing" {
		t.Errorf("without a directory: %v, %v", found, err)
	}
	check(t, tx.Close())
	if left := strings.Join(files(t, s.root), " "); strings.Contains(left, "tmp/") {
		t.Errorf("left behind: %s", left)
	}
}

// TestCompareWhiteouts: what says that a name is deleted has the time when it was
// unpacked, which is no difference.
func TestCompareWhiteouts(t *testing.T) {
	requireRoot(t)
	parent, _ := holdRoot(t)
	_, err := Unpack(parent, layerOf(t, file("gone", "")), UnpackOptions{})
	check(t, err)
	var fds [2]int
	for i := range fds {
		fd, root := holdRoot(t)
		_, err := Unpack(fd, layerOf(t, file(".wh.gone", "")), UnpackOptions{Parents: []int{parent}})
		check(t, err)
		check(t, os.Chtimes(root+"/gone", time.Unix(int64(i), 0), time.Unix(int64(i), 0)))
		fds[i] = fd
	}
	found, err := compareTrees(fds[0], fds[1], 10)
	check(t, err)
	if len(found) > 0 {
		t.Errorf("%v", found)
	}
}
