package runtime

import (
	"errors"
	"io/fs"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/logfile"
)

// Live is what the kernel has of a running container at the moment of asking.
// Nothing in it is remembered.
type Live struct {
	Namespaces []Namespace
	Processes  []ProcessStatus
	Cgroups    map[string]string // controller -> directory; none on a host without cgroups
	Usage      cgroups.Stats
	// Network is nil for a container without a network of its own.
	Network *network.Live
}

// Inspect reads from the kernel what a running container has. For one that does
// not run, or ends meanwhile, the error is a *NotRunningError.
func (r *Runtime) Inspect(c *Container) (*Live, error) {
	if c.Status != Running {
		return nil, &NotRunningError{c.Config.Name}
	}
	l := &Live{}
	var errs [4]error
	l.Namespaces, errs[0] = Namespaces(c.State.Pid)
	l.Processes, errs[1] = r.Top(c)
	l.Cgroups, l.Usage, errs[2] = r.Usage(c)
	if c.State.Network != nil {
		l.Network, errs[3] = network.Inspect(c.State.Network)
	}
	if !c.State.alive() {
		return nil, &NotRunningError{c.Config.Name}
	}
	return l, errors.Join(errs[:]...)
}

// Usage returns the directories of the container's cgroup and what is counted
// there. On a host without cgroups both are zero.
func (r *Runtime) Usage(c *Container) (map[string]string, cgroups.Stats, error) {
	host, err := cgroups.Detect()
	if err != nil {
		return nil, cgroups.Stats{}, err
	}
	g, err := host.Open("/minictr/" + c.Config.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cgroups.Stats{}, nil
	}
	if err != nil {
		return nil, cgroups.Stats{}, err
	}
	stats, err := g.Stats()
	return g.Paths(), stats, err
}

// Files are the paths of what minictr keeps for a container. A file need not be
// there: a container that is not detached has no log.
type Files struct {
	Dir   string // of all of them
	Log   string
	Upper string // the container's own layer; empty with --rootfs
	Work  string
}

// Files returns the container's files.
func (r *Runtime) Files(c *Container) Files {
	id := c.Config.ID
	f := Files{
		Dir: r.lasting(id), Log: r.lasting(id, logfile.Name),
	}
	if c.Config.Image.Rootfs == "" {
		f.Upper, f.Work, _ = rootfs.WritableLayer(r.lasting(id))
	}
	return f
}

// Networks is where the networks of the containers are kept.
func (r *Runtime) Networks() network.Store { return network.Store{Root: r.Root, Runroot: r.Runroot} }

// RemoveNetwork takes a network away, with what belongs to it. It fails with a
// *network.InUseError while a container has an address there.
func (r *Runtime) RemoveNetwork(name string) error {
	return r.nameUsers(r.Networks().Remove(name, r.holds))
}
