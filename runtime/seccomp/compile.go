package seccomp

import (
	"math"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxInstructions is BPF_MAXINSNS of linux/bpf_common.h.
const maxInstructions = 4096

// Compile returns the filter of a profile for a machine of the native
// architecture, and the flags to install it with (SECCOMP_FILTER_FLAG_… for
// seccomp(2), SECCOMP_SET_MODE_FILTER). With a rule that notifies, the flags
// have NEW_LISTENER, and seccomp(2) returns the descriptor to listen on.
//
// The error is a *FieldError that names the JSON field at fault. A filter of
// more than 4096 instructions is one too: the kernel would refuse it.
func Compile(profile *specs.LinuxSeccomp, native specs.Arch) (filter []unix.SockFilter, flags uint, err error) {
	p, err := parse(profile, native)
	if err != nil {
		return nil, 0, err
	}
	filter, err = p.compile()
	if err != nil {
		return nil, 0, err
	}
	return filter, p.flags, nil
}

// compile writes the program: for each architecture a test of seccomp_data.arch
// and a section, the native one first; after them what happens to the rest.
func (p *policy) compile() ([]unix.SockFilter, error) {
	var a assembler
	a.code = make([]unix.SockFilter, 0, 512)
	next := a.verdict(killThread)
	for i := len(p.arches) - 1; i >= 0; i-- {
		if p.shared(i) {
			continue
		}
		spans, err := p.table(p.arches[i].audit)
		if err != nil {
			return nil, err
		}
		section := a.tree(spans)
		if section.label != 0 { // it looks at the number at all
			section = a.emit(opLoad, offsetNumber)
		}
		next = a.branch(opEqual, p.arches[i].audit, section, next)
	}
	a.emit(opLoad, offsetArch)
	program := a.program()
	if len(program) > maxInstructions {
		return nil, fieldError(root, "the filter has %d instructions, and the kernel takes at most %d", len(program), maxInstructions)
	}
	return program, nil
}

// shared says that an architecture before the i-th has the same AUDIT_ARCH
// value, so that one section serves both.
func (p *policy) shared(i int) bool {
	for _, earlier := range p.arches[:i] {
		if earlier.audit == p.arches[i].audit {
			return true
		}
	}
	return false
}

// table returns the spans of all architectures with an AUDIT_ARCH value: of one,
// or of x86_64 and x32. Of those two, the one that the profile leaves out is
// killed; but not the number -1, with which a tracer says that the call is to be
// skipped (seccomp(2), "Seccomp-specific BPF details").
func (p *policy) table(audit uint32) ([]span, error) {
	var low, high []span
	for _, a := range p.arches {
		if a.audit != audit {
			continue
		}
		spans, err := p.section(a)
		if err != nil {
			return nil, err
		}
		if a.base == x32Bit {
			high = spans
		} else {
			low = spans
		}
	}
	if audit != unix.AUDIT_ARCH_X86_64 {
		return low, nil
	}
	if low == nil {
		low = []span{{verdict: killThread}}
	}
	if high == nil {
		high = []span{{first: x32Bit, verdict: killThread}, {first: math.MaxUint32, verdict: p.fallback}}
	}
	for low[len(low)-1].first >= x32Bit {
		low = low[:len(low)-1]
	}
	return append(low, high...), nil
}

// tree writes the search for a number, which A holds, among the spans.
func (a *assembler) tree(spans []span) target {
	if len(spans) == 1 {
		return a.rules(spans[0])
	}
	if len(spans) == 3 && spans[0].alike(spans[2]) && spans[1].first+1 == spans[2].first {
		no, yes := a.tree(spans[:1]), a.tree(spans[1:2])
		return a.branch(opEqual, spans[1].first, yes, no)
	}
	middle := halve(spans)
	yes, no := a.tree(spans[middle:]), a.tree(spans[:middle])
	return a.branch(opLeast, spans[middle].first, yes, no)
}

// halve returns the index that divides the spans into two parts of about the
// same weight, which is the count of the numbers in them: so the path to wide
// spans, into which most calls fall, is short. x32 is hardly used, and weighs
// little.
func halve(spans []span) int {
	weight := func(i int) int {
		if i+1 == len(spans) || spans[i].first >= x32Bit || spans[i+1].first >= x32Bit {
			return 1
		}
		return int(spans[i+1].first - spans[i].first)
	}
	total := 0
	for i := range spans {
		total += weight(i)
	}
	middle, left := 1, weight(0)
	for middle < len(spans)-1 && 2*left+weight(middle) <= total {
		left += weight(middle)
		middle++
	}
	return middle
}

// rules writes the rules of a span, from the last to the first.
func (a *assembler) rules(s span) target {
	next := target{verdict: s.verdict}
	for _, r := range slices.Backward(s.rules) {
		yes := target{verdict: r.verdict}
		for _, c := range slices.Backward(r.conditions) {
			yes = a.condition(c, s.arch, yes, next)
		}
		next = yes
	}
	return next
}
