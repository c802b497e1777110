package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// PackOptions say what Pack writes. The zero value packs a directory's content
// as it is.
type PackOptions struct {
	// Name is that of the first entry; those below it begin with it. Empty
	// leaves the entry of a directory itself out, "." names it as tar(1) does.
	Name string
	// Layer packs an overlay's upper directory as a layer: what overlay writes
	// for deleted names and replaced directories becomes that of the OCI
	// image-spec, which Unpack reads.
	Layer bool
	// Skip leaves out a name, which is the path from the directory packed, and
	// what is below it. nil leaves nothing out.
	Skip func(name string) bool
	// Owner says which numbers an owner has in the archive; nil: the same.
	Owner func(uid, gid int) (int, int)
	// Warn is told what is left out or is not as it was: sockets, files that
	// change while they are read. It may be nil.
	Warn func(error)
}

// Pack writes the file that fd holds (O_PATH suffices), and all below it when it
// is a directory, as an uncompressed tar stream, the same bytes for the same
// tree. It returns the bytes of file content that it read.
//
// It keeps what Unpack keeps. Names are in the order of their bytes; a name that
// is no UTF-8 goes through as it is. Files with large holes are written sparse
// (GNU's format 1.0 within PAX); the others are what every tar reads.
//
// Somebody hostile may change the tree meanwhile: no path is walked, each name
// is opened in the directory that is held, no link is followed, and nothing but
// regular files and directories is opened for reading. What vanishes is left
// out. A file that shrinks is filled up with zeros, one that grows is cut.
func Pack(fd int, w io.Writer, o PackOptions) (int64, error) {
	p := packer{options: o, out: w, archive: tar.NewWriter(w), buf: make([]byte, 256<<10), links: map[inode]string{}}
	err := p.file(fd, o.Name, "", 0)
	if err == nil {
		err = step.Fail("write archive", "", p.archive.Close())
	}
	return p.read, err
}

// A packer is one run of Pack.
type packer struct {
	options PackOptions
	out     io.Writer
	archive *tar.Writer
	read    int64
	links   map[inode]string // names of files that have several
	buf     []byte
}

type inode struct{ device, number uint64 }

// pack writes the entry by the kind of the file.
func (p *packer) pack(f *packed) error {
	switch f.kind() {
	case unix.S_IFREG:
		return p.regular(f)
	case unix.S_IFLNK:
		return p.link(f)
	case unix.S_IFIFO:
		return p.fifo(f)
	}
	return p.device(f)
}

// A packed is one file on its way into the archive.
type packed struct {
	fd     int // O_PATH
	name   string
	inside string // its path from the directory that is packed
	depth  int
	stat   unix.Stat_t
	header tar.Header
}

func (p *packer) file(fd int, name, inside string, depth int) error {
	f := packed{fd: fd, name: name, inside: inside, depth: depth}
	if err := unix.Fstat(fd, &f.stat); err != nil {
		return step.Fail("pack", printable(name), err)
	}
	if p.options.Layer && f.isWhiteout() {
		return p.whiteout(&f)
	}
	if f.kind() == unix.S_IFSOCK {
		p.warn(name, errors.New("left out: a socket cannot be in an archive"))
		return nil
	}
	if p.options.Layer && strings.HasPrefix(path.Base(name), whiteoutPrefix) {
		return step.Fail("pack", printable(name), fmt.Errorf("a layer cannot hold a name that begins with %q", whiteoutPrefix))
	}
	p.fill(&f)
	if f.kind() == unix.S_IFDIR {
		return p.directory(&f) // its error names what is below it
	}
	if written, err := p.hardLink(&f); written || err != nil {
		return step.Fail("pack", printable(name), err)
	}
	return step.Fail("pack", printable(name), p.pack(&f))
}

func (f *packed) kind() uint32 { return f.stat.Mode & unix.S_IFMT }

// fill sets what all kinds of entries have.
func (p *packer) fill(f *packed) {
	f.header = tar.Header{
		Format: tar.FormatPAX, Name: f.name, Mode: int64(f.stat.Mode & 0o7777),
		Uid: int(f.stat.Uid), Gid: int(f.stat.Gid), ModTime: time.Unix(f.stat.Mtim.Unix()),
	}
	if p.options.Owner != nil {
		f.header.Uid, f.header.Gid = p.options.Owner(f.header.Uid, f.header.Gid)
	}
}

func (p *packer) warn(name string, err error) {
	if p.options.Warn != nil {
		p.options.Warn(step.Fail("pack", printable(name), err))
	}
}

// hardLink writes the further names of a file that has several.
func (p *packer) hardLink(f *packed) (written bool, err error) {
	if f.stat.Nlink < 2 {
		return false, nil
	}
	id := inode{f.stat.Dev, f.stat.Ino}
	first, seen := p.links[id]
	if !seen {
		p.links[id] = f.name
		return false, nil
	}
	f.header.Typeflag, f.header.Linkname = tar.TypeLink, first
	return true, p.archive.WriteHeader(&f.header)
}

func (p *packer) link(f *packed) (err error) {
	f.header.Typeflag, f.header.Mode = tar.TypeSymlink, 0o777
	f.header.Linkname, err = readlinkat(f.fd, "")
	if errors.Is(err, unix.ENOENT) {
		return nil // procfs: it leads nowhere, and is no link for us
	}
	if err != nil {
		return err
	}
	return p.archive.WriteHeader(&f.header)
}

func (p *packer) device(f *packed) error {
	f.header.Typeflag = tar.TypeChar
	if f.kind() == unix.S_IFBLK {
		f.header.Typeflag = tar.TypeBlock
	}
	f.header.Devmajor, f.header.Devminor = int64(unix.Major(f.stat.Rdev)), int64(unix.Minor(f.stat.Rdev))
	return p.archive.WriteHeader(&f.header)
}

