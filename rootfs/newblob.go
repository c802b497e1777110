package rootfs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"

	"github.com/minictr/minictr/runtime/step"
)

// A NewBlob is a blob whose digest is known when it is written: a layer that is
// compressed here.
type NewBlob struct {
	t    *Transaction
	file *os.File
	hash hash.Hash
	size int64
}

// NewBlob begins a blob. Finish makes it the transaction's; Close, without that,
// drops it.
func (t *Transaction) NewBlob() (*NewBlob, error) {
	f, err := os.CreateTemp(t.scratch.dir, "blob")
	if err != nil {
		return nil, step.Fail("add blob", "", bare(err))
	}
	return &NewBlob{t: t, file: f, hash: sha256.New()}, nil
}

// Write adds what comes next.
func (b *NewBlob) Write(data []byte) (int, error) {
	n, err := b.file.Write(data)
	b.hash.Write(data[:n])
	b.size += int64(n)
	return n, bare(err)
}

// Finish returns the blob's digest and size.
func (b *NewBlob) Finish() (digest string, size int64, err error) {
	digest = "sha256:" + hex.EncodeToString(b.hash.Sum(nil))
	err = os.Rename(b.file.Name(), b.t.store.partialFile(digest))
	b.t.note(b.t.store.partialFile(digest))
	return digest, b.size, step.Fail("add blob", digest, bare(err))
}

// Close ends the writing.
func (b *NewBlob) Close() error { return b.file.Close() }

// note remembers a file that the transaction has seen to.
func (t *Transaction) note(file string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own == nil {
		t.own = map[string]bool{}
	}
	t.own[file] = true
}

// keepBlobs gives the blobs of an image their names. They are on the disk.
func (t *Transaction) keepBlobs(layers []Layer) error {
	for _, l := range layers {
		if l.Blob == "" {
			continue
		}
		err := os.Rename(t.store.partialFile(l.Blob), t.store.blobFile(l.Blob))
		if errors.Is(err, fs.ErrNotExist) && t.HasBlob(l.Blob, l.BlobSize) {
			err = nil // it was there, or another process has done it
		}
		if err != nil {
			return step.Fail("keep blob", l.Blob, bare(err))
		}
	}
	return nil
}

// checkBlobs wants every blob of an image whole: in the store, or seen to by this
// transaction.
func (t *Transaction) checkBlobs(layers []Layer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, l := range layers {
		if l.Blob == "" || t.HasBlob(l.Blob, l.BlobSize) {
			continue
		}
		file := t.store.partialFile(l.Blob)
		st, err := os.Lstat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) && t.HasBlob(l.Blob, l.BlobSize):
			err = nil // another process has just given it its name
		case err == nil && (!t.own[file] || st.Size() != l.BlobSize):
			err = errors.New("it is not whole")
		}
		if err != nil {
			return fmt.Errorf("layers[%d]: blob %s: %w", i, l.Blob, bare(err))
		}
	}
	return nil
}
