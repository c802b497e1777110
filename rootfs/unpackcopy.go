package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// CopyOptions are for unpacking what is no layer into a directory that is in use,
// as cp does. Names that begin with .wh. mean nothing then; an entry for the
// directory itself leaves it as it is; and a directory never gives way to another
// kind of file, nor the other way round.
//
// Somebody hostile may change the directory meanwhile. What is unpacked lands
// somewhere below it, or in what was below it at some moment, and nowhere else.
type CopyOptions struct {
	// Owner says whose the files become; nil: whose they are in the archive.
	Owner func(uid, gid int) (int, int)
	// Harmless leaves out what would give somebody rights on the machine: setuid
	// and setgid of files, devices, and all extended attributes but user.*.
	Harmless bool
	// Warn is told what is left out. It may be nil.
	Warn func(error)
}

// adapt makes of an entry what is to be unpacked, and reports whether anything is.
func (u *unpacker) adapt(h *tar.Header) bool {
	c := u.options.Copy
	if c == nil {
		return true
	}
	if c.Owner != nil {
		h.Uid, h.Gid = c.Owner(h.Uid, h.Gid)
	}
	if !c.Harmless {
		return true
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock || h.Typeflag == tar.TypeLink && u.leftOut[h.Linkname] {
		c.warn(h.Name, errors.New("left out: a device would be one of this machine"))
		if u.leftOut == nil {
			u.leftOut = map[string]bool{}
		}
		u.leftOut[h.Name] = true
		return false
	}
	if h.Typeflag != tar.TypeDir {
		h.Mode &^= unix.S_ISUID | unix.S_ISGID
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, paxXattr) && !strings.HasPrefix(key, paxXattr+"user.") {
			delete(h.PAXRecords, key)
		}
	}
	return true
}

func (c *CopyOptions) warn(name string, err error) {
	if c.Warn != nil {
		c.Warn(step.Fail("unpack", printable(name), err))
	}
}

// ReplaceError is a copy that would put a file in the place of a directory, or
// the other way round.
type ReplaceError struct {
	Name      string
	Directory bool // that there is one, and the copy is none
}

func (e *ReplaceError) Error() string {
	if e.Directory {
		return fmt.Sprintf("%s is a directory, and is not replaced by what is none", printable(e.Name))
	}
	return fmt.Sprintf("%s is no directory, and is not replaced by one", printable(e.Name))
}

// mayReplace judges what is there by the name. What is mounted there is not
// replaced: the kernel would take the mount away for it, since that lies in a
// namespace of others (rename(2) and unlink(2), Linux 4.0).
func mayReplace(parent int, base string, h *tar.Header) error {
	var st unix.Statx_t
	err := unix.Statx(parent, base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	isDirectory := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDirectory != (h.Typeflag == tar.TypeDir) {
		return &ReplaceError{Name: base, Directory: isDirectory}
	}
	if !isDirectory && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return unix.EBUSY
	}
	return nil
}

// chmodNode sets the mode of what cannot be opened. fchmodat(2) would follow a
// link that somebody has put there since.
func chmodNode(parent int, base string, mode uint32) error {
	fd, err := unix.Openat(parent, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(descriptorPath(fd), mode)
}