func (p *packer) fifo(f *packed) error {
	f.header.Typeflag = tar.TypeFifo
	return p.archive.WriteHeader(&f.header)
}

// directory writes a directory and what is in it.
func (p *packer) directory(f *packed) error {
	fd, err := unix.Openat(f.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return step.Fail("pack", printable(f.name), err)
	}
	dir := os.NewFile(uintptr(fd), f.name)
	defer dir.Close()
	if err := p.directoryEntry(f, fd); err != nil {
		return step.Fail("pack", printable(f.name), err)
	}
	names, err := dir.Readdirnames(-1)
	if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: removed meanwhile, so empty
		return step.Fail("pack", printable(f.name), bare(err))
	}
	slices.Sort(names)
	if f.depth == maxEntryDepth && len(names) > 0 {
		return step.Fail("pack", printable(f.name), fmt.Errorf("%w: more than %d directories deep", unix.ENAMETOOLONG, maxEntryDepth))
	}
	for _, base := range names {
		if err := p.child(f, fd, base); err != nil {
			return err
		}
	}
	return nil
}

// directoryEntry writes the entry of the directory itself.
func (p *packer) directoryEntry(f *packed, fd int) error {
	if f.name != "" {
		f.header.Typeflag, f.header.Name = tar.TypeDir, f.name+"/"
		if err := p.xattrs(f, fd); err != nil {
			return err
		}
		if err := p.archive.WriteHeader(&f.header); err != nil {
			return err
		}
	}
	if !p.options.Layer || !isOpaque(fd) {
		return nil
	}
	return p.archive.WriteHeader(p.marker(f, path.Join(f.name, whiteoutOpaque)))
}

func (p *packer) child(f *packed, fd int, base string) error {
	inside, name := base, base
	if f.inside != "" {
		inside = f.inside + "/" + base
	}
	if f.name != "" {
		name = f.name + "/" + base
	}
	if p.options.Skip != nil && p.options.Skip(inside) {
		return nil
	}
	child, err := unix.Openat(fd, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed since the directory was read
	}
	if err != nil {
		return step.Fail("pack", printable(name), err)
	}
	defer unix.Close(child)
	return p.file(child, name, inside, f.depth+1)
}

// regular writes a file and its content. The descriptor is opened again through
// procfs: by name it could be another file by now, a device for one.
func (p *packer) regular(f *packed) error {
	fd, err := unix.Open(descriptorPath(f.fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := p.xattrs(f, fd); err != nil {
		return err
	}
	f.header.Typeflag, f.header.Size = tar.TypeReg, f.stat.Size
	if f.stat.Blocks*512+minHoleBytes <= f.stat.Size {
		if parts, err := dataParts(fd, f.stat.Size); err == nil && holes(parts, f.stat.Size) >= minHoleBytes {
			return p.sparse(f, fd, parts)
		}
	}
	if err := p.archive.WriteHeader(&f.header); err != nil {
		return err
	}
	return p.content(f, fd, segment{0, f.stat.Size}, p.archive)
}

// content copies exactly that part of the file: its size has been written.
func (p *packer) content(f *packed, fd int, part segment, to io.Writer) error {
	for end := part.offset + part.length; part.offset < end; {
		chunk := p.buf[:min(int64(len(p.buf)), end-part.offset)]
		n, err := unix.Pread(fd, chunk, part.offset)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p.read += int64(n)
		if n == 0 {
			p.warn(f.name, errors.New("the file has shrunk while it was read: its end is zeros"))
			return writeZeros(to, end-part.offset)
		}
		if _, err := to.Write(chunk[:n]); err != nil {
			return bare(err)
		}
		part.offset += int64(n)
	}
	if f.grown() {
		p.warn(f.name, errors.New("the file has grown while it was read: what came since is left out"))
	}
	return nil
}

func writeZeros(to io.Writer, n int64) error {
	for zeros := make([]byte, 256<<10); n > 0; n -= min(n, int64(len(zeros))) {
		if _, err := to.Write(zeros[:min(n, int64(len(zeros)))]); err != nil {
			return bare(err)
		}
	}
	return nil
}

// grown reports whether the file is longer than its header says.
func (f *packed) grown() bool {
	var now unix.Stat_t
	return unix.Fstat(f.fd, &now) == nil && now.Size > f.stat.Size
}

// xattrs takes those attributes that Unpack sets.
func (p *packer) xattrs(f *packed, fd int) error {
	names, err := listXattrs(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !keepsXattr(name) {
			continue
		}
		if strings.Contains(name, "=") {
			p.warn(f.name, fmt.Errorf("left out: extended attribute %s, whose name PAX cannot hold", printable(name)))
			continue
		}
		value, err := getXattr(fd, name)
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return fmt.Errorf("read extended attribute %s: %w", printable(name), err)
		}
		if f.header.PAXRecords == nil {
			f.header.PAXRecords = map[string]string{}
		}
		f.header.PAXRecords[paxXattr+name] = string(value)
	}
	return nil
}

func listXattrs(fd int) ([]string, error) {
	list, err := growing(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) || len(list) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00"), err
}

func getXattr(fd int, name string) ([]byte, error) {
	return growing(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
}

// growing calls read with a larger buffer as long as it says ERANGE. The kernel
// has no more than XATTR_SIZE_MAX, 64 KiB, of either.
func growing(read func([]byte) (int, error)) ([]byte, error) {
	for size := 1 << 10; ; size *= 4 {
		b := make([]byte, size)
		n, err := read(b)
		if err == nil {
			return b[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || size > 64<<10 {
			return nil, err
		}
	}
}
