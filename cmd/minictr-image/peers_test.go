package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/test/kernel"
)

// The tests of this file and the next compare with programs of others: what they
// write is read here, and what is written here they read; digests, configurations
// and files must agree.

// A peer runs such programs with a storage of their own.
type peer struct {
	t   *testing.T
	dir string
}

func newPeer(t *testing.T, commands ...string) *peer {
	t.Helper()
	requireRoot(t)
	kernel.RequireCommand(t, commands...)
	p := &peer{t, t.TempDir()}
	check(t, os.WriteFile(p.dir+"/containers.conf", []byte("[engine]\nlock_type = \"file\"\n"), 0o600))
	check(t, os.WriteFile(p.dir+"/storage.conf", fmt.Appendf(nil, "[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", p.dir+"/storage", p.dir+"/run"), 0o600))
	check(t, os.WriteFile(p.dir+"/policy.json", []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600))
	return p
}

// run returns what the program prints, and fails the test when it fails.
func (p *peer) run(name string, args ...string) string {
	p.t.Helper()
	c := exec.Command(name, args...)
	c.Dir = p.dir
	c.Env = append(os.Environ(), "HOME="+p.dir, "TMPDIR="+p.dir, "XDG_RUNTIME_DIR="+p.dir,
		"CONTAINERS_CONF="+p.dir+"/containers.conf", "CONTAINERS_STORAGE_CONF="+p.dir+"/storage.conf")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		p.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}

func (p *peer) skopeoCopy(args ...string) {
	p.t.Helper()
	p.run("skopeo", append([]string{"--policy", p.dir + "/policy.json", "copy", "--quiet"}, args...)...)
}

func (p *peer) podman(args ...string) string {
	p.t.Helper()
	return p.run("podman", append([]string{"--tmpdir", p.dir + "/tmp"}, args...)...)
}

func (p *peer) path(name string) string { return filepath.Join(p.dir, name) }

// save writes images of a store to a file or directory of the peer.
func (p *peer) save(root, form, name string, images ...string) string {
	p.t.Helper()
	out := p.path(name)
	if _, stderr, err := run(p.t, root, append([]string{"save", "--format", form, "-o", out}, images...)...); err != nil {
		p.t.Fatal(stderr)
	}
	return out
}

// load reads what a peer wrote into a new store.
func (p *peer) load(input string, flags ...string) (root string) {
	p.t.Helper()
	root = p.t.TempDir()
	if stdout, stderr, err := run(p.t, root, append([]string{"load", "-i", p.path(input)}, flags...)...); err != nil {
		p.t.Fatalf("%s: %s%s", input, stdout, stderr)
	}
	return root
}

// treeOf describes the files of an image of a store as a container sees them.
func treeOf(t testing.TB, image *rootfs.Image) string {
	t.Helper()
	fd, err := rootfs.MountOverlay(rootfs.Overlay{Lower: image.Lower(), ReadOnly: true})
	check(t, err)
	defer unix.Close(fd)
	return describeTree(t, fmt.Sprintf("/proc/self/fd/%d/", fd))
}

// describeTree describes each file below dir, one on a line: content, mode, owner,
// device, time, extended attributes, and which others are the same file.
func describeTree(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	first := map[uint64]string{}
	dir = strings.TrimSuffix(dir, "/") + "/" // the directory, also through a link
	check(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := "/" + strings.TrimPrefix(path, dir)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d", name, st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			check(t, err)
			line += fmt.Sprintf(" %d bytes %.4x %s", len(data), sha256.Sum256(data), time.Unix(st.Mtim.Unix()).UTC().Format(time.DateTime))
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			check(t, err)
			line += " -> " + to
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if same, seen := first[st.Ino]; seen {
			line += " = " + same
		} else if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			first[st.Ino] = name
		}
		lines = append(lines, line+attributes(t, path))
		return nil
	}))
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// attributes lists the extended attributes of a file.
func attributes(t testing.TB, path string) string {
	t.Helper()
	names, value := make([]byte, 4096), make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	check(t, err)
	var list []string
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		check(t, err)
		list = append(list, fmt.Sprintf(" %s=%x", name, value[:n]))
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

// everyKind is two layers with what a layer may have: every kind of file, odd
// modes and owners, attributes, long names, and deletions in the upper one.
func everyKind(t testing.TB) (lower, upper []byte) {
	t.Helper()
	at := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	pack := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.ModTime = at
			content := []byte(h.Uname)
			if h.Uname = ""; h.Typeflag == tar.TypeReg {
				h.Size = int64(len(content))
			}
			check(t, w.WriteHeader(&h))
			if h.Typeflag == tar.TypeReg {
				_, err := w.Write(content)
				check(t, err)
			}
		}
		check(t, w.Close())
		return b.Bytes()
	}
	dir := func(name string, mode int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}
	}
	file := func(name, content string, mode int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Uname: content}
	}
	owned := func(h tar.Header, uid, gid int) tar.Header { h.Uid, h.Gid = uid, gid; return h }
	with := func(h tar.Header, name, value string) tar.Header {
		h.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
		return h
	}
	long := "long/" + strings.Repeat("d", 150) + "/" + strings.Repeat("f", 150)
	lower = pack(
		dir(".", 0o755), dir("bin", 0o755), file("bin/sh", "#!", 0o755), owned(file("bin/su", "suid", 0o4755), 3, 4),
		tar.Header{Typeflag: tar.TypeLink, Name: "bin/ash", Linkname: "bin/sh", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "sh", Linkname: "/bin/sh", Mode: 0o777},
		owned(tar.Header{Typeflag: tar.TypeSymlink, Name: "dangling", Linkname: "../../nowhere", Mode: 0o777}, 5, 6),
		dir("tmp", 0o1777), dir("gone", 0o755), file("gone/file", "x", 0o644), dir("new", 0o750), file("new/old", "x", 0o644),
		file("removed", "x", 0o644), file("changed", "before", 0o600),
		dir("long", 0o755), dir(filepath.Dir(long), 0o711), file(long, "long", 0o604),
		file("ünï 'q\" \n line", "odd name", 0o644),
		with(file("attribute", "a", 0o644), "user.note", "text\x01"),
		with(file("capable", "c", 0o755), "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o622},
		tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3},
	)
	upper = pack(
		file(".wh.removed", "", 0o600), file(".wh.gone", "", 0o600),
		owned(dir("new", 0o700), 1000, 1000), file("new/.wh..wh..opq", "", 0o600), file("new/young", "y", 0o644),
		file("changed", "after", 0o640), file("sh", "a file now", 0o755),
	)
	return lower, upper
}

func everyKindImage(t testing.TB, compress func(testing.TB, []byte) []byte, kind types.MediaType) v1.Image {
	t.Helper()
	lower, upper := everyKind(t)
	img := makeImage(t, "linux/amd64", newLayer(t, compress, kind, lower), newLayer(t, compress, kind, upper))
	return mutate.ConfigMediaType(img, types.OCIConfigJSON)
}

func sameTree(t testing.TB, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-ours +theirs):\n%s", what, diff)
	}
}
