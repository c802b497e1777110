package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/minictr/minictr/rootfs"
)

// loaded returns a store with the images by name.
func loaded(t testing.TB, images map[string]v1.Image) (root string) {
	t.Helper()
	root = t.TempDir()
	for n, img := range images {
		dir := ociLayout(t, mutate.AppendManifests(empty.Index, named(t, img, map[string]string{annotationName: n})))
		if _, stderr, err := run(t, root, amd64Only("load", "-i", dir)...); err != nil {
			t.Fatal(stderr)
		}
	}
	return root
}

// sameImage fails unless two stores have the same image, to the digests.
func sameImage(t testing.TB, root, n, otherRoot, otherName string) {
	t.Helper()
	a, b := lookup(t, root, n), lookup(t, otherRoot, otherName)
	for _, i := range []*rootfs.Image{a, b} {
		i.Reference, i.Added = "", b.Added
		i.Digest = ""
		for k := range i.Layers {
			i.Layers[k].Dir = ""
		}
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s (-before +after):\n%s", n, diff)
	}
}

// TestSave: what is saved in any form is loaded as what it was, with the names;
// and twice the same bytes.
func TestSave(t *testing.T) {
	requireRoot(t)
	docker := mutate.ConfigMediaType(mutate.MediaType(makeImage(t, "linux/amd64", makeLayer(t, gzipped, types.DockerLayer, "d")), types.DockerManifestSchema2), types.DockerConfigJSON)
	root := loaded(t, map[string]v1.Image{"docker.io/library/three:1": threeLayers(t), "reg.example/docker:2": docker})
	if _, err := rootfs.OpenStore(root).Tag("three:1", rootfs.Reference{Domain: "reg.example:5000", Path: "a/b", Tag: "x"}); err != nil {
		t.Fatal(err)
	}
	args := []string{"three:1", "reg.example/docker:2", "reg.example:5000/a/b:x", "three:1"}
	for _, form := range []string{formatDocker, formatOCI, formatDir} {
		out := filepath.Join(t.TempDir(), "out")
		if stdout, stderr, err := run(t, root, append([]string{"save", "--format", form, "-o", out}, args...)...); err != nil || stdout+stderr != "" {
			t.Fatalf("%s: %q %q", form, stdout, stderr)
		}
		other := t.TempDir()
		stdout, stderr, err := run(t, other, amd64Only("load", "-i", out)...)
		if want := "Loaded image: three:1\nLoaded image: reg.example:5000/a/b:x\nLoaded image: reg.example/docker:2\n"; err != nil || stdout != want {
			t.Errorf("%s: loaded %q %s", form, stdout, stderr)
			continue
		}
		for _, n := range args {
			sameImage(t, root, n, other, n)
		}
		if form == formatDir {
			continue
		}
		file, err := os.ReadFile(out)
		check(t, err)
		stdout, stderr, err = run(t, other, append([]string{"save", "--format", form}, args...)...)
		if err != nil || stderr != "" || stdout != string(file) {
			t.Errorf("%s: saved again, from another store: %d bytes instead of %d; %s", form, len(stdout), len(file), stderr)
		}
	}
}

// TestSaveNames: an image that is asked for by id or by digest has no name in the
// archive, where its reader would have to believe it.
func TestSaveNames(t *testing.T) {
	requireRoot(t)
	root := loaded(t, map[string]v1.Image{"docker.io/library/x:1": gzipImage(t)})
	image := lookup(t, root, "x:1")
	for _, n := range []string{image.ID, image.ID[7:17], "x@" + image.Manifest} {
		for _, form := range []string{formatDocker, formatOCI} {
			saved, stderr, err := run(t, root, "save", "--format", form, n)
			if err != nil {
				t.Fatal(stderr)
			}
			if stdout, stderr, err := runWith(t, t.TempDir(), strings.NewReader(saved), amd64Only("load")...); err != nil || stdout != "Loaded image ID: "+image.ID+"\n" {
				t.Errorf("%s %s: %q %s", form, n, stdout, stderr)
			}
		}
	}
}

