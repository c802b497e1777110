package rootfs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// A Difference is one name that two trees do not have alike.
type Difference struct {
	Path string // inside the tree, "." for its root
	What string // "content", "mode 0644 instead of 0755", "missing", …
}

func (d Difference) String() string { return printable(d.Path) + ": " + d.What }

// compareTrees compares the tree that gotfd holds with the one that wantfd
// holds: names, types, modes, owners, contents, link targets, devices, hard links
// among each other, all extended attributes, and modification times but those of
// directories and whiteouts: what a layer does not list has the time when it was
// unpacked.
// It stops after limit differences. Nothing is followed out of the trees, and no
// device or fifo is opened.
func compareTrees(gotfd, wantfd, limit int) ([]Difference, error) {
	c := &comparison{limit: limit, links: map[uint64]uint64{}, buf: [2][]byte{make([]byte, 128<<10), make([]byte, 128<<10)}}
	err := c.directories(gotfd, wantfd, ".")
	if errors.Is(err, errEnough) {
		err = nil
	}
	return c.found, err
}

var errEnough = errors.New("enough differences")

type comparison struct {
	found []Difference
	limit int
	links map[uint64]uint64 // inode in want -> inode in got, of files with several names
	buf   [2][]byte
}

func (c *comparison) note(name, format string, args ...any) error {
	c.found = append(c.found, Difference{name, fmt.Sprintf(format, args...)})
	if len(c.found) == c.limit {
		return errEnough
	}
	return nil
}

// directories compares two directories and what is in them.
func (c *comparison) directories(gotfd, wantfd int, name string) error {
	if err := c.attributes(gotfd, wantfd, ".", name); err != nil {
		return err
	}
	got, err := readNames(gotfd)
	if err != nil {
		return err
	}
	want, err := readNames(wantfd)
	if err != nil {
		return err
	}
	slices.Sort(got)
	slices.Sort(want)
	for len(got)+len(want) > 0 {
		order := compareFirst(got, want)
		switch {
		case order < 0:
			err = c.note(path.Join(name, got[0]), "not of the layer")
		case order > 0:
			err = c.note(path.Join(name, want[0]), "missing")
		default:
			err = c.entries(gotfd, wantfd, got[0], path.Join(name, got[0]))
		}
		if err != nil {
			return err
		}
		if order <= 0 {
			got = got[1:]
		}
		if order >= 0 {
			want = want[1:]
		}
	}
	return nil
}

// compareFirst orders the first names of two sorted lists; the end of a list
// comes last.
func compareFirst(a, b []string) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return cmp.Compare(a[0], b[0])
}

// entries compares what both directories have under one name.
func (c *comparison) entries(gotfd, wantfd int, base, name string) error {
	var got, want unix.Stat_t
	if err := errors.Join(unix.Fstatat(gotfd, base, &got, unix.AT_SYMLINK_NOFOLLOW), unix.Fstatat(wantfd, base, &want, unix.AT_SYMLINK_NOFOLLOW)); err != nil {
		return err
	}
	if got.Mode&unix.S_IFMT != want.Mode&unix.S_IFMT {
		return c.note(name, "%s instead of %s", kindOf(got.Mode), kindOf(want.Mode))
	}
	if want.Mode&unix.S_IFMT == unix.S_IFDIR {
		return c.below(gotfd, wantfd, base, name)
	}
	if err := c.attributes(gotfd, wantfd, base, name); err != nil {
		return err
	}
	if want.Nlink > 1 || got.Nlink > 1 {
		other, seen := c.links[want.Ino]
		if got.Nlink != want.Nlink || seen && other != got.Ino {
			return c.note(name, "other hard links")
		}
		c.links[want.Ino] = got.Ino
		if seen {
			return nil // the content was compared under its first name
		}
	}
	switch want.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.contents(gotfd, wantfd, base, name, got.Size, want.Size)
	case unix.S_IFLNK:
		return c.targets(gotfd, wantfd, base, name)
	case unix.S_IFCHR, unix.S_IFBLK:
		if got.Rdev != want.Rdev {
			return c.note(name, "device %d:%d instead of %d:%d", unix.Major(got.Rdev), unix.Minor(got.Rdev), unix.Major(want.Rdev), unix.Minor(want.Rdev))
		}
	}
	return nil
}

