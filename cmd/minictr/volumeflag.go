package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/rootfs/volume"
	"github.com/minictr/minictr/runtime"
)

// parseMounts understands -v, --mount and --tmpfs.
func (f *runFlags) parseMounts() error {
	for _, v := range f.volumes {
		m, err := f.parseVolume(v)
		if err != nil {
			return fmt.Errorf("--volume %q: %w", v, err)
		}
		f.Mounts = append(f.Mounts, m)
	}
	for _, v := range f.mounts {
		m, err := f.parseMount(v)
		if err != nil {
			return fmt.Errorf("--mount %q: %w", v, err)
		}
		f.Mounts = append(f.Mounts, m)
	}
	for _, v := range f.tmpfs {
		target, options, _ := strings.Cut(v, ":")
		m, err := tmpfsMount(target, splitList(options))
		if err != nil {
			return fmt.Errorf("--tmpfs %q: %w", v, err)
		}
		f.Mounts = append(f.Mounts, m)
	}
	return f.uniqueTargets()
}

// uniqueTargets refuses two mounts at one place.
func (f *runFlags) uniqueTargets() error {
	for i, m := range f.Mounts {
		if slices.ContainsFunc(f.Mounts[:i], func(other runtime.Mount) bool { return other.Destination == m.Destination }) {
			return fmt.Errorf("two mounts at %s", m.Destination)
		}
	}
	return nil
}

// warn keeps a word about what is ignored; it is said once.
func (f *runFlags) warn(text string) {
	if !slices.Contains(f.warnings, text) {
		f.warnings = append(f.warnings, text)
	}
}

// The words that may stand behind the second colon of -v.
const (
	everyMount = " ro rw rro nosuid suid nodev dev noexec exec "
	onlyBinds  = " rprivate private rshared shared rslave slave bind rbind "
)

// parseVolume reads [NAME|HOST:]CONTAINER[:OPTIONS].
func (f *runFlags) parseVolume(text string) (runtime.Mount, error) {
	parts := strings.Split(text, ":")
	if len(parts) > 3 || slices.Contains(parts[:min(len(parts), 2)], "") {
		return runtime.Mount{}, fmt.Errorf("not of the form [NAME|HOST:]CONTAINER[:OPTIONS]")
	}
	if len(parts) == 1 {
		parts = []string{"", text}
	}
	m, err := volumeSource(parts[0])
	if err != nil {
		return m, err
	}
	m.Destination = parts[1]
	if err := validTarget(&m); err != nil || len(parts) < 3 {
		return m, err
	}
	for _, o := range splitList(parts[2]) {
		if err := f.volumeOption(&m, o); err != nil {
			return m, err
		}
	}
	return m, conflicting(m.Options)
}

// volumeSource is what stands before the first colon: a path, or a volume's name.
func volumeSource(source string) (runtime.Mount, error) {
	if strings.HasPrefix(source, ".") { // no volume's name begins so
		abs, err := filepath.Abs(source)
		if err != nil {
			return runtime.Mount{}, err
		}
		source = abs
	}
	if filepath.IsAbs(source) {
		return runtime.Mount{Type: "bind", Source: filepath.Clean(source), Options: []string{"rbind"}, CreateSource: true}, nil
	}
	if source == "" {
		return runtime.Mount{Type: "volume"}, nil
	}
	return runtime.Mount{Type: "volume", Source: source}, volume.ValidateName(source)
}

func (f *runFlags) volumeOption(m *runtime.Mount, o string) error {
	word := " " + o + " "
	switch {
	case o == "z" || o == "Z":
		f.warn("SELinux labels are not set: " + o + " is ignored")
	case o == "nocopy" && m.Type == "volume":
		m.Volume.NoCopy = true
	case o == "nocopy":
		return fmt.Errorf("nocopy: a directory of the host is never filled from the image")
	case o == "idmap" || strings.HasPrefix(o, "idmap="):
		return addIDMap(m, o)
	case strings.Contains(everyMount, word), m.Type == "bind" && strings.Contains(onlyBinds, word):
		m.Options = append(m.Options, o)
	case strings.Contains(onlyBinds, word):
		return fmt.Errorf("%s: only a directory of the host has it, not a volume", o)
	default:
		return fmt.Errorf("unknown option %q", o)
	}
	return nil
}

