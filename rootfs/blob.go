package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Blob is a layer of the store in its published form, or one that is on its
// way into the store. What is written of it is kept under images/partial, also
// when the writer fails or is killed, so that a download goes on where it
// stopped; whoever reads it may begin before it is whole.
//
//	tx.Blob ─► Have, Write …, Finish ─► whole      one goroutine
//	        └► Open ─► Read …                      others, meanwhile
//
// Two processes that fetch one blob at once fetch it once: the second waits for
// the first.
type Blob struct {
	Digest string // "sha256:…"
	Size   int64  // bytes, as announced

	file    *os.File
	hash    hash.Hash
	resumed bool // its bytes come from more than one connection

	mu      sync.Mutex
	have    int64         // bytes that are written
	whole   bool          // all are there and match the digest
	err     error         // why it will not become whole
	changed chan struct{} // closed when one of the above changes
}

// ErrDigest is the cause when content does not match its digest.
var ErrDigest = errors.New("digest mismatch")

// Blob returns the blob of that digest and size. It is whole when the store has
// it; otherwise the caller owns it until Finish, and nobody else writes it. The
// blob ends with Close, which the caller must call.
func (t *Transaction) Blob(ctx context.Context, digest string, size int64) (*Blob, error) {
	if err := checkSHA256(digest); err != nil {
		return nil, step.Fail("add blob", printable(digest), err)
	}
	b := &Blob{Digest: digest, Size: size, hash: sha256.New(), changed: make(chan struct{})}
	if err := t.openBlob(ctx, b); err != nil {
		return nil, step.Fail("add blob", digest, bare(err))
	}
	t.note(t.store.partialFile(digest))
	return b, nil
}

// HasBlob reports whether the store has the blob whole.
func (t *Transaction) HasBlob(digest string, size int64) bool {
	st, err := os.Lstat(t.store.blobFile(digest))
	return err == nil && st.Mode().IsRegular() && st.Size() == size
}

func (t *Transaction) openBlob(ctx context.Context, b *Blob) (err error) {
	for {
		if t.HasBlob(b.Digest, b.Size) {
			b.have, b.whole = b.Size, true
			b.file, err = os.Open(t.store.blobFile(b.Digest))
			return err
		}
		b.file, err = t.lockPartial(ctx, b.Digest)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err == nil {
		err = b.resume()
	}
	if err != nil && b.file != nil {
		err = errors.Join(err, b.file.Close())
	}
	return err
}

// lockPartial opens and locks what there is of a blob. It is fs.ErrNotExist when
// another process has finished it meanwhile.
func (t *Transaction) lockPartial(ctx context.Context, digest string) (*os.File, error) {
	name := t.store.partialFile(digest)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flockContext(ctx, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	now, err := os.Lstat(name)
	if err == nil {
		var held fs.FileInfo
		if held, err = f.Stat(); err == nil && os.SameFile(now, held) {
			return f, nil
		}
		err = fs.ErrNotExist
	}
	return nil, errors.Join(err, f.Close())
}

// flockContext takes an exclusive lock, or ends with ctx: flock(2) itself cannot
// be told to.
func flockContext(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

// lockPause is the time between two looks at a lock that another process holds.
const lockPause = 20 * time.Millisecond

// resume reads what an earlier download has left, and goes on behind it.
func (b *Blob) resume() error {
	n, err := io.Copy(b.hash, b.file)
	if err != nil {
		return err
	}
	if n > b.Size || n == b.Size && b.sum() != b.Digest {
		return b.Restart()
	}
	b.have, b.resumed, b.whole = n, n > 0, n == b.Size
	if b.whole {
		return b.release()
	}
	return nil
}

// release lets others have the blob, which is whole.
func (b *Blob) release() error {
	return unix.Flock(int(b.file.Fd()), unix.LOCK_UN)
}

func (b *Blob) sum() string { return "sha256:" + hex.EncodeToString(b.hash.Sum(nil)) }

// Whole reports whether the blob is there and matches its digest.
func (b *Blob) Whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.whole
}

// Have is how many bytes of the blob are there: where a download goes on.
func (b *Blob) Have() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.have
}

// Write adds what comes next. More than the blob's size is an error.
func (b *Blob) Write(data []byte) (int, error) {
	if b.have+int64(len(data)) > b.Size {
		return 0, fmt.Errorf("blob %s: %w: more than %d bytes", b.Digest, ErrDigest, b.Size)
	}
	n, err := b.file.WriteAt(data, b.have)
	b.hash.Write(data[:n])
	b.change(func() { b.have += int64(n) })
	return n, bare(err)
}

// Continue says from which byte on a source gives the blob: where it ends now, or
// an earlier one, which means from the beginning.
func (b *Blob) Continue(from int64) error {
	if from != b.Have() {
		return b.Restart()
	}
	b.change(func() { b.resumed = from > 0 })
	return nil
}

// Restart throws away what is there. Who reads the blob goes on where it is.
func (b *Blob) Restart() error {
	if err := b.file.Truncate(0); err != nil {
		return bare(err)
	}
	b.hash.Reset()
	b.change(func() { b.have, b.resumed = 0, false })
	return nil
}

// Suspect reports whether all bytes are there but do not match, and come from
// more than one connection, perhaps from before a power cut: then another
// attempt from the beginning may have a better end.
func (b *Blob) Suspect() bool { return b.resumed && b.have == b.Size && b.sum() != b.Digest }

// Finish ends the writing. With a nil error the blob must be whole: what does
// not match its digest is thrown away, what is too short is kept to go on with.
// The error is that of the blob for everybody who reads it.
func (b *Blob) Finish(err error) error {
	switch {
	case err != nil:
	case b.have < b.Size:
		err = fmt.Errorf("blob %s: %w: %d of %d bytes", b.Digest, io.ErrUnexpectedEOF, b.have, b.Size)
	case b.sum() != b.Digest:
		err = errors.Join(fmt.Errorf("blob %s: %w: content is %s", b.Digest, ErrDigest, b.sum()), b.Restart())
	default:
		err = b.release()
	}
	b.change(func() { b.whole, b.err = err == nil, err })
	return err
}

// change changes what readers wait for, and wakes them.
func (b *Blob) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

// Close gives the blob up. What is there of it stays.
func (b *Blob) Close() error {
	if !b.Whole() && b.Have() == 0 {
		_ = os.Remove(b.file.Name()) // nothing: still ours by its lock; and the sweep takes it, too
	}
	return b.file.Close()
}

// Open returns the blob from its beginning. Reading waits for what is still to
// come; it ends with an error when the blob does not become whole, or with ctx.
// What an earlier download has left is read only when the blob is whole. Closing
// the reader leaves the blob alone.
func (b *Blob) Open(ctx context.Context) io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &blobReader{ctx: ctx, blob: b, patient: b.resumed}
}

