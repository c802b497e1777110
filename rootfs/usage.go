package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Usage is what the images of a store take on the disk.
type Usage struct {
	parts []part
}

// A part is one layer or blob.
type part struct {
	bytes int64
	users []string // ids of the images that need it
}

// Usage measures the store: blobs, unpacked layers, and what is left of pulls
// that failed. It reads each directory of every layer. A file that goes away
// meanwhile counts as nothing.
func (s *Store) Usage() (Usage, error) {
	users, err := s.users()
	if err != nil {
		return Usage{}, step.Fail("measure images", s.root, err)
	}
	var u Usage
	disk := newDiskUsage()
	for _, dir := range []string{filepath.Join(s.root, "l"), s.path("blobs", "sha256"), s.path("partial"), s.path("tmp")} {
		names, err := readDirNames(dir)
		if err != nil {
			return Usage{}, step.Fail("measure images", dir, bare(err))
		}
		for _, name := range names {
			file := filepath.Join(dir, name)
			n, err := disk.add(file)
			if err != nil {
				return Usage{}, err
			}
			u.parts = append(u.parts, part{n, users[file]})
		}
	}
	return u, nil
}

// users are the ids of the images that need each file. An image may have its
// layers in one form under one name, and in another under the next.
func (s *Store) users() (map[string][]string, error) {
	users := map[string][]string{}
	for _, kind := range []string{"ids", "refs"} {
		images, err := s.readAll(kind, nil)
		if err != nil {
			return nil, err
		}
		for _, i := range images {
			for _, file := range s.filesOf(i) {
				if !slices.Contains(users[file], i.ID) {
					users[file] = append(users[file], i.ID)
				}
			}
		}
	}
	return users, nil
}

// filesOf are the files and directories of the store that an image needs.
func (s *Store) filesOf(i *Image) []string {
	files := []string{s.blobFile(i.ID), s.blobFile(i.Manifest)}
	for _, l := range i.Layers {
		files = append(files, l.Dir, s.layerFile(l.ChainID))
		if l.Blob != "" {
			files = append(files, s.blobFile(l.Blob))
		}
	}
	return files
}

// Total is the bytes of all that there is.
func (u Usage) Total() int64 {
	var n int64
	for _, p := range u.parts {
		n += p.bytes
	}
	return n
}

// Reclaimable is the bytes that no image needs of which active is true.
func (u Usage) Reclaimable(active func(id string) bool) int64 {
	var n int64
next:
	for _, p := range u.parts {
		for _, id := range p.users {
			if active(id) {
				continue next
			}
		}
		n += p.bytes
	}
	return n
}

// Of returns the bytes that an image shares with others, and those that are its
// own.
func (u Usage) Of(id string) (shared, unique int64) {
	for _, p := range u.parts {
		for _, user := range p.users {
			switch {
			case user != id:
			case len(p.users) > 1:
				shared += p.bytes
			default:
				unique += p.bytes
			}
		}
	}
	return shared, unique
}

// DiskUsage is the bytes of disk that a file takes, or a directory with all that
// is in it. A file of several names counts once, another file system not at all.
// Links are not followed, whoever changes the directory meanwhile.
func DiskUsage(path string) (int64, error) { return newDiskUsage().add(path) }

// A diskUsage remembers the files of several names.
type diskUsage struct{ seen map[[2]uint64]bool }

func newDiskUsage() *diskUsage { return &diskUsage{map[[2]uint64]bool{}} }

// add returns what path takes beside everything added before.
func (d *diskUsage) add(path string) (int64, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var n int64
	if err == nil {
		n, err = d.entry(unix.AT_FDCWD, path, &st)
	}
	return n, step.Fail("measure", path, err)
}

// entry counts one name in a directory, and what is below it.
func (d *diskUsage) entry(parent int, name string, st *unix.Stat_t) (int64, error) {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		inode := [2]uint64{st.Dev, st.Ino}
		if st.Nlink > 1 && d.seen[inode] {
			return 0, nil
		}
		if st.Nlink > 1 {
			d.seen[inode] = true
		}
		return st.Blocks * blockBytes, nil
	}
	n, err := d.below(parent, name, st.Dev)
	return st.Blocks*blockBytes + n, err
}

// blockBytes is the unit of st_blocks (stat(2)).
const blockBytes = 512

func (d *diskUsage) below(parent int, name string, device uint64) (int64, error) {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, gone(err)
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, gone(bare(err))
	}
	var sum int64
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if err := gone(err); err != nil {
				return sum, err
			}
			continue
		}
		if st.Dev != device {
			continue
		}
		n, err := d.entry(fd, name, &st)
		if sum += n; err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// gone takes the error of what went away, or became something else, for none.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	return err
}
