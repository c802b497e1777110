package runtime

import (
	"strings"

	"github.com/minictr/minictr/runtime/program"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountAll makes the mounts of the spec in their order. Each is made detached,
// in full, and then moved onto a descriptor of its target that was resolved
// inside the root: at no moment does a path lead out of the container.
func (c *compiler) mountAll() {
	c.Task("", "")
	c.Add(program.Umask(0))
	c.mounts = make([]program.Slot, len(c.spec.Mounts))
	for i := range c.spec.Mounts {
		if m := &c.spec.Mounts[i]; m.Type != "cgroup" { // that one comes later
			c.mount(i, m)
		}
	}
}

func (c *compiler) mount(i int, m *specs.Mount) {
	options := parseMountOptions(m.Options)
	c.Task(mountWords(m), mountCommand(m))
	c.mounts[i] = c.Slot()
	if name, ok := c.names[i]; ok {
		c.Add(program.OpenTree(program.Number(c.filesystem), name, 0).Into(c.mounts[i]))
	} else if fd, ok := c.prepared[i]; ok {
		c.Add(program.DupAbove(program.Number(fd), 3).Into(c.mounts[i]))
	} else {
		c.makeMount(m.Type, m.Source, options, c.mounts[i])
	}
	c.makeTarget(i, m.Destination)
	c.moveOnto(c.mounts[i], m.Destination)
	c.makePrivate(i, m.Destination)
	switch {
	case m.Destination == "/proc":
		c.keepProc(i)
	case m.Destination == "/dev" && m.Type == "tmpfs": // in what was bound there nothing is made
		c.dev = c.mounts[i]
	case m.Destination == "/dev/pts":
		c.devpts = c.mounts[i]
	default:
		c.forget(i)
	}
}

// keepProc keeps a mount of the container's procfs that is attached nowhere: what
// is mounted at /proc/sys later, to protect it or because somebody asked for it, is
// not on this one.
func (c *compiler) keepProc(i int) {
	c.procfs = c.Slot()
	c.Add(program.OpenTree(c.mounts[i], "", unix.AT_EMPTY_PATH).Into(c.procfs))
	c.forget(i)
}

// makePrivate keeps mounts from passing through what is mounted on a bind mount.
func (c *compiler) makePrivate(i int, destination string) {
	for _, below := range c.private[i] {
		c.Task("let no mounts pass through "+destination+"/"+below, "mount --make-rprivate "+destination+"/"+below)
		fd := c.Slot()
		c.Add(
			program.Openat2(c.mounts[i], below, unix.O_PATH, 0, program.InRoot).Into(fd),
			program.MountSetattr(fd, 0, 0, unix.MS_PRIVATE, true),
		)
		c.Close(fd)
	}
}

// forget gives the slot of a mount back that nothing needs any more: no later
// mount point has to be made on it.
func (c *compiler) forget(i int) {
	for j := i + 1; j < len(c.spec.Mounts); j++ {
		if below, _ := c.cover(j, c.spec.Mounts[j].Destination); below == i {
			return
		}
	}
	c.Close(c.mounts[i])
}

// makeMount makes a new file system and leaves its detached mount in the slot.
func (c *compiler) makeMount(fstype, source string, o mountOptions, into program.Slot) {
	fs := c.Slot()
	c.Add(program.Fsopen(fstype).Into(fs))
	if source != "" {
		c.Add(program.FsconfigString(fs, "source", source))
	}
	for _, d := range o.data {
		if key, value, found := strings.Cut(d, "="); found {
			c.Add(program.FsconfigString(fs, key, value))
		} else {
			c.Add(program.FsconfigFlag(fs, d))
		}
	}
	c.Add(
		program.FsconfigCreate(fs),
		program.Fsmount(fs, o.set).Into(into),
		program.Close(fs),
	)
	c.Free(fs)
}

// moveOnto attaches a mount at a path of the container.
func (c *compiler) moveOnto(mount program.Slot, path string) {
	target := c.Slot()
	c.Add(
		program.Openat2(program.Number(c.root), path, unix.O_PATH, 0, program.InRoot).Into(target),
		program.MoveMount(mount, target, ""),
		program.Close(target),
	)
	c.Free(target)
}

// makeTarget makes the mount point where it lies on a tmpfs that this program
// mounts. All others were made beforehand, by the parent.
func (c *compiler) makeTarget(i int, path string) {
	below, rest := c.cover(i, path)
	if below < 0 || c.spec.Mounts[below].Type != "tmpfs" {
		return
	}
	parts := strings.Split(rest, "/")
	for n := range parts {
		p := strings.Join(parts[:n+1], "/")
		if n == len(parts)-1 && c.files[i] {
			c.Add(program.Mknodat(c.mounts[below], p, unix.S_IFREG|0o644, 0, 0).Except(unix.EEXIST))
			continue
		}
		c.Add(program.Mkdirat(c.mounts[below], p, 0o755).Except(unix.EEXIST))
	}
}

// cover returns the mount before i that the path lies below, and the rest of the
// path; -1 when it lies on the root file system itself.
func (c *compiler) cover(i int, path string) (int, string) { return cover(c.spec.Mounts, i, path) }

func cover(mounts []specs.Mount, i int, path string) (below int, rest string) {
	below, rest = -1, strings.TrimPrefix(path, "/")
	longest := 0
	for j, m := range mounts[:i] {
		prefix := strings.TrimSuffix(m.Destination, "/") + "/"
		if strings.HasPrefix(path, prefix) && len(prefix) >= longest {
			below, rest, longest = j, path[len(prefix):], len(prefix)
		}
	}
	return below, rest
}

// populateDev makes the nodes and links of /dev on the tmpfs that was mounted
// there. In a user namespace mknod(2) is refused, and the parent has put bind
// mounts of the host's nodes into spec.Mounts instead.
func (c *compiler) populateDev() {
	if c.dev == 0 {
		return
	}
	for _, d := range c.devices {
		c.Task("make the device /dev/"+d.path, deviceCommand(d))
		parts := strings.Split(d.path, "/")
		for n := 1; n < len(parts); n++ {
			c.Add(program.Mkdirat(c.dev, strings.Join(parts[:n], "/"), 0o755).Except(unix.EEXIST))
		}
		c.Add(program.Mknodat(c.dev, d.path, d.mode, d.major, d.minor).Except(unix.EEXIST))
		if d.uid != 0 || d.gid != 0 {
			c.Add(program.Fchownat(c.dev, d.path, d.uid, d.gid))
		}
	}
	c.Task("make the links of /dev", "ln -s /proc/self/fd /dev/fd; …")
	for _, l := range defaultLinks {
		c.Add(program.Symlinkat(l[0], c.dev, l[1]).Except(unix.EEXIST))
	}
	c.bindConsole()
}

// bindConsole puts the container's terminal at /dev/console, OCI runtime-spec,
// config-linux.md, "Default Devices".
func (c *compiler) bindConsole() {
	if c.console == 0 || c.devpts == 0 {
		return
	}
	c.Task("put the terminal at /dev/console", "mount --bind /dev/pts/"+c.consoleName+" /dev/console")
	tree := c.Slot()
	c.Add(
		program.Mknodat(c.dev, "console", unix.S_IFREG|0o600, 0, 0).Except(unix.EEXIST),
		program.OpenTree(c.devpts, c.consoleName, unix.AT_SYMLINK_NOFOLLOW).Into(tree),
	)
	c.moveOnto(tree, "/dev/console")
	c.Close(tree)
}

// maskPaths hides files behind /dev/null and directories behind an empty
// read-only tmpfs, OCI runtime-spec, config-linux.md, "Masked Paths".
func (c *compiler) maskPaths() {
	var null program.Slot
	first := "" // the first directory that was hidden; the others are clones of it
	for _, path := range c.spec.Linux.MaskedPaths {
		directory, exists := c.masks[path]
		if !exists {
			continue
		}
		tree := c.Slot()
		switch {
		case !directory:
			c.Task("hide "+path, "mount --bind /dev/null "+path)
			if null == 0 { // the host's: what lies at /dev may be the user's
				null = c.Slot()
				c.Add(program.Openat2(program.CurrentDirectory(), "/dev/null", unix.O_PATH, 0, 0).Into(null))
			}
			c.Add(program.OpenTree(null, "", unix.AT_EMPTY_PATH).Into(tree))
		case first == "":
			c.Task("hide "+path, "mount -t tmpfs -o ro tmpfs "+path)
			c.makeMount("tmpfs", "tmpfs", mountOptions{set: unix.MOUNT_ATTR_RDONLY, data: []string{"size=0k", "nr_inodes=2"}}, tree)
			first = strings.TrimPrefix(path, "/")
		default:
			c.Task("hide "+path, "mount --bind /"+first+" "+path)
			c.cloneOf("/"+first, tree, 0)
		}
		c.moveOnto(tree, path)
		c.Close(tree)
	}
}

// Close closes the slot's descriptor and gives the slot back.
func (c *compiler) Close(s program.Slot) {
	c.Add(program.Close(s))
	c.Free(s)
}

// protectPaths makes paths read-only by a bind mount of each onto itself.
func (c *compiler) protectPaths() {
	for _, path := range c.readonly {
		c.Task("make "+path+" read-only", "mount --bind -o ro "+path+" "+path)
		tree := c.Slot()
		c.cloneOf(path, tree, unix.AT_RECURSIVE)
		c.Add(program.MountSetattr(tree, unix.MOUNT_ATTR_RDONLY, 0, 0, true))
		c.moveOnto(tree, path)
		c.Close(tree)
	}
}

// cloneOf makes a bind mount of a path of the container. The path is resolved by
// openat2, inside the root: open_tree(2) itself would follow an absolute link of
// the image to the host.
func (c *compiler) cloneOf(path string, into program.Slot, flags uint64) {
	fd := c.Slot()
	c.Add(
		program.Openat2(program.Number(c.root), path, unix.O_PATH, 0, program.InRoot).Into(fd),
		program.OpenTree(fd, "", flags|unix.AT_EMPTY_PATH).Into(into),
		program.Close(fd),
	)
	c.Free(fd)
}

// mountCgroup mounts the cgroup file systems, after the process is in its group
// and has a cgroup namespace, so that the mounts show the group as their root.
func (c *compiler) mountCgroup() {
	for i := range c.spec.Mounts {
		m := &c.spec.Mounts[i]
		if m.Type != "cgroup" {
			continue
		}
		o := parseMountOptions(m.Options)
		o.data = nil
		c.mounts[i] = c.Slot()
		if len(c.hierarchies) == 1 && c.hierarchies[0].name == "" {
			c.Task("mount the cgroup at "+m.Destination, "mount -t cgroup2 cgroup2 "+m.Destination)
			o.data = c.hierarchies[0].options
			c.makeTarget(i, m.Destination)
			c.makeMount(c.hierarchies[0].fstype, "cgroup", o, c.mounts[i])
			c.moveOnto(c.mounts[i], m.Destination)
			continue
		}
		c.makeTarget(i, m.Destination)
		c.mountHierarchies(c.mounts[i], m.Destination, o)
	}
}

// mountHierarchies mounts the cgroup v1 hierarchies on a tmpfs, each in a
// directory of its own, as cgroups(7) describes.
func (c *compiler) mountHierarchies(base program.Slot, path string, o mountOptions) {
	c.Task("mount the cgroup hierarchies at "+path, "mount -t tmpfs cgroup "+path)
	writable := o
	writable.set &^= unix.MOUNT_ATTR_RDONLY
	writable.data = []string{"mode=755", "size=64k"}
	c.makeMount("tmpfs", "cgroup", writable, base)
	c.moveOnto(base, path)
	for _, h := range c.hierarchies {
		c.Task("", "")
		tree, o := c.Slot(), o
		o.data = h.options
		c.Add(program.Mkdirat(base, h.name, 0o755))
		c.makeMount(h.fstype, "cgroup", o, tree)
		c.Add(program.MoveMount(tree, base, h.name))
		c.Close(tree)
	}
	if o.set&unix.MOUNT_ATTR_RDONLY != 0 {
		c.Add(program.MountSetattr(base, unix.MOUNT_ATTR_RDONLY, 0, 0, false))
	}
}

func mountWords(m *specs.Mount) string {
	if m.Type == "bind" {
		return "mount " + m.Source + " on " + m.Destination
	}
	return "mount " + m.Type + " on " + m.Destination
}

func mountCommand(m *specs.Mount) string {
	options := mountOptionText(m.Options)
	if options != "" {
		options = " -o " + options
	}
	if m.Type == "bind" {
		return "mount --bind" + options + " " + m.Source + " " + m.Destination
	}
	return "mount -t " + m.Type + options + " " + m.Source + " " + m.Destination
}

func deviceCommand(d deviceNode) string {
	kind := "c"
	if d.mode&unix.S_IFMT == unix.S_IFBLK {
		kind = "b"
	}
	return "mknod -m " + program.Octal(d.mode&0o7777).String() + " /dev/" + d.path + " " + kind + " " + program.Number(d.major).String() + " " + program.Number(d.minor).String()
}
