package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/minictr/minictr/cmd/minictr-image/registry"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

func declarePush(c *command) {
	c.flags.BoolVar(&c.quiet, "quiet", false, "")
	c.flags.BoolVar(&c.quiet, "q", false, "")
	c.flags.StringVar(&c.progress, "progress", "auto", "")
	declareRegistries(c)
}

// parallelUploads is how many layers are sent at a time.
const parallelUploads = 3

// pushPatience is longer than for a pull: a registry says nothing while it moves
// a large layer to where it keeps it.
const pushPatience = 5 * time.Minute

// push uploads an image to the registry that its name says, and prints its full
// name.
func push(ctx context.Context, c *command) error {
	ref, err := rootfs.ParseReference(c.args[0])
	if err != nil {
		return err
	}
	if _, err := newProgress(c.progress, c.quiet, c.errors, nil); err != nil {
		return err
	}
	digest, err := c.pushImage(ctx, ref)
	if registry.IsUnreachable(err) {
		err = &hintedError{err, "without a network an image can go by file: `minictr save -o FILE IMAGE`"}
	}
	if err != nil {
		return step.Fail("push", ref.String(), cause(ctx, err))
	}
	if !c.quiet && c.progress != "none" {
		fmt.Fprintf(c.errors, "Digest: %s\n", digest)
	}
	_, err = fmt.Fprintln(c.out, ref.Key())
	return err
}

func (c *command) pushImage(ctx context.Context, ref rootfs.Reference) (digest string, err error) {
	if ref.Digest != "" {
		return "", &hintedError{errors.New("a digest cannot be pushed to"), "name a tag: the digest is what comes of it"}
	}
	p, err := openParcel(c.store, ref)
	if err != nil {
		return "", err
	}
	defer p.close()
	show, err := newProgress(c.progress, c.quiet, c.errors, p.names())
	if err != nil {
		return "", err
	}
	client, err := c.client(show.say)
	if err != nil {
		return "", err
	}
	defer client.Close()
	client.Patience = pushPatience
	if p.repository, err = client.ForPush(ctx, ref, p.mountSources()...); err != nil {
		return "", err
	}
	if !c.quiet && c.progress != "none" {
		fmt.Fprintf(c.errors, "Pushing %s\n", ref.Key())
	}
	defer show.finish()
	p.show = show
	return p.digest, p.send(ctx, ref.Tag)
}

// A parcel is an image on its way to a registry. What it is made of is open, so
// that removing the image meanwhile takes nothing away from it.
type parcel struct {
	repository *registry.Repository
	manifest   registry.Manifest
	digest     string // of the manifest
	config     registry.Source
	layers     []registry.Source // each once
	files      []*os.File
	mounts     map[string][]string // by blob: other repositories of the registry that may have it
	show       progress
}

// maxMounts is in how many other repositories a blob is looked for, and maxSources
// how many they are in all: a token is asked for each.
const maxMounts, maxSources = 3, 10

// openParcel finds the image in the store.
func openParcel(store *rootfs.Store, ref rootfs.Reference) (*parcel, error) {
	release, err := store.Use()
	if err != nil {
		return nil, err
	}
	defer release()
	image, err := store.Lookup(ref.String())
	var missing *rootfs.NotFoundError
	if errors.As(err, &missing) {
		return nil, &hintedError{errors.New("the image is not here"), "`minictr images` lists those that are, and `minictr tag` gives one another name"}
	}
	if err != nil {
		return nil, err
	}
	p := &parcel{digest: image.Manifest}
	err = p.open(store, image)
	if err == nil {
		p.mounts, err = mountsFor(store, ref)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *parcel) open(store *rootfs.Store, image *rootfs.Image) error {
	if image.Manifest == "" {
		return rootfs.ErrNoBlob
	}
	raw, err := store.Blob(image.Manifest)
	if err != nil {
		return err
	}
	h, err := parseManifest(raw)
	if err != nil {
		return err
	}
	p.manifest = registry.Manifest{Raw: raw, MediaType: mediaTypeOf(h)}
	config, err := store.Blob(image.ID)
	if err != nil {
		return err
	}
	p.config = registry.Source{Digest: image.ID, Size: int64(len(config)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(config)), nil
	}}
	for _, l := range image.Layers {
		if slices.ContainsFunc(p.layers, func(s registry.Source) bool { return s.Digest == l.Blob }) {
			continue
		}
		f, err := store.OpenLayer(l)
		if err != nil {
			return err
		}
		p.files = append(p.files, f)
		p.layers = append(p.layers, p.source(len(p.layers), f, l))
	}
	return nil
}

