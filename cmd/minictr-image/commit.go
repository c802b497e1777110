package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

func declareCommit(c *command) {
	declareImport(c)
	c.flags.StringVar(&c.author, "author", "", "")
	c.flags.StringVar(&c.author, "a", "", "")
}

// commit makes an image of another one and a layer upon it, which is a tar on
// standard input, and prints its id.
func commit(ctx context.Context, c *command) error {
	names, err := references(c.args[1:])
	if err != nil {
		return err
	}
	return c.transaction(func(tx *rootfs.Transaction) error {
		image, err := c.commitInto(ctx, tx, names)
		if err != nil {
			return step.Fail("commit", "", cause(ctx, err))
		}
		_, err = fmt.Fprintln(c.out, image.ID)
		return err
	})
}

func (c *command) commitInto(ctx context.Context, tx *rootfs.Transaction, names []rootfs.Reference) (*rootfs.Image, error) {
	base, err := c.store.Lookup(c.args[0])
	if err != nil {
		return nil, err
	}
	config, err := c.changedConfig(base)
	if err != nil {
		return nil, err
	}
	top, err := addUnpacked(ctx, tx, base.Layers, layer{open: func(context.Context, int64) (io.ReadCloser, int64, error) {
		return io.NopCloser(interruptReader(ctx, c.in)), 0, nil
	}})
	if err != nil {
		return nil, err
	}
	diffID, err := v1.NewHash(top.DiffID)
	if err != nil {
		return nil, err
	}
	config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	layers := append(slices.Clone(base.Layers), top)
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	var manifest []byte
	if !slices.ContainsFunc(layers, func(l rootfs.Layer) bool { return l.Blob == "" }) { // in a store that an older program filled
		if manifest, err = newManifest(raw, layers); err != nil {
			return nil, err
		}
	}
	return tx.Commit(rootfs.NewImage{Config: raw, Manifest: manifest, Layers: layers, References: names})
}

// changedConfig is the configuration of the image, but for its new layer.
func (c *command) changedConfig(base *rootfs.Image) (v1.ConfigFile, error) {
	var config v1.ConfigFile
	raw, err := c.store.Blob(base.ID)
	if err == nil {
		err = json.Unmarshal(raw, &config)
	}
	if err != nil {
		return config, err
	}
	now := v1.Time{Time: time.Now().UTC()}
	config.Created, config.Author = now, c.author
	config.History = append(config.History, v1.History{Created: now, Author: c.author, CreatedBy: "minictr commit", Comment: c.message})
	for _, change := range c.changes {
		if err := applyChange(&config.Config, change); err != nil {
			return config, step.Fail("apply change", fmt.Sprintf("%q", change), err)
		}
	}
	return config, nil
}
