package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An entry is one name of a layer with its attributes, judged and ready to be
// made.
type entry struct {
	name    string // inside the root
	kind    byte   // tar.TypeReg, …
	link    string // target of a symbolic or hard link
	size    int64  // bytes of content
	sparse  bool   // runs of zeros become holes
	device  uint64
	mode    uint32 // permissions, setuid, setgid, sticky
	uid     int
	gid     int
	times   *[2]unix.Timespec // access and modification; nil: leave them alone
	xattrs  map[string]string
	content io.Reader
}

// Of a larger number mknod(2) takes the lower bits, which is another device
// (linux/kdev_t.h, new_decode_dev).
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

const paxXattr = "SCHILY.xattr." // star(5); GNU tar and Go write the same

func newEntry(h *tar.Header, name string, content io.Reader) (*entry, error) {
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= math.MaxUint32 || int64(h.Gid) >= math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d out of range", h.Uid, h.Gid)
	}
	if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor > maxMajor || h.Devminor > maxMinor {
		return nil, fmt.Errorf("device %d:%d out of range", h.Devmajor, h.Devminor)
	}
	e := &entry{
		name: name, kind: h.Typeflag, link: h.Linkname, size: h.Size, content: content,
		device: unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)),
		mode:   uint32(h.Mode) & 0o7777, uid: h.Uid, gid: h.Gid,
		sparse: h.Typeflag == tar.TypeGNUSparse,
	}
	for key, value := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			e.sparse = true
		}
		if attr, ok := strings.CutPrefix(key, paxXattr); ok && keepsXattr(attr) {
			if e.xattrs == nil {
				e.xattrs = map[string]string{}
			}
			e.xattrs[attr] = value
		}
	}
	accessed := h.AccessTime
	if accessed.IsZero() {
		accessed = h.ModTime
	}
	e.times = &[2]unix.Timespec{timespec(accessed), timespec(h.ModTime)}
	return e, nil
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// keepsXattr is the list of extended attributes that a layer may set. Those of
// overlay are the kernel's, and other trusted.* or security.* ones the host's.
func keepsXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

func (u *unpacker) rootEntry(e *entry) error {
	if e.kind != tar.TypeDir {
		return errors.New("the root must be a directory")
	}
	if u.options.Copy != nil {
		return nil
	}
	return u.finishDirectory(u.root, ".", e)
}

func (u *unpacker) regular(parent int, base string, e *entry) error {
	fd, err := u.createRegular(parent, base, e.mode&0o777)
	if err != nil {
		return err
	}
	err = u.write(fd, e)
	if err == nil {
		err = setAttributes(fd, e)
	}
	if err == nil {
		err = unix.UtimesNanoAt(parent, base, e.times[:], unix.AT_SYMLINK_NOFOLLOW)
	}
	return errors.Join(err, unix.Close(fd)) // close reports what a network file system could not write
}

func (u *unpacker) createRegular(parent int, base string, mode uint32) (int, error) {
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, base, flags, mode)
	if !errors.Is(err, unix.EEXIST) {
		return fd, err
	}
	if err := u.remove(parent, base); err != nil {
		return -1, err
	}
	return unix.Openat(parent, base, flags, mode)
}

// write copies the content. Holes are made only for entries that are declared
// sparse, which may claim any size without having it.
func (u *unpacker) write(fd int, e *entry) error {
	if u.logical += e.size; e.size < 0 || u.logical > u.options.MaxBytes || u.logical < 0 {
		return fmt.Errorf("%w: %s holds more than %d bytes", unix.EFBIG, u.what(), u.options.MaxBytes)
	}
	for left := e.size; left > 0; {
		chunk := u.buf[:min(left, int64(len(u.buf)))]
		if _, err := io.ReadFull(e.content, chunk); err != nil {
			return noEOF(err)
		}
		left -= int64(len(chunk))
		if e.sparse && isZero(chunk) {
			if _, err := unix.Seek(fd, int64(len(chunk)), io.SeekCurrent); err != nil {
				return err
			}
			continue
		}
		if u.written += int64(len(chunk)); u.written > u.room {
			return fmt.Errorf("%w: the %s is larger than the %d bytes that are free", unix.ENOSPC, u.what(), u.room)
		}
		if err := writeAll(fd, chunk); err != nil {
			return err
		}
	}
	if e.sparse {
		return unix.Ftruncate(fd, e.size)
	}
	return nil
}

// noEOF keeps the end of a stream in the middle of a file from looking like the
// end of the archive.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

