package volume

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// maxDepth bounds the directories in each other: two descriptors are open for
// each.
const maxDepth = 512

// CopyTree copies what a directory holds, and its own mode, owner and times, to
// an empty one. Both are descriptors that can be read. It keeps owners by
// number, modes with setuid and sticky bits, times, symbolic and hard links,
// devices, fifos, sockets, holes, and the extended attributes that an image may
// have. No link is followed: every name is opened below a held descriptor, and
// is that of a file of the kind that was found there, whoever else changes the
// tree. What is mounted below the source is left out. It ends with ErrInterrupted
// when interrupted, which may be nil, says so.
func CopyTree(from, to int, interrupted func() bool) error {
	c := copier{to: to, links: map[inode]string{}, interrupted: interrupted}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return step.Fail("copy", "", err)
	}
	return c.directory(from, to, &st, "", 0)
}

// ErrInterrupted is a copy that was to go on no longer.
var ErrInterrupted = errors.New("interrupted")

type inode struct{ dev, ino uint64 }

// A copier is one run of CopyTree.
type copier struct {
	to    int
	links map[inode]string // a file of several names -> its first one in the copy
	buf   []byte

	interrupted func() bool
}

// directory copies the content, and then the attributes, which making entries
// would change.
func (c *copier) directory(from, to int, st *unix.Stat_t, name string, depth int) error {
	if depth == maxDepth {
		return step.Fail("copy", name, fmt.Errorf("more than %d directories in each other", maxDepth))
	}
	names, err := readNames(from)
	if err != nil {
		return step.Fail("copy", name, err)
	}
	for _, base := range names {
		if err := c.entry(from, to, base, strings.TrimPrefix(name+"/"+base, "/"), depth); err != nil {
			return err
		}
	}
	return step.Fail("copy", name, copyAttributes(from, to, st))
}

func (c *copier) entry(from, to int, base, name string, depth int) error {
	if c.interrupted != nil && c.interrupted() {
		return ErrInterrupted
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return step.Fail("copy", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return c.below(from, to, base, &st, name, depth+1)
	}
	linked, err := c.link(to, base, &st, name)
	if err != nil || linked {
		return step.Fail("copy", name, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = c.regular(from, to, base)
	case unix.S_IFLNK:
		err = symlink(from, to, base, &st)
	default:
		err = node(to, base, &st)
	}
	return step.Fail("copy", name, err)
}

// below copies a directory in a directory.
func (c *copier) below(from, to int, base string, st *unix.Stat_t, name string, depth int) error {
	if err := unix.Mkdirat(to, base, 0o700); err != nil {
		return step.Fail("copy", name, err)
	}
	made, err := openDirectory(to, base)
	if err != nil {
		return step.Fail("copy", name, err)
	}
	defer unix.Close(made)
	source, err := openBelow(from, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.EXDEV) { // something is mounted there
		return step.Fail("copy", name, setOwner(made, st))
	}
	if err != nil {
		return step.Fail("copy", name, err)
	}
	defer unix.Close(source)
	return c.directory(source, made, st, name, depth)
}

// link makes another name of a file that has been copied already.
func (c *copier) link(to int, base string, st *unix.Stat_t, name string) (bool, error) {
	if st.Nlink < 2 {
		return false, nil
	}
	key := inode{st.Dev, st.Ino}
	first, known := c.links[key]
	if !known {
		c.links[key] = name
		return false, nil
	}
	dir, old := c.to, first
	if i := strings.LastIndexByte(first, '/'); i >= 0 {
		var err error
		if dir, err = openBelow(c.to, first[:i], unix.O_PATH|unix.O_DIRECTORY); err != nil {
			return false, err
		}
		defer unix.Close(dir)
		old = first[i+1:]
	}
	return true, unix.Linkat(dir, old, to, base, 0)
}

// openBelow opens a name below a directory, through no link and no mount.
func openBelow(dir int, name string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dir, name, &how)
		if (!errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)) || try == maxRetries {
			return fd, err
		}
	}
}

