package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// Copying between the host and a container is packing on one side and unpacking
// on the other, with a pipe between. A path is opened once, inside the root of
// its side, and held; from there on no path is walked. So a container that
// exchanges its directories for links meanwhile changes what of its own is
// copied, or where in it something lands, and nothing else.

// CopyOptions say how Copy works.
type CopyOptions struct {
	FollowLink bool // copy what a link at the end of the source points to
	// Archive keeps owners by number, and on the host what Harmless of
	// rootfs.CopyOptions leaves out. Without it files become those of the user
	// here, or of root in the container.
	Archive  bool
	Warn     func(error)       // told what is left out; may be nil
	Progress func(bytes int64) // told how much of the archive has passed; may be nil
}

// CopyOut copies a path of a container to one of the host and returns the bytes
// of file content. The path starts at the container's root.
func (r *Runtime) CopyOut(name, from, to string, o CopyOptions) (n int64, err error) {
	v, err := r.view(name, viewOptions{mounts: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	owner := func(int, int) (int, int) { return os.Getuid(), os.Getgid() }
	if o.Archive {
		owner = nil
	}
	host, err := hostSide()
	if err != nil {
		return 0, err
	}
	return o.copy(v.side(name), host, from, to, v.inside, &rootfs.CopyOptions{Owner: owner, Harmless: !o.Archive, Warn: o.Warn}, direct)
}

// CopyIn copies a path of the host to one of a container.
func (r *Runtime) CopyIn(name, from, to string, o CopyOptions) (n int64, err error) {
	v, err := r.view(name, viewOptions{mounts: true, write: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	owner := func(int, int) (int, int) { return v.outside(0, 0) }
	if o.Archive {
		owner = v.outside
	}
	host, err := hostSide()
	if err != nil {
		return 0, err
	}
	return o.copy(host, v.side(name), from, to, nil, &rootfs.CopyOptions{Owner: owner, Warn: o.Warn}, v.asOwner)
}

// copy copies between two sides. as calls what writes, as who may write there.
func (o CopyOptions) copy(from, to side, source, target string, pack func(int, int) (int, int), unpack *rootfs.CopyOptions, as func(func() error) error) (int64, error) {
	f, s, err := from.source(source, o.FollowLink)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	t, err := to.target(target)
	if err != nil {
		return 0, err
	}
	dir, name, err := s.place(t)
	if err != nil {
		return 0, step.Fail("copy "+from.label(source)+" to", to.label(target), err)
	}
	into, err := to.openInto(dir)
	if err != nil {
		return 0, err
	}
	defer into.Close()
	var n int64
	err = transfer(func(w io.Writer) (err error) {
		n, err = rootfs.Pack(int(f.Fd()), counted{w, o.Progress, new(int64)}, rootfs.PackOptions{Name: name, Owner: pack, Warn: o.Warn})
		return err
	}, func(r io.Reader) error {
		return as(func() error {
			_, err := rootfs.Unpack(int(into.Fd()), r, rootfs.UnpackOptions{Copy: unpack, MaxBytes: math.MaxInt64})
			return err
		})
	})
	return n, step.Fail("copy "+from.label(source)+" to", to.label(target), explainCopy(err))
}

// direct calls f as it is.
func direct(f func() error) error { return f() }

// asOwner calls f so that it may write in the container.
func (v *view) asOwner(f func() error) error {
	if !v.mapped() {
		return f()
	}
	return (&launch{config: v.config}).asRootOfContainer(f)
}

// errStopped is that the other side has failed.
var errStopped = errors.New("the other side has ended")

// pieceBytes is what goes through the pipe at a time: one side waits for the
// other each time.
const pieceBytes = 256 << 10

// transfer runs both ends of a pipe, and returns the error that came first.
func transfer(pack func(io.Writer) error, unpack func(io.Reader) error) error {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		buffered := bufio.NewWriterSize(w, pieceBytes)
		err := pack(buffered)
		if err == nil {
			err = buffered.Flush()
		}
		w.CloseWithError(err) // returns nil
		packed <- err
	}()
	err := unpack(r)
	r.CloseWithError(errStopped) // returns nil
	if err := <-packed; err != nil && !errors.Is(err, errStopped) {
		return err
	}
	return err
}

// counted tells how many bytes have been written.
type counted struct {
	w     io.Writer
	tell  func(int64)
	total *int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	*c.total += int64(n)
	if c.tell != nil {
		c.tell(*c.total)
	}
	return n, err
}

// explainCopy says what an errno means here.
func explainCopy(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: something is mounted there", err)
	}
	return err
}
