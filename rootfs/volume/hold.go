package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Hold keeps a volume from being removed while a container that uses it is
// started. Afterwards the container's configuration names the volume.
type Hold struct {
	Volume *Volume
	dir    *os.File // NAME/, with a shared lock
	file   *os.File // volume.json
}

// Hold takes hold of a volume, waiting while it is being removed. The error is a
// *NotFoundError when there is none.
func (s *Store) Hold(name string) (*Hold, error) {
	if err := ValidateName(name); err != nil {
		return nil, err
	}
	dir, err := lockDirectory(s.path(name), unix.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{name}
	}
	if err != nil {
		return nil, step.Fail("open volume", name, bare(err))
	}
	b, file, err := readFile(dir, fileName)
	if errors.Is(err, fs.ErrNotExist) { // a directory that is no volume
		return nil, errors.Join(&NotFoundError{name}, dir.Close())
	}
	if err != nil {
		return nil, errors.Join(step.Fail("read volume", name, err), dir.Close())
	}
	h := &Hold{dir: dir, file: file}
	if h.Volume, err = parse(b); err != nil {
		h.Release()
		return nil, step.Fail("read", file.Name(), err)
	}
	return h, nil
}

// Release lets the volume go. The lock is given back at once, also where a child
// has inherited the descriptor.
func (h *Hold) Release() {
	if h.dir == nil {
		return
	}
	_ = flock(h.dir, unix.LOCK_UN) // a lock that is held can be given back
	_ = h.dir.Close()              // nothing was written
	_ = h.file.Close()
	h.dir = nil
}

// Open opens the directory with the volume's content (O_PATH), the caller's to
// close. A tmpfs is mounted when nobody has it mounted.
func (h *Hold) Open() (fd int, err error) {
	v := h.Volume
	switch v.kind() {
	case bind:
		fd, err = unix.Open(v.Options["device"], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return fd, step.Fail("open volume "+v.Name+" at", v.Options["device"], err)
	case tmpfs:
		err = h.alone(h.mountTmpfs)
	}
	if err == nil {
		fd, err = h.openData()
	}
	return fd, step.Fail("open volume", v.Name, err)
}

func (h *Hold) openData() (int, error) {
	return unix.Openat(int(h.dir.Fd()), dataName, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// alone calls f while no other process fills or mounts the volume.
func (h *Hold) alone(f func() error) error {
	if err := flock(h.file, unix.LOCK_EX); err != nil {
		return err
	}
	return errors.Join(f(), flock(h.file, unix.LOCK_UN))
}

// mountTmpfs mounts the file system on _data, for all containers that use the
// volume, where it is not mounted yet.
func (h *Hold) mountTmpfs() error {
	fd, err := h.openData()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if mounted, err := isMount(fd); mounted || err != nil {
		return err
	}
	_, data := h.Volume.words()
	return step.Fail("mount tmpfs on", filepath.Join(h.dir.Name(), dataName),
		unix.Mount("tmpfs", descriptorPath(fd), "tmpfs", 0, strings.Join(data, ",")))
}

// isMount reports whether the descriptor is the root of a mount (statx(2),
// Linux 5.8).
func isMount(fd int) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st); err != nil {
		return false, err
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// OpenIn opens a path inside the volume (O_PATH) whose content the descriptor
// holds. Symbolic links are followed and end inside, whatever a container does
// to them meanwhile: openat2(2), RESOLVE_IN_ROOT.
func OpenIn(volume int, subpath string) (fd int, err error) {
	if err := ValidateSubpath(subpath); err != nil {
		return -1, err
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for try := 0; ; try++ {
		fd, err = unix.Openat2(volume, subpath, &how)
		// EAGAIN: somebody renames or mounts on the machine just now.
		if (!errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)) || try == maxRetries {
			return fd, step.Fail("open in volume", subpath, err)
		}
	}
}

const maxRetries = 10_000

// ValidateSubpath reports a path that does not lie inside a volume by its words.
func ValidateSubpath(subpath string) error {
	if !filepath.IsLocal(subpath) {
		return fmt.Errorf("subpath %q: not a relative path inside the volume", subpath)
	}
	return nil
}