// TestSaveForOthers: another reader of each form finds the image.
func TestSaveForOthers(t *testing.T) {
	requireRoot(t)
	img := gzipImage(t)
	root := loaded(t, map[string]v1.Image{"docker.io/library/x:1": img})
	id, err := img.ConfigName()
	check(t, err)
	digest, err := img.Digest()
	check(t, err)
	out := filepath.Join(t.TempDir(), "out")
	_, _, err = run(t, root, "save", "-o", out+".tar", "x:1")
	check(t, err)
	tag, err := name.NewTag("x:1")
	check(t, err)
	read, err := tarball.ImageFromPath(out+".tar", &tag)
	check(t, err)
	if got, err := read.ConfigName(); err != nil || got != id {
		t.Errorf("docker-archive: %s, %v", got, err)
	}
	_, _, err = run(t, root, "save", "--format", formatDir, "-o", out, "x:1")
	check(t, err)
	layout, err := ocilayout.FromPath(out)
	check(t, err)
	if got, err := layout.Image(digest); err != nil {
		t.Errorf("oci-dir: %v, %v", got, err)
	}
}

// TestSaveFails: each kind of damage gives one line, and what was there before is
// there afterwards, and nothing else.
func TestSaveFails(t *testing.T) {
	requireRoot(t)
	img := gzipImage(t)
	root := loaded(t, map[string]v1.Image{"docker.io/library/x:1": img})
	image := lookup(t, root, "x:1")
	blob := image.Layers[1].Blob
	blobFile := root + "/images/" + blobName(blob)
	content, err := os.ReadFile(blobFile)
	check(t, err)
	change := func(data []byte) func() { return func() { check(t, os.WriteFile(blobFile, data, 0o600)) } }
	changed := bytes.Clone(content)
	changed[len(changed)/2] ^= 1
	for _, c := range []struct {
		name string
		harm func()
		args []string
		want string
	}{
		{"blob changed", change(changed), nil, "save to OUT: blob " + blob + ": digest mismatch: content is " + digestOf(changed)},
		{"blob too short", change(content[:20]), nil, "save x:1: blob " + blob + ": digest mismatch: 20 bytes instead of"},
		{"blob too long", change(append(bytes.Clone(content), 0)), nil, "save x:1: blob " + blob + ": digest mismatch: "},
		{"blob gone", func() { check(t, os.Remove(blobFile)) }, nil, "save x:1: open layer " + blob + ": no such file or directory"},
		{"no image", nil, []string{"nosuch"}, "find image nosuch: not in the store"},
		{"no name", nil, []string{"UPPER"}, `parse image reference "UPPER": repository name must be lowercase`},
		{"platform", nil, []string{"--platform", "linux/arm64", "x:1"}, "save x:1: image is for linux/amd64, not for linux/arm64"},
		{"format", nil, []string{"--format", "zip", "x:1"}, `--format "zip": there are docker-archive, oci-archive and oci-dir`},
		{"full disk", nil, []string{"-o", "/dev/full", "x:1"}, "save to /dev/full: no space left on device"},
		{"no folder", nil, []string{"-o", "/nonexistent/x", "x:1"}, "save to /nonexistent/x: no such file or directory"},
		{"directory", nil, []string{"-o", "/etc", "x:1"}, "save to /etc: is a directory"},
		{"oci-dir is full", nil, []string{"--format", formatDir, "-o", "/etc", "x:1"}, "save to /etc: directory is not empty"},
		{"oci-dir is a file", nil, []string{"--format", formatDir, "-o", "/etc/passwd", "x:1"}, "save to /etc/passwd: exists and is no directory"},
		{"oci-dir nowhere", nil, []string{"--format", formatDir, "x:1"}, "save to oci-dir: a directory must be named"},
	} {
		dir := t.TempDir()
		out := filepath.Join(dir, "archive")
		check(t, os.WriteFile(out, []byte("before"), 0o600))
		args := c.args
		if args == nil {
			args = []string{"-o", out, "x:1"}
		}
		if c.harm != nil {
			c.harm()
		}
		stdout, stderr, err := run(t, root, append([]string{"save"}, args...)...)
		if want := strings.ReplaceAll("minictr: "+c.want, "OUT", out); err == nil || stdout != "" || !strings.HasPrefix(stderr, want) {
			t.Errorf("%s: got %q %s\nwant %s", c.name, stdout, stderr, want)
		}
		left, err := os.ReadDir(dir)
		check(t, err)
		if data, err := os.ReadFile(out); err != nil || string(data) != "before" || len(left) != 1 {
			t.Errorf("%s: left %v with %.20q, %v", c.name, left, data, err)
		}
		change(content)()
	}
	oldStore(t, root, image)
	if _, stderr, err := run(t, root, "save", image.ID); err == nil || !strings.Contains(stderr, rootfs.ErrNoBlob.Error()) {
		t.Errorf("a store without blobs: %s", stderr)
	}
}

