package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/minictr/minictr/rootfs"
)

// parallelDownloads is how many layers are fetched at a time, as with Docker.
const parallelDownloads = 3

// downloadAttempts is how often a layer is asked for when the connection breaks.
const downloadAttempts = 3

// install adds the layers of an image and then the image. Layers are fetched
// several at a time and unpacked in order, since one may lean on those below.
func install(ctx context.Context, tx *rootfs.Transaction, img image, names []rootfs.Reference, show progress, fetch fetcher) (*rootfs.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var added []rootfs.Layer
	for i, l := range img.layers {
		have, ok := tx.HasLayer(added, l.diffID)
		if !ok {
			break
		}
		show.update(i, phaseExists, 0, 0)
		added = append(added, have)
	}
	first := len(added)
	answers := startFetching(ctx, img.layers[first:], first, show, fetch)
	for i := first; i < len(img.layers); i++ {
		f := await(ctx, answers[i-first])
		if f.err != nil {
			return nil, f.err
		}
		one, err := addLayer(ctx, tx, added, img.layers[i], f.blob, func(done int64) {
			show.update(i, phaseUnpack, done, img.layers[i].blob.Size)
		})
		if err != nil {
			return nil, err
		}
		show.update(i, phaseDone, 0, 0)
		added = append(added, one)
	}
	return tx.Commit(rootfs.NewImage{
		Config: img.config, Manifest: img.manifest, Digest: img.digest, Layers: added, References: names,
	})
}

// A fetcher makes the blob of a layer readable, verified.
type fetcher func(ctx context.Context, l layer, show func(done int64)) (io.ReadCloser, error)

type fetched struct {
	blob io.ReadCloser
	err  error
}

func await(ctx context.Context, answer chan fetched) fetched {
	select {
	case f := <-answer:
		return f
	case <-ctx.Done():
		return fetched{err: context.Cause(ctx)}
	}
}

// startFetching fetches the layers in the background; each has a channel that
// gets one answer. What is not taken any more is closed with ctx.
func startFetching(ctx context.Context, layers []layer, first int, show progress, fetch fetcher) []chan fetched {
	tokens := make(chan struct{}, parallelDownloads)
	answers := make([]chan fetched, len(layers))
	for i := range layers {
		answers[i] = make(chan fetched)
		show.update(first+i, phaseWait, 0, layers[i].blob.Size)
	}
	go func() {
		for i, l := range layers {
			select {
			case tokens <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				blob, err := fetch(ctx, l, func(done int64) { show.update(first+i, phaseFetch, done, l.blob.Size) })
				<-tokens
				if err == nil {
					show.update(first+i, phaseFetched, 0, 0)
				}
				select {
				case answers[i] <- fetched{blob, err}:
				case <-ctx.Done():
					if err == nil {
						_ = blob.Close() // nobody wants it any more
					}
				}
			}()
		}
	}()
	return answers
}

// addLayer decompresses and unpacks one blob, and closes it.
func addLayer(ctx context.Context, tx *rootfs.Transaction, below []rootfs.Layer, l layer, blob io.ReadCloser, show func(done int64)) (rootfs.Layer, error) {
	defer func() { _ = blob.Close() }() // it was only read
	return tx.AddLayer(ctx, below, l.diffID, func() (io.ReadCloser, error) {
		return decompress(&counter{r: blob, tell: show})
	})
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

// download fetches a blob into a file of the transaction and verifies it.
func download(tx *rootfs.Transaction, r *registry) fetcher {
	return func(ctx context.Context, l layer, show func(int64)) (io.ReadCloser, error) {
		file, err := tx.TempFile()
		if err != nil {
			return nil, err
		}
		for attempt := 1; ; attempt++ {
			err = downloadOnce(ctx, l, file, show)
			if err == nil || attempt == downloadAttempts || !mayHelpAgain(err) {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(attempt) * 300 * time.Millisecond):
			}
		}
		if err == nil {
			_, err = file.Seek(0, io.SeekStart)
		}
		if err != nil {
			var dial *net.OpError
			if errors.As(err, &dial) {
				err = r.explain(err)
			}
			return nil, errors.Join(cause(ctx, err), file.Close())
		}
		return file, nil
	}
}

func downloadOnce(ctx context.Context, l layer, file *os.File, show func(int64)) error {
	if err := errors.Join(file.Truncate(0), seekStart(file)); err != nil {
		return plain(err)
	}
	body, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // it was only read
	v := newVerifier(l.blob)
	// One byte more than announced shows that there is more; the rest is not read.
	from := io.TeeReader(&counter{r: io.LimitReader(body, l.blob.Size+1), tell: show}, v)
	buf := make([]byte, 128<<10)
	_, err = io.CopyBuffer(writerOnly{file}, from, buf)
	if err := v.verdict(plain(err)); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	return nil
}

func seekStart(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// writerOnly hides ReadFrom, which would not use the buffer.
type writerOnly struct{ io.Writer }

// mayHelpAgain reports whether another attempt may have a better end.
func mayHelpAgain(err error) bool {
	var network net.Error
	return errors.Is(err, errTruncated) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}
