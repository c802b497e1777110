// Package netnsdir keeps the directory of named network namespaces, /run/netns, as
// ip-netns(8) does, so that what is made with one is seen by the other.
//
//	/run/netns              a mount of itself, shared: see prepare
//	    blue                an empty file, with a namespace mounted on it: "ip netns add blue"
//	    web -> /proc/714/ns/net     a link: container web of minictr, or made by hand
//
// A mount keeps its namespace alive, with or without a process in it, until it is
// deleted or the machine goes down. A link is only a name: it leads nowhere when the
// process has ended.
//
// Beside the names, which are the same for all, each namespace has numbers for others
// (Numbers): the kernel says with them in which namespace the other end of a cable is.
package netnsdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// Dir is the path of such a directory: network.NetnsDir of a runroot.
type Dir string

// A NameError is a name that no file of the directory can have.
type NameError struct{ Name string }

func (e *NameError) Error() string {
	return fmt.Sprintf("%.300q is no name of a network namespace: it is a file's, without a slash, of at most %d characters", e.Name, unix.NAME_MAX)
}

// CheckName returns a NameError for what ip-netns(8) refuses, too.
func CheckName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > unix.NAME_MAX || strings.ContainsAny(name, "/\x00") {
		return &NameError{name}
	}
	return nil
}

// Path is the file of a name.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Names lists what is there, in the order in which the directory has it, as
// ip-netns(8) does: links that lead nowhere and files that are no namespace, too. No
// directory is an empty one.
func (d Dir) Names() ([]string, error) {
	f, err := os.Open(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Open opens a namespace by its name.
func (d Dir) Open(name string) (*os.File, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	f, err := network.Netns{Path: d.Path(name)}.Open()
	if target, linked := d.Linked(name); linked && errors.Is(err, fs.ErrNotExist) {
		err = &network.Cause{Text: "it is a link to " + target + ", which is no more", Err: unix.ENOENT}
	}
	return f, step.Fail("open network namespace", name, cause(err))
}

// cause leaves out the operation and the path of an error, which stand before it.
func cause(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Linked returns where the name leads, when it is a symbolic link.
func (d Dir) Linked(name string) (target string, linked bool) {
	target, err := os.Readlink(d.Path(name))
	return target, err == nil
}

// Add makes a network namespace of a name, which holds nothing but a lo that is down.
func (d Dir) Add(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := d.mount(name, func() (string, func(), error) {
		f, err := network.NewNetns()
		if err != nil {
			return "", nil, err
		}
		// By this thread's descriptors: it may have a mount namespace of its own.
		return fmt.Sprintf("/proc/thread-self/fd/%d", f.Fd()), func() { _ = f.Close() }, nil // the mount has it
	})
	return step.Fail("add network namespace", name, err)
}

// Attach gives the network namespace of a process a name.
func (d Dir) Attach(name string, pid int) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := d.mount(name, func() (string, func(), error) {
		path := processNetns(pid)
		_, err := os.Stat(path)
		return path, func() {}, ended(err)
	})
	return step.Fail(fmt.Sprintf("attach the network namespace of process %d as", pid), name, err)
}

// mount makes the file of a name and mounts a namespace on it.
func (d Dir) mount(name string, source func() (path string, done func(), err error)) error {
	if err := d.prepare(); err != nil {
		return err
	}
	if err := d.create(name); err != nil {
		return err
	}
	path, done, err := source()
	if err == nil {
		err = os.NewSyscallError("mount", unix.Mount(path, d.Path(name), "", unix.MS_BIND, ""))
		done()
	}
	if err != nil {
		return errors.Join(err, cause(os.Remove(d.Path(name))))
	}
	return nil
}

// create makes the file of a name. A link of a process that has ended, which a container
// has left, is replaced.
func (d Dir) create(name string) error {
	open := func() error {
		f, err := os.OpenFile(d.Path(name), os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0)
		if err == nil {
			_ = f.Close() // empty, there to be mounted on
		}
		return cause(err)
	}
	err := open()
	if errors.Is(err, fs.ErrExist) && d.leadsNowhere(name) {
		if err = os.Remove(d.Path(name)); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = open()
		}
	}
	return cause(err)
}

// leadsNowhere reports whether the name is a link to the namespace of a process that is
// no more.
func (d Dir) leadsNowhere(name string) bool {
	target, linked := d.Linked(name)
	if !linked || !strings.HasPrefix(target, "/proc/") || !strings.HasSuffix(target, "/ns/net") {
		return false
	}
	_, err := os.Stat(d.Path(name))
	return errors.Is(err, fs.ErrNotExist)
}

// prepare makes the directory, and makes it a mount point that is shared: so a name
// that one mount namespace takes away goes from all that were copied from it, and the
// network namespace with it. The lock is the one that ip-netns(8) takes, lest two make
// two mounts of it.
func (d Dir) prepare() error {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return err
	}
	lock, err := d.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	share := func() error { return unix.Mount("", string(d), "", unix.MS_SHARED|unix.MS_REC, "") }
	err = share()
	if errors.Is(err, unix.EINVAL) { // it is no mount point
		if err = unix.Mount(string(d), string(d), "", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = share()
		}
	}
	if err != nil {
		return &os.PathError{Op: "share mount", Path: string(d), Err: err}
	}
	return nil
}

// lock keeps others out of making and unmaking the mount, until it is closed.
func (d Dir) lock() (*os.File, error) {
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
	}
	return f, nil
}

// usual is the directory of ip-netns(8), which keeps its mount for good.
const usual Dir = "/run/netns"

// tidy unmounts another directory than the usual one when nothing is in it any more, so
// that whoever has made it can remove it.
func (d Dir) tidy() error {
	if d == usual {
		return nil
	}
	lock, err := d.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if names, err := d.Names(); err != nil || len(names) > 0 {
		return err
	}
	// The lock is on it, too, so it can only be detached. EINVAL: it is no mount.
	if err := unix.Unmount(string(d), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		return &os.PathError{Op: "unmount", Path: string(d), Err: err}
	}
	return nil
}

// Delete takes a name away. The namespace goes with it, unless something else keeps
// it; see Life.
func (d Dir) Delete(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	const most = 64
	for range most { // one may lie on the other
		if unix.Unmount(d.Path(name), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) != nil {
			break // nothing is mounted there, or unlink says what is wrong
		}
	}
	if err := unix.Unlink(d.Path(name)); err != nil {
		return step.Fail("delete network namespace", name, err)
	}
	return d.tidy()
}
