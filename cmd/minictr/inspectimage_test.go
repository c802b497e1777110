package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minictr/minictr/rootfs"
)

// TestImageView: all names of the image and none of others, each digest once, and
// the time of the last tag.
func TestImageView(t *testing.T) {
	digest := "sha256:aaaa"
	one := rootfs.Image{
		ID: "sha256:1111", Reference: "docker.io/library/a:1", Digest: digest, Manifest: "sha256:bbbb", Added: now,
		Config: rootfs.Config{OS: "linux", Architecture: "arm64", Variant: "v8"},
		Layers: []rootfs.Layer{{DiffID: "sha256:d1", Blob: "sha256:b1", BlobSize: 10, Size: 20, Dir: "/l/1"}, {DiffID: "sha256:d2", Size: 2, Dir: "/l/2"}},
	}
	same, tagged, other := one, one, one
	same.Reference = "docker.io/library/a:2"
	tagged.Reference, tagged.Digest, tagged.Added = "reg.example/b:1", "", now.Add(time.Hour)
	other.ID, other.Reference = "sha256:2222", "docker.io/library/c:1"
	config := publishedConfig{Author: "me", History: []publishedStep{{Comment: "first"}, {Comment: "last"}}}
	v := newImageView(&one, []*rootfs.Image{&one, &same, &tagged, &other}, config, map[string]string{"sha256:b1": "some/type"})
	want := &imageView{
		ID: one.ID, RepoTags: []string{"a:1", "a:2", "reg.example/b:1"}, RepoDigests: []string{"a@" + digest},
		Comment: "last", Author: "me", Architecture: "arm64", Variant: "v8", Os: "linux", Size: 22, Manifest: "sha256:bbbb",
		GraphDriver: graphDriverView{"overlay", map[string]string{"LowerDir": "/l/2:/l/1"}},
		Layers:      []layerView{{"sha256:b1", "some/type", 10, "sha256:d1", 20, "/l/1"}, {"", "", 0, "sha256:d2", 2, "/l/2"}},
	}
	want.RootFS.Type, want.RootFS.Layers = "layers", []string{"sha256:d1", "sha256:d2"}
	want.Metadata.LastTagTime = now.Add(time.Hour)
	if diff := cmp.Diff(want, v); diff != "" {
		t.Error(diff)
	}
}
