package seccomp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/capability"
)

// A source chooses: at random, or as a fuzzer's bytes say.
type source interface{ IntN(n int) int }

func pick[T any](s source, list []T) T { return list[s.IntN(len(list))] }

// littleArches are those that one machine could report, as far as a filter is
// concerned: a filter has one byte order.
var littleArches = []specs.Arch{
	specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchAARCH64,
	specs.ArchARM, specs.ArchRISCV64, specs.ArchPPC64LE,
}

// someCalls collide on purpose: in number, in multiplexer, in rules.
var someCalls = strings.Fields(`read write clone clone socket socket socketcall personality ioctl ioctl semop ipc
	execve accept set_tls breakpoint arch_prctl rt_sigaction mseal listns no_such_call`)

var someValues = []uint64{
	0, 1, 2, 5, 0xff, 1 << 31, 0xfffffffe, 0xffffffff,
	1 << 32, 1<<32 | 5, 5 << 32, 1 << 63, ^uint64(0) - 1, ^uint64(0),
}

// randomProfile returns a profile of up to max entries.
func randomProfile(s source, native specs.Arch, max int) *specs.LinuxSeccomp {
	operators := []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
		specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpMaskedEqual,
	}
	p := &specs.LinuxSeccomp{}
	p.DefaultAction, p.DefaultErrnoRet = randomAction(s)
	for p.DefaultAction == specs.ActNotify {
		p.DefaultAction, p.DefaultErrnoRet = randomAction(s)
	}
	if native != specs.ArchS390X {
		for range s.IntN(4) {
			p.Architectures = append(p.Architectures, pick(s, littleArches))
		}
	}
	for range s.IntN(max + 1) {
		var entry specs.LinuxSyscall
		entry.Action, entry.ErrnoRet = randomAction(s)
		for range 1 + s.IntN(3) {
			name := pick(s, someCalls)
			if name == "write" && entry.Action == specs.ActNotify {
				name = "read"
			}
			entry.Names = append(entry.Names, name)
		}
		for range s.IntN(4) {
			entry.Args = append(entry.Args, specs.LinuxSeccompArg{
				Index: uint(s.IntN(3)), Op: pick(s, operators),
				Value: pick(s, someValues), ValueTwo: pick(s, someValues),
			})
		}
		p.Syscalls = append(p.Syscalls, entry)
	}
	return p
}

func randomAction(s source) (specs.LinuxSeccompAction, *uint) {
	action := pick(s, []specs.LinuxSeccompAction{
		specs.ActErrno, specs.ActErrno, specs.ActErrno, specs.ActAllow, specs.ActAllow, specs.ActAllow,
		specs.ActKill, specs.ActKillThread, specs.ActKillProcess, specs.ActTrap, specs.ActTrace, specs.ActLog, specs.ActNotify,
	})
	if action != specs.ActErrno && action != specs.ActTrace {
		return action, nil
	}
	data := pick(s, []*uint{nil, new(uint(0)), new(uint(unix.ENOSYS)), new(uint(4094))}) // libseccomp takes 4095 for too large
	return action, data
}

// eachCall calls f with every number of every architecture's table, and numbers
// beyond, each with the given arguments in turn.
func eachCall(args [][6]uint64, f func(call)) {
	audits := []uint32{0, unix.AUDIT_ARCH_MIPS}
	for i := range arches {
		audits = append(audits, arches[i].audit)
	}
	numbers := []uint32{1000, x32Bit - 1, 0x7fffffff, 1 << 31, 0xfffffffe, 0xffffffff, 0xeffff, 0xf0000, 0xf0007, 0x100000}
	for n := range uint32(600) {
		numbers = append(numbers, n, x32Bit|n)
	}
	for n := range uint32(10) {
		numbers = append(numbers, 0xf0000+n)
	}
	for _, audit := range audits {
		for _, nr := range numbers {
			for _, a := range args {
				f(call{nr, audit, a})
			}
		}
	}
}

