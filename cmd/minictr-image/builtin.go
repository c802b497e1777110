package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/minictr/minictr/rootfs"
)

// version is set by the linker, see the Makefile.
var version = "development"

// builtinName is the image that this program carries.
const builtinName = "minictr/base"

// A builtinLayer is the only layer of that image, as layer.json beside it says:
// rootfs/gen/base writes it.
type builtinLayer struct {
	Created time.Time `json:"created"`
	DiffID  string    `json:"diffID"`
	Digest  v1.Hash   `json:"digest"`
	Size    int64     `json:"size"`
}

// isBuiltin reports whether the name means the image that this program carries.
func isBuiltin(ref rootfs.Reference) bool {
	builtin, err := rootfs.ParseReference(builtinName)
	return err == nil && ref == builtin
}

// builtin makes the image from what is embedded. It asks nobody.
//
// Its configuration bears the version of minictr, so that another minictr knows
// that its own is newer (cmd/minictr/image.go).
func builtin() (image, error) {
	data, err := fs.ReadFile(baseFiles, baseDir+"/layer.json")
	if errors.Is(err, fs.ErrNotExist) {
		return image{}, &hintedError{errors.New("minictr-image was built without minictr/base"), "build it with `make`"}
	}
	var l builtinLayer
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err != nil {
		return image{}, fmt.Errorf("embedded layer: %w", err)
	}
	config, err := json.Marshal(builtinConfig(l))
	if err != nil {
		return image{}, err
	}
	blob := v1.Descriptor{MediaType: types.OCILayerZStd, Size: l.Size, Digest: l.Digest}
	configDigest, err := v1.NewHash(digestOf(config))
	if err != nil {
		return image{}, err
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{blob},
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: configDigest},
	})
	if err != nil {
		return image{}, err
	}
	open := func(context.Context, int64) (io.ReadCloser, int64, error) {
		packed, err := fs.ReadFile(baseFiles, baseDir+"/layer.tar.zst")
		return io.NopCloser(bytes.NewReader(packed)), 0, err
	}
	return image{
		manifest: manifest, config: config, digest: digestOf(manifest),
		layers: []layer{{diffID: l.DiffID, blob: blob, open: open}},
	}, nil
}

func builtinConfig(l builtinLayer) v1.ConfigFile {
	created := v1.Time{Time: l.Created}
	diffID, _ := v1.NewHash(l.DiffID) // what is wrong with it, install says
	return v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux", Created: created,
		History: []v1.History{{Created: created, CreatedBy: "minictr " + version, Comment: "a userland to look at networks"}},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
		Config: v1.Config{
			Cmd: []string{"/bin/sh"},
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Labels: map[string]string{
				"org.opencontainers.image.title":   builtinName,
				"org.opencontainers.image.version": version,
			},
		},
	}
}

// pullBuiltin installs the built-in image as if it had been pulled.
func (c *command) pullBuiltin(ctx context.Context, tx *rootfs.Transaction, ref rootfs.Reference) (*rootfs.Image, error) {
	img, err := builtin()
	if err != nil {
		return nil, err
	}
	if err := c.checkPlatform(img); err != nil {
		return nil, &hintedError{err, "the built-in image is of this machine's kind only"}
	}
	show, err := newProgress(c.progress, true, c.errors, layerNames(img)) // it takes no time that a bar could show
	if err != nil {
		return nil, err
	}
	defer show.finish()
	return install(ctx, tx, img, []rootfs.Reference{ref}, show)
}
