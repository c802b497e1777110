package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/minictr/minictr/cmd/minictr-image/registry"
	"github.com/minictr/minictr/rootfs"
)

// An image is one image of a registry or an archive, read as far as its
// configuration. Manifest and configuration are verified, layers are not yet.
type image struct {
	manifest []byte
	config   []byte
	digest   string // of what the name meant: the manifest's or an index's
	layers   []layer
}

// A layer is one layer of an image that is not in the store yet.
type layer struct {
	diffID string
	blob   v1.Descriptor // of the published form; zero where there is none yet
	open   opener        // the blob as it is stored, perhaps compressed
}

// An opener opens a blob from that byte on or, where its source cannot, from an
// earlier one, and says from which. The reader verifies nothing.
type opener func(ctx context.Context, from int64) (r io.ReadCloser, begins int64, err error)

// A source is where manifests and blobs come from: a registry, or an OCI layout.
type source interface {
	// manifest returns what the digest names, verified.
	manifest(ctx context.Context, digest v1.Hash) ([]byte, error)
	// blob opens a blob, as an opener does.
	blob(ctx context.Context, blob v1.Descriptor, from int64) (r io.ReadCloser, begins int64, err error)
}

// Limits of what is held in memory. OCI distribution-spec, "Pushing Manifests":
// registries should take manifests of 4 MB.
const (
	maxManifestBytes = registry.MaxManifestBytes
	maxConfigBytes   = 4 << 20
)

// resolve follows a manifest, through at most two levels of index, to the image
// for the platform. A nil platform accepts what comes when there is no choice.
func resolve(ctx context.Context, src source, raw []byte, platform platformFlag) (image, error) {
	digest := digestOf(raw)
	var entry v1.Descriptor // of an index, that led here
	for range 3 {
		h, err := parseManifest(raw)
		if err != nil {
			return image{}, err
		}
		if h.isNot(entry.MediaType) {
			return image{}, fmt.Errorf("manifest %s: the index says that it is %s, which it is not", entry.Digest, entry.MediaType)
		}
		if h.Manifests == nil {
			img, err := readImage(ctx, src, raw, h)
			img.digest = digest
			return img, err
		}
		if entry, err = platform.orHost().choose(h.Manifests); err != nil {
			return image{}, err
		}
		if raw, err = src.manifest(ctx, entry.Digest); err != nil {
			return image{}, fmt.Errorf("manifest %s: %w", entry.Digest, err)
		}
	}
	return image{}, errors.New("an index in an index in an index")
}

// readImage reads the configuration and matches its layers with the manifest's.
func readImage(ctx context.Context, src source, raw []byte, h header) (image, error) {
	if err := h.checkIsImage(); err != nil {
		return image{}, err
	}
	config, err := readBlob(ctx, src, *h.Config, maxConfigBytes)
	if err != nil {
		return image{}, fmt.Errorf("image configuration: %w", err)
	}
	ids, err := rootfs.DiffIDs(config)
	if err != nil {
		return image{}, err
	}
	if len(ids) != len(h.Layers) {
		return image{}, fmt.Errorf("manifest has %d layers, configuration %d", len(h.Layers), len(ids))
	}
	img := image{manifest: raw, config: config}
	for i, blob := range h.Layers {
		img.layers = append(img.layers, layer{diffID: ids[i], blob: blob, open: func(ctx context.Context, from int64) (io.ReadCloser, int64, error) {
			return src.blob(ctx, blob, from)
		}})
	}
	return img, nil
}

// readBlob reads a small blob whole and verifies it.
func readBlob(ctx context.Context, src source, blob v1.Descriptor, limit int64) ([]byte, error) {
	if blob.Size > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	r, _, err := src.blob(ctx, blob, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was only read
	v := newVerifier(blob)
	data, err := io.ReadAll(io.TeeReader(io.LimitReader(r, limit+1), v))
	return data, v.verdict(err)
}

// A verifier compares what is written to it with a descriptor.
type verifier struct {
	blob v1.Descriptor
	hash hash.Hash
	n    int64
}

func newVerifier(blob v1.Descriptor) *verifier {
	return &verifier{blob: blob, hash: sha256.New()}
}

// Write takes a piece of the blob.
func (v *verifier) Write(b []byte) (int, error) {
	v.n += int64(len(b))
	return v.hash.Write(b)
}

var (
	errTruncated = errors.New("truncated")
	errMismatch  = rootfs.ErrDigest
)

// verdict judges the blob when it is at its end, which reading it gave err for,
// or nil. A short blob counts as truncated whatever err says of its digest.
func (v *verifier) verdict(err error) error {
	got := fmt.Sprintf("sha256:%x", v.hash.Sum(nil))
	switch {
	case got == v.blob.Digest.String() && v.n == v.blob.Size:
		return nil
	case v.n < v.blob.Size && (err == nil || isVerification(err)):
		return fmt.Errorf("blob %s: %w: %d of %d bytes", v.blob.Digest, errTruncated, v.n, v.blob.Size)
	case err != nil && !isVerification(err):
		return err
	case v.n != v.blob.Size:
		return fmt.Errorf("blob %s: %w: %d bytes instead of %d", v.blob.Digest, errMismatch, v.n, v.blob.Size)
	}
	return fmt.Errorf("blob %s: %w: content is %s", v.blob.Digest, errMismatch, got)
}

// isVerification reports whether the error is only that a stream ended early,
// which the verifier says better.
func isVerification(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF)
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
