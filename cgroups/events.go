package cgroups

import (
	"errors"
	"path/filepath"

	"github.com/minictr/minictr/runtime/step"
)

// OOMKills returns how many processes of the group, and of those below it, the
// kernel has killed because the group's memory limit was reached. It is to be
// read after the container's exit and before Remove. Without a memory controller
// the error is errors.ErrUnsupported.
//
// The count is the line oom_kill of memory.events on v2 (Linux 4.13), and of
// memory.oom_control on v1 (4.13).
func (g *Group) OOMKills() (uint64, error) {
	d, ok := g.dir("memory")
	if !ok {
		return 0, step.Fail("count OOM kills of", g.Path, errors.ErrUnsupported)
	}
	file := filepath.Join(d.path, "memory.oom_control")
	if d.V2 {
		file = filepath.Join(d.path, "memory.events")
	}
	keys, err := readKeys(file)
	return keys["oom_kill"], step.Fail("read", file, err)
}
