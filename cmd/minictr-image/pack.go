package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/minictr/minictr/rootfs"
)

// addUnpacked adds a layer that comes as a plain tar, or is one after
// decompressing, without a published form: that is made on the way, so that the
// image can be pushed and saved as every other.
func addUnpacked(ctx context.Context, tx *rootfs.Transaction, below []rootfs.Layer, l layer) (rootfs.Layer, error) {
	p, err := newPacker(tx)
	if err != nil {
		return rootfs.Layer{}, err
	}
	defer p.close()
	open := func() (io.ReadCloser, error) {
		stream, _, err := l.open(ctx, 0)
		if err != nil {
			return nil, err
		}
		plain, err := decompress(stream)
		return &packed{plain, stream, p}, err
	}
	one, err := tx.AddLayer(ctx, below, l.diffID, open)
	if err != nil {
		return rootfs.Layer{}, err
	}
	if p.started {
		one.Blob, one.BlobSize, err = p.finish()
		return one, err
	}
	var found bool
	if one.Blob, one.BlobSize, found = tx.FindBlob(one.DiffID); found {
		return one, nil
	}
	one.Blob, one.BlobSize, err = p.packAgain(open, one.DiffID) // it is there unpacked only
	return one, err
}

// A packer compresses a layer in a goroutine of its own, so that compressing and
// unpacking go on at the same time.
type packer struct {
	blob    *rootfs.NewBlob
	sum     hash.Hash // of the plain tar
	started bool
	buf     []byte
	chunks  chan []byte
	ended   chan error
}

// packLevel is the fastest: packing must keep up with unpacking.
const packLevel = gzip.BestSpeed

func newPacker(tx *rootfs.Transaction) (*packer, error) {
	blob, err := tx.NewBlob()
	if err != nil {
		return nil, err
	}
	p := &packer{blob: blob, sum: sha256.New(), chunks: make(chan []byte, 4), ended: make(chan error, 1)}
	go p.work(p.chunks)
	return p, nil
}

func (p *packer) work(chunks <-chan []byte) {
	z, err := gzip.NewWriterLevel(p.blob, packLevel)
	for chunk := range chunks {
		if err == nil {
			_, err = z.Write(chunk)
		}
	}
	if err == nil {
		err = z.Close()
	}
	p.ended <- err
}

// write takes a piece of the tar.
func (p *packer) write(b []byte) {
	p.started = true
	p.buf = append(p.buf, b...)
	if len(p.buf) >= 256<<10 {
		p.chunks <- p.buf
		p.buf = make([]byte, 0, 320<<10)
	}
}

// finish returns the blob of what was written.
func (p *packer) finish() (digest string, size int64, err error) {
	p.chunks <- p.buf
	if err := p.wait(); err != nil {
		return "", 0, fmt.Errorf("compress the layer: %w", plain(err))
	}
	return p.blob.Finish()
}

// wait ends the goroutine and returns its error; only the first call does.
func (p *packer) wait() error {
	if p.chunks == nil {
		return nil
	}
	close(p.chunks)
	p.chunks = nil
	return <-p.ended
}

// packAgain makes the blob of a layer that the store has only unpacked.
func (p *packer) packAgain(open func() (io.ReadCloser, error), diffID string) (digest string, size int64, err error) {
	stream, err := open()
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = stream.Close() }() // it was only read
	if _, err := io.Copy(p.sum, stream); err != nil {
		return "", 0, err
	}
	if got := fmt.Sprintf("sha256:%x", p.sum.Sum(nil)); got != diffID {
		return "", 0, fmt.Errorf("layer %s: %w: content is %s", diffID, errMismatch, got)
	}
	return p.finish()
}

// close ends the goroutine; what was not finished is dropped.
func (p *packer) close() {
	_ = p.wait()       // of what nobody wants, or finished
	_ = p.blob.Close() // Finish has given it its name; Commit syncs it
}

// packed is a stream of which a packer gets a copy.
type packed struct {
	io.ReadCloser
	source io.Closer
	p      *packer
}

func (t *packed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	t.p.write(b[:n])
	return n, err
}

func (t *packed) Close() error { return errors.Join(t.ReadCloser.Close(), t.source.Close()) }
