package seccomp

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// FieldError is a mistake in a profile.
type FieldError struct {
	Field   string // its JSON path in the OCI config: "linux.seccomp.syscalls[3].action"
	Problem string // "unknown action "SCMP_ACT_MAYBE""
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

func fieldError(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// within puts a path before the field's.
func (e *FieldError) within(path string) *FieldError {
	return &FieldError{Field: path + "." + e.Field, Problem: e.Problem}
}

// A policy is a profile without names: what to do, for which calls.
type policy struct {
	fallback verdict // for calls without a rule
	arches   []*arch
	groups   []group
	flags    uint // SECCOMP_FILTER_FLAG_… of seccomp(2)
	closed   bool // newer calls get the fallback, not ENOSYS: for comparison with libseccomp
}

// A group is one entry of the profile's list: the same rules for several calls.
// A rule that changes nothing is left out, but its calls are counted, since
// they tell how new the profile is.
type group struct {
	calls []int // indexes of the name table
	rules []*rule
}

const root = "linux.seccomp"

// parse checks the profile and returns its policy. The native architecture is
// always part of it, and comes first.
func parse(profile *specs.LinuxSeccomp, native specs.Arch) (*policy, error) {
	p := &policy{groups: make([]group, 0, len(profile.Syscalls))}
	var problem *FieldError
	p.fallback, problem = parseAction(profile.DefaultAction, profile.DefaultErrnoRet)
	if problem != nil {
		renamed := map[string]string{"action": "defaultAction", "errnoRet": "defaultErrnoRet"}
		return nil, fieldError(root+"."+renamed[problem.Field], "%s", problem.Problem)
	}
	if p.fallback == notify {
		// The process that installs the filter could not even tell the agent
		// which descriptor to listen on (runc has the same rule).
		return nil, fieldError(root+".defaultAction", "%s cannot be the default action", specs.ActNotify)
	}
	if p.arches, problem = parseArches(profile.Architectures, native); problem != nil {
		return nil, problem.within(root)
	}
	listens := false
	for i := range profile.Syscalls {
		g, problem := p.parseGroup(&profile.Syscalls[i], i)
		if problem != nil {
			return nil, problem.within(fmt.Sprintf("%s.syscalls[%d]", root, i))
		}
		p.groups = append(p.groups, g)
		listens = listens || profile.Syscalls[i].Action == specs.ActNotify
	}
	if p.flags, problem = parseFlags(profile.Flags, listens); problem != nil {
		return nil, problem.within(root)
	}
	return p, nil
}

func parseArches(list []specs.Arch, native specs.Arch) ([]*arch, *FieldError) {
	own := archNamed(native)
	if own == nil {
		return nil, fieldError("architectures", "no filter can be compiled for a machine of architecture %q", native)
	}
	arches := []*arch{own}
	for i, name := range list {
		field := fmt.Sprintf("architectures[%d]", i)
		a := archNamed(name)
		switch {
		case a == nil:
			return nil, fieldError(field, "no table of system calls for architecture %q", name)
		case a.bigEndian != own.bigEndian:
			return nil, fieldError(field, "%s has another byte order than %s", name, native)
		}
		if !slices.Contains(arches, a) {
			arches = append(arches, a)
		}
	}
	return arches, nil
}

// flagTsync is not a constant of the runtime-spec module, but of the
// specification.
const flagTsync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// flagBits are the flags of OCI runtime-spec, config-linux.md, "Seccomp".
var flagBits = [...]struct {
	name specs.LinuxSeccompFlag
	bit  uint
}{
	{flagTsync, 0}, // installs the filter in all threads; a container is one thread at that time
	{specs.LinuxSeccompFlagLog, unix.SECCOMP_FILTER_FLAG_LOG},
	{specs.LinuxSeccompFlagSpecAllow, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{specs.LinuxSeccompFlagWaitKillableRecv, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
}

// parseFlags returns the bits of the flags. A list that is missing, not empty,
// means SPEC_ALLOW, as for runc: without it Linux before 5.16 switched the
// speculation of the container's processors off, at a third of their speed.
// A profile that notifies needs a descriptor to listen on (Linux 5.0).
func parseFlags(list []specs.LinuxSeccompFlag, listens bool) (uint, *FieldError) {
	var flags uint
	if listens {
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	}
	if list == nil {
		return flags | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
next:
	for i, name := range list {
		field := fmt.Sprintf("flags[%d]", i)
		if name == specs.LinuxSeccompFlagWaitKillableRecv && !listens {
			return 0, fieldError(field, "%s needs a rule with %s", name, specs.ActNotify)
		}
		for _, known := range flagBits {
			if known.name == name {
				flags |= known.bit
				continue next
			}
		}
		return 0, fieldError(field, "unknown flag %q", name)
	}
	return flags, nil
}

// parseGroup returns an entry of the profile's list, which is its index-th.
func (p *policy) parseGroup(call *specs.LinuxSyscall, index int) (group, *FieldError) {
	v, problem := parseAction(call.Action, call.ErrnoRet)
	if problem != nil {
		return group{}, problem
	}
	conditions, split, problem := parseConditions(call.Args)
	if problem != nil {
		return group{}, problem
	}
	g := group{calls: make([]int, 0, len(call.Names))}
	for i, name := range call.Names {
		switch {
		case name == "":
			return group{}, fieldError(fmt.Sprintf("names[%d]", i), "empty name")
		case name == "write" && v == notify:
			// An agent that does not answer would leave the container's start
			// without a way to report (runc has the same rule).
			return group{}, fieldError(fmt.Sprintf("names[%d]", i), "%s cannot be used for write", call.Action)
		}
		if at, ok := callNamed(name); ok {
			g.calls = append(g.calls, at)
		}
	}
	switch {
	case v == p.fallback:
	case split:
		for _, c := range conditions {
			g.rules = append(g.rules, &rule{verdict: v, conditions: []condition{c}, source: index})
		}
	default:
		g.rules = []*rule{{verdict: v, conditions: conditions, source: index}}
	}
	return g, nil
}
