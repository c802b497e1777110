package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A hostileLayers is one attack by the layers of an image, the lowest first.
// It fails with an error, or ends inside. In names and targets @ stands for the
// absolute path of the directory with the canary: no case may name a file of the
// machine itself, which would be lost if Unpack ever failed.
type hostileLayers struct {
	name   string
	layers [][]tar.Header
	raw    []byte   // the only layer, for what package tar would not write
	fails  string   // part of the error; empty when the layers are good
	want   []string // "name=what is there afterwards", as in look
}

// one is an image of one layer.
func one(headers ...tar.Header) [][]tar.Header { return [][]tar.Header{headers} }

func layers(l ...[]tar.Header) [][]tar.Header { return l }

func layer(headers ...tar.Header) []tar.Header { return headers }

// TestHostileLayers unpacks each attack twice: layer by layer for an overlay,
// which is mounted then, and flattened onto one directory. Both have to come to
// the same. Beside each root lies a canary that must not change by a byte, a
// mode or a time.
func TestHostileLayers(t *testing.T) {
	requireRoot(t)
	for _, group := range [][]hostileLayers{hostilePaths(), hostileReplacements(), hostileWhiteouts(), hostileAttributes(), hostileNames()} {
		for _, c := range group {
			for way, unpack := range map[string]unpackWay{"overlay": unpackStack, "flatten": unpackFlat} {
				t.Run(c.name+"/"+way, func(t *testing.T) { c.run(t, unpack) })
			}
		}
	}
}

// An unpackWay unpacks layers, the first into the root, and returns a descriptor
// of the outcome.
type unpackWay func(t testing.TB, fd int, dir string, layers []io.Reader) (int, error)

func (c hostileLayers) run(t *testing.T, unpack unpackWay) {
	fd, dir := holdRoot(t)
	outside := filepath.Dir(dir)
	watchCanary(t, outside)
	var streams []io.Reader
	for _, headers := range c.layers {
		headers = slices.Clone(headers)
		for i := range headers {
			headers[i].Name = strings.ReplaceAll(headers[i].Name, "@", outside)
			headers[i].Linkname = strings.ReplaceAll(headers[i].Linkname, "@", outside)
		}
		streams = append(streams, layerOf(t, headers...))
	}
	if c.raw != nil {
		streams = append(streams, bytes.NewReader(c.raw))
	}
	root, err := unpack(t, fd, dir, streams)
	if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
		t.Errorf("got %v, want %q", err, c.fails)
	}
	if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == '\ufffd' }) {
		t.Errorf("error would steer the terminal: %q", err)
	}
	for _, want := range c.want {
		want = strings.ReplaceAll(want, "@", outside)
		i := strings.LastIndexByte(want, '=')
		if got := look(t, root, want[:i]); !strings.HasSuffix(" "+got, " "+want[i+1:]) {
			t.Errorf("%q is %q, want %q", want[:i], got, want[i+1:])
		}
	}
}

// unpackFlat puts the layers on one directory.
func unpackFlat(_ testing.TB, fd int, _ string, streams []io.Reader) (int, error) {
	for _, s := range streams {
		if _, err := Unpack(fd, s, UnpackOptions{Flatten: true}); err != nil {
			return fd, err
		}
	}
	return fd, nil
}

// unpackStack puts the first layer there and each other one in a directory of its
// own beside it, and mounts the overlay. What a layer that fails left is
// returned as it is.
func unpackStack(t testing.TB, fd int, dir string, streams []io.Reader) (int, error) {
	var o Overlay
	var parents []int
	for i, s := range streams {
		if i > 0 {
			dir = filepath.Join(filepath.Dir(dir), fmt.Sprint("root", i))
			check(t, os.Mkdir(dir, 0o755))
			var err error
			fd, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			check(t, err)
			t.Cleanup(func() { unix.Close(fd) })
		}
		if _, err := Unpack(fd, s, UnpackOptions{Parents: parents}); err != nil {
			return fd, err
		}
		parents, o.Lower = slices.Insert(parents, 0, fd), slices.Insert(o.Lower, 0, dir)
	}
	mounted, err := MountOverlay(o)
	check(t, err)
	t.Cleanup(func() { unix.Close(mounted) })
	return mounted, nil
}

