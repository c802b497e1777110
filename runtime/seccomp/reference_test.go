package seccomp

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A reference answers what a profile says about a call by reading the profile,
// straight from the words of the package comment. It shares with the compiler
// the tables of numbers and of multiplexers, and nothing else.
type reference struct {
	profile *specs.LinuxSeccomp
	native  specs.Arch
	stub    bool // answer ENOSYS for what is newer than the profile
	rules   map[numbered][]match
	newest  map[*arch][2]uint32 // highest plain and private number
}

type numbered struct {
	arch *arch
	nr   uint32
}

func newReference(profile *specs.LinuxSeccomp, native specs.Arch, stub bool) *reference {
	r := &reference{profile, native, stub, map[numbered][]match{}, map[*arch][2]uint32{}}
	fallback := actionOf(profile.DefaultAction, profile.DefaultErrnoRet)
	for i := range arches {
		for at, entry := range profile.Syscalls {
			v := actionOf(entry.Action, entry.ErrnoRet)
			for _, name := range entry.Names {
				r.count(&arches[i], name)
				if v != fallback {
					r.add(&arches[i], name, match{verdict: v, entry: at}, entry.Args)
				}
			}
		}
	}
	return r
}

func (r *reference) count(a *arch, name string) {
	nr, ok := numberOf(a, name)
	if !ok {
		return
	}
	newest := r.newest[a]
	class := 0
	if a.name == specs.ArchARM && nr >= 0xf0000 {
		class = 1
	}
	newest[class] = max(newest[class], nr)
	r.newest[a] = newest
}

// add notes what an entry says about one name on one architecture.
func (r *reference) add(a *arch, name string, m match, args []specs.LinuxSeccompArg) {
	sorted := slices.Clone(args)
	slices.SortStableFunc(sorted, func(x, y specs.LinuxSeccompArg) int { return int(x.Index) - int(y.Index) })
	rules := [][]specs.LinuxSeccompArg{sorted}
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Index == sorted[i-1].Index {
			rules = slices.Collect(slices.Chunk(sorted, 1))
			break
		}
	}
	for _, args := range rules {
		if nr, ok := numberOf(a, name); ok {
			m.args = effective(a, args)
			r.rules[numbered{a, nr}] = append(r.rules[numbered{a, nr}], m)
		}
		holder, code, ok := multiplexed(name)
		if !ok || !a.multiplex {
			continue
		}
		if nr, ok := numberOf(a, holder); ok {
			through := []specs.LinuxSeccompArg{{Index: 0, Value: code, Op: specs.OpEqualTo}}
			for _, arg := range args {
				if arg.Index != 0 {
					through = append(through, arg)
				}
			}
			m.args = effective(a, through)
			r.rules[numbered{a, nr}] = append(r.rules[numbered{a, nr}], m)
		}
	}
}

func numberOf(a *arch, name string) (uint32, bool) {
	at, ok := callNamed(name)
	if !ok {
		return 0, false
	}
	return a.number(at)
}

// effective returns the conditions as the architecture sees them.
func effective(a *arch, args []specs.LinuxSeccompArg) (list []specs.LinuxSeccompArg) {
	for _, arg := range args {
		if a.narrow {
			arg.Value, arg.ValueTwo = uint64(uint32(arg.Value)), uint64(uint32(arg.ValueTwo))
		}
		if arg.Op != specs.OpMaskedEqual || arg.Value != 0 {
			list = append(list, arg)
		}
	}
	return list
}

