package files

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// An extractor writes entries below a directory and nowhere else: os.Root
// refuses what would lead out.
type extractor struct {
	a    *archive
	root *os.Root
	dir  string
	dirs []*tar.Header // their times are set in the end
}

func (x *extractor) extract(h *tar.Header, r io.Reader) error {
	name := strings.TrimLeft(h.Name, "/")
	for range x.a.strip {
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			return nil
		}
		name = rest
	}
	name = filepath.Clean(name)
	if name == "." || name == "" {
		return nil
	}
	h.Name = name
	if parent := filepath.Dir(name); parent != "." {
		if err := x.root.MkdirAll(parent, 0o777); err != nil {
			return err
		}
	}
	if h.Typeflag != tar.TypeDir {
		if _, err := x.root.Lstat(name); err == nil {
			if x.a.o.Has("k") {
				return fmt.Errorf("%s: exists", name)
			}
			if err := x.root.Remove(name); err != nil {
				return err
			}
		}
	}
	if err := x.make(h, r); err != nil {
		return err
	}
	return x.attributes(h)
}

func (x *extractor) make(h *tar.Header, r io.Reader) error {
	mode := h.FileInfo().Mode().Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		err := x.root.Mkdir(h.Name, mode|0o700)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		x.dirs = append(x.dirs, h)
		return err
	case tar.TypeSymlink:
		return x.root.Symlink(h.Linkname, h.Name)
	case tar.TypeLink:
		return x.root.Link(filepath.Clean(strings.TrimLeft(h.Linkname, "/")), h.Name)
	case tar.TypeReg:
		f, err := x.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[h.Typeflag]
		parent, err := x.root.Open(filepath.Dir(h.Name))
		if err != nil {
			return err
		}
		defer parent.Close()
		device := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		return wrap(h.Name, unix.Mknodat(int(parent.Fd()), filepath.Base(h.Name), kind|uint32(mode), int(device)))
	}
	return fmt.Errorf("%s: type %q is not known", h.Name, h.Typeflag)
}

func (x *extractor) attributes(h *tar.Header) error {
	if h.Typeflag == tar.TypeLink {
		return nil
	}
	if os.Geteuid() == 0 && !x.a.o.Has("o") {
		uid, gid := h.Uid, h.Gid
		if !x.a.numeric {
			if u, g, err := parseOwner(h.Uname + ":" + h.Gname); err == nil && h.Uname != "" && h.Gname != "" {
				uid, gid = u, g
			}
		}
		if err := x.root.Lchown(h.Name, uid, gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if os.Geteuid() == 0 || x.a.o.Has("p") {
		if err := x.root.Chmod(h.Name, h.FileInfo().Mode()); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir || x.a.o.Has("m") {
		return nil
	}
	return x.root.Chtimes(h.Name, h.ModTime, h.ModTime)
}

// finish sets the times of directories, which extracting into them had changed.
func (x *extractor) finish() error {
	var errs []error
	for _, h := range x.dirs {
		if !x.a.o.Has("m") {
			errs = append(errs, x.root.Chtimes(h.Name, h.ModTime, h.ModTime))
		}
	}
	return errors.Join(errs...)
}
