package rootfs

import (
	"archive/tar"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// What overlay writes into an upper directory for what is deleted, as a layer
// says it; the way back of unpack.go.

// isWhiteout reports whether overlay deletes the name by this file. They are
// links of one inode, so this is asked before hard links are.
func (f *packed) isWhiteout() bool {
	return f.kind() == unix.S_IFCHR && f.stat.Rdev == 0
}

func (p *packer) whiteout(f *packed) error {
	dir, base := path.Split(f.name)
	return step.Fail("pack", printable(f.name), p.archive.WriteHeader(p.marker(f, dir+whiteoutPrefix+base)))
}

// marker is the header of an empty file that only its name says something with.
func (p *packer) marker(f *packed, name string) *tar.Header {
	return &tar.Header{
		Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: name, Mode: 0o600,
		ModTime: time.Unix(f.stat.Mtim.Unix()),
	}
}

// isOpaque reports whether overlay shows nothing of the layers below in this
// directory. Other values than "y" mean other things; see
// Documentation/filesystems/overlayfs.rst.
func isOpaque(fd int) bool {
	value, err := getXattr(fd, opaqueXattr)
	return err == nil && string(value) == "y"
}
