package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// WriteWhole writes a file, mode 0600, that has its name only when write has
// written all of it. An older file of the name stays until then; a device or a
// pipe is written to as it is. A symbolic link is refused: in /tmp, anybody can
// have put it there. Where the file system can (O_TMPFILE), nothing is left of
// the file even when the process is killed.
func WriteWhole(path string, write func(io.Writer) error) error {
	st, err := os.Lstat(path)
	switch {
	case err != nil || st.Mode().IsRegular():
		return writeNewFile(path, write)
	case st.IsDir():
		return step.Fail("write", path, unix.EISDIR)
	case st.Mode()&os.ModeSymlink != 0:
		return step.Fail("write", path, errors.New("it is a symbolic link: name the file itself"))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func writeNewFile(path string, write func(io.Writer) error) error {
	f, name, err := newFile(path)
	if err != nil {
		return step.Fail("write", path, err)
	}
	if err = write(f); err == nil {
		name, err = giveName(f, name, path)
		err = step.Fail("write", path, err)
	}
	if name != "" {
		err = errors.Join(err, ignoreMissing(os.Remove(name)))
	}
	return errors.Join(err, f.Close())
}

// newFile makes a file in the directory of the path, without a name where that
// can be.
func newFile(path string) (f *os.File, name string, err error) {
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), path), "", nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) { // of a file system, and of a kernel, that does not know it
		return nil, "", err
	}
	name = nameBeside(path)
	f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return f, name, err
}

// giveName gives the file the name of the path, in the place of an older one, and
// returns a name that it is left with when that fails. linkat(2) does not replace,
// so that a file without a name gets another one first.
func giveName(f *os.File, name, path string) (left string, err error) {
	if name == "" {
		name = nameBeside(path)
		if err := unix.Linkat(unix.AT_FDCWD, descriptorPath(int(f.Fd())), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
			return "", err // perhaps somebody else's: it is not ours to remove
		}
	}
	if err := unix.Rename(name, path); err != nil {
		return name, err
	}
	return "", nil
}

// nameBeside is one that nobody has, beside the path.
func nameBeside(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%x", filepath.Base(path), time.Now().UnixNano()))
}
