package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

// savedImages are images of the store, opened: what is removed from it while they
// are written is still there for the writer, and nobody has to wait for that.
type savedImages struct {
	images []*savedImage
	blobs  []savedBlob // of all, each once
	have   map[string]bool
}

type savedImage struct {
	*rootfs.Image
	names        []rootfs.Reference // with tags; none for an image that was named by its id or digest
	mediaType    types.MediaType    // of the manifest
	manifestSize int64
}

// A savedBlob is a manifest or configuration, or a layer in an open file.
type savedBlob struct {
	digest string
	size   int64
	data   []byte
	file   *os.File
}

func blobName(digest string) string { return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:") }

// openImages finds the images of the names and opens all that they are made of.
func (c *command) openImages(names []string) (*savedImages, error) {
	release, err := c.store.Use()
	if err != nil {
		return nil, err
	}
	defer release()
	s := &savedImages{have: map[string]bool{}}
	for _, name := range names {
		image, err := c.store.Lookup(name)
		if err == nil {
			err = step.Fail("save", name, c.openImage(s, name, image))
		}
		if err != nil {
			s.close()
			return nil, notHere(err)
		}
	}
	return s, nil
}

func (c *command) openImage(s *savedImages, name string, image *rootfs.Image) error {
	if c.platform.os != "" {
		if err := c.platform.accepts(image.Config.OS, image.Config.Architecture, image.Config.Variant); err != nil {
			return err
		}
	}
	i, err := s.image(c.store, image)
	if err != nil {
		return err
	}
	ref, err := rootfs.ParseReference(name)
	if err != nil || ref.Digest != "" || image.Reference != ref.Key() {
		return nil // by id, or by a digest: a name which others may give to this image only
	}
	if !slices.Contains(i.names, ref) {
		i.names = append(i.names, ref)
	}
	return nil
}

// image returns the image, which may be among them already under another name.
func (s *savedImages) image(store *rootfs.Store, image *rootfs.Image) (*savedImage, error) {
	for _, i := range s.images {
		if i.Manifest == image.Manifest && i.ID == image.ID {
			return i, nil
		}
	}
	for _, l := range image.Layers {
		if l.Blob == "" {
			return nil, fmt.Errorf("layer %s: %w", l.DiffID, rootfs.ErrNoBlob)
		}
	}
	config, err := store.Blob(image.ID)
	if err != nil {
		return nil, err
	}
	manifest, err := store.Blob(image.Manifest)
	if err != nil {
		return nil, err
	}
	i := &savedImage{Image: image, manifestSize: int64(len(manifest))}
	layers, err := i.parse(manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", image.Manifest, err)
	}
	s.images = append(s.images, i)
	s.addBlob(savedBlob{digest: image.Manifest, data: manifest})
	s.addBlob(savedBlob{digest: image.ID, data: config})
	for k, l := range image.Layers {
		if err := s.openLayer(store, l, layers[k].Size); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// parse reads the manifest, which must be that of the image's layers.
func (i *savedImage) parse(raw []byte) ([]v1.Descriptor, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if i.mediaType = m.MediaType; i.mediaType == "" {
		i.mediaType = types.OCIManifestSchema1 // Docker's always says so
	}
	if len(m.Layers) != len(i.Layers) {
		return nil, fmt.Errorf("%d layers, but the image has %d", len(m.Layers), len(i.Layers))
	}
	for k, l := range m.Layers {
		if l.Digest.String() != i.Layers[k].Blob {
			return nil, fmt.Errorf("layers[%d] is %s, but the image's is %s", k, l.Digest, i.Layers[k].Blob)
		}
	}
	return m.Layers, nil
}

// addBlob adds what is not there yet.
func (s *savedImages) addBlob(b savedBlob) {
	if !s.have[b.digest] {
		s.have[b.digest], s.blobs = true, append(s.blobs, b)
	}
}

func (s *savedImages) openLayer(store *rootfs.Store, l rootfs.Layer, size int64) error {
	if s.have[l.Blob] {
		return nil
	}
	f, err := store.OpenLayer(l)
	if err != nil {
		return err
	}
	s.addBlob(savedBlob{digest: l.Blob, size: size, file: f})
	st, err := f.Stat()
	if err == nil && st.Size() != size {
		err = &hintedError{
			fmt.Errorf("blob %s: %w: %d bytes instead of %d", l.Blob, errMismatch, st.Size(), size),
			damaged,
		}
	}
	return plain(err)
}

func (s *savedImages) close() {
	for _, b := range s.blobs {
		if b.file != nil {
			_ = b.file.Close() // it was only read
		}
	}
}