// addIDMap adds idmap, or idmap=uids=…;gids=….
func addIDMap(m *runtime.Mount, option string) error {
	if text, given := strings.CutPrefix(option, "idmap="); given {
		if _, err := runtime.ParseMountIDs(text); err != nil {
			return err
		}
	}
	m.Options = append(m.Options, option)
	return nil
}

// conflicting reports options that contradict each other.
func conflicting(options []string) error {
	has := func(o string) bool { return slices.Contains(options, o) }
	for _, pair := range [][2]string{{"ro", "rw"}, {"rro", "rw"}, {"suid", "nosuid"}, {"dev", "nodev"}, {"exec", "noexec"}} {
		if has(pair[0]) && has(pair[1]) {
			return fmt.Errorf("%s and %s contradict each other", pair[0], pair[1])
		}
	}
	propagation := ""
	for _, o := range options {
		if !isPropagation(o) {
			continue
		}
		if propagation != "" && propagation != o {
			return fmt.Errorf("%s and %s contradict each other", propagation, o)
		}
		propagation = o
	}
	if has("rro") && propagation != "" && propagation != "rprivate" {
		return fmt.Errorf("rro needs the propagation rprivate, not %s: what the host mounts later would be writable", propagation)
	}
	return nil
}

func isPropagation(option string) bool {
	return slices.Contains([]string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}, option)
}

// validTarget cleans the mount's place in the container and checks it.
func validTarget(m *runtime.Mount) error {
	if !filepath.IsAbs(m.Destination) {
		return fmt.Errorf("the place in the container, %q, is no absolute path", m.Destination)
	}
	m.Destination = filepath.Clean(m.Destination)
	switch m.Destination {
	case "/":
		return fmt.Errorf("the container's / cannot be a mount; --rootfs DIR uses a directory as root")
	case "/proc": // the container is set up through it
		return fmt.Errorf("the container's /proc cannot be another mount")
	}
	return nil
}

// tmpfsMount has Docker's options where none are given.
func tmpfsMount(target string, options []string) (runtime.Mount, error) {
	m := runtime.Mount{Type: "tmpfs", Source: "tmpfs", Destination: target, Options: append([]string{"nosuid", "nodev", "noexec"}, options...)}
	return m, validTarget(&m)
}

// mountsFrom adds what the containers of --volumes-from have mounted, but for the
// places where something is mounted already.
func (a *app) mountsFrom(f *runFlags) error {
	for _, text := range f.volumesFrom {
		name, mode, _ := strings.Cut(text, ":")
		if name == "" || !slices.Contains([]string{"", "ro", "rw", "z", "Z"}, mode) {
			return usageError{fmt.Errorf("--volumes-from %q: not of the form CONTAINER[:ro|rw]", text)}
		}
		c, err := a.runtime().Container(name)
		if err != nil {
			return err
		}
		for _, m := range c.Config.Mounts {
			if m.Type == "tmpfs" || f.hasTarget(m.Destination) {
				continue
			}
			m.Options, m.CreateSource = slices.Clone(m.Options), false
			m.Volume.Anonymous = false // it goes with the container that it was made for
			if mode == "ro" {
				m.Options = append(slices.DeleteFunc(m.Options, func(o string) bool { return o == "rw" }), "ro")
			}
			f.Mounts = append(f.Mounts, m)
		}
	}
	return nil
}

func (f *runFlags) hasTarget(path string) bool {
	return slices.ContainsFunc(f.Mounts, func(m runtime.Mount) bool { return m.Destination == path })
}

// maxImageVolumes is more than images have: each costs a directory of the host at
// every start.
const maxImageVolumes = 256

// imageVolumes adds an anonymous volume at each place that the image names, but
// for those where something is mounted already.
func (f *runFlags) imageVolumes(image rootfs.Config) error {
	if len(image.Volumes) > maxImageVolumes {
		return fmt.Errorf("the image names %d volumes, more than %d", len(image.Volumes), maxImageVolumes)
	}
	var list []runtime.Mount
	for path := range image.Volumes {
		m := runtime.Mount{Type: "volume", Destination: "/" + path} // one that is not absolute is taken from the root
		if err := validTarget(&m); err != nil {
			return fmt.Errorf("the image's volume %q: %w", path, err)
		}
		if !f.hasTarget(m.Destination) && !slices.ContainsFunc(list, func(other runtime.Mount) bool { return other.Destination == m.Destination }) {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b runtime.Mount) int { return strings.Compare(a.Destination, b.Destination) })
	f.Mounts = append(f.Mounts, list...)
	return nil
}
