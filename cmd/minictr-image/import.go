package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

func declareImport(c *command) {
	c.flags.Var(&c.changes, "change", "")
	c.flags.Var(&c.changes, "c", "")
	c.flags.StringVar(&c.message, "message", "", "")
	c.flags.StringVar(&c.message, "m", "", "")
	c.flags.Var(&c.platform, "platform", "")
}

// importTree makes an image of one layer from a tar of a root file system and
// prints its id.
func importTree(ctx context.Context, c *command) error {
	names, err := references(c.args[1:])
	if err != nil {
		return err
	}
	config, err := c.newConfig()
	if err != nil {
		return err
	}
	what := c.args[0]
	if what == "-" {
		what = "standard input"
	}
	return c.transaction(func(tx *rootfs.Transaction) error {
		image, err := c.importInto(ctx, tx, config, names)
		if err != nil {
			return step.Fail("import", what, cause(ctx, err))
		}
		_, err = fmt.Fprintln(c.out, image.ID)
		return err
	})
}

// newConfig is the configuration of the image, but for its layer.
func (c *command) newConfig() (v1.ConfigFile, error) {
	now := v1.Time{Time: time.Now().UTC()}
	platform := c.platform
	if platform.os == "" {
		platform = platformFlag{os: "linux", arch: runtime.GOARCH}
	}
	config := v1.ConfigFile{
		Architecture: platform.arch, OS: platform.os, Variant: platform.variant, Created: now,
		History: []v1.History{{Created: now, Comment: c.message}},
		RootFS:  v1.RootFS{Type: "layers"},
	}
	if c.message == "" {
		config.History[0].Comment = "Imported from " + c.args[0]
	}
	for _, change := range c.changes {
		if err := applyChange(&config.Config, change); err != nil {
			return config, step.Fail("apply change", fmt.Sprintf("%q", change), err)
		}
	}
	return config, nil
}

func (c *command) importInto(ctx context.Context, tx *rootfs.Transaction, config v1.ConfigFile, names []rootfs.Reference) (*rootfs.Image, error) {
	in := c.in
	if file := c.args[0]; file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, plain(err)
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil && st.IsDir() {
			return nil, &hintedError{errors.New("is a directory"), "`minictr run --rootfs DIR` uses it as it is; `tar -C DIR -c . | minictr import - NAME` copies it"}
		}
		in = f
	}
	tree, err := addUnpacked(ctx, tx, nil, layer{open: func(context.Context, int64) (io.ReadCloser, int64, error) {
		return io.NopCloser(interruptReader(ctx, in)), 0, nil
	}})
	if err != nil {
		return nil, err
	}
	layers := []rootfs.Layer{tree}
	diffID, err := v1.NewHash(tree.DiffID)
	if err != nil {
		return nil, err
	}
	config.RootFS.DiffIDs = []v1.Hash{diffID}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	manifest, err := newManifest(raw, layers)
	if err != nil {
		return nil, err
	}
	return tx.Commit(rootfs.NewImage{Config: raw, Manifest: manifest, Layers: layers, References: names})
}
