package runtime

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mapIDs writes the id mappings of the child's user namespace and lets it go on.
// setgroups(2) stays allowed, because root writes them; user_namespaces(7).
func (l *launch) mapIDs() error {
	if l.plan.mapped == 0 {
		return nil
	}
	if err := l.writeMappings(l.pid, l.config.UIDMappings, l.config.GIDMappings); err != nil {
		return err
	}
	return l.let(l.release.mapped)
}

// writeMappings writes uid_map and gid_map of a process.
func (l *launch) writeMappings(pid int, uids, gids []specs.LinuxIDMapping) error {
	for file, mappings := range map[string][]specs.LinuxIDMapping{"uid_map": uids, "gid_map": gids} {
		path := fmt.Sprintf("/proc/%d/%s", pid, file)
		if err := os.WriteFile(path, []byte(mapText(mappings)), 0); err != nil {
			return step.Fail("map ids of", l.config.Name, err)
		}
	}
	return nil
}

// mapText is the content of uid_map and gid_map: one line for each range.
func mapText(mappings []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, m := range mappings {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return b.String()
}

// MountIDs are the mappings of an idmapped mount: an id on the disk and the id
// that the container's processes have on the host.
type MountIDs struct{ UIDs, GIDs []mountID }

// mountID is DISK-HOST-COUNT. With an @ before it, HOST is an id of the
// container's user namespace.
type mountID struct {
	mapping  specs.LinuxIDMapping
	relative bool
}

// ParseMountIDs reads what stands behind idmap=, as podman and crun have it:
// uids=0-1000-1#1-2000-10;gids=0-1000-1.
func ParseMountIDs(text string) (ids MountIDs, err error) {
	for part := range strings.SplitSeq(text, ";") {
		key, list, _ := strings.Cut(part, "=")
		to := map[string]*[]mountID{"uids": &ids.UIDs, "gids": &ids.GIDs}[key]
		if to == nil || *to != nil {
			return MountIDs{}, fmt.Errorf("idmap=%s: not of the form uids=DISK-HOST-COUNT[#…];gids=…", text)
		}
		for triple := range strings.SplitSeq(list, "#") {
			m, err := parseMountID(triple)
			if err != nil {
				return MountIDs{}, fmt.Errorf("idmap=%s: %w", text, err)
			}
			*to = append(*to, m)
		}
	}
	return ids, nil
}

func parseMountID(text string) (mountID, error) {
	numbers, relative := strings.CutPrefix(text, "@")
	m, err := parseIDMapping(numbers, "-")
	if errors.Is(err, errForm) {
		err = errors.New("not of the form DISK-HOST-COUNT")
	}
	if err != nil {
		return mountID{}, fmt.Errorf("%q: %w", text, err)
	}
	return mountID{m, relative}, nil
}

// mountMappings are the lines for a user namespace; without any of their own they are
// the container's, or those of a host's process.
func mountMappings(list []mountID, container []specs.LinuxIDMapping) []specs.LinuxIDMapping {
	if len(list) == 0 && len(container) == 0 {
		return []specs.LinuxIDMapping{{Size: math.MaxUint32}}
	}
	if len(list) == 0 {
		return container
	}
	var out []specs.LinuxIDMapping
	for _, m := range list {
		if m.relative {
			m.mapping.HostID = hostID(container, m.mapping.HostID)
		}
		out = append(out, m.mapping)
	}
	return out
}
