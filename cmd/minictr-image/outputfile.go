package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An outputFile gets its name when it is whole. Until then what the name meant
// stays as it was, and a writer that is killed leaves nothing (open(2),
// O_TMPFILE). A symbolic link to a file is refused: to follow it would be wrong in
// /tmp, where anybody can have put it, and to replace it would be in /dev.
type outputFile struct {
	*os.File
	name      string // empty for a device or pipe, which is written to as it is
	temporary string // empty while the file has no name
}

func createOutput(name string) (*outputFile, error) {
	st, err := os.Stat(name)
	switch {
	case err == nil && st.IsDir():
		return nil, &hintedError{errors.New("is a directory"), "--format oci-dir writes a directory, which must be empty"}
	case err == nil && !st.Mode().IsRegular():
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		return &outputFile{File: f}, plain(err)
	}
	if link, err := os.Lstat(name); err == nil && link.Mode()&fs.ModeSymlink != 0 {
		return nil, &hintedError{errors.New("is a symbolic link"), "name the file itself"}
	}
	dir, base := filepath.Dir(name), filepath.Base(name)
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return &outputFile{File: os.NewFile(uintptr(fd), name), name: name}, nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) { // a file system without O_TMPFILE, an old kernel
		return nil, err
	}
	f, err := os.CreateTemp(dir, "."+base+".")
	if err != nil {
		return nil, plain(err)
	}
	return &outputFile{f, name, f.Name()}, nil
}

// finish gives the file its name; another of that name is replaced.
func (o *outputFile) finish() error {
	if o.name == "" {
		return nil
	}
	if err := o.Sync(); err != nil {
		return err
	}
	if o.temporary == "" { // linkat(2) does not replace
		o.temporary = filepath.Join(filepath.Dir(o.name), fmt.Sprintf(".%s.%d", filepath.Base(o.name), os.Getpid()))
		if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", o.Fd()), unix.AT_FDCWD, o.temporary, unix.AT_SYMLINK_FOLLOW); err != nil {
			o.temporary = ""
			return err
		}
	}
	err := os.Rename(o.temporary, o.name)
	if err == nil {
		o.temporary = ""
	}
	return plain(err)
}

func (o *outputFile) drop() error {
	err := plain(o.Close())
	if o.temporary != "" {
		err = errors.Join(err, plain(os.Remove(o.temporary)))
	}
	return err
}
