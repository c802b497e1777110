package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
)

// parallelDownloads is how many layers are fetched at a time, as with Docker.
const parallelDownloads = 3

// install adds the layers of an image and then the image. Layers are fetched
// several at a time and unpacked in order, since one may lean on those below;
// one is unpacked while it comes.
func install(ctx context.Context, tx *rootfs.Transaction, img image, names []rootfs.Reference, show progress) (*rootfs.Image, error) {
	in := startFetching(ctx, tx, img.layers, show)
	defer in.stop()
	var added []rootfs.Layer
	for i := range img.layers {
		one, err := in.add(added, i)
		if err != nil {
			return nil, err
		}
		added = append(added, one)
	}
	if img.manifest == nil {
		var err error
		if img.manifest, err = newManifest(img.config, added); err != nil {
			return nil, err
		}
	}
	return tx.Commit(rootfs.NewImage{
		Config: img.config, Manifest: img.manifest, Digest: img.digest, Layers: added, References: names,
	})
}

// newManifest is that of an image which comes without one.
func newManifest(config []byte, layers []rootfs.Layer) ([]byte, error) {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	digest, err := v1.NewHash(digestOf(config))
	m.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: digest}
	for _, l := range layers {
		if digest, err = v1.NewHash(l.Blob); err != nil {
			break
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: types.OCILayer, Size: l.BlobSize, Digest: digest})
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// An incoming is the layers of an image on their way into the store.
type incoming struct {
	ctx     context.Context
	cancel  context.CancelFunc
	tx      *rootfs.Transaction
	layers  []layer
	show    progress
	fetches []*fetch
	workers sync.WaitGroup
}

// A fetch is one blob. The channels are closed when there is something to know.
type fetch struct {
	opened chan struct{} // blob and err are set
	ended  chan struct{} // the blob is whole, or err says why not
	blob   *rootfs.Blob
	err    error
}

// startFetching fetches in the background what the store does not have.
func startFetching(ctx context.Context, tx *rootfs.Transaction, layers []layer, show progress) *incoming {
	in := &incoming{tx: tx, layers: layers, show: show, fetches: make([]*fetch, len(layers))}
	in.ctx, in.cancel = context.WithCancel(ctx)
	var below []rootfs.Layer
	present := true
	for i, l := range layers {
		var have rootfs.Layer
		if present {
			have, present = tx.HasLayer(below, l.diffID)
			below = append(below, have)
		}
		switch {
		case l.blob.Digest.Hex == "": // an archive's; it is compressed here
		case present && tx.HasBlob(l.blob.Digest.String(), l.blob.Size):
			show.update(i, phaseExists, 0, 0)
		default:
			in.fetches[i] = &fetch{opened: make(chan struct{}), ended: make(chan struct{})}
			show.update(i, phaseWait, 0, l.blob.Size)
		}
	}
	in.workers.Go(in.work)
	return in
}

// work starts the fetches in order, a few at a time.
func (in *incoming) work() {
	tokens := make(chan struct{}, parallelDownloads)
	for i, f := range in.fetches {
		if f == nil {
			continue
		}
		select {
		case tokens <- struct{}{}:
		case <-in.ctx.Done():
			f.err = context.Cause(in.ctx)
			close(f.opened)
			close(f.ended)
			continue
		}
		in.workers.Go(func() {
			defer func() { <-tokens }()
			in.fetch(i, f)
		})
	}
}

func (in *incoming) fetch(i int, f *fetch) {
	defer close(f.ended)
	l := in.layers[i]
	f.blob, f.err = in.tx.Blob(in.ctx, l.blob.Digest.String(), l.blob.Size)
	close(f.opened)
	if f.err == nil && !f.blob.Whole() {
		f.err = download(in.ctx, l, f.blob, func(done int64) { in.show.update(i, phaseFetch, done, l.blob.Size) })
	}
	if f.err == nil {
		in.show.update(i, phaseFetched, 0, 0)
	}
}

// stop ends what is still under way, and lets the blobs go.
func (in *incoming) stop() {
	in.cancel()
	in.workers.Wait()
	for _, f := range in.fetches {
		if f != nil && f.blob != nil {
			_ = f.blob.Close() // Commit has synced what counts
		}
	}
}

// add unpacks one layer onto those below.
func (in *incoming) add(below []rootfs.Layer, i int) (rootfs.Layer, error) {
	l, f := in.layers[i], in.fetches[i]
	if l.blob.Digest.Hex == "" {
		one, err := addUnpacked(in.ctx, in.tx, below, l)
		in.show.update(i, phaseDone, 0, 0)
		return one, err
	}
	one, have := in.tx.HasLayer(below, l.diffID)
	if f == nil || have {
		one.Blob, one.BlobSize = l.blob.Digest.String(), l.blob.Size
		return one, in.verdict(f)
	}
	<-f.opened
	if f.blob == nil {
		return rootfs.Layer{}, f.err
	}
	early := !f.blob.Whole()
	one, err := in.unpack(below, i, f.blob)
	if !isOfMachine(err) { // what is not what its digest says is best told as that
		if err := in.verdict(f); err != nil {
			return rootfs.Layer{}, err
		}
		if err != nil && early { // it may have read what was then thrown away
			one, err = in.unpack(below, i, f.blob)
		}
	}
	if err != nil {
		return rootfs.Layer{}, err
	}
	in.show.update(i, phaseDone, 0, 0)
	return one, nil
}

// unpack adds a layer from its blob, which may still be coming.
func (in *incoming) unpack(below []rootfs.Layer, i int, blob *rootfs.Blob) (rootfs.Layer, error) {
	l := in.layers[i]
	shown := &counter{r: blob.Open(in.ctx), tell: func(n int64) { in.show.update(i, phaseUnpack, n, l.blob.Size) }}
	one, err := in.tx.AddLayer(in.ctx, below, l.diffID, func() (io.ReadCloser, error) { return decompress(shown) })
	one.Blob, one.BlobSize = l.blob.Digest.String(), l.blob.Size
	return one, err
}

// isOfMachine reports whether an error is of this machine's disk, and not of what
// was read.
func isOfMachine(err error) bool {
	for _, errno := range []error{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EROFS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// verdict waits for the end of a fetch and returns its error.
func (in *incoming) verdict(f *fetch) error {
	if f == nil {
		return nil
	}
	select {
	case <-f.ended:
		return f.err
	case <-in.ctx.Done():
		return context.Cause(in.ctx)
	}
}

// A counter tells how far a reader came.
type counter struct {
	r    io.Reader
	n    int64
	tell func(n int64)
}

// Read reads on and tells.
func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}