func (c *copier) regular(from, to int, base string) error {
	// Should it have become a fifo or a device, nothing waits and nothing acts.
	source, err := openBelow(from, base, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	defer unix.Close(source)
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("it has become another kind of file")
	}
	made, err := unix.Openat(to, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = c.content(source, made, st.Size)
	if err == nil {
		err = copyAttributes(source, made, &st)
	}
	return errors.Join(err, unix.Close(made)) // close reports what a network file system could not write
}

// content copies size bytes from data to data: holes stay holes, lseek(2).
func (c *copier) content(from, to int, size int64) error {
	for at := int64(0); at < size; {
		begin, err := unix.Seek(from, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // nothing but a hole
		}
		end := size
		if err == nil {
			end, err = unix.Seek(from, begin, unix.SEEK_HOLE)
		}
		if errors.Is(err, unix.EINVAL) { // a file system that does not tell
			begin, end, err = at, size, nil
		}
		if err != nil {
			return err
		}
		end = min(end, size)
		if err := c.span(from, to, begin, end); err != nil {
			return err
		}
		at = end
	}
	return unix.Ftruncate(to, size)
}

// maxSpan is what is copied in one go, in bytes: no more than a moment's worth.
const maxSpan = 64 << 20

// span copies the bytes from begin to end. Where the file systems can, they share
// them (copy_file_range(2)).
func (c *copier) span(from, to int, begin, end int64) error {
	for begin < end {
		if c.interrupted != nil && c.interrupted() {
			return ErrInterrupted
		}
		in, out := begin, begin
		n, err := unix.CopyFileRange(from, &in, to, &out, int(min(end-begin, maxSpan)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EIO) {
			return err
		}
		if err != nil || n == 0 { // not between these two
			if n, err = c.chunk(from, to, begin, end); err != nil {
				return err
			}
		}
		if n == 0 {
			return nil // it has become shorter
		}
		begin += int64(n)
	}
	return nil
}

func (c *copier) chunk(from, to int, begin, end int64) (int, error) {
	if c.buf == nil {
		c.buf = make([]byte, 256<<10)
	}
	n, err := unix.Pread(from, c.buf[:min(int64(len(c.buf)), end-begin)], begin)
	for done := 0; err == nil && done < n; {
		var m int
		m, err = unix.Pwrite(to, c.buf[done:n], begin+int64(done))
		done += m
	}
	return n, err
}

func symlink(from, to int, base string, st *unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(from, base, buf)
	if err == nil {
		err = unix.Symlinkat(string(buf[:n]), to, base)
	}
	if err == nil {
		err = unix.Fchownat(to, base, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = setTimes(to, base, st)
	}
	return err
}

// node makes what cannot be opened to be given its attributes: they go through a
// path descriptor. A container that shares a volume which is being filled may put
// a link in the place of what was just made, and chmod(2) by name would follow it.
func node(to int, base string, st *unix.Stat_t) error {
	if err := unix.Mknodat(to, base, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
		return err
	}
	fd, err := unix.Openat(to, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var made unix.Stat_t
	if err := unix.Fstat(fd, &made); err != nil {
		return err
	}
	if made.Mode&unix.S_IFMT != st.Mode&unix.S_IFMT {
		return errors.New("it was replaced by another kind of file")
	}
	if err := unix.Fchownat(fd, "", int(st.Uid), int(st.Gid), unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if err := unix.Chmod(descriptorPath(fd), st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, descriptorPath(fd), []unix.Timespec{st.Atim, st.Mtim}, 0)
}

func setTimes(to int, base string, st *unix.Stat_t) error {
	return unix.UtimesNanoAt(to, base, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// copyAttributes must come in this order: chown(2) clears setuid bits and
// capabilities, and all of them change the time of a change.
func copyAttributes(from, to int, st *unix.Stat_t) error {
	if err := setOwner(to, st); err != nil {
		return err
	}
	if err := copyXattrs(from, to); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, descriptorPath(to), []unix.Timespec{st.Atim, st.Mtim}, 0)
}

func setOwner(to int, st *unix.Stat_t) error {
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", st.Uid, st.Gid, err)
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod to %#o: %w", st.Mode&0o7777, err)
	}
	return nil
}

// copyXattrs copies the extended attributes that a layer of an image may have:
// others are overlay's or the host's. A file system without such goes without.
func copyXattrs(from, to int) error {
	names, err := listXattrs(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !keepsXattr(name) {
			continue
		}
		value, err := readXattr(from, name)
		if err == nil {
			err = unix.Fsetxattr(to, name, value, 0)
		}
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("copy extended attribute %s: %w", name, err)
		}
	}
	return nil
}

func keepsXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

func listXattrs(fd int) ([]string, error) {
	size, err := unix.Flistxattr(fd, nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	if size, err = unix.Flistxattr(fd, buf); err != nil {
		return nil, err
	}
	var names []string
	for name := range bytes.SplitSeq(buf[:size], []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names, nil
}

func readXattr(fd int, name string) ([]byte, error) {
	size, err := unix.Fgetxattr(fd, name, nil)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	size, err = unix.Fgetxattr(fd, name, buf)
	return buf[:max(size, 0)], err
}

func openDirectory(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// readNames lists the directory that dirfd holds, which may be a path
// descriptor.
func readNames(dirfd int) ([]string, error) {
	fd, err := openDirectory(dirfd, ".")
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), ".")
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// descriptorPath names an open file for calls that want a path.
func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
