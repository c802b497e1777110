package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A scratch is a directory under images/tmp for what is being made. Its owner
// holds it with flock(2), which ends with the process; one that nobody holds was
// left by a killed process, and the next to come removes it.
type scratch struct {
	dir  string
	held *os.File
}

func (s *Store) newScratch() (*scratch, error) {
	for {
		dir, err := os.MkdirTemp(s.path("tmp"), "")
		if err != nil {
			return nil, err
		}
		held, err := holdDirectory(dir)
		if err == nil {
			return &scratch{dir: dir, held: held}, nil
		}
		// Another process may have taken it for a leftover before it was held.
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, os.Remove(dir))
		}
	}
}

// holdDirectory opens and locks a directory without waiting. The name must
// still mean it afterwards.
func holdDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	now, err := os.Lstat(dir)
	if err == nil {
		var held fs.FileInfo
		if held, err = f.Stat(); err == nil && os.SameFile(now, held) {
			return f, nil
		}
		err = fs.ErrNotExist
	}
	return nil, errors.Join(err, f.Close())
}

// close removes the directory and what is in it.
func (s *scratch) close() error {
	return errors.Join(RemoveAll(s.dir), s.held.Close())
}

// path names something in the scratch directory.
func (s *scratch) path(name string) string { return filepath.Join(s.dir, name) }

// writeFile makes the file appear with its content, on the disk before it has
// its name. One that exists is replaced.
func (s *scratch) writeFile(file string, data []byte) error {
	return s.write(file, data, (*os.File).Sync)
}

// replaceFile is writeFile for what a power cut may take.
func (s *scratch) replaceFile(file string, data []byte) error {
	return s.write(file, data, func(*os.File) error { return nil })
}

func (s *scratch) write(file string, data []byte, settle func(*os.File) error) error {
	temporary := s.path("file")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = settle(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

// removeLeftovers clears images/tmp of what no living process holds.
func (s *Store) removeLeftovers() error {
	names, err := readDirNames(s.path("tmp"))
	var errs []error
	for _, name := range names {
		held, err := holdDirectory(s.path("tmp", name))
		if err != nil {
			continue // in use, or gone by now
		}
		left := scratch{dir: s.path("tmp", name), held: held}
		errs = append(errs, left.close())
	}
	return errors.Join(append(errs, err)...)
}
