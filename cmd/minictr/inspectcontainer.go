package main

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/rootfs/volume"
	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/capability"
)

// inspectContainer describes a container: what was asked, and what there is now.
func (a *app) inspectContainer(name string) (any, error) {
	r := a.runtime()
	c, err := r.Container(name)
	if err != nil {
		return nil, err
	}
	live, err := r.Inspect(c)
	if is[*runtime.NotRunningError](err) {
		// It may have ended since, so what is known of it is read again.
		if c, err = r.Container(c.Config.ID); err != nil {
			return nil, err
		}
		c.Status = ended(c.Status)
	}
	if err != nil {
		return nil, err
	}
	image, err := rootfs.OpenStore(a.root).Lookup(c.Config.Image.ID)
	if err != nil {
		image = nil // by --rootfs, or removed since: the image only adds
	}
	v := newContainerView(c, r.Files(c), image, r.Volumes())
	if live != nil {
		v.addLive(live)
	}
	return v, nil
}

// ended is the status of a container whose process is known to be gone.
func ended(s runtime.Status) runtime.Status {
	if s == runtime.Running {
		return runtime.Exited
	}
	return s
}

func newContainerView(c *runtime.Container, files runtime.Files, image *rootfs.Image, volumes *volume.Store) *containerView {
	config := c.Config
	v := &containerView{
		ID: config.ID, Created: config.Created.UTC().Format(time.RFC3339Nano), Image: config.Image.ID,
		Path: config.Args[0], Args: listOf(config.Args[1:]), Name: "/" + config.Name,
		LogPath: files.Log,
		State:   stateOf(c), Platform: "linux",
		HostConfig: hostConfigOf(config), Mounts: mountsOf(config, volumes), Config: configOf(config, image),
	}
	v.Driver, v.GraphDriver = rootOf(config, files)
	v.addPorts(c, image)
	v.NetworkSettings.Networks = map[string]endpointView{}
	if config.Network.Join == "" { // networks of its own, or the host's
		for _, name := range networkNames(config) {
			v.NetworkSettings.Networks[name] = endpointView{NetworkID: name}
		}
	}
	return v
}

// listOf makes an empty list of none, so that it is [] in JSON.
func listOf[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// mapOf makes an empty map of none, so that it is {} in JSON.
func mapOf(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func stateOf(c *runtime.Container) stateView {
	v := stateView{Status: c.Status, Running: c.Status == runtime.Running, Pid: c.Pid()}
	if c.State != nil {
		v.StartedAt = c.State.Started.UTC()
	}
	if r := c.Result; c.Status == runtime.Exited && r != nil {
		v.ExitCode, v.OOMKilled, v.Error = r.ExitCode, r.OOMKilled, r.Error
		v.StartedAt, v.FinishedAt = r.Started.UTC(), r.Finished.UTC()
	}
	return v
}

func hostConfigOf(c *runtime.Config) hostConfigView {
	v := hostConfigView{
		Binds: bindsOf(c), NetworkMode: networkNames(c)[0], AutoRemove: c.Remove, Privileged: c.Privileged,
		ReadonlyRootfs: c.ReadOnly, Dns: listOf(c.DNS.Servers), DnsOptions: listOf(c.DNS.Options), DnsSearch: listOf(c.DNS.Search),
		ExtraHosts: listOf(c.DNS.AddHosts), GroupAdd: listOf(c.Groups), IpcMode: "private", CgroupnsMode: "private",
		OomScoreAdj: c.OOMScoreAdj, SecurityOpt: securityOf(c), Tmpfs: tmpfsOf(c), ShmSize: c.ShmSize,
		Sysctls: mapOf(c.Sysctls), Devices: []deviceView{}, Ulimits: []ulimitView{}, Init: c.Init, Capabilities: listOf(c.Capabilities),
	}
	v.RestartPolicy.Name, v.LogConfig.Type = "no", "k8s-file"
	if v.ShmSize == 0 {
		v.ShmSize = 64 << 20
	}
	if len(c.UIDMappings) > 0 {
		v.UsernsMode = "private"
	}
	usual := capability.Default.Names()
	v.CapAdd = without(c.Capabilities, usual)
	v.CapDrop = without(usual, c.Capabilities)
	for _, d := range c.Devices {
		v.Devices = append(v.Devices, deviceView{d.Host, d.Container, d.Permissions})
	}
	for _, u := range c.Ulimits {
		v.Ulimits = append(v.Ulimits, ulimitView{strings.ToLower(strings.TrimPrefix(u.Type, "RLIMIT_")), u.Hard, u.Soft})
	}
	v.addLimits(c)
	return v
}

func without(list, others []string) []string {
	return slices.DeleteFunc(append([]string{}, list...), func(s string) bool { return slices.Contains(others, s) })
}

func (v *hostConfigView) addLimits(c *runtime.Config) {
	if c.Resources == nil {
		return
	}
	if m := c.Resources.Memory; m != nil {
		v.Memory, v.MemorySwap, v.MemoryReservation = valueOf(m.Limit), valueOf(m.Swap), valueOf(m.Reservation)
	}
	if p := c.Resources.CPU; p != nil {
		v.CpuShares, v.CpuPeriod, v.CpuQuota = valueOf(p.Shares), valueOf(p.Period), valueOf(p.Quota)
		v.CpusetCpus, v.CpusetMems = p.Cpus, p.Mems
		if v.CpuPeriod > 0 && v.CpuQuota > 0 {
			v.NanoCpus = v.CpuQuota * 1_000_000_000 / int64(v.CpuPeriod)
		}
	}
	if p := c.Resources.Pids; p != nil {
		v.PidsLimit = p.Limit
	}
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func bindsOf(c *runtime.Config) []string {
	binds := []string{}
	for _, m := range c.Mounts {
		if m.Type == "bind" || m.Type == "volume" && !m.Volume.Anonymous {
			binds = append(binds, strings.TrimSuffix(m.Source+":"+m.Destination+":"+mountMode(m), ":"))
		}
	}
	return binds
}

func tmpfsOf(c *runtime.Config) map[string]string {
	tmpfs := map[string]string{}
	for _, m := range c.Mounts {
		if m.Type == "tmpfs" {
			tmpfs[m.Destination] = strings.Join(m.Options, ",")
		}
	}
	return tmpfs
}

func securityOf(c *runtime.Config) []string {
	list := []string{}
	if c.NoNewPrivileges {
		list = append(list, "no-new-privileges")
	}
	if c.Seccomp != "" {
		list = append(list, "seccomp="+c.Seccomp)
	}
	return list
}

// mountMode is the part of a mount's options that docker shows.
func mountMode(m runtime.Mount) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "rbind" || o == "bind" }), ",")
}

