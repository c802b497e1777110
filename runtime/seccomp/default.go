package seccomp

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/capability"
)

// A defaultEntry is an entry of Docker's profile, as far as it concerns this
// architecture and Linux 5.10 or later, together with the capabilities on which
// it depends. The entries and the compiled filter are in zdefault_GOARCH.go.
type defaultEntry struct {
	needs    capability.Set // applies only to a container that has all of these
	without  capability.Set // and none of these
	action   specs.LinuxSeccompAction
	errnoRet uint   // 0 for none
	names    string // with spaces between them
	args     []specs.LinuxSeccompArg
}

// Default returns the filter of Docker's default profile for a container with
// the given bounding set, and the flags to install it with, as Compile does.
// A container with other capabilities is allowed other calls: mount(2) with
// CAP_SYS_ADMIN, for instance.
//
// For most sets the filter is there already, which takes a microsecond. It is
// compiled when the set differs from capability.Default in a capability that the
// profile asks about.
func Default(caps capability.Set) (filter []unix.SockFilter, flags uint, err error) {
	if (caps^capability.Default)&defaultAsks != 0 {
		return Compile(DefaultProfile(caps), Native())
	}
	filter = make([]unix.SockFilter, len(defaultFilter))
	for i, word := range defaultFilter {
		filter[i] = unpack(word)
	}
	return filter, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
}

// unpack returns the instruction in a word of a generated filter: from the top,
// 16 bits of code, 8 of jt, 8 of jf, and 32 of k.
func unpack(word uint64) unix.SockFilter {
	return unix.SockFilter{
		Code: uint16(word >> 48),
		Jt:   uint8(word >> 40),
		Jf:   uint8(word >> 32),
		K:    uint32(word),
	}
}

// DefaultProfile returns Docker's default profile for a container with the
// given bounding set, as `docker run` would put it into the OCI config.
func DefaultProfile(caps capability.Set) *specs.LinuxSeccomp {
	eperm := uint(unix.EPERM)
	profile := &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &eperm,
		Architectures:   append([]specs.Arch(nil), defaultArches[:]...),
		Syscalls:        make([]specs.LinuxSyscall, 0, len(defaultEntries)),
	}
	for i := range defaultEntries {
		e := &defaultEntries[i]
		if !caps.Has(e.needs) || caps&e.without != 0 {
			continue
		}
		call := specs.LinuxSyscall{
			Names:  strings.Fields(e.names),
			Action: e.action,
			Args:   append([]specs.LinuxSeccompArg(nil), e.args...),
		}
		if e.errnoRet != 0 {
			data := e.errnoRet // a copy: the table is not to be written to
			call.ErrnoRet = &data
		}
		profile.Syscalls = append(profile.Syscalls, call)
	}
	return profile
}
