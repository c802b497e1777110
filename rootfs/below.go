package rootfs

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// nothingBelow reports whether the layers below, as overlay stacks them, do not
// have the name. Overlay lists a whiteout in a directory that only one layer has,
// as a name of which there is nothing. Where symbolic links are on the way it is
// not known, and taken to be there.
func (u *unpacker) nothingBelow(dir, base string) bool {
	if u.options.Flatten { // they are in the same directory
		fd, err := openInRoot(u.root, dir, openDirectory)
		if err == nil {
			_ = unix.Close(fd) // a path descriptor has nothing to lose
		}
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
	}
	if fd, err := openExactly(u.root, dir+".", unix.O_PATH); err == nil {
		_ = unix.Close(fd) // a path descriptor has nothing to lose
	} else if errors.Is(err, unix.ELOOP) {
		return false
	}
	for _, lower := range u.options.Parents {
		has, hides := looksBelow(lower, dir, base)
		if has || hides {
			return !has
		}
	}
	return true
}

// looksBelow tells whether a layer has the name and, if not, whether it hides what
// layers under it have there: by a file or whiteout in the place of a directory,
// or by an opaque directory.
func looksBelow(layer int, dir, base string) (has, hides bool) {
	fd, err := openExactly(layer, dir+base, unix.O_PATH)
	switch {
	case err == nil:
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		_ = unix.Close(fd) // a path descriptor has nothing to lose
		deleted := err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
		return !deleted, deleted
	case errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP):
		return false, true
	case !errors.Is(err, unix.ENOENT):
		return true, false // not known
	}
	for i := range len(dir) {
		if dir[i] == '/' && opaqueIn(layer, dir[:i]) {
			return false, true
		}
	}
	return false, false
}

func opaqueIn(layer int, dir string) bool {
	fd, err := openExactly(layer, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	value := make([]byte, 8)
	n, err := unix.Fgetxattr(fd, opaqueXattr, value)
	return err == nil && strings.HasPrefix(string(value[:n]), "y")
}

// openExactly opens what has just this name, through no symbolic link.
func openExactly(dirfd int, name string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(dirfd, name, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
