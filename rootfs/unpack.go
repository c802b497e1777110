package rootfs

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Limits of one layer, against archives that are made to exhaust the machine.
// They lie far above what real images hold.
const (
	maxLayerEntries = 4_000_000
	maxLayerBytes   = 256 << 30 // of file content, holes included
	maxEntryDepth   = 512       // components of one name
)

// UnpackOptions say how Unpack treats a layer. The zero value is right for a
// layer with nothing below it.
type UnpackOptions struct {
	// Parents holds descriptors of the layers below, the nearest first. A
	// directory that the layer uses without listing it takes its mode and
	// owner from there; otherwise it gets mode 0755 and root. What they do not have
	// is not deleted either.
	Parents []int
	// Flatten applies deletions at once, to unpack one layer after the other
	// onto the same directory, instead of leaving them in overlay's form.
	Flatten bool
	// MaxBytes bounds the file content, holes included; 0 means 256 GiB.
	MaxBytes int64
	// WantEnd makes it an error (io.ErrUnexpectedEOF) that the archive stops
	// between two entries, without the blocks of zeros that mark its end. For
	// streams that no digest shows to be whole.
	WantEnd bool
	// Copy is set for what is no layer.
	Copy *CopyOptions
}

// Unpack applies one layer, an uncompressed tar stream, to the directory that
// rootfd holds, and returns the bytes of file content that it wrote. Nobody
// else may change the directory meanwhile.
//
// It keeps modes with setuid and sticky bits, owners by number, times to the
// nanosecond, hard links, symbolic links, devices, fifos, holes, and these
// extended attributes: security.capability, POSIX access lists, and user.*. All
// others are left out, above all trusted.overlay.* and user.overlay.*, by which
// a layer could direct the kernel's overlay.
//
// Whatever the archive says, nothing outside the directory is touched: a name
// that climbs above the root is an error, and every other one is resolved by
// openat2 inside the root, also through symbolic links that came earlier. The
// error names the entry; what was unpacked before it stays, for the caller to
// throw away. That the layer is larger than what its file system has left is an
// error (ENOSPC) before that is full. Of layer more may be read than is unpacked.
func Unpack(rootfd int, layer io.Reader, o UnpackOptions) (int64, error) {
	u := unpacker{root: rootfd, options: o, buf: make([]byte, 256<<10)}
	if o.MaxBytes == 0 {
		u.options.MaxBytes = maxLayerBytes
	}
	if o.Flatten {
		u.made = map[string]bool{}
	}
	u.dirs.live = o.Copy != nil
	err := u.measureRoom()
	if err == nil {
		err = u.entries(layer)
	}
	return u.written, errors.Join(err, step.Fail("set the time of a directory", "", u.dirs.close()))
}

// entries unpacks one entry after the other.
func (u *unpacker) entries(layer io.Reader) error {
	stream := &blockReader{r: bufio.NewReaderSize(layer, 256<<10)}
	archive := tar.NewReader(stream)
	for n := 0; ; n++ {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF) && u.options.WantEnd && !stream.zero:
			return step.Fail("read "+u.what(), "", fmt.Errorf("%w: without the mark of an archive's end", io.ErrUnexpectedEOF))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return step.Fail("read "+u.what(), "", err)
		case n == maxLayerEntries:
			return step.Fail("unpack "+u.what(), "", fmt.Errorf("more than %d entries", maxLayerEntries))
		}
		err = u.entry(h, archive)
		if err == nil {
			_, err = io.Copy(io.Discard, archive) // what an entry has that needs none
		}
		if err != nil {
			return step.Fail("unpack", printable(h.Name), noEOF(err))
		}
	}
}

// A blockReader remembers whether the last block that was read whole, as package
// tar reads headers, is one of those that mark the end of an archive.
type blockReader struct {
	r    io.Reader
	zero bool
}

func (b *blockReader) Read(p []byte) (int, error) {
	if len(p) != 512 {
		return b.r.Read(p)
	}
	n, err := io.ReadFull(b.r, p)
	switch {
	case n == 512:
		b.zero = isZero(p)
	case n > 0:
		return n, nil
	}
	return n, err
}

// measureRoom asks how much may be written. A file system that knows no size,
// such as a tmpfs without one, bounds nothing.
func (u *unpacker) measureRoom() error {
	u.room = u.options.MaxBytes
	var st unix.Statfs_t
	if err := unix.Fstatfs(u.root, &st); err != nil {
		return step.Fail("unpack "+u.what(), "", err)
	}
	if st.Blocks > 0 && st.Bavail < uint64(u.room/st.Bsize) {
		u.room = int64(st.Bavail) * st.Bsize
	}
	return nil
}

// what is what the stream is called.
func (u *unpacker) what() string {
	if u.options.Copy != nil {
		return "archive"
	}
	return "layer"
}

