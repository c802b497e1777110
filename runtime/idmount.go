package runtime

import (
	"errors"
	"fmt"
	"os"
	stdruntime "runtime"
	"strconv"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// In a user namespace the files of an image, which are root's on the disk, must
// be root's of the container. An idmapped mount (mount_setattr(2),
// MOUNT_ATTR_IDMAP, Linux 5.12) shows them so, and writes them back as they
// were: nothing is chowned.

// userNamespace opens a user namespace with the container's mappings, once.
func (l *launch) userNamespace() (fd int, err error) {
	if l.userns == 0 {
		l.userns, err = l.newUserNamespace(l.config.UIDMappings, l.config.GIDMappings)
	}
	return l.userns, err
}

// newUserNamespace opens a user namespace with the mappings. A child that does
// nothing holds it while they are written.
func (l *launch) newUserNamespace(uids, gids []specs.LinuxIDMapping) (int, error) {
	read, write, err := l.pipe()
	if err != nil {
		return -1, err
	}
	var p program.Program
	p.Task("hold a user namespace", "unshare --user")
	p.Add(program.Close(program.Number(write)), program.Await(program.Number(read), p.Slot()), program.ExitGroup(0))
	child, err := program.Start(&p, program.Options{Flags: unix.CLONE_NEWUSER})
	if err != nil {
		return -1, step.Fail("make the user namespace of", l.config.Name, err)
	}
	defer waitChild(child.Pid)
	defer func() { _ = unix.PidfdSendSignal(child.Pidfd, unix.SIGKILL, nil, 0); unix.Close(child.Pidfd) }() // it is ours
	defer child.Close()
	if err := l.writeMappings(child.Pid, uids, gids); err != nil {
		return -1, err
	}
	fd, err := unix.Open("/proc/"+strconv.Itoa(child.Pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, step.Fail("open the user namespace of", l.config.Name, err)
	}
	return l.own(fd)
}

// idMount returns a detached bind mount of a directory with the ids mapped.
func (l *launch) idMount(dir string, userNamespace int) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, step.Fail("map the ids of", dir, err)
	}
	if fd, err = l.own(fd); err != nil {
		return -1, err
	}
	return fd, step.Fail("map the ids of", dir, setIDMap(fd, userNamespace))
}

// setIDMap maps the ids of a detached mount.
func setIDMap(fd, userNamespace int) error {
	err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userNamespace)})
	if errors.Is(err, unix.EINVAL) {
		return explainIDMap(fd, err)
	}
	return err
}

// idmapSince are the kernels with which file systems learnt to map ids:
// mount_setattr(2), "ID-mapped mounts", and the kernel's change logs.
var idmapSince = map[string]string{
	"ext4": "5.12", "vfat": "5.12", "xfs": "5.12", "btrfs": "5.15", "ntfs3": "5.15", "f2fs": "5.18", "erofs": "5.19",
	"squashfs": "6.2", "tmpfs": "6.3", "ceph": "6.7", "hugetlbfs": "6.9", "fuse": "6.12", "virtiofs": "6.12",
}

// explainIDMap names the file system that cannot map ids; EINVAL does not.
func explainIDMap(fd int, err error) error {
	name := fileSystemOf(fd)
	if since, ok := idmapSince[name]; ok {
		return fmt.Errorf("the file system %s cannot map ids here; Linux %s is the first with which it can: %w", name, since, err)
	}
	return fmt.Errorf("the file system %s cannot map ids: %w", name, err)
}

// mappedRoot makes the root file system of a container with a user namespace.
func (l *launch) mappedRoot() (int, error) {
	ns, err := l.userNamespace()
	if err != nil {
		return -1, err
	}
	if dir := l.config.Image.Rootfs; dir != "" {
		fd, err := l.idMount(dir, ns)
		return fd, err
	}
	overlay := l.overlay()
	own, err := l.idMount(l.lasting(l.config.ID), ns)
	if err != nil {
		return -1, err
	}
	overlay.Upper, overlay.Work, _ = rootfs.WritableLayer(descriptorPath(own))
	overlay.Lower = nil
	for _, dir := range l.config.Image.Layers {
		fd, err := l.idMount(dir, ns)
		if err != nil {
			return -1, err
		}
		overlay.Lower = append(overlay.Lower, descriptorPath(fd))
	}
	var fd int
	err = l.asRootOfContainer(func() (err error) {
		fd, err = rootfs.MountOverlay(overlay)
		return err
	})
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w (an image in a user namespace needs Linux 6.15; --rootfs DIR does without)", err)
	}
	return fd, err
}

// asRootOfContainer calls f as the container's root as far as files go: what it
// makes on an idmapped mount must belong to somebody that the mount maps, and
// overlayfs works with the ids of who mounted it. Without a user namespace it
// just calls f. The thread is thrown away: setfsuid(2) is its own.
func (l *launch) asRootOfContainer(f func() error) error {
	if len(l.config.UIDMappings) == 0 {
		return f()
	}
	done := make(chan error)
	go func() {
		stdruntime.LockOSThread() // and never unlocked
		done <- func() error {
			if err := setFileIDs(l.config.hostUID(0), l.config.hostGID(0)); err != nil {
				return step.Fail("become the root of", l.config.Name, err)
			}
			return f()
		}()
	}()
	return <-done
}

// setFileIDs sets the ids that file access goes by, and keeps the capabilities
// that leaving user 0 takes away; see capabilities(7), "Effect of user ID
// changes on capabilities".
func setFileIDs(uid, gid uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	// They return the id of before, and no error.
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
	return os.NewSyscallError("capset", unix.Capset(&header, &data[0]))
}

func descriptorPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
