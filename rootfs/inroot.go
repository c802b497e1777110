package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// resolveInRoot is how every path that comes from an image or a container is
// resolved (openat2(2), Linux 5.6): absolute paths, absolute symbolic links and
// ".." end at the held root, and the links of procfs that lead anywhere are
// refused.
const resolveInRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

const (
	// maxLinks bounds the symbolic links followed for one path, as the kernel
	// does (path_resolution(7), MAXSYMLINKS).
	maxLinks = 40
	// maxRetries bounds the repeats of an openat2 that answers EAGAIN, which it
	// does while somebody renames or mounts elsewhere on the machine.
	maxRetries = 10_000
)

// openInRoot opens name inside the root that rootfd holds. It retries EAGAIN
// and EINTR, and returns the bare errno.
func openInRoot(rootfd int, name string, flags uint64) (int, error) {
	if name == "" {
		name = "."
	}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolveInRoot}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(rootfd, name, &how)
		if err == nil || (err != unix.EAGAIN && err != unix.EINTR) || try == maxRetries {
			return fd, err
		}
	}
}

// Open opens name inside the root that rootfd holds, with the flags of open(2);
// O_CLOEXEC is added. Symbolic links are followed and end inside the root, also
// the absolute ones that images legitimately contain. A fifo or a device may
// block or act when it is opened: use O_PATH or O_NONBLOCK where the file is
// not known to be a plain one.
func Open(rootfd int, name string, flags int) (*os.File, error) {
	fd, err := openInRoot(rootfd, name, uint64(flags))
	if err != nil {
		return nil, step.Fail("open in root", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Stat reads the attributes of name inside the root, following symbolic links.
// It opens nothing but a path, so that fifos and devices are left alone.
func Stat(rootfd int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := openInRoot(rootfd, name, unix.O_PATH)
	if err == nil {
		err = unix.Fstat(fd, &st)
		_ = unix.Close(fd) // a path descriptor has nothing to lose
	}
	return st, step.Fail("stat in root", name, err)
}

// Canonical returns the path inside the root that name means when the symbolic
// links on its way are followed, absolute and clean. What of it does not exist is
// taken as it stands.
func Canonical(rootfd int, name string) (string, error) {
	found, err := canonical(rootfd, name, maxLinks)
	return found, step.Fail("resolve in root", name, err)
}

func canonical(rootfd int, name string, links int) (string, error) {
	fd, err := openInRoot(rootfd, name, unix.O_PATH)
	if err == nil {
		defer unix.Close(fd)
		return readlinkat(unix.AT_FDCWD, descriptorPath(fd)) // from the root of the detached mount, proc_pid_fd(5)
	}
	if links == 0 || !errors.Is(err, unix.ENOENT) {
		return "", err
	}
	dir, base := splitPath(name)
	parent, err := canonical(rootfd, dir, links-1)
	if err != nil || base == "." {
		return parent, err
	}
	if base == ".." {
		return path.Dir(parent), nil
	}
	if held, err := openInRoot(rootfd, dir, openDirectory); err == nil {
		target, err := readlinkat(held, base)
		unix.Close(held)
		if err == nil { // a link to nothing
			return canonical(rootfd, follow(dir, target), links-1)
		}
	}
	return path.Join(parent, base), nil
}

// ReadFile reads the regular file name inside the root. A file of more than
// limit bytes is an error (EFBIG), and so is anything that is no regular file, or
// a file of procfs: some of those wait, or answer the one that reads them only.
func ReadFile(rootfd int, name string, limit int64) ([]byte, error) {
	fd, err := openInRoot(rootfd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, step.Fail("read in root", name, err)
	}
	data, err := readRegular(fd, limit)
	return data, step.Fail("read in root", name, err)
}

// readRegular reads and closes fd.
func readRegular(fd int, limit int64) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.New("not a regular file")
	}
	var on unix.Statfs_t
	if err := unix.Fstatfs(fd, &on); err != nil {
		return nil, err
	}
	if on.Type == unix.PROC_SUPER_MAGIC {
		return nil, errors.New("a file of procfs")
	}
	var b bytes.Buffer
	b.Grow(int(min(st.Size, limit)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", unix.EFBIG, limit)
	}
	return b.Bytes(), nil
}

// MkdirAll makes the directory name inside the root, with the parents that it
// lacks, and returns nil when it is there already. A symbolic link on the way
// is followed, and what a dangling one points to is made inside the root. What
// it makes gets the mode (not lessened by the umask) and the owner.
func MkdirAll(rootfd int, name string, mode uint32, uid, gid int) error {
	fd, err := makeDirectories(rootfd, name, func(parent int, base, _ string) error {
		return makeDirectory(parent, base, mode, uid, gid)
	})
	if err == nil {
		_ = unix.Close(fd) // a path descriptor has nothing to lose
	}
	return step.Fail("make directory in root", name, err)
}

// EnsureFile makes sure that name exists inside the root as something that a
// file can be mounted on: it makes an empty file, mode 0644, and the parents
// that it lacks, mode 0755. Symbolic links are followed inside the root, also
// dangling ones. A directory is an error (EISDIR).
func EnsureFile(rootfd int, name string) error {
	return step.Fail("make file in root", name, ensureFile(rootfd, name, maxLinks))
}

func ensureFile(rootfd int, name string, links int) error {
	if links == 0 {
		return unix.ELOOP
	}
	exists, err := isMountableFile(rootfd, name)
	if exists || !errors.Is(err, unix.ENOENT) {
		return err
	}
	dir, base := splitPath(name)
	parent, err := makeDirectories(rootfd, dir, func(parent int, base, _ string) error {
		return makeDirectory(parent, base, 0o755, -1, -1) // the caller's: 0 may mean nobody on an idmapped mount
	})
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if target, err := readlinkat(parent, base); err == nil {
		return ensureFile(rootfd, follow(dir, target), links-1)
	}
	return createFile(parent, base)
}

func createFile(parent int, base string) error {
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, base, flags, 0o644)
	if errors.Is(err, unix.EEXIST) {
		return nil // somebody else made it in between
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, 0o644)
}

func isMountableFile(rootfd int, name string) (bool, error) {
	fd, err := openInRoot(rootfd, name, unix.O_PATH)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false, unix.EISDIR
	}
	return true, nil
}

