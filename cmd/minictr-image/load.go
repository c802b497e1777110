package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

func declareLoad(c *command) {
	c.flags.StringVar(&c.input, "input", "-", "")
	c.flags.StringVar(&c.input, "i", "-", "")
	c.flags.StringVar(&c.name, "name", "", "")
	c.flags.Var(&c.platform, "platform", "")
	c.flags.BoolVar(&c.quiet, "quiet", false, "")
	c.flags.BoolVar(&c.quiet, "q", false, "")
}

// Annotations by which an index names its images: the one of containerd and
// Docker has a whole name, the one of the OCI may have only a tag.
const (
	annotationName    = "io.containerd.image.name"
	annotationRefName = "org.opencontainers.image.ref.name"
)

// A found image is one image of an archive with its names.
type found struct {
	image image
	names []rootfs.Reference
}

// load adds the images of an archive and prints their names.
func load(ctx context.Context, c *command) error {
	var given []rootfs.Reference
	if c.name != "" {
		ref, err := rootfs.ParseReference(c.name)
		if err != nil {
			return err
		}
		given = []rootfs.Reference{ref}
	}
	what := c.input
	if what == "-" {
		what = "standard input"
	}
	return c.transaction(func(tx *rootfs.Transaction) error {
		return step.Fail("load", what, cause(ctx, c.loadInto(ctx, tx, given)))
	})
}

func (c *command) loadInto(ctx context.Context, tx *rootfs.Transaction, given []rootfs.Reference) error {
	t, err := openTree(ctx, tx, c.input, c.in)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }() // it was only read
	images, err := findImages(ctx, t, c.platform)
	if err != nil {
		return err
	}
	if given != nil && len(images) != 1 {
		return fmt.Errorf("--name fits one image, but the archive has %d", len(images))
	}
	for _, f := range images {
		if given != nil {
			f.names = given
		}
		if err := c.checkPlatform(f.image); err != nil {
			return err
		}
		added, err := install(ctx, tx, f.image, f.names, silent{})
		if err != nil {
			return err
		}
		if err := c.sayLoaded(added, f.names); err != nil {
			return err
		}
	}
	return nil
}

// sayLoaded prints what docker load prints.
func (c *command) sayLoaded(image *rootfs.Image, names []rootfs.Reference) error {
	if len(names) == 0 {
		_, err := fmt.Fprintf(c.out, "Loaded image ID: %s\n", image.ID)
		return err
	}
	for _, n := range names {
		if _, err := fmt.Fprintf(c.out, "Loaded image: %s\n", n.Familiar()); err != nil {
			return err
		}
	}
	return nil
}

// findImages reads the table of contents: index.json of an OCI layout, which
// docker save writes too since version 25, or manifest.json of older ones.
func findImages(ctx context.Context, t tree, platform platformFlag) ([]found, error) {
	old, oldErr := readDockerManifest(t)
	if oldErr != nil && !errors.Is(oldErr, fs.ErrNotExist) {
		return nil, fmt.Errorf("manifest.json: %w", oldErr)
	}
	raw, err := readFile(t, "index.json")
	if errors.Is(err, fs.ErrNotExist) {
		if oldErr != nil {
			return nil, &hintedError{
				errors.New("not an image archive: it has neither index.json (OCI) nor manifest.json (docker save)"),
				"a tar of a root file system becomes an image with `minictr import FILE NAME`",
			}
		}
		return findDockerImages(t, old)
	}
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	images, err := findOCIImages(ctx, layout{t}, raw, platform)
	if len(images) == 1 && len(images[0].names) == 0 && len(old) == 1 && err == nil {
		images[0].names, err = references(old[0].RepoTags)
	}
	return images, err
}

// findOCIImages returns one image for each name in the index, or tag without a
// repository, and one for all entries without either: they are the platforms of
// one image.
func findOCIImages(ctx context.Context, l layout, raw []byte, platform platformFlag) ([]found, error) {
	h, err := parseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if len(h.Manifests) == 0 {
		return nil, errors.New("index.json: no images")
	}
	var order []string
	groups := map[string][]v1.Descriptor{}
	for _, e := range h.Manifests {
		key := cmp.Or(nameOf(e), e.Annotations[annotationRefName])
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], e)
	}
	var images []found
	var b budget
	known := map[v1.Hash]image{}
	for _, key := range order {
		entry, err := chooseEntry(groups[key], platform)
		if err != nil {
			return nil, err
		}
		f := found{image: known[entry.Digest]}
		if f.image.config == nil {
			if f.image, err = resolveEntry(ctx, l, entry, platform); err != nil {
				return nil, err
			}
			known[entry.Digest] = f.image
		}
		if err := b.take(f.image); err != nil {
			return nil, err
		}
		if name := nameOf(entry); name != "" {
			if f.names, err = references([]string{name}); err != nil {
				return nil, err
			}
		}
		images = append(images, f)
	}
	return mergeNames(images), nil
}

