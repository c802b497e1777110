package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzUnpack feeds foreign bytes. Invariant: an error, or a tree wholly inside
// the root; nothing beside it changes; what is left can be deleted.
func FuzzUnpack(f *testing.F) {
	requireRoot(f)
	for _, group := range [][]hostileLayers{hostilePaths(), hostileWhiteouts(), hostileAttributes(), hostileNames()} {
		for _, c := range group {
			data := c.raw
			if data == nil {
				data, _ = io.ReadAll(layerOf(f, c.layers[len(c.layers)-1]...))
			}
			if len(data) < 10_000 {
				f.Add(data, false)
				f.Add(data, true)
			}
		}
	}
	f.Fuzz(func(t *testing.T, layer []byte, flatten bool) {
		unpackBesideSecret(t, UnpackOptions{Flatten: flatten, WantEnd: len(layer)%1024 == 0}, bytes.NewReader(layer))
	})
}

// FuzzUnpackEntries makes well-formed layers of a few names that get in each
// other's way, three bytes an entry, which random bytes hardly ever do. An entry
// of kind 255 begins the next layer.
func FuzzUnpackEntries(f *testing.F) {
	requireRoot(f)
	f.Add([]byte("\x02\x01\x02\x00\x04\x00\x01\x03\x06"), false)
	f.Add([]byte("\x02\x00\x04\x00\x02\x00\xff\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00"), true)
	names := []string{"a", "b", "a/b", "b/a", "a/b/secret", "secret", "a/..", "../secret", "/a/../..", ".wh.a", "a/.wh.b", "b/.wh..wh..opq", ".", "a/secret/b", "a/b/.wh..wh..opq", ".wh..wh.a"}
	targets := []string{"..", "/", "a", "b", "../..", "/b/a", "../secret", "a/b", ".", "/../../secret", "b/..", "/root/a"}
	kinds := []byte{0, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeFifo}
	f.Fuzz(func(t *testing.T, recipe []byte, flatten bool) {
		layers := [][]tar.Header{nil}
		for n := 0; len(recipe) >= 3 && n < 40; recipe, n = recipe[3:], n+1 {
			if recipe[0] == 255 {
				layers = append(layers, nil)
				continue
			}
			h := tar.Header{Typeflag: kinds[int(recipe[0])%len(kinds)], Name: names[int(recipe[1])%len(names)]}
			switch h.Typeflag {
			case tar.TypeSymlink, tar.TypeLink:
				h.Linkname = targets[int(recipe[2])%len(targets)]
			case 0:
				h.Uname = "content"
			}
			layers[len(layers)-1] = append(layers[len(layers)-1], h)
		}
		var streams []io.Reader
		for _, l := range layers {
			streams = append(streams, layerOf(t, l...))
		}
		unpackBesideSecret(t, UnpackOptions{Flatten: flatten, WantEnd: true}, streams...)
	})
}

// unpackBesideSecret unpacks into a directory beside a file and fails when that
// file, or its directory, is not as before. All of it lies on a tmpfs of its own,
// which is the root directory of this thread: were Unpack to follow a link out,
// it would not come to the machine's files.
func unpackBesideSecret(t *testing.T, o UnpackOptions, layers ...io.Reader) {
	disk := smallDisk(t, "16m")
	runtime.LockOSThread() // for good: the thread ends with the test
	check(t, unix.Unshare(unix.CLONE_FS))
	check(t, unix.Chroot(disk))
	check(t, unix.Chdir("/"))
	check(t, os.Mkdir("/root", 0o755))
	check(t, os.MkdirAll("/below/a/b", 0o755))
	check(t, os.Symlink("..", "/below/b"))
	check(t, os.WriteFile("/below/a/secret", nil, 0o600))
	check(t, os.WriteFile("/secret", []byte("host"), 0o600))
	var before, after unix.Stat_t
	check(t, unix.Stat("/secret", &before))
	fd, err := unix.Open("/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	below, err := unix.Open("/below", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(below)
	o.MaxBytes, o.Parents = 1<<20, []int{below}
	for _, l := range layers {
		_, err = Unpack(fd, l, o) // only what it leaves counts
	}
	check(t, unix.Stat("/secret", &after))
	names, _ := os.ReadDir("/")
	if after != before || len(names) != 3 {
		t.Fatalf("outside of the root: %v, %+v, %v", names, after, err)
	}
	check(t, RemoveAll("/root"))
	if _, err := os.Lstat("/root"); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("still there: %v", err)
	}
}
