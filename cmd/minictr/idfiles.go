package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// idFiles are --cidfile and --pidfile. They are opened before there is a
// container: one that cannot be written must not leave a container that runs and
// that nobody waits for.
type idFiles struct {
	cid, pid *os.File // nil when not asked for
	made     []string // what was not there before
}

// openIDFiles creates the files. That of the id must not be there yet, as with
// docker: it tells whether the container that it names was made.
func openIDFiles(f *runFlags) (*idFiles, error) {
	files := &idFiles{}
	var err error
	if f.cidfile != "" {
		if files.cid, err = files.create(f.cidfile); errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("write the id to %s: the file is there; remove it, or take another", f.cidfile)
		}
		if err != nil {
			return nil, err
		}
	}
	if f.pidfile == "" {
		return files, nil
	}
	if files.pid, err = files.create(f.pidfile); errors.Is(err, fs.ErrExist) {
		files.pid, err = os.OpenFile(f.pidfile, os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, errors.Join(err, files.discard())
	}
	return files, nil
}

func (files *idFiles) create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		files.made = append(files.made, path)
	}
	return f, err
}

// discard removes the files of a container that could not be started.
func (files *idFiles) discard() error {
	var errs []error
	for _, path := range files.made {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// write fills and closes them.
func (files *idFiles) write(id string, pid int) error {
	return errors.Join(fill(files.cid, id), fill(files.pid, fmt.Sprint(pid)))
}

func fill(f *os.File, text string) error {
	if f == nil {
		return nil
	}
	err := f.Truncate(0)
	if errors.Is(err, unix.EINVAL) { // a pipe or a terminal has no length
		err = nil
	}
	_, err2 := f.WriteString(text)
	return errors.Join(err, err2, f.Close())
}