// source is a layer that shows how far it is.
func (p *parcel) source(i int, f *os.File, l rootfs.Layer) registry.Source {
	return registry.Source{Digest: l.Blob, Size: l.BlobSize, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(&counter{r: io.NewSectionReader(f, 0, l.BlobSize), tell: func(n int64) {
			p.show.update(i, phaseUpload, n, l.BlobSize)
		}}), nil
	}}
}

// mediaTypeOf is what the manifest calls itself. One that says nothing is told by
// its configuration: the OCI once left it out (image-spec, manifest.md).
func mediaTypeOf(h header) string {
	inferred := types.OCIManifestSchema1
	if h.Config.MediaType == types.DockerConfigJSON {
		inferred = types.DockerManifestSchema2
	}
	return string(cmp.Or(h.MediaType, inferred))
}

// mountsFor returns in which other repositories of the registry a blob may be:
// those from which, or to which, the store's other images go.
func mountsFor(store *rootfs.Store, to rootfs.Reference) (map[string][]string, error) {
	images, err := store.List()
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	sources := map[string]bool{}
	for _, i := range images {
		ref, err := rootfs.ParseReference(i.Reference)
		if err != nil || ref.Domain != to.Domain || ref.Path == to.Path {
			continue // without a name, or elsewhere
		}
		if len(sources) == maxSources && !sources[ref.Path] {
			continue
		}
		sources[ref.Path] = true
		for _, l := range i.Layers {
			if from := found[l.Blob]; len(from) < maxMounts && !slices.Contains(from, ref.Path) {
				found[l.Blob] = append(from, ref.Path)
			}
		}
	}
	return found, nil
}

// mountSources are all repositories that a blob of this image may be in.
func (p *parcel) mountSources() []string {
	var all []string
	for _, l := range p.layers {
		all = append(all, p.mounts[l.Digest]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (p *parcel) names() []string {
	var names []string
	for _, l := range p.layers {
		names = append(names, l.Digest[len("sha256:"):][:12])
	}
	return names
}

func (p *parcel) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// send uploads what the repository lacks, the manifest last: until then nobody
// sees anything of it.
func (p *parcel) send(ctx context.Context, tag string) error {
	if err := p.sendLayers(ctx); err != nil {
		return err
	}
	has, err := p.repository.HasBlob(ctx, p.config.Digest)
	if err == nil && !has {
		err = p.repository.Upload(ctx, p.config)
	}
	if err != nil {
		return err
	}
	return p.repository.PutManifest(ctx, tag, p.manifest, p.digest)
}

// sendLayers sends a few layers at a time. The first error ends all.
func (p *parcel) sendLayers(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tokens := make(chan struct{}, parallelUploads)
	var workers sync.WaitGroup
	for i := range p.layers {
		p.show.update(i, phaseWait, 0, 0)
	}
	for i := range p.layers {
		select {
		case tokens <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		workers.Go(func() {
			defer func() { <-tokens }()
			if err := p.sendLayer(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (p *parcel) sendLayer(ctx context.Context, i int) error {
	l := p.layers[i]
	has, err := p.repository.HasBlob(ctx, l.Digest)
	if err != nil {
		return err
	}
	if has {
		p.show.update(i, phaseExists, 0, 0)
		return nil
	}
	for _, from := range p.mounts[l.Digest] {
		mounted, err := p.repository.Mount(ctx, l.Digest, from)
		if err != nil {
			return err
		}
		if mounted {
			p.show.update(i, phaseMounted, 0, 0)
			return nil
		}
	}
	if err := p.repository.Upload(ctx, l); err != nil {
		return err
	}
	p.show.update(i, phaseUploaded, 0, 0)
	return nil
}