func chooseEntry(entries []v1.Descriptor, platform platformFlag) (v1.Descriptor, error) {
	if len(entries) == 1 {
		return entries[0], nil
	}
	return platform.orHost().choose(entries)
}

func resolveEntry(ctx context.Context, l layout, entry v1.Descriptor, platform platformFlag) (image, error) {
	raw, err := l.manifest(ctx, entry.Digest)
	if err != nil {
		return image{}, fmt.Errorf("manifest %s: %w", entry.Digest, err)
	}
	return resolve(ctx, l, raw, platform)
}

// A budget bounds what an archive may have of images: a small table of contents
// can name one large configuration ten thousand times, and each name costs the
// store a copy.
type budget struct{ images, bytes int }

const (
	maxArchiveImages = 10_000
	maxArchiveBytes  = 64 << 20 // of manifests and configurations
)

func (b *budget) take(img image) error {
	b.images++
	b.bytes += len(img.manifest) + len(img.config) + 200*len(img.layers) // about what a layer takes in memory
	if b.images > maxArchiveImages {
		return fmt.Errorf("archive names more than %d images", maxArchiveImages)
	}
	if b.bytes > maxArchiveBytes {
		return fmt.Errorf("archive has more than %d bytes of manifests and configurations", maxArchiveBytes)
	}
	return nil
}

// mergeNames joins the entries that are the same image under several names.
func mergeNames(images []found) []found {
	var merged []found
	at := map[string]int{}
	for _, f := range images {
		id := digestOf(f.image.config)
		if i, seen := at[id]; seen {
			merged[i].names = append(merged[i].names, f.names...)
			continue
		}
		at[id] = len(merged)
		merged = append(merged, f)
	}
	return merged
}

// nameOf returns the name that an entry of an index gives its image. A bare word
// in the OCI's annotation is a tag without a repository, which names nothing.
func nameOf(e v1.Descriptor) string {
	if name := e.Annotations[annotationName]; name != "" {
		return name
	}
	if name := e.Annotations[annotationRefName]; strings.ContainsAny(name, "/:@") {
		return name
	}
	return ""
}

func references(names []string) ([]rootfs.Reference, error) {
	var refs []rootfs.Reference
	for _, name := range names {
		ref, err := rootfs.ParseReference(name)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// A dockerImage is one entry of the manifest.json of docker save (moby,
// image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format").
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func readDockerManifest(t tree) ([]dockerImage, error) {
	raw, err := readFile(t, "manifest.json")
	if err != nil {
		return nil, err
	}
	var images []dockerImage
	if err := json.Unmarshal(raw, &images); err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, errors.New("no images")
	}
	return images, nil
}

func findDockerImages(t tree, entries []dockerImage) ([]found, error) {
	var images []found
	var b budget
	for i, e := range entries {
		img, err := readDockerImage(t, e)
		if err == nil {
			err = b.take(img)
		}
		if err != nil {
			return nil, fmt.Errorf("manifest.json: [%d]: %w", i, err)
		}
		names, err := references(e.RepoTags)
		if err != nil {
			return nil, fmt.Errorf("manifest.json: [%d].RepoTags: %w", i, err)
		}
		images = append(images, found{img, names})
	}
	return images, nil
}

func readDockerImage(t tree, e dockerImage) (image, error) {
	config, err := readFile(t, e.Config)
	if err != nil {
		return image{}, fmt.Errorf("configuration %q: %w", e.Config, err)
	}
	// The file is named by its digest, except by tools that are not Docker.
	if hex := strings.TrimSuffix(e.Config, ".json"); len(hex) == 64 && "sha256:"+hex != digestOf(config) {
		return image{}, fmt.Errorf("configuration %q: %w: content is %s", e.Config, errMismatch, digestOf(config))
	}
	ids, err := rootfs.DiffIDs(config)
	if err != nil {
		return image{}, err
	}
	if len(ids) != len(e.Layers) {
		return image{}, fmt.Errorf("%d layers, but %d in the configuration", len(e.Layers), len(ids))
	}
	img := image{config: config}
	for i, name := range e.Layers {
		img.layers = append(img.layers, layer{diffID: ids[i], open: func(context.Context, int64) (io.ReadCloser, int64, error) {
			r, err := t.open(name)
			if err != nil {
				err = fmt.Errorf("layer %q: %w", name, err)
			}
			return r, 0, err
		}})
	}
	return img, nil
}
