package runtime

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/minictr/minictr/runtime/capability"
	"github.com/minictr/minictr/runtime/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The functions of this file turn what people write into what Config holds.

// Capabilities works out the names for --privileged, --cap-add and --cap-drop.
func Capabilities(privileged bool, add, drop []string) ([]string, error) {
	host, err := capability.Resolve()
	if err != nil {
		return nil, err
	}
	base := capability.Default
	if privileged {
		base = host.Held
	}
	set, err := host.Apply(base, add, drop)
	if err != nil {
		return nil, err
	}
	return set.Names(), nil
}

// ValidateSysctl refuses a sysctl that is not of the container's namespaces.
func ValidateSysctl(key, networkMode string) error {
	return validateSysctl(key, networkMode == "bridge" || networkMode == "none")
}

// ValidateSeccomp reports a profile that cannot be compiled, and by which field.
func ValidateSeccomp(profile []byte) error {
	p, err := parseSeccomp(profile)
	if err != nil {
		return err
	}
	_, _, err = seccomp.Compile(p, seccomp.Native())
	return err
}

// AddUlimit adds a limit by its short name, such as nofile, or its full one.
func (c *Config) AddUlimit(name string, soft, hard uint64) error {
	full := "RLIMIT_" + strings.TrimPrefix(strings.ToUpper(name), "RLIMIT_")
	if _, known := rlimits[full]; !known {
		return fmt.Errorf("unknown limit %q", name)
	}
	c.Ulimits = append(c.Ulimits, specs.POSIXRlimit{Type: full, Soft: soft, Hard: hard})
	return nil
}

// DefaultUlimits adds the limit of open files where none was asked for: 1024,
// and at most 524288, as systemd and containerd have it. It must always be set,
// because the Go runtime raises the soft limit of this process.
func (c *Config) DefaultUlimits() {
	for _, u := range c.Ulimits {
		if u.Type == "RLIMIT_NOFILE" {
			return
		}
	}
	hard := uint64(524288)
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err == nil {
		hard = min(hard, now.Max)
	}
	c.Ulimits = append(c.Ulimits, specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: min(1024, hard), Hard: hard})
}

// ParseIDMappings reads CONTAINER:HOST:COUNT.
func ParseIDMappings(list []string) ([]specs.LinuxIDMapping, error) {
	var out []specs.LinuxIDMapping
	for _, text := range list {
		m, err := parseIDMapping(text, ":")
		if errors.Is(err, errForm) {
			err = errors.New("not of the form CONTAINER:HOST:COUNT")
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		out = append(out, m)
	}
	if len(out) > 0 && hostID(out, 0) == 0 && out[0].ContainerID != 0 {
		return nil, errors.New("user 0 of the container is not mapped")
	}
	return out, nil
}

// errForm is that a mapping is not of three parts.
var errForm = errors.New("not of three parts")

// parseIDMapping reads three numbers; a count of 0 is none.
func parseIDMapping(text, separator string) (specs.LinuxIDMapping, error) {
	f := strings.Split(text, separator)
	if len(f) != 3 {
		return specs.LinuxIDMapping{}, errForm
	}
	var n [3]uint32
	for i := range f {
		v, err := strconv.ParseUint(f[i], 10, 32)
		if err != nil || v == math.MaxUint32 {
			return specs.LinuxIDMapping{}, fmt.Errorf("%q is no id", f[i])
		}
		n[i] = uint32(v)
	}
	if n[2] == 0 {
		return specs.LinuxIDMapping{}, errors.New("a count of 0")
	}
	return specs.LinuxIDMapping{ContainerID: n[0], HostID: n[1], Size: n[2]}, nil
}