func (u *unpacker) directoryEntry(parent int, base string, e *entry) error {
	err := unix.Mkdirat(parent, base, e.mode&0o777)
	if err == nil || errors.Is(err, unix.EEXIST) && isDirectory(parent, base) {
		return u.finishDirectory(parent, base, e)
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	return u.replaceByDirectory(parent, base, e)
}

// replaceByDirectory makes a directory in the place of something else. In that of
// a whiteout it becomes opaque, since the one below is deleted. A file of an
// earlier layer gives way, one of this layer only to an entry of its own, as
// e.kind says.
func (u *unpacker) replaceByDirectory(parent int, base string, e *entry) error {
	deleted := isWhiteout(parent, base) || u.made != nil && !u.made[path.Clean(e.name)]
	if !deleted && e.kind != tar.TypeDir {
		return unix.ENOTDIR
	}
	if err := u.remove(parent, base); err != nil {
		return err
	}
	if err := unix.Mkdirat(parent, base, e.mode&0o777); err != nil {
		return err
	}
	if deleted && !u.options.Flatten {
		if err := setOpaque(parent, base); err != nil {
			return err
		}
	}
	return u.finishDirectory(parent, base, e)
}

func (u *unpacker) finishDirectory(parent int, base string, e *entry) error {
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := setAttributes(fd, e); err != nil || e.times == nil {
		return err
	}
	return u.dirs.setTimes(fd, *e.times)
}

// hardLink gives an existing file of this layer another name. The target is
// resolved in the root; a symbolic link as the target's last part is linked
// itself, as link(2) does.
func (u *unpacker) hardLink(parent int, base string, e *entry) error {
	target, err := entryName(e.link)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", printable(e.link), err)
	}
	dir, old := splitPath(target)
	from, err := openInRoot(u.root, dir, openDirectory)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", printable(e.link), err)
	}
	defer unix.Close(from)
	if sameFile(from, old, parent, base) {
		return nil
	}
	err = unix.Linkat(from, old, parent, base, 0)
	if errors.Is(err, unix.EEXIST) {
		if err = u.remove(parent, base); err == nil {
			err = unix.Linkat(from, old, parent, base, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", printable(e.link), err)
	}
	return nil
}

func (u *unpacker) symbolicLink(parent int, base string, e *entry) error {
	return u.node(parent, base, e, func() error { return unix.Symlinkat(e.link, parent, base) })
}

// fileTypes are the inode types of the special entries.
var fileTypes = [256]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}

func (u *unpacker) special(parent int, base string, e *entry) error {
	return u.node(parent, base, e, func() error {
		return unix.Mknodat(parent, base, fileTypes[e.kind], int(e.device))
	})
}

// node makes what cannot be opened to be given its attributes. base is what was
// just made here, so that no call follows a link.
func (u *unpacker) node(parent int, base string, e *entry, make func() error) error {
	err := make()
	if errors.Is(err, unix.EEXIST) {
		if err = u.remove(parent, base); err == nil {
			err = make()
		}
	}
	if err == nil {
		err = unix.Fchownat(parent, base, e.uid, e.gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && e.kind != tar.TypeSymlink {
		err = chmodNode(parent, base, e.mode)
	}
	if err == nil {
		err = unix.UtimesNanoAt(parent, base, e.times[:], unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

// setAttributes makes what differs as it should be, in this order: chown(2)
// clears setuid bits and capabilities. A file system that has no extended
// attributes of a kind goes without them, as with Docker.
func setAttributes(fd int, e *entry) error {
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return err
	}
	owned := int(is.Uid) == e.uid && int(is.Gid) == e.gid
	if !owned {
		if err := unix.Fchown(fd, e.uid, e.gid); err != nil {
			return fmt.Errorf("chown to %d:%d: %w", e.uid, e.gid, err)
		}
	}
	if !owned || is.Mode&0o7777 != e.mode {
		if err := unix.Fchmod(fd, e.mode); err != nil {
			return fmt.Errorf("chmod to %#o: %w", e.mode, err)
		}
	}
	for name, value := range e.xattrs {
		err := unix.Fsetxattr(fd, name, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set extended attribute %s: %w", printable(name), err)
		}
	}
	return nil
}

// descriptorPath names an open file for calls that want a path.
func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func isDirectory(parent int, base string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

func isWhiteout(parent int, base string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func sameFile(dir1 int, base1 string, dir2 int, base2 string) bool {
	var a, b unix.Stat_t
	err1 := unix.Fstatat(dir1, base1, &a, unix.AT_SYMLINK_NOFOLLOW)
	err2 := unix.Fstatat(dir2, base2, &b, unix.AT_SYMLINK_NOFOLLOW)
	return err1 == nil && err2 == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

func setOpaque(parent int, base string) error {
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0); err != nil {
		return fmt.Errorf("set extended attribute %s: %w", opaqueXattr, err)
	}
	return nil
}

// readNames lists the directory that dirfd holds, which may be a path
// descriptor.
func readNames(dirfd int) ([]string, error) {
	fd, err := unix.Openat(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), ".")
	defer dir.Close()
	return dir.Readdirnames(-1)
}
