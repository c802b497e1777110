package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// copyInto unpacks for a copy and returns what was warned of.
func copyInto(t *testing.T, fd int, o CopyOptions, headers ...tar.Header) (warnings []string, err error) {
	t.Helper()
	o.Warn = func(err error) { warnings = append(warnings, err.Error()) }
	_, err = Unpack(fd, layerOf(t, headers...), UnpackOptions{Copy: &o})
	return warnings, err
}

func TestCopyIsNoLayer(t *testing.T) {
	requireRoot(t)
	fd, root := holdRoot(t)
	check(t, os.Mkdir(root+"/kept", 0o700))
	check(t, os.WriteFile(root+"/gone", nil, 0o600))
	check(t, os.Chtimes(root, time.Unix(1, 0), time.Unix(1, 0)))
	before := describe(t, root, ".", map[uint64]string{})
	_, err := copyInto(t, fd, CopyOptions{}, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o711, Uid: 5})
	check(t, err)
	if diff := cmp.Diff(before, describe(t, root, ".", map[uint64]string{})); diff != "" {
		t.Errorf("the directory itself: -before +after:\n%s", diff)
	}
	_, err = copyInto(t, fd, CopyOptions{}, file(".wh.gone", "x"), file(".wh..wh..opq", ""), dir(".wh..wh.plnk"), file("dir/.wh.x", ""))
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Stat(root, &st))
	if time.Since(time.Unix(st.Mtim.Unix())) > time.Minute {
		t.Error("the directory has its old time, though there is something new in it")
	}
	for _, name := range []string{"gone", ".wh.gone", ".wh..wh..opq", ".wh..wh.plnk", "dir/.wh.x"} {
		if _, err := os.Lstat(root + "/" + name); err != nil {
			t.Error(err)
		}
	}
}

// TestCopyRoundTrip: a copy of a tree has its times, too, also those of the
// directories, which are made before what is in them.
func TestCopyRoundTrip(t *testing.T) {
	requireRoot(t)
	for seed := range uint64(5) {
		_, dir := holdRoot(t)
		growTree(t, rand.New(rand.NewPCG(seed, 2)), dir)
		fd, copied := holdRoot(t)
		_, err := Unpack(fd, bytes.NewReader(packOf(t, dir, PackOptions{Name: "."})), UnpackOptions{Copy: &CopyOptions{}})
		check(t, err)
		if diff := cmp.Diff(clearTime(listTree(t, dir)), clearTime(listTree(t, copied))); diff != "" {
			t.Fatalf("seed %d: -there +copied:\n%s", seed, diff)
		}
	}
}

