package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func reference(t testing.TB, name string) Reference {
	t.Helper()
	ref, err := ParseReference(name)
	check(t, err)
	return ref
}

func TestTag(t *testing.T) {
	requireRoot(t)
	root := t.TempDir()
	s := OpenStore(root)
	var missing *NotFoundError
	if _, err := s.Tag("alpine", reference(t, "x")); !errors.As(err, &missing) {
		t.Errorf("in no store: %v", err)
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Fatalf("Tag made %v", left)
	}
	a, b := testLayer(t, "a"), testLayer(t, "b")
	one := addImage(t, s, []string{"alpine:1"}, a)
	two := addImage(t, s, []string{"other"}, a, b)
	for _, c := range []struct{ source, target, digest string }{
		{"alpine:1", "alpine:2", someDigest}, // the same repository
		{"alpine:1", "mine/alpine:2", ""},    // has never been there
		{one.ID, "by-id", ""},
		{hexOf(one.ID)[:9], "by-short-id", ""},
		{"alpine:1", "alpine:1", someDigest},
	} {
		_, err := s.Tag(c.source, reference(t, c.target))
		check(t, err)
		got, err := s.Lookup(c.target)
		check(t, err)
		if got.ID != one.ID || got.Reference != reference(t, c.target).Key() || got.Digest != c.digest || got.Manifest != one.Manifest || len(got.Layers) != 1 || got.Layers[0].Blob != one.Layers[0].Blob {
			t.Errorf("%s as %s: %+v", c.source, c.target, got)
		}
	}
	before := files(t, root)
	if _, err := s.Tag("nosuch", reference(t, "x")); !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
	if _, err := s.Tag("alpine:1", reference(t, "x@"+someDigest)); err == nil || !strings.Contains(err.Error(), "a digest is not given") {
		t.Errorf("by digest: %v", err)
	}
	if diff := cmp.Diff(before, files(t, root)); diff != "" {
		t.Errorf("a refused tag changed:\n%s", diff)
	}
	// A name that another image had.
	_, err := s.Tag("alpine:1", reference(t, "other"))
	check(t, err)
	if left, err := s.Lookup(two.ID); err != nil || left.Reference != "" {
		t.Errorf("image without a name: %+v, %v", left, err)
	}
}

// TestTagTells: the time of the last tag, and that the image itself is older.
func TestTagTells(t *testing.T) {
	i := Image{Reference: "docker.io/library/a:1", Digest: someDigest}
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.Local)
	i.rename(reference(t, "b"), at)
	want := Image{Reference: "docker.io/library/b:latest", Added: at.UTC().Truncate(time.Second)}
	if diff := cmp.Diff(want, i); diff != "" {
		t.Error(diff)
	}
}

// TestTagBesideRemove: whatever wins, no name is left for an image that is gone.
func TestTagBesideRemove(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	for round := range 20 {
		image := addImage(t, s, []string{"a"}, testLayer(t, "a"))
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := s.Tag("a", reference(t, fmt.Sprintf("b:%d", round))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		})
		both.Go(func() {
			if _, err := s.Remove("a", RemoveOptions{}); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		images, err := s.List()
		check(t, err)
		for _, i := range images {
			if _, err := s.Lookup(image.ID); err != nil || !exists(i.Layers[0].Dir) {
				t.Fatalf("round %d: %s: %v", round, i.Reference, err)
			}
			if _, err := s.Remove(i.Reference, RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestCommitChecksDigests: a name by digest is only for what has it.
func TestCommitChecksDigests(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	data, manifest := testLayer(t, "a"), []byte("{}")
	tx := begin(t, s)
	layers, err := addLayers(tx, data)
	check(t, err)
	for _, c := range []struct {
		name, digest string
		manifest     []byte
		ok           bool
	}{
		{"a@" + someDigest, "", nil, false},
		{"a@" + someDigest, "", manifest, false},
		{"a@" + someDigest, shaOf(manifest), manifest, false},
		{"a@" + someDigest, someDigest, manifest, true}, // an index
		{"a@" + shaOf(manifest), "", manifest, true},
		{"a@" + shaOf(manifest), someDigest, manifest, true},
	} {
		_, err := tx.Commit(NewImage{Config: testConfig(t, data), Layers: layers, Manifest: c.manifest, Digest: c.digest, References: []Reference{reference(t, c.name)}})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrDigest) {
			t.Errorf("%s for %s %q: %v", c.name, c.digest, c.manifest, err)
		}
	}
	check(t, tx.Close())
}
