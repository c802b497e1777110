package rootfs

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFlattenLikeOverlay unpacks random stacks of layers for an overlay and
// flattened: what the kernel's overlay shows is what lies there.
func TestFlattenLikeOverlay(t *testing.T) {
	requireRoot(t)
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 100 {
		var stack [][]tar.Header
		for range 2 + random.IntN(2) {
			stack = append(stack, randomLayer(random))
		}
		var trees [2]string
		for i, unpack := range []unpackWay{unpackFlat, unpackStack} {
			var streams []io.Reader
			for _, l := range stack {
				streams = append(streams, layerOf(t, l...))
			}
			fd, dir := holdRoot(t)
			root, err := unpack(t, fd, dir, streams)
			if err != nil {
				trees[i] = "fails"
				continue
			}
			trees[i] = listMerged(t, root)
		}
		if trees[0] != trees[1] {
			t.Fatalf("stack %d\n%s\nflattened:\n%soverlay:\n%s", n, describeStack(stack), trees[0], trees[1])
		}
	}
}

// randomLayer has some entries under names that get in each other's way. As layers
// have it, each name is there once, and no whiteout below what is deleted.
func randomLayer(random *rand.Rand) []tar.Header {
	names := []string{"a", "b", "a/b", "a/c", "b/a", "a/b/c", "a/b/d", "b/a/c", ".wh.a", "a/.wh.b", "a/b/.wh.c", "b/.wh.a", ".wh..wh..opq", "a/.wh..wh..opq", "a/b/.wh..wh..opq", "b/.wh..wh..opq"}
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var l []tar.Header
	for _, name := range names[:1+random.IntN(8)] {
		h := file(name, fmt.Sprint(random.IntN(1000)))
		if !strings.Contains(name, whiteoutPrefix) && random.IntN(3) == 0 {
			h = dir(name)
			h.Mode = 0o700 + int64(random.IntN(64))
		}
		if !slices.ContainsFunc(l, func(other tar.Header) bool { return contradict(h, other) || contradict(other, h) }) {
			l = append(l, h)
		}
	}
	return l
}

// contradict reports whether b lies in what is a file or deleted by a.
func contradict(a, b tar.Header) bool {
	dir, base := path.Split(a.Name)
	victim, deletes := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case base == whiteoutOpaque:
		return strings.HasPrefix(b.Name, dir) && b.Name != a.Name && strings.Contains(b.Name, whiteoutPrefix)
	case deletes:
		return strings.HasPrefix(b.Name, dir+victim+"/") && strings.Contains(b.Name, whiteoutPrefix)
	}
	return a.Typeflag != tar.TypeDir && strings.HasPrefix(b.Name, a.Name+"/")
}

func describeStack(stack [][]tar.Header) string {
	text := ""
	for _, l := range stack {
		for _, h := range l {
			text += fmt.Sprintf("%s(%c %o) ", h.Name, max(h.Typeflag, '0'), h.Mode)
		}
		text += "\n"
	}
	return text
}

// listMerged lists what a root shows.
func listMerged(t testing.TB, root int) string {
	fd, err := unix.Openat(root, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	list := ""
	check(t, filepath.WalkDir(descriptorPath(fd)+"/.", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(descriptorPath(fd), path)
		what := look(t, root, name)
		if strings.HasSuffix(what, " d") {
			what = "d" // the mode of one that a layer uses and does not list depends on the order
		}
		list += name + " " + what + "\n"
		return nil
	}))
	return list
}