// compare judges calls by the filter and by the reference.
func compare(t *testing.T, r *reference, filter []unix.SockFilter, args [][6]uint64) {
	t.Helper()
	bad := 0
	eachCall(args, func(c call) {
		got, _ := simulate(filter, c)
		if want := r.judge(c); got != want && bad < 5 {
			bad++
			t.Errorf("arch %#x nr %#x args %#x: the filter says %#x, the profile %#x", c.arch, c.nr, c.args, uint32(got), uint32(want))
		}
	})
	if bad > 0 {
		t.Fatalf("native %s, profile %s\n%s", r.native, show(r.profile), Describe(filter))
	}
}

func show(p *specs.LinuxSeccomp) string {
	var b strings.Builder
	fmt.Fprintf(&b, "default %s, architectures %v", p.DefaultAction, p.Architectures)
	for i, s := range p.Syscalls {
		fmt.Fprintf(&b, "\n  [%d] %v %s", i, s.Names, s.Action)
		if s.ErrnoRet != nil {
			fmt.Fprintf(&b, "(%d)", *s.ErrnoRet)
		}
		for _, a := range s.Args {
			fmt.Fprintf(&b, " arg%d %s %#x %#x", a.Index, a.Op, a.Value, a.ValueTwo)
		}
	}
	return b.String()
}

func randomArgs(s source, n int) (list [][6]uint64) {
	for range n {
		var args [6]uint64
		for i := range args {
			args[i] = pick(s, someValues) + uint64(s.IntN(3)) - 1
		}
		list = append(list, args)
	}
	return list
}

// The filter of a random profile says of every call what the profile says.
func TestFilterAgreesWithProfile(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	natives := append([]specs.Arch{specs.ArchS390X}, littleArches...)
	compiled := 0
	for seed := range rounds {
		s := rand.New(rand.NewPCG(uint64(seed), 1))
		native := natives[seed%len(natives)]
		profile := randomProfile(s, native, 12)
		filter, _, err := Compile(profile, native)
		if err != nil {
			var field *FieldError
			if !errors.As(err, &field) || !strings.Contains(field.Problem, "contradicts") {
				t.Fatalf("%v\n%s", err, show(profile))
			}
			continue
		}
		compiled++
		if err := check(filter); err != nil {
			t.Fatalf("seed %d: the kernel would refuse the filter: %v\n%s", seed, err, show(profile))
		}
		compare(t, newReference(profile, native, true), filter, randomArgs(s, 4))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if compiled < rounds/3 {
		t.Errorf("only %d of %d profiles are free of contradictions", compiled, rounds)
	}
}

// Many rules for one call, whose values share their halves: there the jumps are
// led past what is settled.
func TestRulesThatShareHalves(t *testing.T) {
	halves := []uint64{0, 1, 5, 0xffffffff}
	var values []uint64
	for _, upper := range halves {
		for _, lower := range halves {
			values = append(values, upper<<32|lower)
		}
	}
	for seed := range 3000 {
		s := rand.New(rand.NewPCG(uint64(seed), 3))
		native := pick(s, []specs.Arch{specs.ArchX86_64, specs.ArchX86_64, specs.ArchS390X, specs.ArchX86})
		ops := pick(s, [][]specs.LinuxSeccompOperator{
			{specs.OpEqualTo},
			{specs.OpEqualTo, specs.OpNotEqual, specs.OpMaskedEqual},
			{specs.OpEqualTo, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual},
		})
		profile := profileOf()
		for i := range 1 + s.IntN(8) {
			entry := specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActErrno, ErrnoRet: new(uint(10 + i))}
			for index := range 1 + s.IntN(2) {
				entry.Args = append(entry.Args, specs.LinuxSeccompArg{Index: uint(index), Op: pick(s, ops), Value: pick(s, values), ValueTwo: pick(s, values)})
			}
			profile.Syscalls = append(profile.Syscalls, entry)
		}
		filter, _, err := Compile(profile, native)
		if err != nil {
			continue // a contradiction
		}
		if err := check(filter); err != nil {
			t.Fatal(err)
		}
		r := newReference(profile, native, true)
		nr, _ := numberOf(archNamed(native), "ioctl")
		for _, first := range values {
			for _, second := range values {
				c := call{nr, archNamed(native).audit, [6]uint64{first, second}}
				if got, _ := simulate(filter, c); got != r.judge(c) {
					t.Fatalf("seed %d: %s args %#x: the filter says %v, the profile %v\n%s\n%s", seed, native, c.args, got, r.judge(c), show(profile), Describe(filter))
				}
			}
		}
	}
}

