package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
)

// A tree is the files of an image archive, by slash-separated path. Nothing is
// unpacked: a tar is read where it lies.
type tree interface {
	// open returns fs.ErrNotExist for what the archive does not have.
	open(name string) (io.ReadCloser, error)
	Close() error
}

// openTree opens what the user named: a directory, a tar, a compressed tar, or a
// stream of one, which is kept in the transaction's temporary folder meanwhile.
func openTree(ctx context.Context, tx *rootfs.Transaction, input string, stdin io.Reader) (tree, error) {
	if input == "-" {
		return spool(ctx, tx, interruptReader(ctx, stdin))
	}
	f, err := os.Open(input)
	if err != nil {
		return nil, plain(err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(plain(err), f.Close())
	}
	if st.IsDir() {
		root, err := os.OpenRoot(input)
		return directory{root}, errors.Join(plain(err), f.Close())
	}
	head := make([]byte, magicBytes)
	if n, err := f.ReadAt(head, 0); st.Mode().IsRegular() && (err == nil || errors.Is(err, io.EOF)) && compressionOf(head[:n]) == nil {
		return indexTar(f)
	}
	defer f.Close()
	return spool(ctx, tx, interruptReader(ctx, f))
}

// spool writes the stream, decompressed, to a temporary file.
func spool(ctx context.Context, tx *rootfs.Transaction, r io.Reader) (tree, error) {
	stream, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // it was only read
	file, err := tx.TempFile()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(writerOnly{file}, stream); err != nil {
		return nil, errors.Join(cause(ctx, plain(err)), file.Close())
	}
	return indexTar(file)
}

// writerOnly hides ReadFrom, which would not use buffers of a good size.
type writerOnly struct{ io.Writer }

// interruptReader ends with ctx even while r waits for input. Its goroutine
// lasts as long as that.
func interruptReader(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(in, struct{ io.Reader }{r}, make([]byte, 256<<10))
		_ = in.CloseWithError(err) // always nil
	}()
	context.AfterFunc(ctx, func() { _ = in.CloseWithError(context.Cause(ctx)) }) // always nil
	return out
}

// A directory is an OCI image layout in a directory of the host. os.Root keeps
// the names that its index has inside.
type directory struct{ root *os.Root }

func (d directory) open(name string) (io.ReadCloser, error) {
	// Opening a fifo would wait for whoever writes into it, without O_NONBLOCK.
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, plain(err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, errors.Join(plain(err), f.Close())
	}
	return f, nil
}

func (d directory) Close() error { return d.root.Close() }

// A tarTree is an uncompressed tar, with the place of every file.
type tarTree struct {
	file  *os.File
	files map[string]span
	links map[string]string
}

type span struct{ offset, size int64 }

// Bounds of the index of an image archive, which has a few files for each layer. A
// name may be a megabyte long.
const (
	maxArchiveEntries   = 100_000
	maxArchiveNameBytes = 32 << 20 // of all names
)

// indexTar reads the headers of the tar and owns the file.
func indexTar(file *os.File) (tree, error) {
	t := &tarTree{file: file, files: map[string]span{}, links: map[string]string{}}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(plain(err), file.Close())
	}
	if err := t.index(tar.NewReader(file)); err != nil {
		return nil, errors.Join(fmt.Errorf("read archive: %w", plain(err)), file.Close())
	}
	return t, nil
}

func (t *tarTree) index(r *tar.Reader) error {
	nameBytes := 0
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == maxArchiveEntries {
			return fmt.Errorf("more than %d entries", maxArchiveEntries)
		}
		if nameBytes += len(h.Name) + len(h.Linkname); nameBytes > maxArchiveNameBytes {
			return fmt.Errorf("more than %d bytes of names", maxArchiveNameBytes)
		}
		if isSparse(h) {
			continue // what lies there is not its content
		}
		name := path.Clean("/" + h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			// The reader stands at the content, since it reads whole blocks only.
			at, err := t.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			t.files[name] = span{at, h.Size}
		case tar.TypeSymlink: // docker save before 25 links layers that occur twice
			t.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			t.links[name] = path.Clean("/" + h.Linkname)
		}
	}
}

// isSparse reports whether the content has holes: GNU tar, "Storing Sparse Files".
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

func (t *tarTree) open(name string) (io.ReadCloser, error) {
	name = path.Clean("/" + name)
	for range 10 {
		if s, ok := t.files[name]; ok {
			return io.NopCloser(io.NewSectionReader(t.file, s.offset, s.size)), nil
		}
		next, ok := t.links[name]
		if !ok {
			break
		}
		name = next
	}
	return nil, fs.ErrNotExist
}

func (t *tarTree) Close() error { return t.file.Close() }

// A layout is an OCI image layout (OCI image-spec, image-layout.md) in a tree;
// it is a source.
type layout struct{ tree tree }

func (l layout) blob(_ context.Context, blob v1.Descriptor, _ int64) (r io.ReadCloser, begins int64, err error) {
	digest := blob.Digest
	if digest.Algorithm != "sha256" {
		return nil, 0, fmt.Errorf("digest %s: only sha256 is supported", digest)
	}
	r, err = l.tree.open("blobs/sha256/" + digest.Hex)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("archive does not have blob %s", digest)
	}
	return r, 0, err
}

func (l layout) manifest(ctx context.Context, digest v1.Hash) ([]byte, error) {
	r, _, err := l.blob(ctx, v1.Descriptor{Digest: digest}, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was only read
	raw, err := readLimited(r, maxManifestBytes)
	if err == nil && digestOf(raw) != digest.String() {
		err = fmt.Errorf("%w: content is %s", errMismatch, digestOf(raw))
	}
	return raw, err
}

// readFile reads a small file of the archive.
func readFile(t tree, name string) ([]byte, error) {
	r, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was only read
	return readLimited(r, maxManifestBytes)
}

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return data, err
}
