package rootfs

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// RemoveAll deletes a file or directory of the host, with all below it, as
// os.RemoveAll does: nothing there is no error, and no symbolic link is followed
// below the directory of path. Unlike that it holds no more than a few
// descriptors, however deep the tree is: whoever fills a root directory can nest
// directories deeper than a process may have files open (RLIMIT_NOFILE), and
// what cannot be deleted would stay for ever.
func RemoveAll(path string) error {
	err := unix.Unlink(path)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	parent, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = remove(parent, filepath.Base(path))
		_ = unix.Close(parent) // a path descriptor has nothing to lose
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// maxOpenLevels is how many directories are open while a tree is deleted.
const maxOpenLevels = 50

// remove deletes the name base, with all below it when it is a directory. A name
// that is not there is an error (ENOENT).
func remove(parent int, base string) error {
	err := unix.Unlinkat(parent, base, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	return removeDirectory(parent, base, &hoist{to: -1}, 0)
}

// A hoist takes directories that lie too deep up into the directory whose
// removal has begun, so that they are found there later.
type hoist struct {
	to int // descriptor of that directory
	n  int // how many were taken there
}

func (h *hoist) take(parent int, base string) error {
	for {
		h.n++
		err := unix.Renameat2(parent, base, h.to, "deep"+strconv.Itoa(h.n), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}

// removeDirectory empties the directory and deletes it, and begins again for as
// long as that helps: what was taken up may have come behind where it is read. It
// goes on after an error and returns the first.
func removeDirectory(parent int, base string, h *hoist, level int) error {
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), base)
	defer dir.Close()
	if level == 0 {
		h.to = fd
	}
	for {
		removed, first := removeNames(dir, fd, h, level)
		err := unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
		if err == nil {
			return nil
		}
		if !removed || !errors.Is(err, unix.ENOTEMPTY) {
			return cmp.Or(first, err)
		}
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// removeNames deletes what the directory lists from where it is read, and reports
// whether that was anything. It reads a part of the names at a time, since there
// may be millions.
func removeNames(dir *os.File, fd int, h *hoist, level int) (removed bool, first error) {
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if err := removeName(fd, name, h, level+1); err == nil {
				removed = true
			} else if first == nil && !errors.Is(err, unix.ENOENT) {
				first = err
			}
		}
		if len(names) == 0 || err != nil { // io.EOF; another error shows when the directory is deleted
			return removed, first
		}
	}
}

func removeName(parent int, base string, h *hoist, level int) error {
	err := unix.Unlinkat(parent, base, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	if level < maxOpenLevels {
		return removeDirectory(parent, base, h, level)
	}
	err = unix.Unlinkat(parent, base, unix.AT_REMOVEDIR) // it may be empty
	if !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return h.take(parent, base)
}
