package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/minictr/minictr/rootfs"
)

// A mapTree is an image archive in memory. It fails the test when it is asked for
// a name outside, which a directory of the host would have to refuse.
type mapTree map[string][]byte

func (m mapTree) open(name string) (io.ReadCloser, error) {
	data, ok := m[path.Clean(name)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (mapTree) Close() error { return nil }

// checkFound holds what findImages returned against what install relies on.
func checkFound(t *testing.T, images []found) {
	for _, f := range images {
		ids, err := rootfs.DiffIDs(f.image.config)
		if err != nil || len(ids) != len(f.image.layers) {
			t.Fatalf("%d layers, configuration has %d, %v", len(f.image.layers), len(ids), err)
		}
		for i, l := range f.image.layers {
			if l.diffID != ids[i] || len(l.diffID) != 71 || strings.Trim(l.diffID[7:], "0123456789abcdef") != "" {
				t.Fatalf("diff id %q", l.diffID)
			}
			if hex := l.blob.Digest.Hex; hex != "" && (len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "") {
				t.Fatalf("digest %q", hex)
			}
		}
		for _, n := range f.names {
			again, err := rootfs.ParseReference(n.String())
			if err != nil || again != n {
				t.Fatalf("name %q: %+v, %v", n, again, err)
			}
		}
	}
}

// FuzzManifest feeds an index, a manifest and a configuration, and a manifest.json
// of docker save. Invariant: an error, or images whose names and digests are fit
// to name files.
func FuzzManifest(f *testing.F) {
	for _, c := range append(hostileManifests(), hostileSizes()...) {
		p := parts{}
		c.make(f, p)
		for name, content := range p {
			if len(content) < 5000 && strings.HasPrefix(content, "{") {
				f.Add([]byte(content), []byte(p["index.json"]), []byte(name))
			}
		}
	}
	f.Add([]byte(`[{"Config":"c","RepoTags":["x:1"],"Layers":["l"]}]`), []byte(`{"rootfs":{"type":"layers","diff_ids":["`+digestOf(nil)+`"]}}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		all := [][]byte{a, b, c}
		tree := mapTree{"c": b}
		for _, data := range all {
			tree[blobs+strings.TrimPrefix(digestOf(data), "sha256:")] = data
		}
		for _, index := range all {
			tree["index.json"] = index
			if images, err := findImages(context.Background(), tree, platformFlag{}); err == nil {
				checkFound(t, images)
			}
		}
		delete(tree, "index.json")
		tree["manifest.json"] = a
		if images, err := findImages(context.Background(), tree, platformFlag{}); err == nil {
			checkFound(t, images)
		}
		h, err := parseManifest(a)
		if err == nil && h.Manifests != nil && (h.Config != nil || h.Layers != nil) {
			t.Fatalf("both an index and an image: %s", a)
		}
	})
}

// FuzzArchive feeds a tar in any compression as an image archive, and opens what
// it says that it has. Invariant: an error, or content that lies in the tar.
func FuzzArchive(f *testing.F) {
	p := parts{"x/y": ":link ../index.json", "h": ":hard x/y", "loop": ":link loop"}
	_, _, manifest := p.image(f)
	p["index.json"] = index(manifest)
	data, err := os.ReadFile(p.asTar(f))
	check(f, err)
	f.Add(data)
	f.Add(gzipped(f, data))
	f.Add(zstded(f, data))
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := decompress(bytes.NewReader(data))
		if err != nil {
			return
		}
		defer func() { check(t, plain.Close()) }()
		file, err := os.CreateTemp(t.TempDir(), "")
		check(t, err)
		size, err := io.Copy(file, io.LimitReader(plain, 1<<20))
		if err != nil {
			check(t, file.Close())
			return
		}
		tree, err := indexTar(file)
		if err != nil {
			return
		}
		defer func() { check(t, tree.Close()) }()
		for name := range tree.(*tarTree).files {
			r, err := tree.open(name)
			check(t, err)
			if n, err := io.Copy(io.Discard, r); err != nil || n > size {
				t.Fatalf("%s: %d of %d bytes, %v", name, n, size, err)
			}
		}
		if images, err := findImages(context.Background(), tree, platformFlag{}); err == nil {
			checkFound(t, images)
		}
	})
}

// FuzzApplyChange: an error, or a configuration that the store takes.
func FuzzApplyChange(f *testing.F) {
	for _, change := range []string{`CMD ["/bin/sh","-c","x y"]`, `ENV A=1 B="two words" C=\"q`, `EXPOSE 80 53/udp`, `VOLUME ["/data"]`, `LABEL a.b='c d'`, `WORKDIR sub/../x`, `USER 0`} {
		f.Add(change)
	}
	f.Fuzz(func(t *testing.T, change string) {
		var c v1.Config
		if err := applyChange(&c, change); err != nil {
			return
		}
		for _, e := range c.Env {
			if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
				t.Fatalf("%q: variable %q", change, e)
			}
		}
		if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
			t.Fatalf("%q: working directory %q", change, c.WorkingDir)
		}
	})
}
