package rootfs

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// PruneOptions say which images PruneImages takes away.
type PruneOptions struct {
	// InUse reports whether a container uses the image with this id; it stays.
	// It is called while no run can begin to use one. nil: none does.
	InUse func(id string) bool
	// Named takes those too that have names.
	Named bool
	// Choose reports whether the image may go; nil: every one.
	Choose func(*Image) bool
}

// Pruned says what PruneImages did.
type Pruned struct {
	Removed []Removed
	Freed   int64 // bytes of disk
}

// PruneImages takes away the images that have no name, or all that no container
// uses, and everything that no image needs: also what is left of pulls that
// failed. While a transaction runs, layers and blobs stay for its end.
func (s *Store) PruneImages(o PruneOptions) (Pruned, error) {
	lock, err := s.lock("lock", unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return Pruned{}, nil // no store
	}
	if err != nil {
		return Pruned{}, step.Fail("lock image store", s.root, bare(err))
	}
	defer lock.Close()
	images, err := s.List()
	if err != nil {
		return Pruned{}, err
	}
	var p Pruned
	errs := []error{}
	for _, r := range o.choose(images) {
		if err := s.unlink(r); err != nil {
			errs = append(errs, step.Fail("remove image", r.Deleted, bare(err)))
			continue
		}
		p.Removed = append(p.Removed, r)
	}
	disk := newDiskUsage()
	err = s.sweep(func(file string) bool {
		n, err := disk.add(file)
		errs = append(errs, err)
		p.Freed += n
		return true
	})
	errs = append(errs, step.Fail("remove what no image uses in", s.root, err))
	return p, errors.Join(errs...)
}

// choose is the pure part: which images go, with which names.
func (o PruneOptions) choose(images []*Image) []Removed {
	var ids []string
	byID := map[string]*Removed{}
	for _, i := range images {
		r, seen := byID[i.ID]
		if !seen {
			if o.InUse != nil && o.InUse(i.ID) || o.Choose != nil && !o.Choose(i) || i.Reference != "" && !o.Named {
				continue
			}
			r = &Removed{Deleted: i.ID}
			byID[i.ID], ids = r, append(ids, i.ID)
		}
		if i.Reference != "" {
			r.Untagged = append(r.Untagged, i.Reference)
		}
	}
	var chosen []Removed
	for _, id := range ids {
		chosen = append(chosen, *byID[id])
	}
	return chosen
}
