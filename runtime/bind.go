package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// openSource makes the detached mount of a bind mount or a volume. All other
// mounts are the child's to make.
func (l *launch) openSource(i int, m *specs.Mount) (err error) {
	_, made := l.plan.names[i]
	switch {
	case m.Type == "volume":
		return l.openVolume(i, m)
	case m.Type == "bind" && !made:
		return l.openBind(i, m)
	case made && len(l.asked) > 0: // a file of ours, which may lie on what was asked for
		m.Destination, err = rootfs.Canonical(l.plan.root, m.Destination)
	}
	return err
}

// placeMounts finds out where the mounts that were asked for will lie: through
// which links of the image each place is reached, and which of them cover which.
// One at the place of a mount that every container has takes its place, as with
// Docker: what belongs on that one then lies on it.
func (l *launch) placeMounts() error {
	if len(l.config.Mounts) == 0 {
		return nil
	}
	usual := l.plan.spec.Mounts[:usualMounts:usualMounts]
	l.asked = map[int]*Mount{}
	type placed struct {
		specs.Mount
		asked *Mount
	}
	var more []placed
	for i := range l.config.Mounts {
		m := &l.config.Mounts[i]
		place, err := l.place(m)
		if err != nil {
			return err
		}
		mount := specs.Mount{Destination: place, Type: m.Type, Source: m.Source, Options: m.Options}
		if j := slices.IndexFunc(usual, func(u specs.Mount) bool { return u.Destination == place }); j >= 0 && l.asked[j] == nil {
			usual[j], l.asked[j] = mount, m
			continue
		}
		more = append(more, placed{mount, m})
	}
	slices.SortStableFunc(more, func(a, b placed) int { return byDepth(a.Mount, b.Mount) })
	l.plan.spec.Mounts = usual
	for _, p := range more {
		l.asked[len(l.plan.spec.Mounts)] = p.asked
		l.plan.spec.Mounts = append(l.plan.spec.Mounts, p.Mount)
	}
	return nil
}

// place is the mount's place inside the root.
func (l *launch) place(m *Mount) (string, error) {
	place, err := rootfs.Canonical(l.plan.root, path.Clean("/"+m.Destination))
	if err == nil && (place == "/" || place == "/proc") { // the container is set up through them
		err = step.Fail("mount on", m.Destination, errors.New("it leads to the container's "+place+", which cannot be another mount"))
	}
	return place, err
}

// openBind makes a detached bind mount of a path of the host.
func (l *launch) openBind(i int, m *specs.Mount) error {
	if err := l.makeSource(l.asked[i]); err != nil {
		return err
	}
	o := parseMountOptions(m.Options)
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, o.cloneFlags())
	if err != nil {
		return step.Fail("mount", m.Source+" on "+m.Destination, err)
	}
	if fd, err = l.own(fd); err != nil {
		return err
	}
	if o.reachesOut() {
		if err := checkPropagation(m.Source, o); err != nil {
			return step.Fail("mount", m.Source+" on "+m.Destination, err)
		}
	}
	return l.bound(i, m, fd, o)
}

// makeSource makes the directory of the host that -v names and that is not there,
// as docker does.
func (l *launch) makeSource(m *Mount) error {
	if m == nil || !m.CreateSource {
		return nil
	}
	if _, err := os.Lstat(m.Source); !errors.Is(err, fs.ErrNotExist) {
		return nil // what else is wrong with it is said when it is opened
	}
	return l.apply(&makeSource{m.Source})
}

// cloneFlags are those of open_tree(2). With rbind, and where nothing is said, the
// mounts below come too.
func (o *mountOptions) cloneFlags() uint {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if o.recursive || !o.bind {
		flags |= unix.AT_RECURSIVE
	}
	return flags
}

// bound gives a detached mount its options and hands it to the child.
func (l *launch) bound(i int, m *specs.Mount, fd int, o mountOptions) error {
	l.plan.prepared[i] = fd
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return step.Fail("mount", m.Source+" on "+m.Destination, err)
	}
	l.plan.files[i] = stat.Mode&unix.S_IFMT != unix.S_IFDIR
	if o.idmap != nil {
		if err := l.mapMount(fd, *o.idmap); err != nil {
			return step.Fail("mount", m.Source+" on "+m.Destination, err)
		}
	}
	if o.reachesOut() && !o.deep && o.cloneFlags()&unix.AT_RECURSIVE != 0 {
		// Only the first mount passes mounts on. Those below can be changed when
		// they are attached: mount_setattr(2), EINVAL.
		below, err := mountsBelow(m.Source)
		if err != nil {
			return err
		}
		l.plan.private[i] = below
	}
	return step.Fail("set the options of the mount", m.Destination, o.setOn(fd))
}

