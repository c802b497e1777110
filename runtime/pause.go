package runtime

import (
	"errors"
	"io/fs"
	"os"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// pause stops all processes of a container that runs; resume lets them go on.
// Without a cgroup freezer the error is errors.ErrUnsupported. Should this
// process be killed in between, Heal lets them go on: the file "paused" says that
// somebody has stopped them, and its lock whether that one lives. A second one
// waits for the first.
func (r *Runtime) pause(c *Container) (resume func() error, err error) {
	group, err := openGroup(c.Config.ID)
	if err != nil {
		return nil, step.Fail("pause", c.Config.Name, err)
	}
	mark, err := r.markPaused(c.Config.ID)
	if err != nil {
		return nil, step.Fail("pause", c.Config.Name, err)
	}
	resume = func() error { return step.Fail("let go on", c.Config.Name, goOn(group, mark)) }
	if err := group.Freeze(true); err != nil {
		return nil, errors.Join(step.Fail("pause", c.Config.Name, err), resume())
	}
	return resume, nil
}

// goOn thaws the group and takes the mark away.
func goOn(group *cgroups.Group, mark *os.File) error {
	err := group.Freeze(false)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil // it was never frozen
	}
	if err == nil {
		err = ignoreMissing(os.Remove(mark.Name()))
	}
	return errors.Join(err, mark.Close())
}

func openGroup(id string) (*cgroups.Group, error) {
	host, err := cgroups.Detect()
	if err != nil {
		return nil, err
	}
	group, err := host.Open("/minictr/" + id)
	if errors.Is(err, fs.ErrNotExist) || err == nil && host.Mode == cgroups.None {
		err = errors.ErrUnsupported
	}
	return group, err
}

// markPaused makes the mark and locks it. Whoever held it before may have taken
// it away meanwhile.
func (r *Runtime) markPaused(id string) (*os.File, error) {
	for {
		mark, err := os.OpenFile(r.running(id, "paused"), os.O_RDONLY|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = flockFile(mark, unix.LOCK_EX)
		if err == nil && isStill(mark) {
			return mark, nil
		}
		if err = errors.Join(err, mark.Close()); err != nil {
			return nil, err
		}
	}
}

// isStill reports whether the file has its name yet.
func isStill(f *os.File) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(held, now)
}

func flockFile(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// healPaused lets a container go on that a killed process has stopped.
func (r *Runtime) healPaused(id string) error {
	mark, err := os.Open(r.running(id, "paused"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = flockFile(mark, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || err == nil && !isStill(mark) {
		return mark.Close() // whoever has stopped it lives, or has let it go on
	}
	var group *cgroups.Group
	if err == nil {
		group, err = openGroup(id)
	}
	if err != nil {
		return errors.Join(ignoreUnsupported(err), mark.Close())
	}
	return step.Fail("let go on", id[:12], goOn(group, mark))
}

// ignoreUnsupported passes over a cgroup that is gone: so is what was in it.
func ignoreUnsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
