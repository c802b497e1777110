package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

func declareVerify(c *command) {
	c.flags.BoolVar(&c.quiet, "quiet", false, "")
	c.flags.BoolVar(&c.quiet, "q", false, "")
}

// verify computes every digest of the images anew and compares every unpacked
// layer with its diff id. It prints a line for each image and each thing that is
// wrong; that something is, is an error.
func verify(ctx context.Context, c *command) error {
	images, err := c.chosenImages()
	if err != nil {
		return err
	}
	v := &verification{store: c.store, layers: map[string][]string{}}
	bad := 0
	err = c.transaction(func(tx *rootfs.Transaction) error {
		tx.KeepUnused = true // verifying changes nothing
		v.tx = tx
		for _, i := range images {
			problems, err := v.image(ctx, i)
			if err != nil {
				return step.Fail("verify", nameOrID(i), cause(ctx, err))
			}
			if len(problems) > 0 {
				bad++
			}
			if err := c.sayVerified(i, problems); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && bad > 0 {
		err = &hintedError{fmt.Errorf("verify: %d of %d images are damaged", bad, len(images)), "`minictr rmi --force IMAGE` and then `minictr pull IMAGE` gets a damaged one anew"}
	}
	return err
}

// chosenImages are those of the arguments, or all.
func (c *command) chosenImages() ([]*rootfs.Image, error) {
	if len(c.args) == 0 {
		return c.store.List()
	}
	var images []*rootfs.Image
	for _, name := range c.args {
		i, err := c.store.Lookup(name)
		if err != nil {
			return nil, err
		}
		images = append(images, i)
	}
	return images, nil
}

func (c *command) sayVerified(i *rootfs.Image, problems []string) error {
	if len(problems) == 0 && !c.quiet {
		problems = []string{"ok"}
	}
	for _, p := range problems {
		if _, err := fmt.Fprintf(c.out, "%s: %s\n", nameOrID(i), oneLine(errors.New(p))); err != nil {
			return err
		}
	}
	return nil
}

// nameOrID is what an image is called for people.
func nameOrID(i *rootfs.Image) string {
	if ref, err := rootfs.ParseReference(i.Reference); err == nil {
		return ref.Familiar()
	}
	return i.ID
}

// A verification remembers what it has looked at: images share layers.
type verification struct {
	store  *rootfs.Store
	tx     *rootfs.Transaction
	layers map[string][]string // problems by chain id and blob
}

// image returns what is wrong with an image. The error is that it could not be
// found out.
func (v *verification) image(ctx context.Context, i *rootfs.Image) (problems []string, err error) {
	for _, digest := range []string{i.ID, i.Manifest} {
		if digest == "" {
			continue
		}
		if _, err := v.store.Blob(digest); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if len(problems) == 0 {
		problems = v.manifest(i)
	}
	for n, l := range i.Layers {
		found, seen := v.layers[l.ChainID+l.Blob]
		if !seen {
			if found, err = v.layer(ctx, i.Layers[:n], l); err != nil {
				return nil, err
			}
			v.layers[l.ChainID+l.Blob] = found
		}
		problems = append(problems, found...)
	}
	return problems, nil
}

// manifest compares what the store says of an image with its manifest and
// configuration, whose digests are right.
func (v *verification) manifest(i *rootfs.Image) (problems []string) {
	config, err := v.store.Blob(i.ID)
	if err != nil {
		return []string{err.Error()}
	}
	ids, err := rootfs.DiffIDs(config)
	if err != nil {
		return []string{err.Error()}
	}
	for n, l := range i.Layers {
		if n >= len(ids) || ids[n] != l.DiffID {
			problems = append(problems, fmt.Sprintf("layer %d is not the one of the configuration", n))
		}
	}
	if i.Manifest == "" || len(ids) != len(i.Layers) {
		return problems
	}
	raw, err := v.store.Blob(i.Manifest)
	if err != nil {
		return append(problems, err.Error())
	}
	var h header
	if err := json.Unmarshal(raw, &h); err != nil || h.Config == nil || len(h.Layers) != len(ids) || h.Config.Digest.String() != i.ID {
		return append(problems, "manifest "+i.Manifest+" is not that of the image")
	}
	for n, l := range i.Layers {
		if l.Blob != "" && h.Layers[n].Digest.String() != l.Blob {
			problems = append(problems, fmt.Sprintf("layer %d is not the one of the manifest", n))
		}
	}
	return problems
}

// layer compares a layer's blob with its digest, and what is unpacked with the
// blob.
func (v *verification) layer(ctx context.Context, below []rootfs.Layer, l rootfs.Layer) ([]string, error) {
	blob, err := v.store.OpenLayer(l)
	if errors.Is(err, rootfs.ErrNoBlob) || errors.Is(err, fs.ErrNotExist) {
		return []string{err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	sum := sha256.New()
	all := io.TeeReader(blob, sum)
	found, err := v.tx.CheckLayer(ctx, below, l, func() (io.ReadCloser, error) { return decompress(all) })
	if isOfMachine(err) || ctx.Err() != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return nil, err
	}
	if got := fmt.Sprintf("sha256:%x", sum.Sum(nil)); got != l.Blob {
		return []string{fmt.Sprintf("blob %s: %v: content is %s", l.Blob, errMismatch, got)}, nil
	}
	if err != nil {
		return []string{err.Error()}, nil
	}
	var problems []string
	for _, d := range found {
		problems = append(problems, "layer "+l.DiffID+": "+d.String())
	}
	return problems, nil
}
