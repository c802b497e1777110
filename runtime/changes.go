package runtime

import (
	"errors"
	"fmt"
	"io"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// Changes returns what is different in the container from its image, as docker
// diff does. The names that minictr made there to mount on do not count.
func (r *Runtime) Changes(name string) ([]rootfs.Change, error) {
	c, upper, err := r.ownLayer("compare", name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(upper)
	lower, err := rootfs.MountOverlay(rootfs.Overlay{Lower: c.Image.Layers})
	if err != nil {
		return nil, err
	}
	defer unix.Close(lower)
	return rootfs.Changes(upper, lower, made)
}

// Layer writes the container's own layer as an uncompressed tar stream: what
// makes of its image what it is now. With pause, one that runs stands still
// meanwhile; where that cannot be, warn is told.
func (r *Runtime) Layer(name string, w io.Writer, pause bool, warn func(error)) (err error) {
	_, upper, err := r.ownLayer("pack the layer of", name)
	if err != nil {
		return err
	}
	defer unix.Close(upper)
	if c, err := r.Container(name); err == nil && pause && c.Status == Running {
		resume, err := r.pause(c)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			warn(fmt.Errorf("%s goes on meanwhile: there is no cgroup freezer here", c.Config.Name))
		case err != nil:
			return err
		default:
			defer func() { err = errors.Join(err, resume()) }()
		}
	}
	_, err = rootfs.Pack(upper, w, rootfs.PackOptions{Layer: true, Skip: made, Warn: warn})
	return err
}

// ownLayer opens the directory that takes the container's changes.
func (r *Runtime) ownLayer(operation, name string) (*Config, int, error) {
	c, err := r.Container(name)
	if err != nil {
		return nil, -1, err
	}
	if c.Config.Image.Rootfs != "" {
		return nil, -1, step.Fail(operation, c.Config.Name, errors.New("it has no image, but runs on the directory "+c.Config.Image.Rootfs))
	}
	upper, _, _ := rootfs.WritableLayer(r.lasting(c.Config.ID))
	fd, err := unix.Open(upper, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return c.Config, fd, step.Fail("open", upper, err)
}

// Export writes the container's root file system as an uncompressed tar stream,
// without what is mounted in it.
func (r *Runtime) Export(name string, w io.Writer, warn func(error)) error {
	v, err := r.view(name, viewOptions{})
	if err != nil {
		return err
	}
	_, err = rootfs.Pack(v.root, w, rootfs.PackOptions{Owner: v.inside, Warn: warn})
	return errors.Join(err, v.close())
}
