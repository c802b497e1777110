package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// RemoveOptions say what Remove may do.
type RemoveOptions struct {
	// InUse reports whether a container uses the image with this id. It is
	// called while no run can begin to use one (see Store.Use). nil: none does.
	InUse func(id string) bool
	// Force takes the name from an image that a container uses, and all its
	// names from an image that is given by id.
	Force bool
}

// Removed says what Remove did.
type Removed struct {
	Untagged []string // references that are gone
	Deleted  string   // id of the image that is gone, if its last name went
}

// InUseError says why an image is not removed.
type InUseError struct {
	Name   string
	Reason string
}

func (e *InUseError) Error() string { return "remove image " + e.Name + ": " + e.Reason }

// Unwrap makes the error one of EBUSY.
func (*InUseError) Unwrap() error { return unix.EBUSY }

// Remove takes an image's reference away, and the image too when that was its
// last. By id it takes the image with its one name; more need Force. What other
// images use stays. A *NotFoundError or an *InUseError changes nothing.
func (s *Store) Remove(name string, o RemoveOptions) (Removed, error) {
	lock, err := s.lock("lock", unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = s.Lookup(name) // no store: says so in the right words
		return Removed{}, err
	}
	if err != nil {
		return Removed{}, step.Fail("lock image store", s.root, bare(err))
	}
	defer lock.Close()
	image, err := s.Lookup(name)
	if err != nil {
		return Removed{}, err
	}
	refs, err := s.references(image.ID)
	if err != nil {
		return Removed{}, step.Fail("remove image", printable(name), err)
	}
	removed, err := o.decide(name, image, refs)
	if err != nil {
		return Removed{}, err
	}
	before, err := s.used()
	if err == nil {
		err = s.unlink(removed)
	}
	if err != nil {
		return Removed{}, step.Fail("remove image", printable(name), bare(err))
	}
	err = s.sweep(func(file string) bool { return before[file] || isOld(file) })
	return removed, step.Fail("remove unused layers of", printable(name), bare(err))
}

// keepUnused is how long what no image uses stays, after it was written: the
// layers and blobs of a pull that failed, for the next one to go on with.
const keepUnused = 24 * time.Hour

// isOld reports whether the file got its name longer ago than that.
func isOld(file string) bool { return isOldAt(file, time.Now()) }

// isOldAt asks for the last change of the inode: a layer brings its own other
// times.
func isOldAt(file string, now time.Time) bool {
	var st unix.Stat_t
	if unix.Lstat(file, &st) != nil {
		return false // gone
	}
	return now.Sub(time.Unix(st.Ctim.Unix())) > keepUnused
}

// Prune removes at once what no image uses: the rest of pulls that failed. Where
// a transaction runs, it does nothing.
func (s *Store) Prune() error {
	err := s.sweep(func(string) bool { return true })
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no store
	}
	return step.Fail("remove what no image uses in", s.root, bare(err))
}

// decide is the pure part: which names go, and whether the image goes too.
func (o RemoveOptions) decide(name string, image *Image, refs []string) (Removed, error) {
	used := o.InUse != nil && o.InUse(image.ID)
	byID := image.Reference == ""
	var removed Removed
	switch {
	case byID && len(refs) > 1 && !o.Force:
		return removed, &InUseError{name, "it has several names: " + strings.Join(refs, ", ")}
	case byID:
		removed.Untagged = refs
	default:
		removed.Untagged = []string{image.Reference}
	}
	if len(removed.Untagged) < len(refs) {
		return removed, nil // another name keeps it
	}
	if !used {
		removed.Deleted = image.ID
		return removed, nil
	}
	if !o.Force || len(refs) == 0 {
		return Removed{}, &InUseError{name, "a container uses it"}
	}
	return removed, nil
}

// references returns the names of an image.
func (s *Store) references(id string) ([]string, error) {
	images, err := s.List()
	var refs []string
	for _, i := range images {
		if i.ID == id && i.Reference != "" {
			refs = append(refs, i.Reference)
		}
	}
	return refs, err
}

// unlink removes the files, names first: a name without an image would be worse
// than an image without a name.
func (s *Store) unlink(r Removed) error {
	for _, name := range r.Untagged {
		ref, err := ParseReference(name)
		if err != nil {
			return err
		}
		if err := os.Remove(s.refFile(ref)); err != nil {
			return err
		}
	}
	if r.Deleted == "" {
		return nil
	}
	return os.Remove(s.idFile(r.Deleted))
}

// sweep removes the layers and blobs that no image uses, as far as may says. While
// a transaction runs it does nothing: that may rely on a layer it found, and
// sweeps itself when it ends. A layer loses its file before its directory, so
// that a sweep that is killed leaves none that is taken for whole; and nothing
// is made, so that it works on a full disk.
func (s *Store) sweep(may func(file string) bool) error {
	alone, err := s.lock("adding", unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer alone.Close()
	used, err := s.used()
	if err != nil {
		return err
	}
	errs := []error{s.removeLeftovers()}
	for _, dir := range []string{s.path("layers"), filepath.Join(s.root, "l"), s.path("blobs", "sha256"), s.path("partial")} {
		errs = append(errs, removeUnused(dir, used, may), syncDirectory(dir))
	}
	return errors.Join(append(errs, removeUnused(s.path("locks"), nil, func(string) bool { return true }))...)
}

// used is the set of files and directories that some image needs.
func (s *Store) used() (map[string]bool, error) {
	users, err := s.users()
	if err != nil {
		return nil, fmt.Errorf("nothing is removed: %w", err)
	}
	used := map[string]bool{}
	for file := range users {
		used[file] = true
	}
	return used, nil
}

// removeUnused removes from one directory of the store what is not used and may
// go.
func removeUnused(dir string, used map[string]bool, may func(file string) bool) error {
	names, err := readDirNames(dir)
	errs := []error{err}
	for _, name := range names {
		if file := filepath.Join(dir, name); !used[file] && may(file) {
			errs = append(errs, RemoveAll(file))
		}
	}
	return errors.Join(errs...)
}
