package cgroups

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Group is the control group of one container: a directory in each of the
// hierarchies that it uses.
type Group struct {
	Path string // below each hierarchy's mountpoint: "/minictr/ID"
	dirs []directory
}

// A directory is a group's place in one hierarchy, and what is to be done there.
type directory struct {
	Hierarchy
	path     string   // "/sys/fs/cgroup/memory/minictr/ID"
	used     []string // controllers that the group uses here
	required []string // those of them that a limit needs
	limits   []SetLimit
	devices  step.Step // nil, AllowDevices or AttachDeviceProgram
}

// usual are the controllers, as v2 names them, that a group uses although no
// limit asks for them, where the host has them: they count (Stats), tell of a
// kill for memory (OOMKills), and let containers share the cpu fairly.
var usual = []string{"memory", "pids", "cpu"}

// New plans the group of a new container. It touches nothing. The path is
// absolute and clean, such as "/minictr/ID"; resources may be nil. A limit that
// the host cannot enforce gives a *MissingError, a bad value an error that
// names its JSON path.
func (h *Host) New(path string, r *specs.LinuxResources) (*Group, error) {
	if err := validatePath(path); err != nil {
		return nil, err
	}
	if r == nil {
		r = &specs.LinuxResources{}
	}
	if err := validate(r); err != nil {
		return nil, err
	}
	g := &Group{Path: path}
	g.addUsual(h)
	if err := g.addLimits(h, r); err != nil {
		return nil, err
	}
	if err := g.addDevices(h, r.Devices); err != nil {
		return nil, err
	}
	return g, nil
}

// Open finds the group of a container that is there, made by this process or
// another: its directory in every hierarchy that has one. If none has, the
// error is os.ErrNotExist.
func (h *Host) Open(path string) (*Group, error) {
	if err := validatePath(path); err != nil {
		return nil, err
	}
	g := &Group{Path: path}
	for i := range h.Hierarchies {
		hierarchy := &h.Hierarchies[i]
		var st unix.Stat_t
		if hierarchy.Name != "" && len(hierarchy.Controllers) == 0 || unix.Stat(filepath.Join(hierarchy.Mountpoint, path), &st) != nil {
			continue
		}
		d := g.in(hierarchy)
		d.used = hierarchy.Controllers
		if hierarchy.V2 {
			d.used, _ = readWords(filepath.Join(d.path, "cgroup.controllers")) // gone meanwhile: no controllers
		}
	}
	if len(g.dirs) == 0 {
		return nil, step.Fail("open cgroup", path, os.ErrNotExist)
	}
	return g, nil
}

// in returns the group's directory in a hierarchy and adds it if it is new. The
// v2 hierarchy comes first.
func (g *Group) in(h *Hierarchy) *directory {
	for i := range g.dirs {
		if g.dirs[i].Mountpoint == h.Mountpoint {
			return &g.dirs[i]
		}
	}
	d := directory{Hierarchy: *h, path: filepath.Join(h.Mountpoint, g.Path)}
	if h.V2 {
		g.dirs = slices.Insert(g.dirs, 0, d)
		return &g.dirs[0]
	}
	g.dirs = append(g.dirs, d)
	return &g.dirs[len(g.dirs)-1]
}

// use adds controllers to those that are used in the directory.
func (d *directory) use(controllers ...string) {
	for _, c := range controllers {
		if !d.V2 {
			c = nameV1(c)
		}
		if !slices.Contains(d.used, c) {
			d.used = append(d.used, c)
		}
	}
}

func (g *Group) addUsual(h *Host) {
	controllers := usual
	if v2, ok := h.unified(); ok {
		// It counts cpu time and freezes without any controller.
		g.in(v2)
		if slices.Contains(v2.Controllers, "io") {
			controllers = append(slices.Clone(controllers), "io")
		}
	} else {
		controllers = append(slices.Clone(controllers), "cpuacct", "freezer")
	}
	for _, c := range controllers {
		if hierarchy, ok := h.find(c); ok {
			g.in(hierarchy).use(c)
		}
	}
}

