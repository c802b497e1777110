package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestVerify damages one thing of a store at a time. Every damage is named, and
// the images without it are still found whole.
func TestVerify(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	common := makeLayer(t, gzipped, types.OCILayer, "common")
	good := s.push(t, "good", makeImage(t, "linux/amd64", common))
	bad := s.push(t, "bad", makeImage(t, "linux/amd64", common, makeLayer(t, zstded, types.OCILayerZStd, "own")))
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, root string)
		want   string
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"a file", func(t *testing.T, root string) {
			check(t, os.WriteFile(lookup(t, root, bad).Lower()[0]+"/own", []byte("OWN"), 0o644))
		}, ": own: modified at another time"},
		{"a directory", func(t *testing.T, root string) { check(t, os.RemoveAll(lookup(t, root, bad).Lower()[0])) }, ": .: missing"},
		{"a blob", func(t *testing.T, root string) {
			check(t, os.WriteFile(root+"/images/blobs/sha256/"+strings.TrimPrefix(lookup(t, root, bad).Layers[1].Blob, "sha256:"), []byte("x"), 0o600))
		}, ": digest mismatch: content is sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},
		{"a blob that is gone", func(t *testing.T, root string) {
			check(t, os.Remove(root+"/images/blobs/sha256/"+strings.TrimPrefix(lookup(t, root, bad).Layers[1].Blob, "sha256:")))
		}, ": no such file or directory"},
		{"the configuration", func(t *testing.T, root string) {
			check(t, os.WriteFile(root+"/images/blobs/sha256/"+strings.TrimPrefix(lookup(t, root, bad).ID, "sha256:"), []byte("{}"), 0o600))
		}, "content does not match its digest"},
		{"the manifest", func(t *testing.T, root string) {
			check(t, os.Remove(root+"/images/blobs/sha256/"+strings.TrimPrefix(lookup(t, root, bad).Manifest, "sha256:")))
		}, "no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for _, ref := range []string{good, bad} {
				if _, stderr, err := run(t, root, "pull", "-q", ref); err != nil {
					t.Fatal(stderr)
				}
			}
			before := listStore(t, root)
			c.damage(t, root)
			stdout, stderr, err := run(t, root, "verify")
			if !strings.Contains(stdout, good+": ok\n") {
				t.Errorf("the other image: %s%s", stdout, stderr)
			}
			if c.want == "" {
				if err != nil || !strings.Contains(stdout, bad+": ok\n") {
					t.Errorf("%s%s", stdout, stderr)
				}
				if after := listStore(t, root); strings.Join(before, " ") != strings.Join(after, " ") {
					t.Errorf("changed: %v, %v", before, after)
				}
				return
			}
			if err == nil || !strings.Contains(stdout, c.want) || !strings.Contains(stderr, "minictr: verify: 1 of 2 images are damaged\nhint: ") {
				t.Errorf("got %s%s", stdout, stderr)
			}
			if stdout, stderr, err := run(t, root, "verify", "-q", good); err != nil || stdout != "" {
				t.Errorf("the good one alone: %s%s", stdout, stderr)
			}
		})
	}
}
