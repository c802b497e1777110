package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
)

func TestDfRows(t *testing.T) {
	var u diskUsage
	for i, c := range examples() {
		u.containers = append(u.containers, usedContainer{c, int64(1000 * (i + 1))})
	}
	u.containers[0].Config.Mounts = []runtime.Mount{{Type: "volume", Source: "data"}, {Type: "bind", Source: "/data"}}
	u.images = []*rootfs.Image{{ID: "sha256:abcd", Reference: "docker.io/library/nginx:1.27"}, {ID: "sha256:abcd", Reference: "docker.io/library/n:1"}, {ID: "sha256:ef01"}}
	u.volumes = []usedVolume{{"data", 500, 1}, {"old", 1500, 0}}
	want := []any{
		dfRow{"Images", "2", "1", "0B", "0B"},
		dfRow{"Containers", "3", "1", "6kB", "5kB (83%)"},
		dfRow{"Local Volumes", "2", "1", "2kB", "1.5kB (75%)"},
	}
	if diff := cmp.Diff(want, u.rows()); diff != "" {
		t.Error(diff)
	}
	v := u.view(now)
	if got := v.Images[1].(dfImageRow); got.Repository != "n" || got.Containers != "1" || got.UniqueSize != "0B" {
		t.Errorf("%+v", got)
	}
	if got := v.Containers[0].(dfContainerRow); got.LocalVolumes != "1" || got.Size != "1kB" || got.Names != "web" {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]any{dfVolumeRow{"data", "1", "500B"}, dfVolumeRow{"old", "0", "1.5kB"}}, v.Volumes); diff != "" {
		t.Error(diff)
	}
}
