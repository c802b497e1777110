package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/minictr/minictr/rootfs"
)

// TestMain lets the test binary be the program, for tests that kill it.
func TestMain(m *testing.M) {
	if os.Getenv("MINICTR_IMAGE_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program returns the command that runs minictr-image as a child.
func program(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), "MINICTR_IMAGE_MAIN=1")
	return c
}

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs minictr-image in this process and returns what it printed.
func run(t testing.TB, root string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return runWith(t, root, strings.NewReader(""), args...)
}

func runWith(t testing.TB, root string, in io.Reader, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = execute(ctx, append([]string{"--root", root}, args...), in, &out, &errs)
	if err != nil {
		report(&errs, err)
	}
	return out.String(), errs.String(), err
}

// layerTar is a tar with these files, each holding its own name.
func layerTar(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		check(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(name))}))
		_, err := io.WriteString(w, name)
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	check(t, errors.Join(err, w.Close()))
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	check(t, err)
	return w.EncodeAll(data, nil)
}

func same(_ testing.TB, data []byte) []byte { return data }

// A blobLayer is a layer in the form that it is stored in.
type blobLayer struct {
	v1.Layer
	diffID v1.Hash
}

// DiffID is the digest of the uncompressed form.
func (l blobLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// makeLayer compresses a tar in one of the ways.
func makeLayer(t testing.TB, compress func(testing.TB, []byte) []byte, kind types.MediaType, names ...string) v1.Layer {
	t.Helper()
	return newLayer(t, compress, kind, layerTar(t, names...))
}

func newLayer(t testing.TB, compress func(testing.TB, []byte) []byte, kind types.MediaType, plain []byte) v1.Layer {
	t.Helper()
	diffID, err := v1.NewHash(digestOf(plain))
	check(t, err)
	return blobLayer{static.NewLayer(compress(t, plain), kind), diffID}
}

// makeImage is an image for the platform of those layers.
func makeImage(t testing.TB, platform string, layers ...v1.Layer) v1.Image {
	t.Helper()
	var p platformFlag
	check(t, p.Set(platform))
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	check(t, err)
	c, err := img.ConfigFile()
	check(t, err)
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Variant = p.os, p.arch, p.variant
	c.Config.Cmd = []string{"/bin/" + p.arch + p.variant}
	img, err = mutate.ConfigFile(img, c)
	check(t, err)
	return img
}

// threeLayers is an image with each compression.
func threeLayers(t testing.TB) v1.Image {
	return makeImage(t, "linux/amd64",
		makeLayer(t, gzipped, types.OCILayer, "gz/a", "gone"),
		makeLayer(t, zstded, types.OCILayerZStd, "zst/b", ".wh.gone"),
		makeLayer(t, same, types.OCIUncompressedLayer, "plain/c"))
}

// makeIndex is an index of images for several platforms, and an attestation.
func makeIndex(t testing.TB, platforms ...string) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range platforms {
		img := makeImage(t, platform, makeLayer(t, gzipped, types.OCILayer, strings.ReplaceAll(platform, "/", "-")))
		var p platformFlag
		check(t, p.Set(platform))
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: p.os, Architecture: p.arch, Variant: p.variant},
		}})
	}
	return mutate.AppendManifests(index, mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{
		Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
	}})
}

// lookup finds the image and checks that all its layers are there.
func lookup(t testing.TB, root, name string) *rootfs.Image {
	t.Helper()
	image, err := rootfs.OpenStore(root).Lookup(name)
	check(t, err)
	for _, dir := range image.Lower() {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	return image
}

// listStore lists everything in the store but for the lock files.
func listStore(t testing.TB, root string) []string {
	t.Helper()
	var names []string
	check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !strings.HasSuffix(path, "/images/lock") && !strings.HasSuffix(path, "/images/adding") && strings.Count(path[len(root):], "/") > 2 {
			names = append(names, path[len(root):])
		}
		return err
	}))
	slices.Sort(names)
	return slices.DeleteFunc(names, func(n string) bool { return n == "/images/blobs/sha256" })
}

func newStatic(blob []byte) v1.Layer { return static.NewLayer(blob, types.OCILayer) }