// mapMount maps the ids of a mount as idmap= says, or as the container's are.
func (l *launch) mapMount(fd int, text string) error {
	if text == "" {
		if len(l.config.UIDMappings) == 0 {
			return errors.New("idmap: the container has no user namespace to map to; give --uidmap, or the ids: idmap=uids=DISK-HOST-COUNT;gids=…")
		}
		ns, err := l.userNamespace()
		if err != nil {
			return err
		}
		return setIDMap(fd, ns)
	}
	ids, err := ParseMountIDs(text)
	if err != nil {
		return err
	}
	ns, err := l.newUserNamespace(mountMappings(ids.UIDs, l.config.UIDMappings), mountMappings(ids.GIDs, l.config.GIDMappings))
	if err != nil {
		return err
	}
	return setIDMap(fd, ns)
}

// setOn sets attributes and propagation of a detached mount, of those below it
// too where they were cloned with it. What is not asked to be shared is private:
// a clone of a shared mount is shared.
func (o *mountOptions) setOn(fd int) error {
	how := uint(unix.AT_EMPTY_PATH)
	if o.cloneFlags()&unix.AT_RECURSIVE != 0 {
		how |= unix.AT_RECURSIVE
	}
	all := unix.MountAttr{Attr_set: o.set, Attr_clr: o.clear, Propagation: o.propagation}
	if !o.reachesOut() {
		all.Propagation = unix.MS_PRIVATE
	}
	if o.writableBelow {
		all.Attr_set &^= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", how, &all); err != nil {
		return err
	}
	if all.Attr_set == o.set {
		return nil
	}
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: o.set})
}

// reachesOut reports whether mounts pass between the host and the container.
func (o *mountOptions) reachesOut() bool {
	return o.propagation == unix.MS_SHARED || o.propagation == unix.MS_SLAVE
}

// mountsBelow lists the mounts below a path of the host that can be reached, by
// what stands behind the path.
func mountsBelow(source string) ([]string, error) {
	list, err := readMountinfo()
	if err != nil {
		return nil, err
	}
	var below []string
	for _, m := range list {
		rest, ok := strings.CutPrefix(m.point, strings.TrimSuffix(source, "/")+"/")
		if !ok {
			continue
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, m.point, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st); err == nil && st.Mnt_id == m.id {
			below = append(below, rest) // not hidden below another one
		}
	}
	return below, nil
}

// NotSharedError is a source whose mount passes no mounts on.
type NotSharedError struct {
	Source, Mountpoint string
	Option             string // shared or slave
}

func (e *NotSharedError) Error() string {
	wanted := "a shared mount"
	if e.Option == "slave" {
		wanted = "a shared or slave mount"
	}
	return fmt.Sprintf("propagation %s: %s lies on the mount %s, which is not %s", e.Option, e.Source, e.Mountpoint, wanted)
}

// Hint says how such a mount is made.
func (e *NotSharedError) Hint() string {
	return fmt.Sprintf("make it one on the host: mount --make-shared %s; or, for this directory alone, mount --bind %[2]s %[2]s && mount --make-shared %[2]s", e.Mountpoint, e.Source)
}

// checkPropagation refuses what would work in name only: a clone of a mount that
// is not shared has nobody to pass mounts to or get them from.
func checkPropagation(source string, o mountOptions) error {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, source, 0, unix.STATX_MNT_ID, &st); err != nil {
		return err
	}
	list, err := readMountinfo()
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.id != st.Mnt_id || m.shared || m.slave && o.propagation == unix.MS_SLAVE {
			continue
		}
		option := "shared"
		if o.propagation == unix.MS_SLAVE {
			option = "slave"
		}
		return &NotSharedError{Source: source, Mountpoint: m.point, Option: option}
	}
	return nil
}