// addLimits places each limit that was asked for in the hierarchy that carries
// its controller, by the table of that hierarchy's generation.
func (g *Group) addLimits(h *Host, r *specs.LinuxResources) error {
	unplaced := make(map[string]string) // field -> controller
	var order []string
	place := func(rows []limit, v2 bool) {
		for _, row := range rows {
			settings := row.settings(r)
			if len(settings) == 0 {
				continue
			}
			if _, known := unplaced[row.field]; !known {
				order = append(order, row.field)
				unplaced[row.field] = row.controller
			}
			if hierarchy, ok := h.carrier(row.controller); ok && hierarchy.V2 == v2 {
				g.in(hierarchy).add(row, settings)
				unplaced[row.field] = ""
			}
		}
	}
	place(limitsV1, false)
	place(limitsV2, true)
	place(limitsUnified(r), true)
	for _, field := range order {
		if controller := unplaced[field]; controller != "" {
			return h.missing("linux.resources."+field, controller)
		}
	}
	return nil
}

// carrier is find, but for "cgroup", which is no controller but the core of v2.
func (h *Host) carrier(controller string) (*Hierarchy, bool) {
	if controller == "cgroup" {
		return h.unified()
	}
	return h.find(controller)
}

func (d *directory) add(row limit, settings []Setting) {
	if row.controller != "cgroup" {
		d.use(row.controller)
		if !slices.Contains(d.required, row.controller) {
			d.required = append(d.required, row.controller)
		}
	}
	d.limits = append(d.limits, SetLimit{Dir: d.path, Purpose: row.words, Settings: settings})
}

// addDevices confines the group to the devices that the rules allow: by the
// devices controller of v1 if the host has it, else by a program on v2. No
// rules, or rules that allow everything, need neither.
func (g *Group) addDevices(h *Host, rules []specs.LinuxDeviceCgroup) error {
	policy, err := policyV1(rules) // an error is one of v1 only: the rules are valid
	if len(rules) == 0 || err == nil && policy.allowsAll() {
		return nil
	}
	if hierarchy, ok := h.find("devices"); ok {
		if err != nil {
			return err
		}
		d := g.in(hierarchy)
		d.use("devices")
		d.devices = AllowDevices{Dir: d.path, Lines: policy.lines()}
		return nil
	}
	if v2, ok := h.unified(); ok {
		d := g.in(v2)
		d.devices = AttachDeviceProgram{Dir: d.path, Rules: rules}
		return nil
	}
	return h.missing("linux.resources.devices", "devices")
}

// Steps are the changes that make the group and set its limits. They go before
// the container's process enters.
func (g *Group) Steps() []step.Step {
	var steps []step.Step
	for _, d := range g.dirs {
		steps = append(steps, MakeGroup{Mountpoint: d.Mountpoint, Path: g.Path})
		if d.V2 && len(d.used) > 0 {
			steps = append(steps, EnableControllers{
				Mountpoint: d.Mountpoint, Path: g.Path, Wanted: d.used, Required: d.required,
			})
		}
		if !d.V2 && slices.Contains(d.used, "cpuset") {
			steps = append(steps, InheritCpuset{Mountpoint: d.Mountpoint, Path: g.Path})
		}
	}
	for _, d := range g.dirs {
		for _, l := range d.limits {
			steps = append(steps, l)
		}
		if d.devices != nil {
			steps = append(steps, d.devices)
		}
	}
	return steps
}

// Paths returns the directory of each controller that the group uses, and of
// the v2 hierarchy under the key Unified.
func (g *Group) Paths() map[string]string {
	paths := make(map[string]string)
	for _, d := range g.dirs {
		if d.V2 {
			paths[Unified] = d.path
		}
		for _, c := range d.used {
			paths[c] = d.path
		}
	}
	return paths
}

// dir returns the directory in which the group has a controller, named as v2
// names it.
func (g *Group) dir(controller string) (*directory, bool) {
	for i := range g.dirs {
		d := &g.dirs[i]
		name := controller
		if !d.V2 {
			name = nameV1(controller)
		}
		if slices.Contains(d.used, name) {
			return d, true
		}
	}
	return nil, false
}

// unified returns the group's directory in the v2 hierarchy.
func (g *Group) unified() (*directory, bool) {
	if len(g.dirs) > 0 && g.dirs[0].V2 {
		return &g.dirs[0], true
	}
	return nil, false
}

func validatePath(p string) error {
	var err error
	switch {
	case !strings.HasPrefix(p, "/"):
		err = errors.New("not an absolute path")
	case p == "/":
		err = errors.New("the root group is the host's")
	case path.Clean(p) != p:
		err = errors.New("not a clean path")
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		err = errors.New("control character in path")
	}
	return step.Fail("use cgroup", p, err)
}