func (r *reference) judge(c call) verdict {
	fallback := actionOf(r.profile.DefaultAction, r.profile.DefaultErrnoRet)
	a := r.archOf(c)
	if a == nil {
		if c.arch == unix.AUDIT_ARCH_X86_64 && c.nr == 0xffffffff && r.has(specs.ArchX86_64) && !r.has(specs.ArchX32) {
			return fallback
		}
		return verdict(unix.SECCOMP_RET_KILL_THREAD)
	}
	if r.stub && !permits(fallback) && r.newer(a, c.nr) {
		return verdict(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	}
	var best *match
	for _, m := range r.rules[numbered{a, c.nr}] {
		if m.holds(a, c) && (best == nil || m.before(*best)) {
			best = &m
		}
	}
	if best == nil {
		return fallback
	}
	return best.verdict
}

// A match is a rule for a call.
type match struct {
	verdict verdict
	entry   int
	args    []specs.LinuxSeccompArg
}

// before says that m is tried before other, which stands earlier in the profile.
func (m match) before(other match) bool {
	if len(m.args) == 0 || len(other.args) == 0 {
		return len(m.args) < len(other.args)
	}
	for i := range min(len(m.args), len(other.args)) {
		x, y := m.args[i], other.args[i]
		if x.Index != y.Index {
			return x.Index > y.Index
		}
		if rank(x) != rank(y) {
			return rank(x) > rank(y)
		}
		if datum(x) == datum(y) {
			continue
		}
		if rank(x) == 2 {
			return datum(x) < datum(y)
		}
		return datum(x) > datum(y)
	}
	return len(m.args) < len(other.args)
}

func rank(a specs.LinuxSeccompArg) int {
	switch a.Op {
	case specs.OpGreaterThan, specs.OpGreaterEqual:
		return 1
	case specs.OpLessThan, specs.OpLessEqual:
		return 2
	}
	return 3
}

func datum(a specs.LinuxSeccompArg) uint64 {
	if a.Op == specs.OpMaskedEqual {
		return a.Value & a.ValueTwo
	}
	return a.Value
}

// holds says that a call meets all of the conditions.
func (m match) holds(a *arch, c call) bool {
	for _, arg := range m.args {
		is, ok := c.args[arg.Index], false
		if a.narrow {
			is = uint64(uint32(is))
		}
		switch arg.Op {
		case specs.OpEqualTo:
			ok = is == arg.Value
		case specs.OpNotEqual:
			ok = is != arg.Value
		case specs.OpLessThan:
			ok = is < arg.Value
		case specs.OpLessEqual:
			ok = is <= arg.Value
		case specs.OpGreaterThan:
			ok = is > arg.Value
		case specs.OpGreaterEqual:
			ok = is >= arg.Value
		case specs.OpMaskedEqual:
			ok = is&arg.Value == arg.ValueTwo&arg.Value
		}
		if !ok {
			return false
		}
	}
	return true
}

func (r *reference) has(name specs.Arch) bool {
	return name == r.native || slices.Contains(r.profile.Architectures, name)
}

// archOf returns the architecture of a call, nil if the profile does not have it.
func (r *reference) archOf(c call) *arch {
	for i := range arches {
		a := &arches[i]
		isX32 := c.arch == unix.AUDIT_ARCH_X86_64 && c.nr >= 1<<30
		if a.audit == c.arch && (a.name == specs.ArchX32) == isX32 && r.has(a.name) {
			return a
		}
	}
	return nil
}

// newer says that a number is above all that the profile names.
func (r *reference) newer(a *arch, nr uint32) bool {
	plain, private := r.newest[a][0], r.newest[a][1]
	switch {
	case plain == 0:
		return false
	case a.name == specs.ArchS390X && nr == 0:
		return true
	case private != 0 && nr >= 0xf0000:
		return nr > private
	}
	return nr > plain
}

func permits(v verdict) bool {
	a := uint32(v) & unix.SECCOMP_RET_ACTION_FULL
	return a == unix.SECCOMP_RET_ALLOW || a == unix.SECCOMP_RET_LOG || a == unix.SECCOMP_RET_TRACE || uint32(v) == unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)
}

func actionOf(name specs.LinuxSeccompAction, data *uint) verdict {
	low := uint32(unix.EPERM)
	if data != nil {
		low = uint32(*data)
	}
	return verdict(map[specs.LinuxSeccompAction]uint32{
		specs.ActKill:        unix.SECCOMP_RET_KILL_THREAD,
		specs.ActKillThread:  unix.SECCOMP_RET_KILL_THREAD,
		specs.ActKillProcess: unix.SECCOMP_RET_KILL_PROCESS,
		specs.ActTrap:        unix.SECCOMP_RET_TRAP,
		specs.ActErrno:       unix.SECCOMP_RET_ERRNO | low,
		specs.ActTrace:       unix.SECCOMP_RET_TRACE | low,
		specs.ActAllow:       unix.SECCOMP_RET_ALLOW,
		specs.ActLog:         unix.SECCOMP_RET_LOG,
		specs.ActNotify:      unix.SECCOMP_RET_USER_NOTIF,
	}[name])
}
