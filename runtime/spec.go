package runtime

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/runtime/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Spec makes the OCI runtime configuration of the container: the defaults of
// the runtime-spec as Docker ships them, changed by what was asked. It is pure:
// the same Config gives the same Spec on every host.
func (c *Config) Spec() *specs.Spec {
	s := &specs.Spec{
		Version:    specs.Version,
		Hostname:   c.Hostname,
		Domainname: c.Domainname,
		Root:       &specs.Root{Readonly: c.ReadOnly},
		Process:    c.process(),
		Mounts:     c.mounts(),
		Linux: &specs.Linux{
			Namespaces:    c.namespaces(),
			Resources:     c.Resources,
			CgroupsPath:   "/minictr/" + c.ID,
			Sysctl:        c.sysctls(),
			MaskedPaths:   slices.Clone(maskedPaths),
			ReadonlyPaths: slices.Clone(readonlyPaths),
			UIDMappings:   c.UIDMappings,
			GIDMappings:   c.GIDMappings,
		},
	}
	if c.Privileged {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	}
	return s
}

func (c *Config) process() *specs.Process {
	p := &specs.Process{
		Terminal:        c.Terminal,
		Args:            c.Args,
		Env:             c.Env,
		Cwd:             c.Cwd,
		User:            specs.User{Username: c.User, Umask: c.Umask},
		Capabilities:    capabilitySets(c.Capabilities),
		Rlimits:         c.Ulimits,
		NoNewPrivileges: c.NoNewPrivileges,
	}
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	if c.OOMScoreAdj != 0 {
		p.OOMScoreAdj = &c.OOMScoreAdj
	}
	if c.Init {
		p.Args = append([]string{initPath, "--"}, c.Args...)
	}
	return p
}

// initPath is where --init binds the init program: on the container's /dev, so
// that the image stays as it is.
const initPath = "/dev/init"

// capabilitySets gives the names to the sets that a root process needs. The
// inheritable set stays empty (CVE-2022-24769).
func capabilitySets(names []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

func (c *Config) namespaces() []specs.LinuxNamespace {
	n := []specs.LinuxNamespace{
		{Type: specs.MountNamespace},
		{Type: specs.UTSNamespace},
		{Type: specs.IPCNamespace},
		{Type: specs.PIDNamespace},
		{Type: specs.CgroupNamespace},
	}
	if len(c.UIDMappings) > 0 {
		n = append(n, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	switch c.Network.Mode {
	case "host":
	case "ns":
		n = append(n, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: c.Network.Join})
	case "container":
		// The path is found when the container is started.
		n = append(n, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "container:" + c.Network.Join})
	default:
		n = append(n, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	return n
}

// ownNetwork reports whether the container has a network namespace of its own.
func (c *Config) ownNetwork() bool {
	return c.Network.Mode == "bridge" || c.Network.Mode == "none"
}

// mounts is the OCI default list, config-linux.md "Default Filesystems", with
// Docker's options, and what the user asked for behind it.
func (c *Config) mounts() []specs.Mount {
	shm := c.ShmSize
	if shm == 0 {
		shm = 64 << 20
	}
	sys := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
	cgroup := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}}
	if c.Privileged {
		sys.Options[3], cgroup.Options[4] = "rw", "rw"
	}
	devpts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}
	m := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: devpts},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(shm, 10)}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		sys, cgroup,
	}
	for _, u := range c.Mounts {
		m = append(m, specs.Mount{Destination: u.Destination, Type: u.Type, Source: u.Source, Options: u.Options})
	}
	slices.SortStableFunc(m[usualMounts:], byDepth)
	return m
}

// usualMounts is how many mounts every container has, before those that were
// asked for.
const usualMounts = 7

// byDepth puts a mount behind those that it lies below.
func byDepth(a, b specs.Mount) int {
	return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
}

// sysctls are Docker's defaults, which let a process without privileges ping and
// listen on low ports in the container's own network, and what was asked.
func (c *Config) sysctls() map[string]string {
	s := map[string]string{}
	if c.ownNetwork() && len(c.UIDMappings) == 0 {
		s["net.ipv4.ip_unprivileged_port_start"] = "0"
		s["net.ipv4.ping_group_range"] = "0 2147483647"
	}
	for k, v := range c.Sysctls {
		s[k] = v
	}
	return s
}

// maskedPaths and readonlyPaths are Docker's, moby oci/defaults.go: what tells
// of the host or changes it.
var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// validateSysctl refuses a sysctl that is not the container's own: it would
// change the host. Source: moby opts/opts.go, ValidateSysctl, and namespaces(7).
func validateSysctl(key string, ownNetwork bool) error {
	for _, k := range []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"} {
		if key == k {
			return nil
		}
	}
	if strings.HasPrefix(key, "fs.mqueue.") && !strings.Contains(key, "/") {
		return nil
	}
	if strings.HasPrefix(key, "net.") && !strings.Contains(key, "/..") {
		if !ownNetwork {
			return fmt.Errorf("sysctl %s: the network namespace is not the container's own", key)
		}
		return nil
	}
	return fmt.Errorf("sysctl %s: it is not of a namespace and would change the host", key)
}

// capabilityBits turns the names of an OCI config into a set.
func capabilityBits(names []string) (uint64, error) {
	set, err := capability.ParseNames(names)
	return uint64(set), err
}
