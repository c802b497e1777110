package volume

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

// A filling is the first use of a volume: a copy is made beside the content, and
// its entries are renamed into place one by one. A container may have the empty
// volume mounted already, so the directory itself must stay; and it may write
// there meanwhile: what it has written is never touched.
//
//	(none) ──► fill/content/ being copied ──► filled/content/ whole ──► (none)
//	           killed: thrown away            killed: carried on with
type filling struct {
	base         int // the directory in which the copy is made
	data         int // the volume's content
	fill, filled string
}

// Fill fills the volume when it is empty. The copy is made by copy, which gets
// the descriptor of an empty directory; that takes mode and owner, too. It is
// there whole, or not at all.
func (h *Hold) Fill(data int, copy func(to int) error) error {
	return step.Fail("fill volume", h.Volume.Name, h.alone(func() error { return h.filling(data).run(copy) }))
}

// The directories of a first use, in the volume's own.
const fillName, filledName = "fill", "filled"

func (h *Hold) filling(data int) filling {
	if h.Volume.kind() == plain {
		return filling{base: int(h.dir.Fd()), data: data, fill: fillName, filled: filledName}
	}
	// The content is on another file system, to which nothing can be renamed.
	return filling{base: data, data: data, fill: ".minictr-fill", filled: ".minictr-filled"}
}

// Settle waits for a first use that is going on, and carries on with one whose
// process was killed.
func (h *Hold) Settle(data int) error {
	f := h.filling(data)
	if !exists(f.base, f.fill) && !exists(f.base, f.filled) {
		return nil
	}
	return step.Fail("settle volume", h.Volume.Name, h.alone(f.carryOn))
}

func exists(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// IsEmpty reports whether there is nothing in a directory, of which the descriptor
// may be a path.
func IsEmpty(dir int) (bool, error) {
	names, err := readNames(dir)
	return len(names) == 0, err
}

func (f filling) run(copy func(to int) error) error {
	if err := f.carryOn(); err != nil {
		return err
	}
	names, err := readNames(f.data)
	if err != nil || len(names) > 0 {
		return err
	}
	if err := f.make(copy); err != nil {
		return errors.Join(err, f.discard(f.fill))
	}
	return f.settle()
}

// carryOn deals with what a killed process has left.
func (f filling) carryOn() error {
	if err := f.discard(f.fill); err != nil {
		return err
	}
	err := f.settle()
	if err == nil || !exists(f.base, f.filled) {
		return nil
	}
	// Where the copy is made inside, a container can put anything there.
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP} {
		if errors.Is(err, e) {
			return f.discard(f.filled)
		}
	}
	return err
}

// discard removes one of the directories with all that is in it, or what else has
// its name.
func (f filling) discard(name string) error {
	err := unix.Unlinkat(f.base, name, unix.AT_REMOVEDIR)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR):
		return unix.Unlinkat(f.base, name, 0)
	case errors.Is(err, unix.ENOTEMPTY):
		return rootfs.RemoveAll(descriptorPath(f.base) + "/" + name)
	}
	return err
}

func (f filling) make(copy func(to int) error) error {
	if err := unix.Mkdirat(f.base, f.fill, 0o700); err != nil {
		return err
	}
	holder, err := openDirectory(f.base, f.fill)
	if err != nil {
		return err
	}
	defer unix.Close(holder)
	if err := unix.Mkdirat(holder, contentName, 0o700); err != nil {
		return err
	}
	content, err := openDirectory(holder, contentName)
	if err != nil {
		return err
	}
	defer unix.Close(content)
	if err := copy(content); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(content, &st); err != nil {
		return err
	}
	// Moving entries out changes the times of where they were, not the holder's.
	if err := setTimes(holder, ".", &st); err != nil {
		return err
	}
	return unix.Renameat(f.base, f.fill, f.base, f.filled)
}

// contentName is the copy itself, in the directory that holds it.
const contentName = "content"

// settle moves the whole copy into the volume. A name that a container has made
// since stays; the copy's goes.
func (f filling) settle() error {
	holder, err := openDirectory(f.base, f.filled)
	if err != nil {
		return err
	}
	defer unix.Close(holder)
	from, err := openDirectory(holder, contentName)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, err := openDirectory(f.data, ".")
	if err != nil {
		return err
	}
	defer unix.Close(to)
	names, err := readNames(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Renameat2(from, name, to, name, unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	var st, held unix.Stat_t
	if err := errors.Join(unix.Fstat(from, &st), unix.Fstat(holder, &held)); err != nil {
		return err
	}
	st.Atim, st.Mtim = held.Atim, held.Mtim
	if err := copyAttributes(from, to, &st); err != nil {
		return err
	}
	if err := f.discard(f.filled); err != nil {
		return err
	}
	return setTimes(to, ".", &st) // where the copy was made inside, that has changed it
}
