package runtime

import (
	"errors"
	"os"
	"path"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// A side is the file system of the host, or that of a container.
type side struct {
	container string // as it was named; empty: the host
	base      string // where relative paths start
	open      func(path string, flags int) (*os.File, error)
	config    *Config
}

func hostSide() (side, error) {
	dir, err := os.Getwd()
	return side{base: dir, open: func(path string, flags int) (*os.File, error) { return os.OpenFile(path, flags, 0) }}, err
}

func (v *view) side(name string) side {
	return side{container: name, base: "/", config: v.config, open: func(path string, flags int) (*os.File, error) {
		return rootfs.Open(v.root, path, flags)
	}}
}

// label is a path as the command line has it.
func (s side) label(path string) string {
	if s.container == "" {
		return path
	}
	return s.container + ":" + path
}

// source opens what is to be copied, as a path descriptor.
func (s side) source(text string, follow bool) (*os.File, copySource, error) {
	p := parseCopyPath(s.base, text)
	name, flags := p.path, unix.O_PATH
	switch {
	case p.directory:
		name, flags = p.path+"/", unix.O_PATH|unix.O_DIRECTORY
	case !follow:
		flags |= unix.O_NOFOLLOW
	}
	f, err := s.open(name, flags)
	if err != nil {
		return nil, copySource{}, step.Fail("copy", s.label(text), bareErrno(err))
	}
	st, err := f.Stat()
	if err == nil && st.Mode()&os.ModeSocket != 0 {
		err = errNotForCopy
	}
	if err != nil {
		return nil, copySource{}, errors.Join(step.Fail("copy", s.label(text), err), f.Close())
	}
	source := copySource{base: path.Base(p.path), directory: st.IsDir(), contents: p.contents}
	if p.contents {
		source.base = "."
	}
	return f, source, nil
}

// maxCopyLinks bounds the links that are followed, as the kernel does.
const maxCopyLinks = 40

// target looks at where something is to be copied. A link at its end is followed,
// also one to nothing: then what it points to is made.
func (s side) target(text string) (copyTarget, error) {
	p := parseCopyPath(s.base, text)
	t := copyTarget{path: p.path, directory: p.directory}
	for range maxCopyLinks {
		f, err := s.open(t.path, unix.O_PATH|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			return t, nil
		}
		if err != nil {
			return t, step.Fail("copy to", s.label(text), bareErrno(err))
		}
		st, err := f.Stat()
		link := ""
		if err == nil && st.Mode()&os.ModeSymlink != 0 {
			link, err = readLink(f)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return t, step.Fail("copy to", s.label(text), err)
		}
		if link == "" {
			t.exists = true
			return t, step.Fail("copy to", s.label(text), t.judge(st, p.directory))
		}
		if !path.IsAbs(link) {
			link = path.Dir(t.path) + "/" + link // not cleaned: a part of it may be a link
		}
		// Whether the link may be followed is the kernel's to say: in /tmp, not that
		// of another user (proc_sys_fs(5), protected_symlinks).
		if f, err = s.open(t.path, unix.O_PATH); err == nil {
			err = f.Close()
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return t, step.Fail("copy to", s.label(text), bareErrno(err))
		}
		t.path = link
	}
	return t, step.Fail("copy to", s.label(text), unix.ELOOP)
}

// judge takes what the file is that is there.
func (t *copyTarget) judge(st os.FileInfo, asserted bool) error {
	t.directory = st.IsDir()
	switch {
	case asserted && !t.directory:
		return unix.ENOTDIR
	case !t.directory && !st.Mode().IsRegular():
		return errNotForCopy
	}
	return nil
}

// readLink reads the link that a path descriptor holds; readlinkat(2).
func readLink(f *os.File) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if err != nil {
		return "", os.NewSyscallError("readlinkat", err)
	}
	return string(buf[:n]), nil
}

// openInto opens the directory that something is unpacked in.
func (s side) openInto(dir string) (*os.File, error) {
	f, err := s.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		err = errNoDirectory
	}
	if err != nil {
		return nil, step.Fail("copy to", s.label(dir), bareErrno(err))
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err == nil && fs.Flags&unix.ST_RDONLY != 0 && s.container != "" {
		return nil, errors.Join(&ReadOnlyError{Container: s.container, Mount: s.mountOf(dir)}, f.Close())
	}
	return f, nil
}

// mountOf is the mount of the configuration that the path lies on.
func (s side) mountOf(dir string) string {
	mounts := s.config.mounts()
	if i, _ := cover(mounts, len(mounts), path.Clean(dir)+"/"); i >= 0 {
		return mounts[i].Destination
	}
	return "/"
}

// ReadOnlyError is that a container is not to be written to.
type ReadOnlyError struct {
	Container string
	Mount     string // "/" is its root file system
}

func (e *ReadOnlyError) Error() string {
	if e.Mount == "/" {
		return "copy to " + e.Container + ": its root file system is read-only"
	}
	return "copy to " + e.Container + ": its mount " + e.Mount + " is read-only"
}

// Unwrap returns the errno that writing there gives.
func (*ReadOnlyError) Unwrap() error { return unix.EROFS }

// bareErrno leaves the words of whom an error passed through away.
func bareErrno(err error) error {
	if errno := unix.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}
