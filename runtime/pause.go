package runtime

import (
	"errors"
	"io/fs"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/runtime/step"
)

// pause stops all processes of a container that runs; resume lets them go on.
// Without a cgroup freezer the error is errors.ErrUnsupported.
func (r *Runtime) pause(c *Container) (resume func() error, err error) {
	host, err := cgroups.Detect()
	if err != nil {
		return nil, err
	}
	group, err := host.Open("/minictr/" + c.Config.ID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && host.Mode == cgroups.None {
		err = errors.ErrUnsupported
	}
	if err == nil {
		err = group.Freeze(true)
	}
	if err != nil {
		return nil, step.Fail("pause", c.Config.Name, err)
	}
	return func() error { return step.Fail("let go on", c.Config.Name, group.Freeze(false)) }, nil
}
