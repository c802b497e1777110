package rootfs

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// openDirs keeps the directories that the last entries of a layer went into, so
// that each is resolved once and not for every entry, and gives each its times
// back when it is done with: making something in a directory changes them.
type openDirs struct {
	// The last used comes first. stale says that something was deleted since,
	// so that a name may mean another directory, or none.
	open  []openDir
	stale bool
	// live leaves their times to those directories that are given none: something
	// was made in them, as anybody would. given are the others.
	live  bool
	given map[inode]bool
}

type openDir struct {
	name     string // as the entries have it: "a/b/"
	fd       int    // O_PATH
	dev, ino uint64
	times    [2]unix.Timespec // access and modification
	free     bool             // they are left as they come
}

const maxOpenDirs = 16

// find returns the descriptor of a directory that is open, or -1.
func (o *openDirs) find(name string) int {
	if len(o.open) > 0 && !o.stale && o.open[0].name == name {
		return o.open[0].fd
	}
	i := slices.IndexFunc(o.open, func(d openDir) bool { return d.name == name })
	if i < 0 || o.stale {
		return -1
	}
	found := o.open[i]
	copy(o.open[1:i+1], o.open[:i])
	o.open[0] = found
	return found.fd
}

// add takes over a directory's descriptor.
func (o *openDirs) add(name string, fd int) error {
	if o.stale {
		if err := o.close(); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	d := openDir{name, fd, st.Dev, st.Ino, [2]unix.Timespec{st.Atim, st.Mtim}, o.live && !o.given[inode{st.Dev, st.Ino}]}
	if known := o.same(&st); known != nil { // under another name
		d.times, d.free = known.times, known.free
	}
	var err error
	if last := len(o.open) - 1; len(o.open) == maxOpenDirs {
		err = o.open[last].close()
		o.open = o.open[:last]
	}
	o.open = slices.Insert(o.open, 0, d)
	return err
}

// same returns the open directory that the attributes are of, or nil.
func (o *openDirs) same(st *unix.Stat_t) *openDir {
	for i, d := range o.open {
		if d.dev == st.Dev && d.ino == st.Ino {
			return &o.open[i]
		}
	}
	return nil
}

// setTimes gives a directory its times, now and when it is done with.
func (o *openDirs) setTimes(fd int, times [2]unix.Timespec) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if o.live {
		if o.given == nil {
			o.given = map[inode]bool{}
		}
		o.given[inode{st.Dev, st.Ino}] = true
	}
	for i, d := range o.open {
		if d.dev == st.Dev && d.ino == st.Ino {
			o.open[i].times, o.open[i].free = times, false
		}
	}
	return unix.UtimesNanoAt(fd, ".", times[:], 0)
}

// close is done with all.
func (o *openDirs) close() error {
	var err error
	for _, d := range o.open {
		err = errors.Join(err, d.close())
	}
	o.open, o.stale = o.open[:0], false
	return err
}

func (d openDir) close() error {
	if d.free {
		return unix.Close(d.fd)
	}
	err := unix.UtimesNanoAt(d.fd, ".", d.times[:], 0)
	if errors.Is(err, unix.ENOENT) { // it was deleted
		err = nil
	}
	return errors.Join(err, unix.Close(d.fd))
}

// keepingTimes runs f, which changes the directory, and gives the directory its
// times back.
func keepingTimes(fd int, f func() error) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return unix.UtimesNanoAt(fd, ".", []unix.Timespec{st.Atim, st.Mtim}, 0)
}
