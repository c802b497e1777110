package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// layerOf writes a tar stream. A header without a type is a file; its content
// is its Uname, a field that Unpack does not read.
func layerOf(t testing.TB, headers ...tar.Header) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.Uname
		h.Uname = ""
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1_000_000_000, 0)
		}
		check(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		check(t, err)
	}
	check(t, w.Close())
	return bytes.NewReader(b.Bytes())
}

func file(name, content string) tar.Header { return tar.Header{Name: name, Uname: content} }
func dir(name string) tar.Header           { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
}

func hardlink(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink}
}

// listTree describes every name below dir: type, mode, owner, size or target or
// device, time, links, extended attributes, content.
func listTree(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	check(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		lines = append(lines, describe(t, path, name, inodes))
		return nil
	}))
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n"
}

func describe(t testing.TB, path, name string, inodes map[uint64]string) string {
	var st unix.Stat_t
	check(t, unix.Lstat(path, &st))
	line := fmt.Sprintf("%s %o %d:%d %d.%09d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		if first, seen := inodes[st.Ino]; seen {
			return name + " = " + first
		}
		inodes[st.Ino] = name
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		check(t, err)
		line += " -> " + target
	case unix.S_IFREG:
		data, err := os.ReadFile(path)
		check(t, err)
		line += fmt.Sprintf(" %d %x", len(data), sha256.Sum256(data))
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	names := make([]byte, 4096)
	n, _ := unix.Llistxattr(path, names)
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(names[:max(n, 0)]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(path, attr, value); attr != "" && err == nil {
			line += fmt.Sprintf(" %s=%q", attr, value[:n])
		}
	}
	return line
}

// TestUnpackLikeTar unpacks Alpine's one layer and a made-up archive with
// everything, and compares each with what GNU tar makes of the same.
func TestUnpackLikeTar(t *testing.T) {
	requireRoot(t)
	for name, archive := range map[string]func(testing.TB) []byte{"alpine": alpineTar, "everything": everythingTar} {
		t.Run(name, func(t *testing.T) {
			data := archive(t)
			fd, ours := holdRoot(t)
			if _, err := Unpack(fd, bytes.NewReader(data), UnpackOptions{}); err != nil {
				t.Fatal(err)
			}
			oracle := t.TempDir()
			check(t, os.Chmod(oracle, 0o755))
			tar := exec.Command("tar", "-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-C", oracle)
			tar.Stdin = bytes.NewReader(data)
			if out, err := tar.CombinedOutput(); err != nil {
				t.Skipf("tar as the oracle: %v: %s", err, out)
			}
			if diff := cmp.Diff(clearTime(listTree(t, oracle)), clearTime(listTree(t, ours))); diff != "" {
				t.Errorf("-tar +ours:\n%s", diff)
			}
		})
	}
}

// clearTime takes the time out of the line of the root, which has no entry.
func clearTime(tree string) string {
	_, rest, _ := strings.Cut(tree, "\n")
	return rest
}