// look describes a name in a root without following it: mode and owner, then
// f:content, d, l:target, c:major:minor, b:major:minor, p; or none.
func look(t testing.TB, root int, name string) string {
	fd, err := openInRoot(root, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "none"
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	check(t, unix.Fstat(fd, &st))
	what := map[uint32]string{unix.S_IFREG: "f:", unix.S_IFDIR: "d", unix.S_IFLNK: "l:", unix.S_IFCHR: "c:", unix.S_IFBLK: "b:", unix.S_IFIFO: "p"}[st.Mode&unix.S_IFMT]
	switch what {
	case "f:":
		data, err := os.ReadFile(descriptorPath(fd))
		check(t, err)
		what += string(data)
	case "l:":
		target, err := readlinkat(fd, "")
		check(t, err)
		what += target
	case "c:", "b:":
		what += fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	return fmt.Sprintf("%o %d:%d %s", st.Mode&0o7777, st.Uid, st.Gid, what)
}

// watchCanary fills the directory outside of a root with what attacks would like
// to change, and compares it at the end of the test, times of change included.
func watchCanary(t testing.TB, outside string) {
	t.Helper()
	path := func(name string) string { return filepath.Join(outside, name) }
	check(t, os.MkdirAll(path("etc/empty"), 0o751))
	check(t, os.WriteFile(path("etc/passwd"), []byte("root:x:0:0::/:/bin/sh\n"), 0o644))
	check(t, os.Symlink("passwd", path("etc/link")))
	check(t, os.Link(path("etc/passwd"), path("etc/hard")))
	check(t, unix.Mknod(path("etc/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	check(t, os.Chtimes(path("etc/passwd"), time.Unix(7, 8), time.Unix(9, 10)))
	before := listCanary(t, outside)
	t.Cleanup(func() {
		if after := listCanary(t, outside); after != before {
			t.Errorf("outside of the root, before\n%sand after\n%s", before, after)
		}
	})
}

func listCanary(t testing.TB, outside string) string {
	list := ""
	for _, name := range []string{"secret", "etc", "etc/passwd", "etc/link", "etc/hard", "etc/null", "etc/empty"} {
		var st unix.Stat_t
		check(t, unix.Lstat(filepath.Join(outside, name), &st))
		list += fmt.Sprintf("%s links %d changed %d.%09d\n", name, st.Nlink, st.Ctim.Sec, st.Ctim.Nsec)
	}
	names, err := os.ReadDir(outside)
	check(t, err)
	for _, n := range names {
		if !strings.HasPrefix(n.Name(), "root") {
			list += listTree(t, filepath.Join(outside, n.Name()))
		}
	}
	return list
}

// A rawEntry is a header of 512 bytes, field by field, as package tar would not
// write it, and what follows it.
type rawEntry struct {
	name, link                 string
	kind                       byte
	mode, uid, gid, size, time string // octal digits, or base-256 bytes; empty is 0
	major, minor               string
	content                    string // padded to a whole block
}

// rawLayer writes the entries and the end of a tar, whatever they say.
func rawLayer(entries ...rawEntry) []byte {
	var out []byte
	for _, e := range entries {
		b := make([]byte, 512)
		fields := []struct {
			at, end int
			text    string
		}{
			{0, 100, e.name},
			{100, 108, e.mode},
			{108, 116, e.uid},
			{116, 124, e.gid},
			{124, 136, e.size},
			{136, 148, e.time},
			{148, 156, "        "},
			{156, 157, string([]byte{e.kind})},
			{157, 257, e.link},
			{257, 265, "ustar\x0000"},
			{329, 337, e.major},
			{337, 345, e.minor},
		}
		for _, f := range fields {
			copy(b[f.at:f.end], f.text)
		}
		sum := 0
		for _, c := range b {
			sum += int(c)
		}
		copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
		out = append(append(out, b...), e.content...)
		out = append(out, make([]byte, (512-len(e.content)%512)%512)...)
	}
	return append(out, make([]byte, 1024)...)
}

// base256 is a number as GNU tar writes those that are too large for digits.
func base256(n int64, width int) string {
	b := make([]byte, width)
	for i := range b {
		if shift := 8 * (width - 1 - i); shift < 64 {
			b[i] = byte(n >> shift)
		} else if n < 0 {
			b[i] = 0xff
		}
	}
	b[0] |= 0x80
	return string(b)
}
