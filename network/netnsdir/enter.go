package netnsdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// etcDir has, for each name, files that a process sees in /etc when it was sent into
// the namespace by Enter.
const etcDir = "/etc/netns"

// Enter takes the calling thread into the namespace of a name for good, and into a
// mount namespace of its own, in which /sys shows the network's devices and the files
// of /etc/netns/NAME lie on those of /etc. What keeps one of the files from that is told
// to warn, and does not keep the thread. The goroutine has to be locked to its thread.
func (d Dir) Enter(name string, warn func(error)) error {
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
	_ = f.Close() // the thread is in it
	if err != nil {
		return step.Fail("enter network namespace", name, os.NewSyscallError("setns", err))
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// What is mounted from here on is nobody else's; what others mount comes.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "mount --make-rslave", Path: "/", Err: err}
	}
	if err := mountSys(name); err != nil {
		return err
	}
	bindEtc(name, warn)
	return nil
}

// mountSys mounts a sysfs that shows the devices of the thread's network namespace: each
// mount shows those of the namespace in which it was made, sysfs(5).
func mountSys(name string) error {
	var flags uintptr
	if unix.Unmount("/sys", unix.MNT_DETACH) != nil {
		// There is none, or it is locked, as in a container: then it is covered. One
		// that is read-only cannot be covered by one that is not.
		var st unix.Statfs_t
		if unix.Statfs("/sys", &st) == nil && st.Flags&unix.ST_RDONLY != 0 {
			flags = unix.MS_RDONLY
		}
	}
	if err := unix.Mount(name, "/sys", "sysfs", flags, ""); err != nil {
		return &os.PathError{Op: "mount sysfs", Path: "/sys", Err: err}
	}
	return nil
}

func bindEtc(name string, warn func(error)) {
	own := filepath.Join(etcDir, name)
	entries, err := os.ReadDir(own)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			warn(err)
		}
		return
	}
	for _, entry := range entries {
		from, to := filepath.Join(own, entry.Name()), filepath.Join("/etc", entry.Name())
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			warn(step.Fail("mount "+from, "on "+to, err))
		}
	}
}
