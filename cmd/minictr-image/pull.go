package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

func declarePull(c *command) {
	c.flags.Var(&c.platform, "platform", "")
	c.flags.BoolVar(&c.quiet, "quiet", false, "")
	c.flags.BoolVar(&c.quiet, "q", false, "")
	c.flags.StringVar(&c.progress, "progress", "auto", "")
	declareRegistries(c)
}

// pull fetches an image from its registry and prints its full name.
func pull(ctx context.Context, c *command) error {
	ref, err := rootfs.ParseReference(c.args[0])
	if err != nil {
		return err
	}
	if _, err := newProgress(c.progress, c.quiet, c.errors, nil); err != nil {
		return err
	}
	var image *rootfs.Image
	err = c.transaction(func(tx *rootfs.Transaction) error {
		image, err = c.pullInto(ctx, tx, ref)
		tx.KeepUnused = !errors.Is(err, unix.ENOSPC) // for the next attempt
		return step.Fail("pull", ref.String(), cause(ctx, err))
	})
	if err != nil {
		return err
	}
	if !c.quiet && c.progress != "none" {
		fmt.Fprintf(c.errors, "Digest: %s\n", image.Digest)
	}
	_, err = fmt.Fprintln(c.out, ref.Key())
	return err
}

func (c *command) pullInto(ctx context.Context, tx *rootfs.Transaction, ref rootfs.Reference) (*rootfs.Image, error) {
	if isBuiltin(ref) {
		return c.pullBuiltin(ctx, tx, ref)
	}
	client, err := c.client(c.notice)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r, raw, err := find(ctx, client, ref)
	if err != nil {
		return nil, err
	}
	img, err := resolve(ctx, r, raw, c.platform)
	if err != nil {
		return nil, err
	}
	if err := c.checkPlatform(img); err != nil {
		return nil, err
	}
	if !c.quiet && c.progress != "none" {
		fmt.Fprintf(c.errors, "Pulling %s\n", ref.Key())
	}
	show, err := newProgress(c.progress, c.quiet, c.errors, layerNames(img))
	if err != nil {
		return nil, err
	}
	defer show.finish()
	client.Notify = show.say
	return install(ctx, tx, img, []rootfs.Reference{ref}, show)
}

// layerNames are what Docker calls the layers: the first 12 digits of the blob,
// or of the diff id where there is no blob.
func layerNames(img image) []string {
	var names []string
	for _, l := range img.layers {
		hex := l.blob.Digest.Hex
		if hex == "" {
			hex = strings.TrimPrefix(l.diffID, "sha256:")
		}
		names = append(names, hex[:12])
	}
	return names
}

// checkPlatform refuses an image that is not for the platform asked for, and
// warns of one that the host probably cannot run.
func (c *command) checkPlatform(img image) error {
	var is struct{ OS, Architecture, Variant string }
	if err := json.Unmarshal(img.config, &is); err != nil {
		return err
	}
	err := c.platform.orHost().accepts(is.OS, is.Architecture, is.Variant)
	if err == nil || c.platform.os != "" {
		return err
	}
	_, err = fmt.Fprintf(c.errors, "minictr: warning: %s\n", oneLine(err))
	return err
}