func TestCopyKeepsKinds(t *testing.T) {
	requireRoot(t)
	for _, c := range []struct {
		name  string
		entry tar.Header
		error string
	}{
		{"file for a directory", file("dir", "x"), "dir is a directory"},
		{"link for a directory", symlink("dir", "file"), "dir is a directory"},
		{"directory for a file", dir("file"), "file is no directory"},
		{"directory for a link to one", dir("link"), "link is no directory"},
		{"file for a link", file("link", "x"), ""},
		{"link for a file", symlink("file", "x"), ""},
		{"directory for a directory", dir("dir"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fd, root := holdRoot(t)
			check(t, os.Mkdir(root+"/dir", 0o700))
			check(t, os.WriteFile(root+"/dir/in", nil, 0o600))
			check(t, os.WriteFile(root+"/file", nil, 0o600))
			check(t, os.Symlink("dir", root+"/link"))
			before := listTree(t, root)
			_, err := copyInto(t, fd, CopyOptions{}, c.entry)
			var replace *ReplaceError
			if c.error == "" {
				check(t, err)
				return
			}
			if !errors.As(err, &replace) || !strings.Contains(err.Error(), c.error) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(before, listTree(t, root)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
}

// TestCopyHarmless: a container's setuid programs, devices and capabilities do
// not become the host's.
func TestCopyHarmless(t *testing.T) {
	requireRoot(t)
	caps := map[string]string{paxXattr + "security.capability": "\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", paxXattr + "user.note": "kept"}
	entries := []tar.Header{
		{Name: "setuid", Typeflag: tar.TypeReg, Mode: 0o6755, Uid: 1, Gid: 2, PAXRecords: caps},
		{Name: "dir", Typeflag: tar.TypeDir, Mode: 0o2755},
		{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8},
		hardlink("same", "disk"),
		{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o600},
	}
	fd, root := holdRoot(t)
	warnings, err := copyInto(t, fd, CopyOptions{Harmless: true, Owner: func(int, int) (int, int) { return 77, 78 }}, entries...)
	check(t, err)
	if len(warnings) != 2 {
		t.Errorf("warnings %q", warnings)
	}
	tree := clearTime(listTree(t, root))
	for _, want := range []string{"setuid 100755 77:78 ", `user.note="kept"`, "dir 42755 77:78", "fifo 10600 77:78"} {
		if !strings.Contains(tree, want) {
			t.Errorf("no %q in\n%s", want, tree)
		}
	}
	if strings.Contains(tree, "disk") || strings.Contains(tree, "same") || strings.Contains(tree, "capability") {
		t.Errorf("too much:\n%s", tree)
	}
	fd, root = holdRoot(t)
	_, err = copyInto(t, fd, CopyOptions{}, entries...)
	check(t, err)
	tree = listTree(t, root)
	for _, want := range []string{"setuid 106755 1:2 ", "security.capability", "disk 60755 0:0"} {
		if !strings.Contains(tree, want) {
			t.Errorf("not harmless: no %q in\n%s", want, tree)
		}
	}
}

// TestCopyWhileItChanges unpacks all kinds of files into a tree in which names
// are exchanged for links that lead out, all the time.
func TestCopyWhileItChanges(t *testing.T) {
	requireRoot(t)
	canary := t.TempDir()
	check(t, os.WriteFile(canary+"/file", []byte("canary"), 0o600))
	check(t, os.Mkdir(canary+"/sub", 0o700))
	want := listTree(t, canary)
	fd, root := holdRoot(t)
	check(t, os.MkdirAll(root+"/d/sub", 0o755))
	check(t, os.Symlink(canary, root+"/other"))
	check(t, os.Symlink(canary+"/file", root+"/link"))
	var layers []*bytes.Reader
	for _, h := range []tar.Header{
		{Name: "file", Typeflag: tar.TypeFifo, Mode: 0o777, Uid: 5},
		file("d/file", "written"), dir("d/sub"), file("d/sub/x", "written"),
		symlink("d/soft", "file"),
		{Name: "d/fifo", Typeflag: tar.TypeFifo, Mode: 0o777, Uid: 5},
		hardlink("d/hard", "d/file"), hardlink("hard", "file"),
	} {
		layers = append(layers, layerOf(t, h))
	}
	stop := keepDoing(t, func(int) {
		_ = unix.Renameat2(fd, "d", fd, "other", unix.RENAME_EXCHANGE)
		_ = unix.Symlinkat(canary+"/file", fd, "link") // a copy has replaced it
		_ = unix.Renameat2(fd, "file", fd, "link", unix.RENAME_EXCHANGE)
		_ = unix.Unlinkat(fd, "link", 0)
	})
	defer stop()
	rounds := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); rounds++ {
		layer := layers[rounds%len(layers)]
		_, err := layer.Seek(0, 0)
		check(t, err)
		_, _ = Unpack(fd, layer, UnpackOptions{Copy: &CopyOptions{}}) // it may fail, but not elsewhere
		if rounds%100 == 0 {
			if diff := cmp.Diff(want, listTree(t, canary)); diff != "" {
				t.Fatalf("outside: -before +after:\n%s", diff)
			}
		}
	}
	if diff := cmp.Diff(want, listTree(t, canary)); diff != "" {
		t.Errorf("outside: -before +after:\n%s", diff)
	}
	t.Logf("%d rounds", rounds)
	if rounds < 100 {
		t.Errorf("only %d rounds", rounds)
	}
}

// TestCopyOntoMount: a file that is mounted in the directory is not replaced,
// also when it is mounted in another namespace.
func TestCopyOntoMount(t *testing.T) {
	requireRoot(t)
	_, root := holdRoot(t)
	source := t.TempDir()
	check(t, os.WriteFile(source+"/mounted", []byte("mounted"), 0o600))
	over, err := unix.OpenTree(unix.AT_FDCWD, source+"/mounted", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	check(t, err)
	defer unix.Close(over)
	base, err := BindDirectory(root)
	check(t, err)
	defer unix.Close(base)
	tree, err := MountTree(base, "/", []TreeMount{{FD: over, Destination: "/etc/file", File: true}})
	check(t, err)
	defer func() { check(t, tree.Close()) }()
	data, err := ReadFile(tree.Root, "/etc/file", 100)
	check(t, err)
	if string(data) != "mounted" {
		t.Fatalf("the tree has %q", data)
	}
	_, err = copyInto(t, tree.Root, CopyOptions{}, file("etc/file", "new"))
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("error %v", err)
	}
	if data, _ = ReadFile(tree.Root, "/etc/file", 100); !bytes.Equal(data, []byte("mounted")) {
		t.Errorf("now it is %q", data)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(mounts, []byte(root)) {
		t.Errorf("the host sees the tree (%v)", err)
	}
}
