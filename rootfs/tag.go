package rootfs

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Tag gives an image that the store has one more name. Another image that has
// the name loses it, and stays without if that was its only one. It is a
// *NotFoundError when there is no such image.
func (s *Store) Tag(source string, target Reference) (*Image, error) {
	if target.Digest != "" {
		return nil, step.Fail("tag image as", target.String(), errors.New("a digest is not given, it is had: name a tag"))
	}
	if target.Tag == "" {
		target.Tag = defaultTag
	}
	lock, err := s.lock("lock", unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return s.Lookup(source) // no store: says so in the right words
	}
	if err != nil {
		return nil, step.Fail("lock image store", s.root, bare(err))
	}
	defer lock.Close()
	image, err := s.Lookup(source)
	if err != nil {
		return nil, err
	}
	image.rename(target, time.Now())
	return image, step.Fail("tag image as", target.Key(), bare(s.writeName(image, target)))
}

// rename is the pure part. What a name meant in its registry, another repository
// does not have.
func (i *Image) rename(target Reference, now time.Time) {
	from, err := ParseReference(i.Reference)
	if err != nil || from.Repository() != target.Repository() {
		i.Digest = ""
	}
	i.Reference, i.Added = target.Key(), now.UTC().Truncate(time.Second)
}

// writeName writes the file of a reference. The caller holds the store's lock.
func (s *Store) writeName(image *Image, target Reference) error {
	scratch, err := s.newScratch()
	if err != nil {
		return err
	}
	t := Transaction{store: s, scratch: scratch}
	err = t.writeImage(s.refFile(target), *image)
	if err == nil {
		err = syncDirectory(s.path("refs"))
	}
	return errors.Join(err, scratch.close())
}