// Every single operator, at the borders of its value.
func TestOperatorsAtTheirBorders(t *testing.T) {
	for _, native := range []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchS390X} {
		for op := range operators {
			for _, value := range someValues {
				for _, two := range []uint64{0, value, 1, 1 << 32, 0xdeadbeef_cafebabe} {
					profile := &specs.LinuxSeccomp{
						DefaultAction: specs.ActErrno,
						Syscalls: []specs.LinuxSyscall{{
							Names: []string{"ioctl"}, Action: specs.ActAllow,
							Args: []specs.LinuxSeccompArg{{Index: 1, Op: operators[op].name, Value: value, ValueTwo: two}},
						}},
					}
					filter, _, err := Compile(profile, native)
					if err != nil {
						t.Fatal(err)
					}
					r := newReference(profile, native, true)
					at, _ := callNamed("ioctl")
					nr, _ := archNamed(native).number(at)
					for _, arg := range append([]uint64{value - 1, value, value + 1, two, two ^ value, value ^ 1<<32, value << 32, value >> 32}, someValues...) {
						c := call{nr, archNamed(native).audit, [6]uint64{1: arg}}
						if got, _ := simulate(filter, c); got != r.judge(c) {
							t.Fatalf("%s: %#x %s %#x %#x: got %#x", native, arg, operators[op].name, value, two, uint32(got))
						}
					}
				}
			}
		}
	}
}

// Docker's profile, for the default capabilities, for none, and for all.
func TestDefaultFilterAgreesWithProfile(t *testing.T) {
	var args [][6]uint64
	for _, first := range []uint64{
		0, 8, 37, 38, 39, 40, 41, 0x20008, 0xffffffff, 0x7e020000, 0x10000000, 0x02000000, 0x11,
		1 << 32, 1<<32 | 8, 1<<32 | 38, ^uint64(0),
	} {
		args = append(args, [6]uint64{first})
	}
	for _, caps := range []capability.Set{capability.Default, 0, capability.Named, capability.Default | 1<<unix.CAP_SYS_ADMIN} {
		filter, _, err := Default(caps)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(filter); err != nil {
			t.Fatal(err)
		}
		compare(t, newReference(DefaultProfile(caps), Native(), true), filter, args)
	}
}

// A fuzzer's bytes, as choices; zeros when they are used up.
type choices struct{ bytes []byte }

func (c *choices) IntN(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := c.bytes[0]
	c.bytes = c.bytes[1:]
	return int(b) % n
}

// FuzzCompile shows that a profile gives an error or a filter that the kernel
// takes, and that says what the profile says.
func FuzzCompile(f *testing.F) {
	f.Add([]byte("a profile"), "SCMP_ACT_ERRNO", "SCMP_CMP_EQ", "read", uint64(1), uint(0))
	f.Add([]byte{}, "", "", "", uint64(0), uint(9))
	f.Fuzz(func(t *testing.T, bytes []byte, action, op, name string, value uint64, index uint) {
		s := &choices{bytes}
		natives := append([]specs.Arch{specs.ArchS390X}, littleArches...)
		native := pick(s, natives)
		profile := randomProfile(s, native, 40)
		profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{
			Names: []string{name}, Action: specs.LinuxSeccompAction(action),
			Args: []specs.LinuxSeccompArg{{Index: index, Op: specs.LinuxSeccompOperator(op), Value: value}},
		})
		filter, _, err := Compile(profile, native)
		if err != nil {
			var field *FieldError
			if filter != nil || !errors.As(err, &field) || !strings.HasPrefix(field.Field, "linux.seccomp") {
				t.Fatalf("a filter of %d instructions and the error %v", len(filter), err)
			}
			return
		}
		if err := check(filter); err != nil {
			t.Fatal(err)
		}
		r := newReference(profile, native, true)
		for i := range 200 {
			c := call{uint32(s.IntN(256) * (i % 3)), pick(s, arches[:]).audit, [6]uint64{value, value, value}}
			if got, _ := simulate(filter, c); got != r.judge(c) {
				t.Fatalf("%+v: the filter says %#x, the profile %#x\n%s", c, uint32(got), uint32(r.judge(c)), show(profile))
			}
		}
	})
}
