package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// maxDifferences is how many names are told of one layer.
const maxDifferences = 10

// CheckLayer unpacks a layer of the store once more, into the transaction's
// scratch, and compares it with what the store has. open gives its tar stream;
// below are the layers under it. The error is about the stream, or about this
// machine: a stream that is not what the layer's diff id says is ErrDigest.
func (t *Transaction) CheckLayer(ctx context.Context, below []Layer, layer Layer, open func() (io.ReadCloser, error)) (found []Difference, err error) {
	dir, again, err := t.unpack(ctx, below, UnpackOptions{}, open)
	defer func() { err = errors.Join(err, bare(RemoveAll(dir))) }()
	if err == nil && again.DiffID != layer.DiffID {
		err = fmt.Errorf("%w: content is %s", ErrDigest, again.DiffID)
	}
	if err != nil {
		return nil, step.Fail("check layer", layer.DiffID, err)
	}
	found, err = compareDirectories(layer.Dir, dir)
	return found, step.Fail("check layer", layer.DiffID, err)
}

func compareDirectories(got, want string) ([]Difference, error) {
	gotfd, err := unix.Open(got, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return []Difference{{".", "missing"}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(gotfd)
	wantfd, err := unix.Open(want, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(wantfd)
	return compareTrees(gotfd, wantfd, maxDifferences)
}
