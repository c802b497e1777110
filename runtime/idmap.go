package runtime

import (
	"fmt"
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
	if err := l.writeMappings(l.pid); err != nil {
		return err
	}
	return l.let(l.release.mapped)
}

// writeMappings writes uid_map and gid_map of a process.
func (l *launch) writeMappings(pid int) error {
	for file, mappings := range map[string][]specs.LinuxIDMapping{"uid_map": l.config.UIDMappings, "gid_map": l.config.GIDMappings} {
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
