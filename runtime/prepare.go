package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The stages of a launch that read the host and fill the plan.

// prepareGroup makes the cgroup. On v2 the child is born in it.
func (l *launch) prepareGroup() (err error) {
	if l.cgroups, err = cgroups.Detect(); err != nil {
		return err
	}
	if l.cgroups.Mode == cgroups.None {
		return nil
	}
	if l.group, err = l.cgroups.New(l.plan.spec.Linux.CgroupsPath, l.plan.spec.Linux.Resources); err != nil {
		return err
	}
	if err := l.apply(l.group.Steps()...); err != nil {
		return err
	}
	l.plan.hierarchies = hierarchiesOf(l.cgroups)
	return l.openGroup()
}

// openGroup opens what the child enters its cgroup by: the directory of v2, to be
// born in, and the task files of v1.
func (l *launch) openGroup() error {
	fd, err := l.group.OpenDir()
	if err == nil {
		l.plan.cgroupFD, err = l.own(fd)
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for _, file := range l.group.TaskFiles() {
		fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return step.Fail("open", file, err)
		}
		if fd, err = l.own(fd); err != nil {
			return err
		}
		l.plan.tasks = append(l.plan.tasks, taskFile{file, fd})
		l.plan.cgroupNS = true // only when it is in its group
	}
	return nil
}

// prepareRoot makes the root file system as a detached mount: an overlay of the
// image's layers and the container's own, or a directory.
func (l *launch) prepareRoot() (err error) {
	var fd int
	switch dir := l.config.Image.Rootfs; {
	case len(l.config.UIDMappings) > 0:
		fd, err = l.mappedRoot()
	case dir != "":
		fd, err = rootfs.BindDirectory(dir)
	default:
		fd, err = rootfs.MountOverlay(l.overlay())
	}
	if err != nil {
		return err
	}
	l.plan.root, err = l.own(fd)
	l.plan.attach = l.Runroot
	return err
}

// overlay is the image's layers below the container's own.
func (l *launch) overlay() rootfs.Overlay {
	upper, work, _ := rootfs.WritableLayer(l.lasting(l.config.ID))
	return rootfs.Overlay{Lower: l.config.Image.Layers, Upper: upper, Work: work, Volatile: l.config.Remove}
}

// prepareMounts opens the sources of the bind mounts and volumes and makes the
// mount points. The sources are resolved here, on the host, once; what is mounted
// is what was opened.
func (l *launch) prepareMounts() error {
	p := &l.plan
	if l.config.Init {
		if err := l.bindInit(); err != nil {
			return err
		}
	}
	if len(l.config.UIDMappings) > 0 {
		l.bindDevices()
	}
	for i := range p.spec.Mounts {
		m := &p.spec.Mounts[i]
		m.Destination = path.Clean("/" + m.Destination)
		if err := l.openSource(i, m); err != nil {
			return err
		}
		if err := l.makeMountPoint(i, m); err != nil {
			return step.Fail("make the mount point", m.Destination, err)
		}
	}
	return nil
}

// bindInit binds the init program, which is the monitor's file, into /dev.
func (l *launch) bindInit() error {
	path, err := Beside("minictr-monitor")
	if err != nil {
		return err
	}
	l.plan.spec.Mounts = append(l.plan.spec.Mounts, specs.Mount{Destination: initPath, Type: "bind", Source: path, Options: []string{"bind", "ro", "nosuid", "nodev"}})
	return nil
}

// makeMountPoint makes a missing mount point on the root file system, or on a
// bind mount that covers it. On a tmpfs of the container the child makes it.
func (l *launch) makeMountPoint(i int, m *specs.Mount) error {
	root := l.plan.root
	below, rest := cover(l.plan.spec.Mounts, i, m.Destination)
	if below >= 0 {
		fd, bound := l.plan.prepared[below]
		if !bound || l.plan.files[below] {
			return nil
		}
		root = fd
	}
	return l.asRootOfContainer(func() error {
		if l.plan.files[i] {
			return rootfs.EnsureFile(root, rest)
		}
		return rootfs.MkdirAll(root, rest, 0o755, int(l.config.hostUID(0)), int(l.config.hostGID(0)))
	})
}

// preparePaths finds out which of the paths to mask and to protect exist: those
// of procfs and sysfs are the same in the container as here.
func (l *launch) preparePaths() error {
	p := &l.plan
	p.masks = map[string]bool{}
	for _, m := range p.spec.Linux.MaskedPaths {
		if isDirectory, exists := l.look(m); exists {
			p.masks[m] = isDirectory
		}
	}
	for _, r := range p.spec.Linux.ReadonlyPaths {
		if _, exists := l.look(r); exists {
			p.readonly = append(p.readonly, r)
		}
	}
	return nil
}

// look reports what a path of procfs or sysfs is, or of what was asked for in
// their place.
func (l *launch) look(path string) (isDirectory, exists bool) {
	below, rest := cover(l.plan.spec.Mounts, len(l.plan.spec.Mounts), path)
	if below < 0 || l.asked[below] == nil {
		s, err := os.Stat(path)
		return err == nil && s.IsDir(), err == nil
	}
	fd, bound := l.plan.prepared[below]
	if !bound {
		return false, false // a tmpfs, which is empty
	}
	s, err := rootfs.Stat(fd, rest)
	return err == nil && s.Mode&unix.S_IFMT == unix.S_IFDIR, err == nil
}