// A mkdirFunc makes one missing directory: base in the directory that parent
// holds; name is its whole path inside the root.
type mkdirFunc func(parent int, base, name string) error

func makeDirectory(parent int, base string, mode uint32, uid, gid int) error {
	if err := unix.Mkdirat(parent, base, 0o700); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return nil // somebody else made it; the caller opens it next
		}
		return err
	}
	fd, err := unix.Openat(parent, base, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fchown(fd, uid, gid); err != nil {
		return err
	}
	return unix.Fchmod(fd, mode)
}

// makeDirectories opens the directory name inside the root (O_PATH), having
// made what it lacks by mkdir. Only a missing path costs more than one call.
func makeDirectories(rootfd int, name string, mkdir mkdirFunc) (int, error) {
	return makeMissing(rootfd, name, mkdir, maxLinks)
}

const openDirectory = unix.O_PATH | unix.O_DIRECTORY

func makeMissing(rootfd int, name string, mkdir mkdirFunc, links int) (int, error) {
	fd, err := openInRoot(rootfd, name, openDirectory)
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return fd, err
	}
	if links == 0 {
		return -1, unix.ELOOP
	}
	dir, base := splitPath(name)
	parent, err := makeMissing(rootfd, dir, mkdir, links)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if base == "." || base == ".." { // there once the directory before it is
		return openInRoot(rootfd, name, openDirectory)
	}
	if target, err := readlinkat(parent, base); err == nil {
		return makeMissing(rootfd, follow(dir, target), mkdir, links-1)
	}
	if err := mkdir(parent, base, name); err != nil {
		return -1, err
	}
	return openInRoot(parent, base, openDirectory|unix.O_NOFOLLOW) // from the root it would be a long way, level by level
}

// splitPath divides a path inside a root into its directory and its last
// component. Nothing is resolved: "a/../b" is in "a/..", because a may be a
// symbolic link.
func splitPath(name string) (dir, base string) {
	name = strings.TrimRight(name, "/")
	i := strings.LastIndexByte(name, '/')
	if name == "" {
		return "/", "."
	}
	return name[:i+1], name[i+1:]
}

// follow is the path inside the root that a symbolic link in dir means.
func follow(dir, target string) string {
	if path.IsAbs(target) {
		return target
	}
	return dir + "/" + target
}

// readlinkat reads the symbolic link base in the directory that dirfd holds; it
// fails with EINVAL on anything else.
func readlinkat(dirfd int, base string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dirfd, base, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