func alpineTar(t testing.TB) []byte {
	f, err := os.Open("../../shared/images/alpine-minirootfs-3.20.3-x86_64.tar.gz")
	if err != nil {
		t.Skip("needs the Alpine root file system: ", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(t, err)
	data, err := io.ReadAll(z)
	check(t, err)
	return data
}

// everythingTar is written by GNU tar itself, from a tree with every kind of
// file and attribute.
func everythingTar(t testing.TB) []byte {
	dir := t.TempDir()
	script := `set -e; cd "$1"
	mkdir -p d/e sticky; chmod 1777 sticky; chmod 2750 d; chown 1000:1001 d
	echo text > file; chmod 4755 file; chown 12:34 file; ln file d/hard; ln -s ../../../file d/e/soft; ln -s /absolute abs
	mkfifo -m 0640 fifo; mknod char c 1 3; mknod block b 7 0; chmod 600 block; chown 5:6 char fifo; chown -h 8:9 abs
	truncate -s 3000000 sparse; printf end >> sparse; printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null
	echo 1 > "$(printf %0200d 7)"; mkdir -p "$(printf %0120d 8)/$(printf %0120d 9)"; echo 2 > "$(printf %0120d 8)/$(printf %0120d 9)/long"
	setfattr -n user.note -v hello file 2>/dev/null || true
	setcap cap_net_raw+ep d/e 2>/dev/null || { cp /bin/true caps; setcap cap_net_raw+ep caps 2>/dev/null || true; }
	touch -d '2001-02-03 04:05:06.123456789' file d; touch -h -d '2002-02-03 04:05:06.5' abs
	tar -c --format=posix --sparse --xattrs --xattrs-include='*' --numeric-owner .`
	out, err := exec.Command("sh", "-c", script, "sh", dir).Output()
	if err != nil {
		t.Skip("making an archive with GNU tar: ", err)
	}
	return out
}

// TestUnpackWhiteouts has each case of the OCI image-spec's layer.md, and what
// overlay's form of it is. "W" is a whiteout, "O" an opaque directory.
func TestUnpackWhiteouts(t *testing.T) {
	requireRoot(t)
	for _, c := range []struct {
		name  string
		layer []tar.Header
		want  string
	}{
		{"file", []tar.Header{dir("a"), file("a/.wh.b", "")}, "a a/b=W"},
		{"implied parent", []tar.Header{file("a/.wh.b", "")}, "a a/b=W"},
		{"opaque", []tar.Header{dir("a"), file("a/.wh..wh..opq", ""), file("a/b", "")}, "a=O a/b"},
		{"opaque last", []tar.Header{file("a/b", ""), file("a/.wh..wh..opq", "")}, "a=O a/b"},
		{"opaque root", []tar.Header{file(".wh..wh..opq", "")}, "a=W b=W"},
		{"opaque root with names", []tar.Header{file("b/d", ""), file(".wh..wh..opq", ""), file("a", ""), file("c", "")}, "a b=O b/d c"},
		{"same layer has the file", []tar.Header{file("b", ""), file(".wh.b", "")}, "b"},
		{"same layer has the directory", []tar.Header{dir("b"), file(".wh.b", "")}, "b=O"},
		{"then a file", []tar.Header{file(".wh.b", ""), file("b", "")}, "b"},
		{"then a directory", []tar.Header{file(".wh.b", ""), dir("b")}, "b=O"},
		{"then something in it", []tar.Header{file(".wh.b", ""), file("b/c", "")}, "b=O b/c"},
		{"twice", []tar.Header{file(".wh.b", ""), file(".wh.b", "")}, "b=W"},
		{"nothing below", []tar.Header{file("a/.wh.c", ""), file("c/.wh.d", ""), file(".wh.c", "")}, ""},
		{"below a file", []tar.Header{file("b/c/.wh.d", "")}, ""},
		{"through a symlink", []tar.Header{symlink("s", "a"), file("s/.wh.b", "")}, "a a/b=W s"},
		{"of aufs", []tar.Header{dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", ""), file(".wh..wh.aufs", "")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			below, _ := holdRoot(t)
			_, err := Unpack(below, layerOf(t, file("a/b", ""), file("b/c", "")), UnpackOptions{})
			check(t, err)
			fd, root := holdRoot(t)
			if _, err := Unpack(fd, layerOf(t, c.layer...), UnpackOptions{Parents: []int{below}}); err != nil {
				t.Fatal(err)
			}
			if got := listWhiteouts(t, root); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func listWhiteouts(t testing.TB, root string) string {
	var found []string
	check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		value := make([]byte, 8)
		if n, err := unix.Lgetxattr(path, opaqueXattr, value); err == nil && string(value[:n]) == "y" {
			name += "=O"
		}
		var st unix.Stat_t
		check(t, unix.Lstat(path, &st))
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			name += "=W"
		}
		if name != "." {
			found = append(found, name)
		}
		return err
	}))
	return strings.Join(found, " ")
}

// TestUnpackFlatten puts three layers on one directory.
func TestUnpackFlatten(t *testing.T) {
	requireRoot(t)
	fd, root := holdRoot(t)
	for _, layer := range [][]tar.Header{
		{file("keep", "1"), file("gone", ""), file("d/old", ""), file("d/e/old", ""), file("f/old", ""), file("t", "")},
		{file(".wh.gone", ""), file(".wh.never", ""), file("d/e/new", ""), file("d/.wh..wh..opq", ""), file("f/.wh.old", ""), dir("t")},
		{file("keep", "3"), file("t/in", "")},
	} {
		if _, err := Unpack(fd, layerOf(t, layer...), UnpackOptions{Flatten: true}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := listWhiteouts(t, root), "d d/e d/e/new f keep t t/in"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if data, _ := os.ReadFile(filepath.Join(root, "keep")); string(data) != "3" {
		t.Errorf("keep: %q", data)
	}
}

// TestUnpackImpliedDirectory: a directory that only a layer below lists keeps
// its mode and owner when the layer above puts a file in it.
func TestUnpackImpliedDirectory(t *testing.T) {
	requireRoot(t)
	lower, _ := holdRoot(t)
	_, err := Unpack(lower, layerOf(t, tar.Header{Name: "tmp", Typeflag: tar.TypeDir, Mode: 0o1777, Uid: 3, Gid: 4}), UnpackOptions{})
	check(t, err)
	upper, root := holdRoot(t)
	_, err = Unpack(upper, layerOf(t, file("tmp/x/y", "")), UnpackOptions{Parents: []int{lower}})
	check(t, err)
	for name, want := range map[string]string{"tmp": "41777 3:4", "tmp/x": "40755 0:0"} {
		var st unix.Stat_t
		check(t, unix.Lstat(filepath.Join(root, name), &st))
		if got := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestUnpackReplaces(t *testing.T) {
	requireRoot(t)
	fd, root := holdRoot(t)
	_, err := Unpack(fd, layerOf(t,
		file("a/b/c", "1"), file("a", "now a file"),
		file("f", ""), dir("f"), file("f/in", ""),
		symlink("l", "f"), symlink("l", "a"), hardlink("l", "l"),
		file("h", "one"), hardlink("g", "h"), hardlink("g", "h"), file("h", "two"),
	), UnpackOptions{})
	check(t, err)
	for name, want := range map[string]string{"a": "now a file", "g": "one", "h": "two", "l": "now a file"} {
		if data, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v; want %q", name, data, err, want)
		}
	}
}

// TestUnpackXattrs: a layer cannot speak to the kernel's overlay, nor set what is
// the host's. The capabilities of a file are the layer's, and outlive its owner.
func TestUnpackXattrs(t *testing.T) {
	requireRoot(t)
	fd, root := holdRoot(t)
	const netRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // capabilities(7): version 2, effective, permitted 1<<13
	attributes := map[string]string{paxXattr + "security.capability": netRaw}
	for _, name := range []string{"trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.opaque", "trusted.x", "security.selinux", "security.ima", "user.note"} {
		attributes[paxXattr+name] = "y"
	}
	h, d := file("f", ""), dir("d")
	h.PAXRecords, h.Uid, h.Gid = attributes, 7, 8
	d.PAXRecords = attributes
	_, err := Unpack(fd, layerOf(t, h, d), UnpackOptions{})
	check(t, err)
	for _, name := range []string{"f", "d"} {
		names := make([]byte, 1000)
		n, err := unix.Llistxattr(filepath.Join(root, name), names)
		check(t, err)
		got := strings.Split(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00")
		sort.Strings(got)
		if list := strings.Join(got, " "); list != "security.capability user.note" && list != "security.capability" {
			t.Errorf("%s has %s", name, list)
		}
		value := make([]byte, 100)
		n, err = unix.Lgetxattr(filepath.Join(root, name), "security.capability", value)
		if err != nil || string(value[:n]) != netRaw {
			t.Errorf("capabilities of %s: %x, %v", name, value[:max(n, 0)], err)
		}
	}
	for _, name := range []string{"user.", "user." + strings.Repeat("n", 300)} {
		h.PAXRecords = map[string]string{paxXattr + name: "y"}
		if _, err := Unpack(fd, layerOf(t, h), UnpackOptions{}); err == nil || !strings.HasPrefix(err.Error(), "unpack f: set extended attribute user.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnpackBadStreams(t *testing.T) {
	fd, _ := holdRoot(t)
	whole, _ := io.ReadAll(layerOf(t, file("a", strings.Repeat("x", 2000))))
	for name, c := range map[string]struct {
		stream []byte
		want   error
	}{
		"truncated content": {whole[:1024], io.ErrUnexpectedEOF},
		"truncated header":  {whole[:300], io.ErrUnexpectedEOF},
		"no tar":            {bytes.Repeat([]byte("no tar. "), 200), tar.ErrHeader},
	} {
		if _, err := Unpack(fd, bytes.NewReader(c.stream), UnpackOptions{}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := Unpack(fd, bytes.NewReader(whole), UnpackOptions{MaxBytes: 1999}); !errors.Is(err, unix.EFBIG) {
		t.Errorf("too large: %v", err)
	}
}
