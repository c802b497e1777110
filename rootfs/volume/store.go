package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

// A Store is the volumes below one directory. Its methods may be called by
// several processes at once.
type Store struct{ dir string }

// OpenStore returns the volumes below the directory of what lasts; nothing is
// read or made.
func OpenStore(root string) *Store { return &Store{filepath.Join(root, "volumes")} }

// NotFoundError is a volume that does not exist.
type NotFoundError struct{ Name string }

func (e *NotFoundError) Error() string { return "no such volume: " + e.Name }

// Unwrap makes the error one of fs.ErrNotExist.
func (*NotFoundError) Unwrap() error { return fs.ErrNotExist }

const (
	dataName = "_data"
	fileName = "volume.json"
	unnamed  = ".new-"
	removed  = ".gone-"
)

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// Mountpoint is where the content of a volume lies: the directory itself for one
// that is bound to a directory of the host.
func (s *Store) Mountpoint(v *Volume) string {
	if v.kind() == bind {
		return v.Options["device"]
	}
	return filepath.Join(s.path(v.Name), dataName)
}

// Lookup returns the volume of that name, or a *NotFoundError.
func (s *Store) Lookup(name string) (*Volume, error) {
	if ValidateName(name) != nil {
		return nil, &NotFoundError{name}
	}
	b, err := os.ReadFile(filepath.Join(s.path(name), fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{name}
	}
	if err != nil {
		return nil, err
	}
	v, err := parse(b)
	return v, step.Fail("read", filepath.Join(s.path(name), fileName), err)
}

// List returns all volumes by name. With an error about some of them come those
// that could be read.
func (s *Store) List() ([]*Volume, error) {
	names, err := s.names()
	errs := []error{err}
	var list []*Volume
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		v, err := s.Lookup(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, v)
	}
	return list, errors.Join(errs...)
}

// names lists the directory, sorted.
func (s *Store) names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Create makes a volume and reports whether it did: one that is there with the
// same options is left as it is.
func (s *Store) Create(v Volume) (made bool, err error) {
	if v.Driver == "" {
		v.Driver = Local
	}
	if err := v.validate(); err != nil {
		return false, err
	}
	for {
		existing, err := s.Lookup(v.Name)
		if err == nil {
			return false, existing.Agrees(&v)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		err = s.make(&v)
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return err == nil, step.Fail("make volume", v.Name, bare(err))
		}
		// Another process has made it in between, and it may be gone again; or
		// somebody has made the directory by hand.
		if err := s.adopt(&v); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, step.Fail("make volume", v.Name, bare(err))
		}
	}
}

// adopt makes a volume of a directory that has its name and is none yet, as the
// script of run --dry-run leaves it. It is not counted as made: what is in it is
// somebody's.
func (s *Store) adopt(v *Volume) error {
	held, err := lockDirectory(s.path(v.Name), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer held.Close()
	if _, err := os.Lstat(filepath.Join(s.path(v.Name), fileName)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.path(v.Name), dataName), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fresh := filepath.Join(s.path(v.Name), unnamed+fileName)
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one who was killed here
		return err
	}
	if err := v.write(fresh); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(s.path(v.Name), fileName))
}

// Agrees reports where the volume that is there is not the one that was asked for.
func (v *Volume) Agrees(asked *Volume) error {
	if len(asked.Options) > 0 && !maps.Equal(v.Options, asked.Options) {
		return fmt.Errorf("volume %s is there already, with other options: %s", v.Name, v.optionText())
	}
	return nil
}

func (v *Volume) optionText() string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(v.Options)) {
		words = append(words, key+"="+v.Options[key])
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " ")
}

// make writes the volume down under another name, and then gives it its own.
func (s *Store) make(v *Volume) error {
	fresh, held, err := s.fresh()
	if err != nil {
		return err
	}
	defer held.Close()
	if err := fillFresh(fresh, v); err != nil {
		return errors.Join(err, rootfs.RemoveAll(fresh))
	}
	// A directory takes the place of an empty one only, and a volume is never
	// empty: rename(2), ENOTEMPTY.
	if err := os.Rename(fresh, s.path(v.Name)); err != nil {
		return errors.Join(err, rootfs.RemoveAll(fresh))
	}
	return nil
}

func fillFresh(fresh string, v *Volume) error {
	data := filepath.Join(fresh, dataName)
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(data, 0o755); err != nil { // whatever the umask
		return err
	}
	return v.write(filepath.Join(fresh, fileName))
}

// write writes volume.json, which is not there yet.
func (v *Volume) write(file string) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && !v.Anonymous() { // what somebody has named is to outlive a power cut
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// fresh makes a directory that nobody takes for a volume, and holds it.
func (s *Store) fresh() (dir string, held *os.File, err error) {
	for {
		dir, err = os.MkdirTemp(s.dir, unnamed)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(s.dir, 0o700); err != nil {
				return "", nil, err
			}
			continue
		}
		if err != nil {
			return "", nil, err
		}
		held, err = lockDirectory(dir, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return dir, held, nil
		}
		// Another process may have taken it for a leftover before it was held.
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, errors.Join(err, os.Remove(dir))
		}
	}
}

// lockDirectory opens and locks a directory, which must still have its name
// afterwards: otherwise the error is fs.ErrNotExist.
func lockDirectory(dir string, how int) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := flock(f, how); err != nil {
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

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// readFile reads the small file name in the directory.
func readFile(dir *os.File, name string) ([]byte, *os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name))
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return b, f, nil
}

// bare takes the operation and path out of an error of package os; the caller
// names both in its own words.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