// prepareDevices lists the nodes for /dev, looks those of --device up, and says
// in the resources which the container may use.
func (l *launch) prepareDevices() error {
	p := &l.plan
	resources := specs.LinuxResources{}
	if r := p.spec.Linux.Resources; r != nil {
		resources = *r
	}
	p.spec.Linux.Resources = &resources
	resources.Devices = cgroups.DefaultDevices()
	if l.config.Privileged {
		resources.Devices = cgroups.AllDevices()
	}
	if len(l.config.UIDMappings) == 0 {
		p.devices = append(p.devices, defaultDevices...)
	}
	if l.config.Privileged && len(l.config.UIDMappings) == 0 {
		p.devices = append(p.devices, hostDevices()...)
	}
	for _, d := range l.config.Devices {
		var s unix.Stat_t
		if err := unix.Stat(d.Host, &s); err != nil {
			return step.Fail("add device", d.Host, err)
		}
		if t := s.Mode & unix.S_IFMT; t != unix.S_IFCHR && t != unix.S_IFBLK {
			return step.Fail("add device", d.Host, errors.New("not a device"))
		}
		below, found := strings.CutPrefix(path.Clean(d.Container), "/dev/")
		if !found {
			return step.Fail("add device", d.Container, errors.New("its path in the container is not below /dev"))
		}
		node := deviceNode{path: below, mode: s.Mode, major: unix.Major(s.Rdev), minor: unix.Minor(s.Rdev), uid: s.Uid, gid: s.Gid}
		if len(l.config.UIDMappings) == 0 {
			p.devices = append(p.devices, node)
		}
		resources.Devices = append(resources.Devices, node.rule(d.Permissions))
	}
	return nil
}

// hostDevices are the device nodes of the host's /dev, for --privileged, without
// those that every container has its own of.
func hostDevices() (nodes []deviceNode) {
	own := map[string]bool{"pts": true, "shm": true, "mqueue": true, "console": true, "ptmx": true}
	for _, d := range defaultDevices {
		own[d.path] = true
	}
	_ = fs.WalkDir(os.DirFS("/dev"), ".", func(path string, e fs.DirEntry, err error) error {
		if own[path] && e.IsDir() {
			return fs.SkipDir
		}
		var s unix.Stat_t
		if err != nil || own[path] || e.Type()&fs.ModeDevice == 0 || unix.Lstat("/dev/"+path, &s) != nil {
			return nil // what cannot be read is not given
		}
		nodes = append(nodes, deviceNode{path: path, mode: s.Mode, major: unix.Major(s.Rdev), minor: unix.Minor(s.Rdev), uid: s.Uid, gid: s.Gid})
		return nil
	})
	return nodes
}

// rule allows the device in the container's cgroup.
func (d deviceNode) rule(permissions string) specs.LinuxDeviceCgroup {
	major, minor, kind := int64(d.major), int64(d.minor), "c"
	if d.mode&unix.S_IFMT == unix.S_IFBLK {
		kind = "b"
	}
	return specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: permissions}
}

// bindDevices, in a user namespace, binds the host's nodes: mknod(2) is refused
// there.
func (l *launch) bindDevices() {
	for _, d := range defaultDevices {
		l.plan.spec.Mounts = append(l.plan.spec.Mounts, specs.Mount{Destination: "/dev/" + d.path, Type: "bind", Source: "/dev/" + d.path, Options: []string{"bind"}})
	}
	for _, d := range l.config.Devices {
		l.plan.spec.Mounts = append(l.plan.spec.Mounts, specs.Mount{Destination: d.Container, Type: "bind", Source: d.Host, Options: []string{"bind"}})
	}
}

// preparePipes makes the pipes that the child waits on. A container dies with
// its parent; a process of Exec does not, it ends with the container.
func (l *launch) preparePipes() error {
	p := &l.plan
	p.deathSignal, p.closeForeign = p.attach != "", true
	for _, w := range []struct {
		needed      bool
		read, write *int
	}{
		{len(l.config.UIDMappings) > 0, &p.mapped, &l.release.mapped},
		{p.attach != "", &p.start, &l.release.start},
	} {
		if !w.needed {
			continue
		}
		read, write, err := l.pipe()
		if err != nil {
			return step.Fail("make a pipe for", l.config.Name, err)
		}
		*w.read, *w.write = read, write
		p.parentEnds = append(p.parentEnds, write)
	}
	return nil
}

// hierarchiesOf says what a container finds at /sys/fs/cgroup.
func hierarchiesOf(h *cgroups.Host) []hierarchy {
	if h.Mode == cgroups.V2 {
		return []hierarchy{{fstype: "cgroup2"}}
	}
	var out []hierarchy
	for _, i := range h.Hierarchies {
		switch {
		case i.V2:
			out = append(out, hierarchy{name: filepath.Base(i.Mountpoint), fstype: "cgroup2"})
		case i.Name != "":
			out = append(out, hierarchy{name: i.Name, fstype: "cgroup", options: []string{"none", "name=" + i.Name}})
		default:
			out = append(out, hierarchy{name: strings.Join(i.Controllers, ","), fstype: "cgroup", options: i.Controllers})
		}
	}
	return out
}
