package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/minictr/minictr/cmd/minictr-image/registry"
	"github.com/minictr/minictr/rootfs"
)

// downloadAttempts is how often in a row a blob is asked for without getting
// more of it.
const downloadAttempts = 3

// download fetches what is missing of a blob. When the connection breaks it goes
// on where it stopped; what cannot be had now is left for the next pull.
func download(ctx context.Context, l layer, b *rootfs.Blob, show func(done int64)) error {
	for attempt := 1; ; attempt++ {
		before := b.Have()
		again, err := downloadOnce(ctx, l, b, show)
		if err == nil && b.Suspect() {
			if err = b.Restart(); err == nil {
				continue
			}
		}
		if b.Have() > before {
			attempt = 1
		}
		if err == nil || attempt == downloadAttempts || !again {
			return b.Finish(cause(ctx, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(attempt) * 300 * time.Millisecond):
		}
	}
}

// downloadOnce fetches from one connection. Another attempt may have a better end
// when that breaks; what it takes to open one has been tried again already.
func downloadOnce(ctx context.Context, l layer, b *rootfs.Blob, show func(done int64)) (again bool, err error) {
	body, from, err := l.open(ctx, b.Have())
	if err != nil {
		return false, err
	}
	defer func() { _ = body.Close() }() // it was only read
	if err := b.Continue(from); err != nil {
		return false, err
	}
	// One byte more than announced shows that there is more; the rest is not read.
	rest := io.LimitReader(body, b.Size+1-b.Have())
	tell := &counter{r: rest, n: b.Have(), tell: show}
	if _, err := io.CopyBuffer(b, struct{ io.Reader }{tell}, make([]byte, 128<<10)); err != nil && !isVerification(err) {
		return registry.MayRetry(err), err
	}
	if b.Have() < b.Size {
		return true, fmt.Errorf("blob %s: %w: %d of %d bytes", b.Digest, errTruncated, b.Have(), b.Size)
	}
	return false, nil
}
