package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/runtime"
)

// splitList splits at commas; nothing gives nothing.
func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// parseDevices reads HOST[:CONTAINER[:rwm]].
func (f *runFlags) parseDevices() error {
	for _, text := range f.devices {
		parts := strings.Split(text, ":")
		d := runtime.Device{Host: parts[0], Container: parts[0], Permissions: "rwm"}
		switch {
		case len(parts) == 3:
			d.Container, d.Permissions = parts[1], parts[2]
		case len(parts) == 2 && strings.HasPrefix(parts[1], "/"):
			d.Container = parts[1]
		case len(parts) == 2:
			d.Permissions = parts[1]
		case len(parts) > 3:
			return fmt.Errorf("--device %q: not of the form HOST[:CONTAINER[:rwm]]", text)
		}
		if strings.Trim(d.Permissions, "rwm") != "" || d.Permissions == "" {
			return fmt.Errorf("--device %q: permissions %q are not of r, w and m", text, d.Permissions)
		}
		f.Devices = append(f.Devices, d)
	}
	return nil
}

// parseSecurity understands --cap-add, --cap-drop, --security-opt, --sysctl and
// --umask.
func (f *runFlags) parseSecurity() (err error) {
	if f.Capabilities, err = runtime.Capabilities(f.Privileged, f.capAdd, f.capDrop); err != nil {
		return err
	}
	for _, o := range f.securityOpt {
		if err := f.securityOption(o); err != nil {
			return fmt.Errorf("--security-opt %q: %w", o, err)
		}
	}
	for _, s := range f.sysctls {
		key, value, found := strings.Cut(s, "=")
		if !found || key == "" {
			return fmt.Errorf("--sysctl %q: not of the form NAME=VALUE", s)
		}
		if err := runtime.ValidateSysctl(key, f.Network.Mode); err != nil {
			return fmt.Errorf("--sysctl %s: %w", s, err)
		}
		if f.Sysctls == nil {
			f.Sysctls = map[string]string{}
		}
		f.Sysctls[key] = value
	}
	if f.umask != "" {
		m, err := strconv.ParseUint(f.umask, 8, 9)
		if err != nil {
			return fmt.Errorf("--umask %q: not an octal mask up to 0777", f.umask)
		}
		mask := uint32(m)
		f.Umask = &mask
	}
	return nil
}

func (f *runFlags) securityOption(o string) error {
	key, value, found := strings.Cut(o, "=")
	if !found {
		key, value, _ = strings.Cut(o, ":")
	}
	switch {
	case key == "no-new-privileges" && (value == "" || value == "true"):
		f.NoNewPrivileges = true
	case key == "no-new-privileges" && value == "false":
		f.NoNewPrivileges = false
	case key == "seccomp" && value == "unconfined":
		f.Seccomp = "unconfined"
	case key == "seccomp" && value != "":
		b, err := os.ReadFile(value)
		if err != nil {
			return err
		}
		f.Seccomp = string(b)
		return runtime.ValidateSeccomp(b)
	case key == "apparmor" && value == "unconfined", key == "label" && value == "disable":
		// There is no such confinement, so there is nothing to switch off.
	default:
		return fmt.Errorf("there are no-new-privileges, seccomp=unconfined and seccomp=FILE")
	}
	return nil
}

// parseUlimits reads NAME=SOFT[:HARD]; -1 and "unlimited" are no limit.
func (f *runFlags) parseUlimits() error {
	for _, text := range f.ulimits {
		name, values, found := strings.Cut(text, "=")
		if !found {
			return fmt.Errorf("--ulimit %q: not of the form NAME=SOFT[:HARD]", text)
		}
		soft, hard, two := strings.Cut(values, ":")
		if !two {
			hard = soft
		}
		s, err := parseLimit(soft)
		h, err2 := parseLimit(hard)
		if err != nil || err2 != nil {
			return fmt.Errorf("--ulimit %q: a limit is a number, or -1 for none", text)
		}
		if s > h {
			return fmt.Errorf("--ulimit %q: the soft limit is higher than the hard one", text)
		}
		if err := f.AddUlimit(name, s, h); err != nil {
			return fmt.Errorf("--ulimit %q: %w", text, err)
		}
	}
	f.DefaultUlimits()
	return nil
}

func parseLimit(text string) (uint64, error) {
	if text == "-1" || text == "unlimited" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// parseLimits understands the flags of package cgroups, --shm-size and
// --oom-score-adj.
func (f *runFlags) parseLimits() (err error) {
	var online cgroups.List
	if f.Limits.CPUs != "" || f.Limits.CpusetCPUs != "" {
		if online, err = cgroups.OnlineCPUs(); err != nil {
			return err
		}
	}
	if f.Resources, err = cgroups.Resources(f.Limits, online); err != nil {
		return err
	}
	if f.shmSize != "" {
		if f.ShmSize, err = cgroups.ParseMemory(f.shmSize); err != nil {
			return fmt.Errorf("--shm-size: %w", err)
		}
	}
	if f.oomScore != "" {
		if f.OOMScoreAdj, err = strconv.Atoi(f.oomScore); err != nil || f.OOMScoreAdj < -1000 || f.OOMScoreAdj > 1000 {
			return fmt.Errorf("--oom-score-adj %q: not a number from -1000 to 1000", f.oomScore)
		}
	}
	return nil
}

// parseMappings reads --uidmap and --gidmap.
func (f *runFlags) parseMappings() (err error) {
	if len(f.gidmap) > 0 && len(f.uidmap) == 0 {
		return fmt.Errorf("--gidmap needs --uidmap")
	}
	if len(f.gidmap) == 0 {
		f.gidmap = f.uidmap
	}
	if f.UIDMappings, err = runtime.ParseIDMappings(f.uidmap); err != nil {
		return fmt.Errorf("--uidmap: %w", err)
	}
	if f.GIDMappings, err = runtime.ParseIDMappings(f.gidmap); err != nil {
		return fmt.Errorf("--gidmap: %w", err)
	}
	return nil
}

// hostnameMax is how long the kernel's names of a host may be, in bytes: uname(2),
// NOTES, without the null byte.
const hostnameMax = 64

// parseHostname checks --hostname and --domainname.
func (f *runFlags) parseHostname() error {
	for flag, name := range map[string]string{"hostname": f.Hostname, "domainname": f.Domainname} {
		if len(name) > hostnameMax {
			return fmt.Errorf("--%s %q: %d bytes long, the kernel allows %d", flag, name, len(name), hostnameMax)
		}
	}
	return nil
}
