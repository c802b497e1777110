package cgroups

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Mode says which generations of cgroups a host has mounted.
type Mode int

// The modes of a host. None means that no cgroup file system that could be
// written is mounted, as in a container without privileges.
const (
	None   Mode = iota
	V1          // hierarchies of v1 only
	Hybrid      // hierarchies of v1 and one of v2
	V2          // one hierarchy of v2
)

func (m Mode) String() string {
	names := [...]string{None: "none", V1: "v1", Hybrid: "hybrid", V2: "v2"}
	if m < 0 || int(m) >= len(names) {
		return "mode " + strconv.Itoa(int(m))
	}
	return names[m]
}

// Unified is the key of the v2 hierarchy itself in a map that has controllers
// as keys.
const Unified = "unified"

// defaultMountpoint is where systemd, OpenRC and every container runtime mount
// the v2 hierarchy, or on v1 the tmpfs that holds the others.
const defaultMountpoint = "/sys/fs/cgroup"

// A Hierarchy is one mounted tree of control groups.
type Hierarchy struct {
	Controllers []string // "cpu", "cpuacct", …; on v2 those that its top group has
	Name        string   // of a named v1 hierarchy, such as "systemd"
	Mountpoint  string   // "/sys/fs/cgroup/memory"
	V2          bool
	ReadOnly    bool // mounted read-only: nothing can be made there
}

// A Host is what Detect found: the hierarchies that are mounted. The zero Host
// has none.
type Host struct {
	Mode        Mode
	Hierarchies []Hierarchy
}

// Detect finds the cgroup hierarchies that this process sees. On a host of pure
// v2 it asks statfs(2) and reads cgroup.controllers, elsewhere it reads
// /proc/self/mountinfo. A host without cgroups is no error but has Mode None.
func Detect() (*Host, error) {
	if h, ok := unifiedAt(defaultMountpoint); ok {
		return newHost([]Hierarchy{h}, readControllers)
	}
	content, err := readFile("/proc/self/mountinfo")
	if err != nil {
		return nil, step.Fail("read", "/proc/self/mountinfo", err)
	}
	return newHost(parseMountinfo(content), readControllers)
}

// unifiedAt tells whether the mountpoint holds the v2 hierarchy. It saves the
// reading of mountinfo, which has a line for every mount of the host.
func unifiedAt(mountpoint string) (Hierarchy, bool) {
	var fs unix.Statfs_t
	if err := unix.Statfs(mountpoint, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return Hierarchy{}, false
	}
	readOnly := fs.Flags&unix.ST_RDONLY != 0
	return Hierarchy{Mountpoint: mountpoint, V2: true, ReadOnly: readOnly}, true
}

// newHost fills in the controllers of the v2 hierarchy, by the given reader of
// its mountpoint, and works out the mode.
func newHost(hierarchies []Hierarchy, controllers func(mountpoint string) ([]string, error)) (*Host, error) {
	h := &Host{Hierarchies: hierarchies}
	v1, v2 := false, false
	for i := range h.Hierarchies {
		hierarchy := &h.Hierarchies[i]
		if hierarchy.V2 {
			found, err := controllers(hierarchy.Mountpoint)
			if err != nil {
				return nil, err
			}
			hierarchy.Controllers = found
		}
		if !hierarchy.ReadOnly {
			v2 = v2 || hierarchy.V2
			v1 = v1 || len(hierarchy.Controllers) > 0 && !hierarchy.V2
		}
	}
	h.Mode = mode(v1, v2)
	return h, nil
}

func mode(v1, v2 bool) Mode {
	switch {
	case v1 && v2:
		return Hybrid
	case v1:
		return V1
	case v2:
		return V2
	}
	return None
}

func readControllers(mountpoint string) ([]string, error) {
	file := filepath.Join(mountpoint, "cgroup.controllers")
	words, err := readWords(file)
	return words, step.Fail("read", file, err)
}

// nameV1 is what v1 calls a controller that v2 has renamed.
func nameV1(controller string) string {
	if controller == "io" {
		return "blkio"
	}
	return controller
}

// find returns the hierarchy that carries a controller, named as v2 names it,
// and may be written.
func (h *Host) find(controller string) (*Hierarchy, bool) {
	for i := range h.Hierarchies {
		hierarchy := &h.Hierarchies[i]
		name := controller
		if !hierarchy.V2 {
			name = nameV1(controller)
		}
		if !hierarchy.ReadOnly && slices.Contains(hierarchy.Controllers, name) {
			return hierarchy, true
		}
	}
	return nil, false
}

// unified returns the v2 hierarchy if it may be written.
func (h *Host) unified() (*Hierarchy, bool) {
	for i := range h.Hierarchies {
		if h.Hierarchies[i].V2 && !h.Hierarchies[i].ReadOnly {
			return &h.Hierarchies[i], true
		}
	}
	return nil, false
}

// A MissingError reports a limit that was asked for and that this host cannot
// enforce. It unwraps to errors.ErrUnsupported.
type MissingError struct {
	Field      string // of the OCI config: "linux.resources.memory.limit"
	Controller string // "memory"
	Reason     string // what is missing, and where it would have to be
}

func (e *MissingError) Error() string { return e.Field + ": " + e.Reason }

// Unwrap returns errors.ErrUnsupported.
func (e *MissingError) Unwrap() error { return errors.ErrUnsupported }

// missing says why the host cannot enforce a limit that needs the controller.
func (h *Host) missing(field, controller string) error {
	return &MissingError{Field: field, Controller: controller, Reason: h.reason(controller)}
}

func (h *Host) reason(controller string) string {
	if hierarchy, ok := h.find(controller); ok && hierarchy.V2 {
		return "cgroup v2 has no such limit"
	} else if ok {
		return "cgroup v1 has no such file"
	}
	for _, hierarchy := range h.Hierarchies {
		if hierarchy.ReadOnly && (slices.Contains(hierarchy.Controllers, controller) ||
			slices.Contains(hierarchy.Controllers, nameV1(controller))) {
			return hierarchy.Mountpoint + " is mounted read-only"
		}
	}
	switch h.Mode {
	case V2:
		v2, _ := h.unified()
		return "no " + controller + " controller in " + filepath.Join(v2.Mountpoint, "cgroup.controllers")
	case V1, Hybrid:
		return "no hierarchy with the " + nameV1(controller) + " controller is mounted"
	case None:
	}
	return "no cgroup file system is mounted that may be written"
}

// Of returns the groups that a process is in, read from /proc/PID/cgroup:
// controller -> path within that controller's hierarchy, as seen from the
// cgroup namespace of the caller. Pid 0 is the caller. A named v1 hierarchy has
// the key "name=systemd", the v2 hierarchy the key Unified.
func Of(pid int) (map[string]string, error) {
	file := "/proc/self/cgroup"
	if pid != 0 {
		file = "/proc/" + strconv.Itoa(pid) + "/cgroup"
	}
	content, err := readFile(file)
	if err != nil {
		return nil, step.Fail("read", file, err)
	}
	return parseMembership(string(content)), nil
}