type blobReader struct {
	ctx     context.Context
	blob    *Blob
	at      int64
	patient bool // until the blob is whole
}

func (r *blobReader) Close() error { return nil }

// Read returns io.EOF only when the whole blob has matched its digest.
func (r *blobReader) Read(data []byte) (int, error) {
	for {
		r.blob.mu.Lock()
		have, whole, err, changed := r.blob.have, r.blob.whole, r.blob.err, r.blob.changed
		r.blob.mu.Unlock()
		switch {
		case r.at < have && (whole || !r.patient):
			n, err := r.blob.file.ReadAt(data[:min(int64(len(data)), have-r.at)], r.at)
			r.at += int64(n)
			if n > 0 {
				return n, nil
			}
			return 0, noEOF(bare(err))
		case err != nil:
			return 0, err
		case whole:
			return 0, io.EOF
		}
		select {
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		case <-changed:
		}
	}
}

// FindBlob returns a published form of a layer that some image of the store has.
func (t *Transaction) FindBlob(diffID string) (digest string, size int64, found bool) {
	images, err := t.store.List()
	if err != nil {
		return "", 0, false // then it is made
	}
	for _, i := range images {
		for _, l := range i.Layers {
			if l.DiffID == diffID && l.Blob != "" && t.HasBlob(l.Blob, l.BlobSize) {
				return l.Blob, l.BlobSize, true
			}
		}
	}
	return "", 0, false
}

func (s *Store) partialFile(digest string) string { return s.path("partial", hexOf(digest)) }

// OpenLayer opens the published form of a layer of an image for reading, and
// returns its size. Whoever relies on the content compares it with the digest.
func (s *Store) OpenLayer(l Layer) (*os.File, error) {
	if l.Blob == "" {
		return nil, step.Fail("open layer", l.DiffID, ErrNoBlob)
	}
	f, err := os.Open(s.blobFile(l.Blob))
	return f, step.Fail("open layer", l.Blob, bare(err))
}

// ErrNoBlob is the cause when the store has a layer only unpacked.
var ErrNoBlob = errors.New("the store has it only unpacked; pull or load the image again")
