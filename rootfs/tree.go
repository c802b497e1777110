package rootfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Tree is a root file system with other mounts in it, in a mount namespace in
// which no process is: the host does not see them, and they end with the Tree.
type Tree struct {
	Root int // O_PATH; what is opened from it crosses the mounts
	ns   int // keeps the namespace
}

// A TreeMount is a detached mount for a Tree. The mount point is made where it
// is missing.
type TreeMount struct {
	FD          int
	Destination string
	File        bool // it is of a file, not of a directory
}

// MountTree attaches the detached mount root and, in it, the mounts in their
// order. at is any directory of the host; nothing is changed there. The
// descriptors stay the caller's.
func MountTree(root int, at string, mounts []TreeMount) (t *Tree, err error) {
	onThrowawayThread(func() {
		t, err = mountTree(root, at, mounts)
	})
	return t, err
}

func mountTree(root int, at string, mounts []TreeMount) (*Tree, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return nil, step.Fail("unshare", "mount namespace", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, step.Fail("make private", "/", err)
	}
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, step.Fail("mount root on", at, err)
	}
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, step.Fail("open mount namespace", "", err)
	}
	t := &Tree{Root: -1, ns: ns}
	if t.Root, err = unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, errors.Join(step.Fail("open root", at, err), t.Close())
	}
	for _, m := range mounts {
		if err := t.mount(m); err != nil {
			return nil, errors.Join(step.Fail("mount", m.Destination, err), t.Close())
		}
	}
	return t, nil
}

func (t *Tree) mount(m TreeMount) error {
	var err error
	if m.File {
		err = ensureFile(t.Root, m.Destination, maxLinks)
	} else {
		err = MkdirAll(t.Root, m.Destination, 0o755, 0, 0)
	}
	if err != nil && !errors.Is(err, unix.EROFS) {
		return err
	}
	point, err := openInRoot(t.Root, m.Destination, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(point)
	return unix.MoveMount(m.FD, "", point, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// Close lets the mounts go.
func (t *Tree) Close() error {
	err := unix.Close(t.ns)
	if t.Root >= 0 {
		err = errors.Join(err, unix.Close(t.Root))
	}
	return os.NewSyscallError("close", err)
}

// CloneRoot returns a detached clone of the root mount in the mount namespace of
// a process, without the mounts in it: O_PATH, the caller's. It enters the
// namespace with a thread that does nothing else and ends.
func CloneRoot(pidfd int) (fd int, err error) {
	onThrowawayThread(func() {
		fd, err = cloneRoot(pidfd)
	})
	return fd, err
}

func cloneRoot(pidfd int) (int, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // setns(2): the root must not be shared
		return -1, os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(pidfd, unix.CLONE_NEWNS); err != nil {
		return -1, os.NewSyscallError("setns", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	return fd, os.NewSyscallError("open_tree", err)
}