// printable quotes a name that would do harm to a terminal or a log line.
func printable(name string) string {
	if quoted := strconv.Quote(name); len(quoted) != len(name)+2 || name == "" {
		return quoted
	}
	return name
}

// An unpacker is one run of Unpack.
type unpacker struct {
	root    int
	options UnpackOptions
	written int64
	logical int64           // like written, with holes
	room    int64           // that the file system had for written
	made    map[string]bool // names of this layer; only where Flatten needs them
	leftOut map[string]bool // see adapt
	dirs    openDirs
	implied int // directories made for the entry without having been listed
	buf     []byte
}

// makers has the function for each kind of entry. An array costs no start-up, as
// a map would.
var makers = [256]func(u *unpacker, parent int, base string, e *entry) error{
	tar.TypeReg:       (*unpacker).regular,
	tar.TypeGNUSparse: (*unpacker).regular,
	tar.TypeCont:      (*unpacker).regular,
	tar.TypeDir:       (*unpacker).directoryEntry,
	tar.TypeLink:      (*unpacker).hardLink,
	tar.TypeSymlink:   (*unpacker).symbolicLink,
	tar.TypeChar:      (*unpacker).special,
	tar.TypeBlock:     (*unpacker).special,
	tar.TypeFifo:      (*unpacker).special,
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // pax(1): says something of all entries; git writes its commit there
		return nil
	}
	if !u.adapt(h) {
		return nil
	}
	name, err := entryName(h.Name)
	if err != nil {
		return err
	}
	e, err := newEntry(h, name, content)
	if err != nil {
		return err
	}
	if name == "." {
		return u.rootEntry(e)
	}
	dir, base := path.Split(name)
	layer := u.options.Copy == nil
	if layer && strings.HasPrefix(base, whiteoutPrefix) {
		return u.whiteout(dir, base)
	}
	if layer && strings.Contains("/"+dir, "/"+whiteoutMeta) {
		return nil // inside a directory of AUFS's own, such as .wh..wh.plnk
	}
	make := makers[h.Typeflag]
	if make == nil {
		return fmt.Errorf("entry of unknown type %q", h.Typeflag)
	}
	parent, err := u.openDirectory(dir)
	if err != nil {
		return err
	}
	if !layer {
		if err := mayReplace(parent, base, h); err != nil {
			return err
		}
	}
	u.remember(name)
	return make(u, parent, base, e)
}

// remember notes that this layer has the name, and so the directories above it.
func (u *unpacker) remember(name string) {
	for u.made != nil && name != "." && !u.made[name] {
		u.made[name] = true
		name = path.Dir(name)
	}
}

// entryName is the path of an entry inside the root, without leading slash, "."
// for the root itself. A name that climbs above the root is refused; ".." that
// stays inside is taken by the letter, not through symbolic links.
func entryName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if name == "" {
		return "", errors.New("entry without a name")
	}
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errors.New("path leads out of the root")
	}
	if strings.Count(clean, "/") >= maxEntryDepth {
		return "", fmt.Errorf("%w: more than %d components", unix.ENAMETOOLONG, maxEntryDepth)
	}
	return clean, nil
}

// openDirectory returns a descriptor of the directory, which the unpacker owns,
// having made what is missing of it.
func (u *unpacker) openDirectory(dir string) (int, error) {
	if fd := u.dirs.find(dir); fd >= 0 {
		return fd, nil
	}
	u.implied = 0
	fd, err := makeDirectories(u.root, dir, u.impliedDirectory)
	if err != nil {
		return -1, err
	}
	return fd, u.dirs.add(dir, fd)
}

// remove deletes a name with all below it. After that the name of a directory
// that is open may mean another one.
func (u *unpacker) remove(parent int, base string) error {
	u.dirs.stale = true
	if u.options.Copy != nil {
		return unix.Unlinkat(parent, base, 0) // a directory only when somebody has just put it there
	}
	return remove(parent, base)
}

// impliedDirectory makes a directory that the layer did not list before it put
// something in it.
func (u *unpacker) impliedDirectory(parent int, base, name string) error {
	if u.implied++; u.implied > maxEntryDepth { // by way of symbolic links, which are not counted in names
		return fmt.Errorf("%w: more than %d directories to make", unix.ENAMETOOLONG, maxEntryDepth)
	}
	e := entry{name: name, mode: 0o755}
	for _, lower := range u.options.Parents {
		fd, err := openInRoot(lower, name, openDirectory)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		_ = unix.Close(fd) // a path descriptor has nothing to lose
		if err != nil {
			return err
		}
		e.mode, e.uid, e.gid = st.Mode&0o7777, int(st.Uid), int(st.Gid)
		break
	}
	return keepingTimes(parent, func() error { return u.directoryEntry(parent, base, &e) })
}