func mountsOf(c *runtime.Config, volumes *volume.Store) []mountView {
	mounts := []mountView{}
	for _, m := range c.Mounts {
		v := mountView{Type: m.Type, Source: m.Source, Destination: m.Destination, Mode: mountMode(m), RW: isWritable(m)}
		switch m.Type {
		case "volume":
			v.Name, v.Driver = m.Source, volume.Local
			v.Source = filepath.Join(mountpointOf(volumes, m.Source), m.Volume.Subpath)
		case "bind":
			v.Propagation = "rprivate"
		case "tmpfs":
			v.Source = ""
		}
		for _, o := range m.Options {
			if strings.HasSuffix(o, "private") || strings.HasSuffix(o, "shared") || strings.HasSuffix(o, "slave") {
				v.Propagation = o
			}
		}
		mounts = append(mounts, v)
	}
	return mounts
}

func isWritable(m runtime.Mount) bool {
	return !slices.Contains(m.Options, "ro") && !slices.Contains(m.Options, "rro")
}

// mountpointOf is where a volume's content lies; for one that is gone, where it
// would be made.
func mountpointOf(volumes *volume.Store, name string) string {
	v, err := volumes.Lookup(name)
	if err != nil {
		v = &volume.Volume{Name: name}
	}
	return volumes.Mountpoint(v)
}

func configOf(c *runtime.Config, image *rootfs.Image) configView {
	v := configView{
		Hostname: c.Hostname, Domainname: c.Domainname, User: c.User,
		AttachStdin: c.OpenStdin && !c.Detach, AttachStdout: !c.Detach, AttachStderr: !c.Detach,
		Tty: c.Terminal, OpenStdin: c.OpenStdin, Env: listOf(c.Env), Image: imageName(c.Image), WorkingDir: c.Cwd,
		Labels: mapOf(c.Labels), StopSignal: c.StopSignal, StopTimeout: c.StopTimeout, Cmd: c.Args,
	}
	if image == nil {
		return v
	}
	if n := len(image.Config.Entrypoint); n > 0 && n <= len(c.Args) && slices.Equal(image.Config.Entrypoint, c.Args[:n]) {
		v.Entrypoint, v.Cmd = c.Args[:n], c.Args[n:]
	}
	return v
}

// rootOf says what the root file system is made from.
func rootOf(c *runtime.Config, files runtime.Files) (driver string, v graphDriverView) {
	if c.Image.Rootfs != "" {
		return "directory", graphDriverView{"directory", map[string]string{"Directory": c.Image.Rootfs}}
	}
	return "overlay", graphDriverView{"overlay", map[string]string{
		"LowerDir": strings.Join(c.Image.Layers, ":"), "UpperDir": files.Upper, "WorkDir": files.Work,
	}}
}

// addLive adds what the kernel says.
func (v *containerView) addLive(l *runtime.Live) {
	v.Namespaces = map[string]namespaceView{}
	for _, n := range l.Namespaces {
		v.Namespaces[n.Kind] = namespaceView{n.Inode, n.Path, n.Host}
		switch {
		case n.Kind == "net":
			v.NetworkSettings.SandboxID, v.NetworkSettings.SandboxKey = n.String(), n.Path
		case n.Kind == "uts" && n.Host:
			v.HostConfig.UTSMode = "host"
		}
	}
	v.Processes = []processView{}
	for _, p := range l.Processes {
		v.Processes = append(v.Processes, processView{p.Pid, p.NSPid, p.PPid, commandLine(p)})
	}
	v.Cgroup = cgroupOf(l)
	if l.Network != nil {
		v.NetworkSettings.addNetwork(l.Network)
	}
}

func cgroupOf(l *runtime.Live) *cgroupView {
	if len(l.Cgroups) == 0 {
		return nil
	}
	v := &cgroupView{Paths: l.Cgroups}
	if host, err := cgroups.Detect(); err == nil {
		v.Mode = host.Mode.String()
	}
	v.Memory.Usage, v.Memory.Peak, v.Memory.Limit = l.Usage.Memory.Usage, l.Usage.Memory.Peak, limitOf(l.Usage.Memory.Limit)
	v.Pids.Current, v.Pids.Limit = l.Usage.Pids.Current, limitOf(l.Usage.Pids.Limit)
	v.CPU.UsageNanoseconds = int64(l.Usage.CPU.Usage)
	v.CPU.ThrottledPeriods, v.CPU.ThrottledNanoseconds = l.Usage.CPU.Throttled, int64(l.Usage.CPU.ThrottledTime)
	return v
}

// limitOf is the limit, or nil where there is none.
func limitOf(n uint64) *uint64 {
	if n == cgroups.Unlimited {
		return nil
	}
	return &n
}
