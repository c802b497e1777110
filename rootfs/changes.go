package rootfs

import (
	"errors"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Change is a name that differs from the layers below.
type Change struct {
	Kind ChangeKind `json:"kind"`
	Path string     `json:"path"` // in the container, absolute
}

// ChangeKind is what became of a name, in docker diff's letters.
type ChangeKind string

// The kinds of changes.
const (
	Added    ChangeKind = "A"
	Deleted  ChangeKind = "D"
	Modified ChangeKind = "C" // in content, attributes, or what is below it
)

// Changes compares an overlay's upper directory with the root of what lies below
// it, and returns what docker diff prints, in the order of names: of what was
// deleted only the topmost name, of what was added all. skip is as in
// PackOptions; a directory that holds a skipped name may have got another time
// by that, or be there for that, and nothing else. Both descriptors may be
// O_PATH. The upper directory may change meanwhile.
func Changes(upper, lower int, skip func(name string) bool) ([]Change, error) {
	if skip == nil {
		skip = func(string) bool { return false }
	}
	d := changeWalk{skip: skip}
	if _, err := d.below(upper, lower, ""); err != nil {
		return nil, err
	}
	return d.changes, nil
}

// A changeWalk is one run of Changes.
type changeWalk struct {
	skip    func(string) bool
	changes []Change
	depth   int
}

func (d *changeWalk) add(kind ChangeKind, name string) {
	d.changes = append(d.changes, Change{kind, "/" + name})
}

// below compares what is in a directory of the upper one with the directory of
// the same name below it, -1 where there is none, and reports whether a name was
// skipped.
func (d *changeWalk) below(upper, lower int, inside string) (skipped bool, err error) {
	names, gone, err := d.names(upper, lower)
	if errors.Is(err, unix.ENOENT) {
		return false, nil // removed meanwhile
	}
	if err != nil {
		return false, step.Fail("compare", printable("/"+inside), bare(err))
	}
	d.depth++
	defer func() { d.depth-- }()
	for _, base := range names {
		name := base
		if inside != "" {
			name = inside + "/" + base
		}
		switch {
		case d.skip(name):
			skipped = true
		case gone[base]:
			d.add(Deleted, name)
		default:
			if err := d.name(upper, lower, base, name); err != nil {
				return skipped, err
			}
		}
	}
	return skipped, nil
}

// names lists a directory and, where it replaces one of the layers below, what is
// gone with that.
func (d *changeWalk) names(upper, lower int) (names []string, gone map[string]bool, err error) {
	if d.depth > maxEntryDepth {
		return nil, nil, unix.ENAMETOOLONG
	}
	fd, err := unix.Openat(upper, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(fd)
	if names, err = readNames(fd); err != nil {
		return nil, nil, err
	}
	if lower >= 0 && isOpaque(fd) {
		old, err := readNames(lower)
		if err != nil {
			return nil, nil, err
		}
		gone = map[string]bool{}
		for _, name := range old {
			gone[name] = true
		}
		for _, name := range names {
			delete(gone, name)
		}
		names = slices.AppendSeq(names, maps.Keys(gone))
	}
	slices.Sort(names)
	return names, gone, nil
}

// name compares one name, and what is below it.
func (d *changeWalk) name(upper, lower int, base, name string) error {
	now, err := openNode(upper, base)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed meanwhile
	}
	if err != nil {
		return step.Fail("compare", printable("/"+name), err)
	}
	defer unix.Close(now.fd)
	old, err := openNode(lower, base)
	existed := err == nil
	if existed {
		defer unix.Close(old.fd)
	} else if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBADF) {
		return step.Fail("compare", printable("/"+name), err)
	}
	switch {
	case now.isWhiteout() && existed:
		d.add(Deleted, name)
		return nil
	case now.isWhiteout():
		return nil
	case existed:
		d.add(Modified, name)
	default:
		d.add(Added, name)
	}
	if now.kind() != unix.S_IFDIR {
		return nil
	}
	below := -1
	if existed && old.kind() == unix.S_IFDIR {
		below = old.fd
	}
	here := len(d.changes)
	skipped, err := d.below(now.fd, below, name)
	nothing := len(d.changes) == here
	if nothing && (existed && sameDirectory(&old.stat, &now.stat, skipped) || !existed && skipped) {
		d.changes = d.changes[:here-1] // it is there for the sake of nothing that is told
	}
	return err
}

// openNode opens and looks at a name without following it.
func openNode(dirfd int, base string) (packed, error) {
	fd, err := unix.Openat(dirfd, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return packed{}, err
	}
	f := packed{fd: fd}
	if err := unix.Fstat(fd, &f.stat); err != nil {
		_ = unix.Close(fd) // a path descriptor has nothing to lose
		return packed{}, err
	}
	return f, nil
}

// sameDirectory compares what a directory has of its own.
func sameDirectory(old, now *unix.Stat_t, whatever bool) bool {
	same := old.Mode == now.Mode && old.Uid == now.Uid && old.Gid == now.Gid
	return same && (whatever || old.Mtim == now.Mtim)
}
