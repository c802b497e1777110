package rootfs

import (
	"archive/tar"
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

// The names of the OCI image-spec (layer.md, "Whiteouts") for what a layer
// deletes from those below it, and how overlay writes the same
// (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh." // other names of AUFS, which mean nothing here
	opaqueXattr    = "trusted.overlay.opaque"
)

// UnpackOptions say how Unpack treats a layer. The zero value is right for a
// layer with nothing below it.
type UnpackOptions struct {
	// Parents holds descriptors of the layers below, the nearest first. A
	// directory that the layer uses without listing it takes its mode and
	// owner from there; otherwise it gets mode 0755 and root.
	Parents []int
	// Flatten applies deletions at once, to unpack one layer after the other
	// onto the same directory, instead of leaving them in overlay's form.
	Flatten bool
	// MaxBytes bounds the file content, holes included; 0 means 256 GiB.
	MaxBytes int64
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
// throw away.
func Unpack(rootfd int, layer io.Reader, o UnpackOptions) (int64, error) {
	u := unpacker{root: rootfd, options: o, dirfd: -1, buf: make([]byte, 256<<10)}
	if o.MaxBytes == 0 {
		u.options.MaxBytes = maxLayerBytes
	}
	if o.Flatten {
		u.made = map[string]bool{}
	}
	defer u.forgetDirectory()
	archive := tar.NewReader(layer)
	for n := 0; ; n++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return u.written, u.setDirectoryTimes()
		}
		if err != nil {
			return u.written, step.Fail("read layer", "", err)
		}
		if n == maxLayerEntries {
			return u.written, step.Fail("unpack layer", "", fmt.Errorf("more than %d entries", maxLayerEntries))
		}
		if err := u.entry(h, archive); err != nil {
			return u.written, step.Fail("unpack", printable(h.Name), err)
		}
	}
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
	made    map[string]bool // names of this layer; only where Flatten needs them
	// times are set last, because each entry in a directory changes its time.
	times []directoryTimes
	// The directory of the last entry, which is mostly that of the next. It
	// cannot go away in between: an entry removes only what is below it.
	dir   string
	dirfd int
	buf   []byte
}

type directoryTimes struct {
	name  string
	times []unix.Timespec
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
	if strings.HasPrefix(base, whiteoutPrefix) {
		return u.whiteout(dir, base)
	}
	if strings.Contains("/"+dir, "/"+whiteoutMeta) {
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
	if u.dirfd >= 0 && u.dir == dir {
		return u.dirfd, nil
	}
	u.forgetDirectory()
	fd, err := makeDirectories(u.root, dir, u.impliedDirectory)
	if err != nil {
		return -1, err
	}
	u.dir, u.dirfd = dir, fd
	return fd, nil
}

func (u *unpacker) forgetDirectory() {
	if u.dirfd >= 0 {
		_ = unix.Close(u.dirfd) // a path descriptor has nothing to lose
		u.dirfd = -1
	}
}

// impliedDirectory makes a directory that the layer did not list before it put
// something in it.
func (u *unpacker) impliedDirectory(parent int, base, name string) error {
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
	return u.makeDirectory(parent, base, &e)
}

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
	parent, err := u.openDirectory(dir)
	if err != nil {
		return err
	}
	switch {
	case u.options.Flatten && base == whiteoutOpaque:
		return u.removeOthers(parent, dir)
	case u.options.Flatten:
		return u.removeUnlessMade(parent, victim, dir+victim)
	case base == whiteoutOpaque:
		return setOpaque(parent, ".")
	}
	err = unix.Mknodat(parent, victim, unix.S_IFCHR, 0)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if isDirectory(parent, victim) { // new here, and the old one below is gone
		return setOpaque(parent, victim)
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
		err := remove(parent, base)
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

// setDirectoryTimes gives each directory the time that its entry said. A name
// that is a directory no more is passed over.
func (u *unpacker) setDirectoryTimes() error {
	for _, d := range u.times {
		fd, err := openInRoot(u.root, d.name, openDirectory|unix.O_NOFOLLOW)
		if err != nil {
			continue
		}
		err = unix.UtimesNanoAt(fd, ".", d.times, 0)
		_ = unix.Close(fd) // a path descriptor has nothing to lose
		if err != nil {
			return step.Fail("set time of", printable(d.name), err)
		}
	}
	return nil
}
