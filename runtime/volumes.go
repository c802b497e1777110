package runtime

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/rootfs/volume"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A volume is safe from being removed by two things: while a container that uses
// it is started, the launch holds it (volume.Hold); from then on the container's
// config.json names it, until the container is removed.

// Volumes are those that the containers may use.
func (r *Runtime) Volumes() *volume.Store { return volume.OpenStore(r.Root) }

// nameVolumes gives the volumes names that nobody has named.
func (c *Config) nameVolumes() {
	for i := range c.Mounts {
		if m := &c.Mounts[i]; m.Type == "volume" && m.Source == "" {
			m.Source, m.Volume.Anonymous = newID(), true
		}
	}
}

// uses reports whether the container has the volume mounted when it runs.
func (c *Config) uses(name string) bool {
	return slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Type == "volume" && m.Source == name })
}

// CreateVolume makes a volume that no container asks for, and returns its name: one
// of our own, and the mark of an anonymous volume, where it has none.
func (r *Runtime) CreateVolume(v volume.Volume) (name string, err error) {
	v.Created = time.Now()
	if v.Name == "" {
		v.Name = newID()
		labels := map[string]string{volume.AnonymousLabel: ""}
		maps.Copy(labels, v.Labels)
		v.Labels = labels
	}
	_, err = r.Volumes().Create(v)
	return v.Name, err
}

// VolumesInUse returns the names of the containers that use each volume, running
// or not.
func (r *Runtime) VolumesInUse() (map[string][]string, error) {
	ids, err := r.ids()
	if err != nil {
		return nil, err
	}
	used := map[string][]string{}
	for _, id := range ids {
		c, err := r.config(id)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if c == nil {
			continue
		}
		for _, m := range c.Mounts {
			if m.Type == "volume" && !slices.Contains(used[m.Source], c.Name) {
				used[m.Source] = append(used[m.Source], c.Name)
			}
		}
	}
	return used, nil
}

// VolumeUsers returns the names of the containers that use a volume, running or
// not.
func (r *Runtime) VolumeUsers(name string) ([]string, error) {
	users, err := r.volumeUsers(name, "")
	var names []string
	for _, c := range users {
		names = append(names, c.Name)
	}
	return names, err
}

// volumeUsers are the containers that use a volume, but for one.
func (r *Runtime) volumeUsers(name, except string) ([]*Config, error) {
	ids, err := r.ids()
	if err != nil {
		return nil, err
	}
	var users []*Config
	for _, id := range ids {
		if id == except {
			continue
		}
		c, err := r.config(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			return nil, err // it may be a user
		}
		if c != nil && c.uses(name) {
			users = append(users, c)
		}
	}
	return users, nil
}

// RemoveVolume removes a volume. It fails with a *volume.NotFoundError, or with a
// *volume.InUseError that names the containers.
func (r *Runtime) RemoveVolume(name string) error { return r.removeVolume(name, "") }

func (r *Runtime) removeVolume(name, except string) error {
	return r.Volumes().Remove(name, func(name string) (names []string, err error) {
		users, err := r.volumeUsers(name, except)
		for _, c := range users {
			names = append(names, c.Name)
		}
		return names, err
	})
}

// openVolume makes the volume of a mount where there is none, fills it at its
// first use, and makes a detached mount of it.
func (l *launch) openVolume(i int, m *specs.Mount) error {
	asked := l.asked[i]
	held, made, err := l.holdVolume(asked)
	if err != nil {
		return err
	}
	content, err := held.Open()
	if err != nil {
		return err
	}
	if content, err = l.own(content); err != nil {
		return err
	}
	if err := held.Settle(content); err != nil {
		return err
	}
	if (l.created || made) && !asked.Volume.NoCopy && asked.Volume.Subpath == "" {
		if err := l.fillVolume(held, content, m.Destination); err != nil {
			return err
		}
	}
	m.Type, m.Source = "bind", l.Volumes().Mountpoint(held.Volume)
	m.Options = slices.Concat([]string{"rbind"}, held.Volume.MountOptions(), m.Options)
	if len(l.config.UIDMappings) > 0 { // its files are root's on the disk, as the image's are
		m.Options = append(m.Options, optionIDMap)
	}
	o := parseMountOptions(m.Options)
	tree, err := l.cloneVolume(content, asked.Volume.Subpath, o)
	if err != nil {
		return step.Fail("mount volume", asked.Source+" on "+m.Destination, err)
	}
	m.Source = filepath.Join(m.Source, asked.Volume.Subpath)
	return l.bound(i, m, tree, o)
}

// holdVolume takes hold of the volume of a mount, and makes it first where it is
// not there.
func (l *launch) holdVolume(m *Mount) (held *volume.Hold, made bool, err error) {
	v := l.config.newVolume(m)
	for {
		held, err := l.Volumes().Hold(m.Source)
		if err == nil {
			l.held = append(l.held, held)
			return held, made, held.Volume.Agrees(&v)
		}
		var missing *volume.NotFoundError
		if !errors.As(err, &missing) {
			return nil, false, err
		}
		s := &makeVolume{runtime: l.Runtime, volume: v}
		if err := l.apply(s); err != nil {
			return nil, false, err
		}
		made = made || s.made
	}
}

