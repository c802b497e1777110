package rootfs

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of the OCI image-spec (layer.md, "Whiteouts") for what a layer
// deletes from those below it, and how overlay writes the same
// (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh." // other names of AUFS, which mean nothing here
	opaqueXattr    = "trusted.overlay.opaque"
)

// whiteout deletes a name, or all names of a directory, that layers below have.
// What this layer itself has is never deleted, wherever its entry stands.
func (u *unpacker) whiteout(dir, base string) error {
	if base != whiteoutOpaque && strings.HasPrefix(base, whiteoutMeta) {
		return nil
	}
	victim := strings.TrimPrefix(base, whiteoutPrefix)
	if victim == "" || victim == "." || victim == ".." {
		return errors.New("whiteout of no name")
	}
	if base != whiteoutOpaque && u.nothingBelow(dir, victim) {
		return nil
	}
	parent, err := u.openDirectory(dir)
	if errors.Is(err, unix.ENOTDIR) {
		return nil // nothing to delete: umoci repack says so of a directory that is a file now
	}
	if err != nil {
		return err
	}
	switch {
	case u.options.Flatten && base == whiteoutOpaque:
		return u.removeOthers(parent, dir)
	case u.options.Flatten:
		return u.removeUnlessMade(parent, victim, dir+victim)
	case base == whiteoutOpaque && dir == "":
		return u.whiteoutRoot(parent)
	case base == whiteoutOpaque:
		return setOpaque(parent, ".")
	}
	return makeWhiteout(parent, victim)
}

// makeWhiteout deletes a name of the layers below, the way that overlay reads.
func makeWhiteout(parent int, victim string) error {
	err := unix.Mknodat(parent, victim, unix.S_IFCHR, 0)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if isDirectory(parent, victim) { // new here, and the old one below is gone
		return setOpaque(parent, victim)
	}
	return nil
}

// whiteoutRoot deletes all that the layers below have, name by name: overlay does
// not look whether the root of a layer is opaque.
func (u *unpacker) whiteoutRoot(root int) error {
	for _, lower := range u.options.Parents {
		names, err := readNames(lower)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := makeWhiteout(root, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeOthers empties a directory of what this layer did not bring.
func (u *unpacker) removeOthers(parent int, dir string) error {
	names, err := readNames(parent)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := u.removeUnlessMade(parent, name, dir+name); err != nil {
			return err
		}
	}
	return nil
}

// removeUnlessMade deletes a name that came from an earlier layer. Of a
// directory that this layer has too, it deletes what this layer has not.
func (u *unpacker) removeUnlessMade(parent int, base, name string) error {
	if !u.made[name] {
		err := u.remove(parent, base)
		if errors.Is(err, unix.ENOENT) {
			return nil // nothing to delete
		}
		return err
	}
	if !isDirectory(parent, base) {
		return nil
	}
	fd, err := unix.Openat(parent, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return u.removeOthers(fd, name+"/")
}