// oldStore makes an image one of a store that kept no blobs of layers.
func oldStore(t testing.TB, root string, image *rootfs.Image) {
	t.Helper()
	image.Layers[0].Blob = ""
	raw, err := json.Marshal(image)
	check(t, err)
	check(t, os.WriteFile(root+"/images/ids/"+strings.TrimPrefix(image.ID, "sha256:")+".json", raw, 0o600))
}

// TestSaveInterrupted: a directory that is half written goes away.
func TestSaveInterrupted(t *testing.T) {
	requireRoot(t)
	root := loaded(t, map[string]v1.Image{"docker.io/library/x:1": gzipImage(t)})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	for _, form := range []string{formatDocker, formatDir} {
		dir := t.TempDir()
		err := execute(ctx, []string{"--root", root, "save", "--format", form, "-o", dir + "/out", "x:1"}, nil, io.Discard, io.Discard)
		if !errors.Is(err, errInterrupted) {
			t.Errorf("%s: %v", form, err)
		}
		if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
			t.Errorf("%s left %v, %v", form, left, err)
		}
	}
}

// TestSaveOver: a file is replaced, also while it is open elsewhere; a link is
// refused; an empty directory will do.
func TestSaveOver(t *testing.T) {
	requireRoot(t)
	root := loaded(t, map[string]v1.Image{"docker.io/library/x:1": gzipImage(t)})
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/file", []byte("before"), 0o600))
	check(t, os.Symlink("file", dir+"/link"))
	check(t, os.Symlink("nothing", dir+"/dangling"))
	check(t, os.Mkdir(dir+"/empty", 0o700))
	for _, link := range []string{"link", "dangling"} {
		if _, stderr, err := run(t, root, "save", "-o", dir+"/"+link, "x:1"); err == nil || !strings.HasPrefix(stderr, "minictr: save to "+dir+"/"+link+": is a symbolic link\n") {
			t.Errorf("%s: %s", link, stderr)
		}
	}
	before, err := os.Open(dir + "/file")
	check(t, err)
	defer before.Close()
	_, _, err = run(t, root, "save", "-o", dir+"/file", "x:1")
	check(t, err)
	if data, err := io.ReadAll(before); err != nil || string(data) != "before" {
		t.Errorf("%.20q, %v", data, err)
	}
	after, err := os.Open(dir + "/file")
	check(t, err)
	defer after.Close()
	if h, err := tar.NewReader(after).Next(); err != nil || h.Name != "oci-layout" {
		t.Errorf("%+v, %v", h, err)
	}
	_, _, err = run(t, root, "save", "--format", formatDir, "-o", dir+"/empty/", "x:1")
	check(t, err)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := os.Stat(dir + "/empty/blobs/sha256"); err != nil {
		t.Error(err)
	}
	if stdout, stderr, err := run(t, root, "save", "-o", "/dev/stdout", "x:1"); err != nil || len(stdout) == 0 {
		t.Error(stderr)
	}
}

// TestLoadRefusesDigests: an archive cannot say what a digest means.
func TestLoadRefusesDigests(t *testing.T) {
	requireRoot(t)
	img := gzipImage(t)
	digest, err := img.Digest()
	check(t, err)
	other := "sha256:" + strings.Repeat("0", 64)
	for n, ok := range map[string]bool{"x@" + digest.String(): true, "x@" + other: false} {
		dir := ociLayout(t, mutate.AppendManifests(empty.Index, named(t, img, map[string]string{annotationName: n})))
		_, stderr, err := run(t, t.TempDir(), amd64Only("load", "-i", dir)...)
		if (err == nil) != ok || err != nil && !strings.Contains(stderr, "name it docker.io/library/x@"+other+": digest mismatch") {
			t.Errorf("%s: %s", n, stderr)
		}
	}
}
