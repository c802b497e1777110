package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

// CopyToStream writes a path of a container as an uncompressed tar stream.
func (r *Runtime) CopyToStream(name, from string, w io.Writer, o CopyOptions) (n int64, err error) {
	v, err := r.view(name, viewOptions{mounts: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	f, s, err := v.side(name).source(from, o.FollowLink)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return rootfs.Pack(int(f.Fd()), w, rootfs.PackOptions{Name: s.base, Owner: v.inside, Warn: o.Warn})
}

// CopyFromStream unpacks a tar stream, as it is, in a directory of a container.
func (r *Runtime) CopyFromStream(name string, from io.Reader, to string, o CopyOptions) (n int64, err error) {
	v, err := r.view(name, viewOptions{mounts: true, write: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	side := v.side(name)
	t, err := side.target(to)
	if err == nil && (!t.exists || !t.directory) {
		err = step.Fail("copy to", side.label(to), errWantsDirectory)
	}
	if err != nil {
		return 0, err
	}
	into, err := side.openInto(t.path)
	if err != nil {
		return 0, err
	}
	defer into.Close()
	if from, err = plainStream(from); err != nil {
		return 0, err
	}
	err = v.asOwner(func() error {
		n, err = rootfs.Unpack(int(into.Fd()), from, rootfs.UnpackOptions{Copy: &rootfs.CopyOptions{Owner: v.outside, Warn: o.Warn}, WantEnd: true, MaxBytes: math.MaxInt64})
		return err
	})
	if err == nil {
		_, err = io.Copy(io.Discard, from) // whoever writes it is not to find a closed pipe
	}
	return n, step.Fail("copy to", side.label(to), explainCopy(err))
}

// CompressedError is a stream that would have to be decompressed first, which is
// not done here.
type CompressedError struct{ Program string }

func (e *CompressedError) Error() string {
	return "read the archive: it is compressed, by " + e.Program
}

// compressions are told by their first bytes.
var compressions = []struct {
	magic   string
	program string
}{{"\x1f\x8b", "gzip"}, {"BZh", "bzip2"}, {"\xfd7zXZ\x00", "xz"}, {"\x28\xb5\x2f\xfd", "zstd"}}

// plainStream refuses a compressed stream.
func plainStream(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	start, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, step.Fail("read", "the archive", err)
	}
	for _, c := range compressions {
		if bytes.HasPrefix(start, []byte(c.magic)) {
			return nil, &CompressedError{c.program}
		}
	}
	return b, nil
}