func (c *comparison) below(gotfd, wantfd int, base, name string) error {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	got, err := unix.Openat(gotfd, base, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(got)
	want, err := unix.Openat(wantfd, base, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(want)
	return c.directories(got, want, name)
}

// kinds are the words for the types of inode(7).
var kinds = []struct {
	mode uint32
	word string
}{
	{unix.S_IFREG, "a file"},
	{unix.S_IFDIR, "a directory"},
	{unix.S_IFLNK, "a symbolic link"},
	{unix.S_IFCHR, "a character device"},
	{unix.S_IFBLK, "a block device"},
	{unix.S_IFIFO, "a fifo"},
}

func kindOf(mode uint32) string {
	for _, k := range kinds {
		if mode&unix.S_IFMT == k.mode {
			return k.word
		}
	}
	return "a socket"
}

// attributes compares mode, owner, time and extended attributes. base "." is the
// directory that is held.
func (c *comparison) attributes(gotfd, wantfd int, base, name string) error {
	var got, want unix.Stat_t
	if err := errors.Join(unix.Fstatat(gotfd, base, &got, unix.AT_SYMLINK_NOFOLLOW), unix.Fstatat(wantfd, base, &want, unix.AT_SYMLINK_NOFOLLOW)); err != nil {
		return err
	}
	var err error
	switch {
	case got.Mode != want.Mode:
		err = c.note(name, "mode %04o instead of %04o", got.Mode&0o7777, want.Mode&0o7777)
	case got.Uid != want.Uid || got.Gid != want.Gid:
		err = c.note(name, "owner %d:%d instead of %d:%d", got.Uid, got.Gid, want.Uid, want.Gid)
	case got.Mtim != want.Mtim && base != "." && (want.Mode&unix.S_IFMT != unix.S_IFCHR || want.Rdev != 0):
		err = c.note(name, "modified at another time")
	}
	if err != nil {
		return err
	}
	gotx, err := readXattrs(gotfd, base)
	if err != nil {
		return err
	}
	wantx, err := readXattrs(wantfd, base)
	if err != nil || gotx == wantx {
		return err
	}
	return c.note(name, "extended attributes %s instead of %s", gotx, wantx)
}

// readXattrs returns the extended attributes of base in the order of name, as
// text to compare. The path through the descriptor is the host's own, and
// base a single name that is not followed.
func readXattrs(dirfd int, base string) (string, error) {
	file := descriptorPath(dirfd) + "/" + base
	buf := make([]byte, 64<<10) // listxattr(2), "XATTR_LIST_MAX"
	n, err := unix.Llistxattr(file, buf)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return "none", nil
	}
	if err != nil {
		return "", err
	}
	var names []string
	for name := range bytes.SplitSeq(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0}) {
		names = append(names, string(name))
	}
	slices.Sort(names)
	text := ""
	for _, name := range names {
		n, err := unix.Lgetxattr(file, name, buf)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf(" %s=%q", name, buf[:n])
	}
	return text[1:], nil
}

func (c *comparison) targets(gotfd, wantfd int, base, name string) error {
	got, err := readlinkat(gotfd, base)
	if err != nil {
		return err
	}
	want, err := readlinkat(wantfd, base)
	if err == nil && got != want {
		err = c.note(name, "link to %s instead of %s", printable(got), printable(want))
	}
	return err
}

func (c *comparison) contents(gotfd, wantfd int, base, name string, gotSize, wantSize int64) error {
	if gotSize != wantSize {
		return c.note(name, "%d bytes instead of %d", gotSize, wantSize)
	}
	got, err := openFile(gotfd, base)
	if err != nil {
		return err
	}
	defer got.Close()
	want, err := openFile(wantfd, base)
	if err != nil {
		return err
	}
	defer want.Close()
	for {
		n, err := io.ReadFull(got, c.buf[0])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if _, err := io.ReadFull(want, c.buf[1][:n]); err != nil || !bytes.Equal(c.buf[0][:n], c.buf[1][:n]) {
			return c.note(name, "other content")
		}
		if err != nil {
			return nil
		}
	}
}

// openFile opens what was a regular file when it was looked at.
func openFile(dirfd int, base string) (*os.File, error) {
	fd, err := unix.Openat(dirfd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), base), nil
}