// newVolume is what the mount's volume is when it has to be made.
func (c *Config) newVolume(m *Mount) volume.Volume {
	v := volume.Volume{Name: m.Source, Driver: m.Volume.Driver, Created: c.Created, Labels: m.Volume.Labels, Options: m.Volume.Options}
	if m.Volume.Anonymous {
		v.Labels, v.Owner = map[string]string{volume.AnonymousLabel: ""}, c.ID
		maps.Copy(v.Labels, m.Volume.Labels)
	}
	return v
}

// sourceSteps make what the mounts name and what is not there.
func (r *Runtime) sourceSteps(c *Config) (steps []step.Step) {
	for i := range c.Mounts {
		m := &c.Mounts[i]
		switch {
		case m.Type == "volume":
			if _, err := r.Volumes().Lookup(m.Source); errors.Is(err, fs.ErrNotExist) {
				steps = append(steps, &makeVolume{runtime: r, volume: c.newVolume(m)})
			}
		case m.CreateSource:
			if _, err := os.Lstat(m.Source); errors.Is(err, fs.ErrNotExist) {
				steps = append(steps, &makeSource{m.Source})
			}
		}
	}
	return steps
}

// letVolumesGo ends the holds: the container's files name the volumes, or it has
// come to nothing.
func (l *launch) letVolumesGo() {
	for _, h := range l.held {
		h.Release()
	}
	l.held = nil
}

// fillVolume copies what the image has at the place where the volume will be.
// The place is opened inside the root, before anything is mounted there.
func (l *launch) fillVolume(held *volume.Hold, content int, destination string) error {
	empty, err := volume.IsEmpty(content)
	if err != nil || !empty {
		return step.Fail("look into volume", held.Volume.Name, err)
	}
	source, err := rootfs.Open(l.plan.root, destination, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil // nothing to copy; a file there is refused as a mount point
	}
	if err != nil {
		return step.Fail("fill volume", held.Volume.Name, err)
	}
	defer source.Close()
	return l.apply(&fillVolume{launch: l, held: held, content: content, source: int(source.Fd()), destination: destination})
}

// cloneVolume makes a detached mount of the volume, or of a path inside. What is
// mounted is what was opened: no name is looked up twice.
func (l *launch) cloneVolume(content int, subpath string, o mountOptions) (int, error) {
	if subpath != "" {
		fd, err := volume.OpenIn(content, subpath)
		if err != nil {
			return -1, err
		}
		if content, err = l.own(fd); err != nil {
			return -1, err
		}
	}
	tree, err := unix.OpenTree(content, "", o.cloneFlags()|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, err
	}
	if tree, err = l.own(tree); err != nil {
		return -1, err
	}
	var opened, mounted unix.Stat_t
	if err := errors.Join(unix.Fstat(content, &opened), unix.Fstat(tree, &mounted)); err != nil {
		return -1, err
	}
	if opened.Dev != mounted.Dev || opened.Ino != mounted.Ino {
		return -1, errors.New("what is mounted is not what was opened")
	}
	return tree, nil
}

// releaseVolumes gives back what a container that has ended held of volumes: a
// tmpfs ends with the last container that runs, and anonymous volumes go with the
// container where that was asked. It comes before the container's files are
// removed, so that it is done again when it is interrupted.
func (r *Runtime) releaseVolumes(id string, c *Config) error {
	if c == nil {
		return r.releaseOwned(id)
	}
	var errs []error
	for _, m := range c.Mounts {
		switch {
		case m.Type != "volume":
		case m.Volume.Anonymous && c.Remove && c.RemoveVolumes:
			errs = append(errs, ignoreInUse(r.removeVolume(m.Source, id)))
		default:
			errs = append(errs, r.retireVolume(m.Source, id))
		}
	}
	return errors.Join(errs...)
}

// releaseOwned deals with the volumes of a container that was never written down.
func (r *Runtime) releaseOwned(id string) error {
	list, err := r.Volumes().List()
	errs := []error{err}
	for _, v := range list {
		switch {
		case v.Owner == id:
			errs = append(errs, ignoreInUse(r.removeVolume(v.Name, id)))
		case v.InMemory():
			errs = append(errs, r.retireVolume(v.Name, id))
		}
	}
	return errors.Join(errs...)
}

// retireVolume ends the tmpfs of a volume that no running container uses.
func (r *Runtime) retireVolume(name, except string) error {
	v, err := r.Volumes().Lookup(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !v.InMemory() {
		return nil
	}
	if err != nil {
		return err
	}
	return r.Volumes().Retire(name, func() (bool, error) {
		users, err := r.volumeUsers(name, except)
		return slices.ContainsFunc(users, func(c *Config) bool { return r.state(c.ID).alive() }), err
	})
}

// ignoreInUse passes over a volume that another container uses, or that is gone.
func ignoreInUse(err error) error {
	var used *volume.InUseError
	var missing *volume.NotFoundError
	if errors.As(err, &used) || errors.As(err, &missing) {
		return nil
	}
	return err
}
