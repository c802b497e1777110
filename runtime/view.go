package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A view is a container's root directory as it is read and written from outside.
//
//	            with mounts                        without
//	running     /proc/PID/root                     a clone of its root mount
//	stopped     its overlay, binds and volumes     its overlay
//	            in a namespace of their own
//
// Nothing of the container is run, and no process enters it. A stopped one is
// locked as long as the view is open.
type view struct {
	root    int // O_PATH
	config  *Config
	running bool
	closes  []func() error
}

// viewOptions say what a view is for.
type viewOptions struct {
	mounts bool // with what is mounted in the container
	write  bool
}

func (v *view) onClose(f func() error) { v.closes = append(v.closes, f) }

func (v *view) own(fd int) { v.onClose(func() error { return unix.Close(fd) }) }

func (v *view) close() error {
	var errs []error
	for i := len(v.closes) - 1; i >= 0; i-- {
		errs = append(errs, v.closes[i]())
	}
	v.closes = nil
	return errors.Join(errs...)
}

// view opens the container's root directory. While it is being started or ended
// it waits.
func (r *Runtime) view(name string, o viewOptions) (*view, error) {
	const patience = 10 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(lockPause) {
		c, err := r.Container(name)
		if err != nil {
			return nil, err
		}
		v := &view{config: c.Config}
		if c.Status == Running {
			err = v.openRunning(c, o)
		} else {
			err = v.openStopped(r, o)
		}
		if err == nil {
			return v, nil
		}
		err = errors.Join(err, v.close())
		if (isNotRunning(err) || errors.Is(err, errLocked)) && time.Now().Before(deadline) {
			continue // its state is another one by now, or is about to be
		}
		return nil, step.Fail("look into", c.Config.Name, err)
	}
}

// openRunning takes the root of the container's process. That it was the
// container's process, and no other that got its number, is known because it
// lived before and lives after.
func (v *view) openRunning(c *Container, o viewOptions) error {
	pidfd, err := c.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if o.mounts {
		root := fmt.Sprintf("/proc/%d/root", c.State.Pid)
		v.root, err = unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	} else {
		v.root, err = rootfs.CloneRoot(pidfd)
	}
	if errors.Is(err, unix.ENOENT) || err != nil && !c.State.alive() { // ENOENT: on its way out, exit_fs in the kernel
		return &NotRunningError{c.Config.Name}
	}
	if err != nil {
		return err
	}
	v.own(v.root)
	if !c.State.alive() {
		return &NotRunningError{c.Config.Name}
	}
	v.running = true
	return nil
}

// openStopped locks the container and mounts its overlay, where nobody sees it.
func (v *view) openStopped(r *Runtime, o viewOptions) error {
	how := unix.LOCK_SH
	if o.write {
		how = unix.LOCK_EX
	}
	lock, err := r.flock(v.config.ID, how|unix.LOCK_NB)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{v.config.Name}
	}
	if err != nil {
		return err
	}
	v.onClose(func() error { lock.release(); return nil })
	if r.state(v.config.ID).alive() {
		return errLocked
	}
	l := &launch{Runtime: r, config: v.config}
	v.onClose(func() error { l.close(); l.letVolumesGo(); return nil })
	root, err := l.quietRoot(!o.write)
	if err != nil {
		return err
	}
	v.root, l.plan.root = root, root
	if !o.mounts {
		return nil
	}
	mounts, err := l.quietMounts()
	if err != nil || len(mounts) == 0 {
		return err
	}
	tree, err := rootfs.MountTree(root, r.Root, mounts)
	if err != nil {
		return err
	}
	v.root = tree.Root
	v.onClose(tree.Close)
	return nil
}

// quietRoot mounts the root file system of a container that does not run. The
// ids of a user namespace are not mapped: those on the disk are the container's.
func (l *launch) quietRoot(readOnly bool) (int, error) {
	var fd int
	var err error
	if dir := l.config.Image.Rootfs; dir != "" {
		fd, err = rootfs.BindDirectory(dir)
	} else {
		overlay := l.overlay()
		overlay.ReadOnly = readOnly || l.config.ReadOnly
		fd, err = rootfs.MountOverlay(overlay)
	}
	if err != nil {
		return -1, err
	}
	if fd, err = l.own(fd); err != nil || !l.config.ReadOnly || l.config.Image.Rootfs == "" {
		return fd, err
	}
	return fd, step.Fail("make read-only", l.config.Image.Rootfs, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
}

// quietMounts opens what would be bound into the container if it ran.
func (l *launch) quietMounts() (mounts []rootfs.TreeMount, err error) {
	l.plan.prepared, l.plan.names, l.plan.files = map[int]int{}, map[int]string{}, map[int]bool{}
	l.plan.spec = &specs.Spec{Mounts: l.config.mounts()}
	if err := l.placeMounts(); err != nil {
		return nil, err
	}
	for i := range l.plan.spec.Mounts {
		m := &l.plan.spec.Mounts[i]
		if m.Type != "bind" && m.Type != "volume" {
			continue
		}
		if len(l.config.UIDMappings) > 0 {
			return nil, errors.New("it has a user namespace and mounts, whose owners are known while it runs: start it first")
		}
		if err := l.openSource(i, m); err != nil {
			return nil, err
		}
		mounts = append(mounts, rootfs.TreeMount{FD: l.plan.prepared[i], Destination: path.Clean("/" + m.Destination), File: l.plan.files[i]})
	}
	return mounts, nil
}

// inside gives the container's number of an owner that the view shows, outside
// the other way round. They differ where a container with a user namespace runs.
func (v *view) inside(uid, gid int) (int, int) {
	if !v.mapped() {
		return uid, gid
	}
	return int(containerID(v.config.UIDMappings, uint32(uid))), int(containerID(v.config.GIDMappings, uint32(gid)))
}

func (v *view) outside(uid, gid int) (int, int) {
	if !v.mapped() {
		return uid, gid
	}
	return int(v.config.hostUID(uint32(uid))), int(v.config.hostGID(uint32(gid)))
}

func (v *view) mapped() bool { return v.running && len(v.config.UIDMappings) > 0 }

// made reports whether a name is one that minictr makes in a container's own
// layer to mount on: docker has them in a layer that does not count.
func made(name string) bool {
	switch name {
	case "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf":
		return true
	}
	return false
}
