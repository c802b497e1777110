package seccomp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/capability"
)

// profileOf returns a profile that refuses all but the given entries.
func profileOf(entries ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: entries}
}

func allowed(names ...string) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: names, Action: specs.ActAllow}
}

func TestErrorsNameTheField(t *testing.T) {
	arg := func(a specs.LinuxSeccompArg) *specs.LinuxSeccomp {
		entry := allowed("read")
		entry.Args = []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpEqualTo}, a}
		return profileOf(allowed("write"), entry)
	}
	where := func(action specs.LinuxSeccompAction, value uint64) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{"ioctl"}, Action: action, Args: []specs.LinuxSeccompArg{{Index: 1, Op: specs.OpEqualTo, Value: value}}}
	}
	var many []specs.LinuxSyscall
	for i := range 5000 {
		many = append(many, where(specs.ActAllow, uint64(i)))
	}
	for _, tt := range []struct {
		name    string
		profile *specs.LinuxSeccomp
		native  specs.Arch
		want    string
	}{
		{name: "default action", profile: &specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_MAYBE"}, want: `linux.seccomp.defaultAction: unknown action "SCMP_ACT_MAYBE"`},
		{name: "no default action", profile: &specs.LinuxSeccomp{}, want: `linux.seccomp.defaultAction: unknown action ""`},
		{name: "default errno", profile: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: new(uint(4096))}, want: `linux.seccomp.defaultErrnoRet: 4096 is larger than 4095`},
		{name: "default errno without use", profile: &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, DefaultErrnoRet: new(uint(1))}, want: `linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno`},
		{name: "default notify", profile: &specs.LinuxSeccomp{DefaultAction: specs.ActNotify}, want: `linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default action`},
		{name: "architecture", profile: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86, "SCMP_ARCH_VAX"}}, want: `linux.seccomp.architectures[1]: no table of system calls for architecture "SCMP_ARCH_VAX"`},
		{name: "byte order", profile: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchS390X}}, want: `linux.seccomp.architectures[0]: SCMP_ARCH_S390X has another byte order than SCMP_ARCH_X86_64`},
		{name: "native", profile: profileOf(), native: "SCMP_ARCH_VAX", want: `linux.seccomp.architectures: no filter can be compiled for a machine of architecture "SCMP_ARCH_VAX"`},
		{name: "flag", profile: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, "FLAG"}}, want: `linux.seccomp.flags[1]: unknown flag "FLAG"`},
		{name: "flag without notify", profile: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}}, want: `linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY`},
		{name: "action", profile: profileOf(allowed("read"), specs.LinuxSyscall{Names: []string{"write"}, Action: "ALLOW"}), want: `linux.seccomp.syscalls[1].action: unknown action "ALLOW"`},
		{name: "errno", profile: profileOf(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActTrace, ErrnoRet: new(uint(0x10000))}), want: `linux.seccomp.syscalls[0].errnoRet: 65536 is larger than 65535`},
		{name: "errno without use", profile: profileOf(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActKillProcess, ErrnoRet: new(uint(1))}), want: `linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL_PROCESS takes no errno`},
		{name: "operator", profile: arg(specs.LinuxSeccompArg{Op: "SCMP_CMP_XX"}), want: `linux.seccomp.syscalls[1].args[1].op: unknown operator "SCMP_CMP_XX"`},
		{name: "index", profile: arg(specs.LinuxSeccompArg{Index: 6, Op: specs.OpEqualTo}), want: `linux.seccomp.syscalls[1].args[1].index: 6 is not an argument, which count from 0 to 5`},
		{name: "empty name", profile: profileOf(allowed("read", "")), want: `linux.seccomp.syscalls[0].names[1]: empty name`},
		{name: "notify write", profile: profileOf(specs.LinuxSyscall{Names: []string{"read", "write"}, Action: specs.ActNotify}), want: `linux.seccomp.syscalls[0].names[1]: SCMP_ACT_NOTIFY cannot be used for write`},
		{name: "contradiction", profile: profileOf(allowed("read"), where(specs.ActAllow, 7), where(specs.ActKill, 7)), want: `linux.seccomp.syscalls[2]: ioctl: contradicts syscalls[1], which has the same args and another action`},
		{name: "too long", profile: profileOf(many...), want: `linux.seccomp: the filter has 5173 instructions, and the kernel takes at most 4096`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.native == "" {
				tt.native = specs.ArchX86_64
			}
			filter, flags, err := Compile(tt.profile, tt.native)
			var field *FieldError
			if filter != nil || flags != 0 || !errors.As(err, &field) || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	notifying := profileOf(specs.LinuxSyscall{Names: []string{"mount"}, Action: specs.ActNotify})
	for _, tt := range []struct {
		name    string
		profile *specs.LinuxSeccomp
		flags   string // "-" for a list that is missing
		want    uint
	}{
		{"missing", profileOf(), "-", unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"empty", profileOf(), "", 0},
		{"all but one", profileOf(), "TSYNC LOG SPEC_ALLOW", unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"notify", notifying, "", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
		{"notify and wait", notifying, "WAIT_KILLABLE_RECV", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
	} {
		t.Run(tt.name, func(t *testing.T) {
			profile := *tt.profile
			if tt.flags != "-" {
				profile.Flags = []specs.LinuxSeccompFlag{}
			}
			for _, f := range strings.Fields(strings.Trim(tt.flags, "-")) {
				profile.Flags = append(profile.Flags, specs.LinuxSeccompFlag("SECCOMP_FILTER_FLAG_"+f))
			}
			_, flags, err := Compile(&profile, specs.ArchX86_64)
			if err != nil || flags != tt.want {
				t.Errorf("flags %#x, want %#x (%v)", flags, tt.want, err)
			}
		})
	}
}

// Each action of the specification gives the verdict of seccomp(2).
func TestActions(t *testing.T) {
	for name, want := range map[specs.LinuxSeccompAction]uint32{
		specs.ActKill: 0, specs.ActKillThread: 0, specs.ActKillProcess: 0x80000000, specs.ActTrap: 0x00030000,
		specs.ActErrno: 0x00050001, specs.ActTrace: 0x7ff00001, specs.ActAllow: 0x7fff0000, specs.ActLog: 0x7ffc0000, specs.ActNotify: 0x7fc00000,
	} {
		profile := &specs.LinuxSeccomp{DefaultAction: specs.ActTrap, Syscalls: []specs.LinuxSyscall{{Names: []string{"getpid"}, Action: name}}}
		if name == specs.ActTrap {
			profile.DefaultAction = specs.ActAllow
		}
		filter, _, err := Compile(profile, specs.ArchX86_64)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := simulate(filter, call{nr: unix.SYS_GETPID, arch: unix.AUDIT_ARCH_X86_64}); got != verdict(want) {
			t.Errorf("%s gives %#x, want %#x", name, uint32(got), want)
		}
	}
	if len(actions) != 9 {
		t.Errorf("%d actions, of which 9 are tested", len(actions))
	}
}

// What the package comment says of several rules for one call.
func TestRulesOfOneCall(t *testing.T) {
	is := func(op specs.LinuxSeccompOperator, values ...uint64) (list []specs.LinuxSeccompArg) {
		for i, v := range values {
			list = append(list, specs.LinuxSeccompArg{Index: uint(i), Op: op, Value: v})
		}
		return list
	}
	entry := func(action specs.LinuxSeccompAction, args []specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{"ioctl"}, Action: action, Args: args}
	}
	same := []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpEqualTo, Value: 1}, {Index: 0, Op: specs.OpEqualTo, Value: 2}}
	for _, tt := range []struct {
		name    string
		entries []specs.LinuxSyscall
		args    [6]uint64
		want    verdict
	}{
		{"all conditions hold", []specs.LinuxSyscall{entry(specs.ActAllow, is(specs.OpEqualTo, 1, 2))}, [6]uint64{1, 2}, allow},
		{"one does not", []specs.LinuxSyscall{entry(specs.ActAllow, is(specs.OpEqualTo, 1, 2))}, [6]uint64{1, 3}, errno | 1},
		{"either rule", []specs.LinuxSyscall{entry(specs.ActAllow, is(specs.OpEqualTo, 1)), entry(specs.ActAllow, is(specs.OpEqualTo, 2))}, [6]uint64{2}, allow},
		{"two conditions on one argument", []specs.LinuxSyscall{entry(specs.ActAllow, same)}, [6]uint64{2}, allow},
		{"no conditions wins, later", []specs.LinuxSyscall{entry(specs.ActKillProcess, is(specs.OpEqualTo, 1)), entry(specs.ActAllow, nil)}, [6]uint64{1}, allow},
		{"no conditions wins, earlier", []specs.LinuxSyscall{entry(specs.ActAllow, nil), entry(specs.ActKillProcess, is(specs.OpEqualTo, 1))}, [6]uint64{1}, allow},
		{"the first of two without", []specs.LinuxSyscall{entry(specs.ActLog, nil), entry(specs.ActKillProcess, nil)}, [6]uint64{}, logged},
		{"the default action is no exception", []specs.LinuxSyscall{entry(specs.ActErrno, is(specs.OpEqualTo, 1)), entry(specs.ActAllow, is(specs.OpGreaterEqual, 0))}, [6]uint64{1}, allow},
		{"the specific before the general", []specs.LinuxSyscall{entry(specs.ActAllow, is(specs.OpGreaterThan, 0)), entry(specs.ActKillProcess, is(specs.OpEqualTo, 5))}, [6]uint64{5}, killProcess},
		{"the narrower bound first, inclusive", []specs.LinuxSyscall{entry(specs.ActAllow, is(specs.OpLessEqual, 9)), entry(specs.ActKillProcess, is(specs.OpLessEqual, 3))}, [6]uint64{2}, killProcess},
		{"the narrower bound first, from below", []specs.LinuxSyscall{entry(specs.ActAllow, is(specs.OpGreaterEqual, 3)), entry(specs.ActKillProcess, is(specs.OpGreaterEqual, 9))}, [6]uint64{9}, killProcess},
		{"the narrower bound first", []specs.LinuxSyscall{entry(specs.ActAllow, is(specs.OpLessThan, 9)), entry(specs.ActKillProcess, is(specs.OpLessThan, 3))}, [6]uint64{2}, killProcess},
	} {
		t.Run(tt.name, func(t *testing.T) {
			filter, _, err := Compile(profileOf(tt.entries...), specs.ArchX86_64)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := simulate(filter, call{unix.SYS_IOCTL, unix.AUDIT_ARCH_X86_64, tt.args}); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// Numbers above the profile's highest are answered ENOSYS, if the default
// action refuses.
func TestNewerCalls(t *testing.T) {
	nosys := new(uint(unix.ENOSYS))
	for _, tt := range []struct {
		action specs.LinuxSeccompAction
		errno  *uint
		want   verdict
	}{
		{specs.ActErrno, nil, noSuchCall},
		{specs.ActErrno, nosys, noSuchCall},
		{specs.ActKillProcess, nil, noSuchCall},
		{specs.ActTrap, nil, noSuchCall},
		{specs.ActTrace, nil, trace | 1},
		{specs.ActLog, nil, logged},
	} {
		profile := &specs.LinuxSeccomp{
			DefaultAction: tt.action, DefaultErrnoRet: tt.errno,
			Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32},
			Syscalls:      []specs.LinuxSyscall{allowed("getpid", "execve")},
		}
		filter, _, err := Compile(profile, specs.ArchX86_64)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []call{
			{nr: 60, arch: unix.AUDIT_ARCH_X86_64},
			{nr: 9999, arch: unix.AUDIT_ARCH_X86_64},
			{nr: 21, arch: unix.AUDIT_ARCH_I386},
			{nr: x32Bit | 521, arch: unix.AUDIT_ARCH_X86_64},
			{nr: 0xffffffff, arch: unix.AUDIT_ARCH_X86_64},
			{nr: 0xffffffff, arch: unix.AUDIT_ARCH_I386},
		} {
			if got, _ := simulate(filter, c); got != tt.want {
				t.Errorf("default %s: %+v gives %v, want %v", tt.action, c, got, tt.want)
			}
		}
	}
}

func BenchmarkDefault(b *testing.B) {
	for name, caps := range map[string]capability.Set{"Precompiled": capability.Default, "Compiled": capability.Default | 1<<unix.CAP_SYS_ADMIN} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Default(caps); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkModule(b *testing.B) {
	for b.Loop() {
		dockers(b, capability.Default)
	}
}

func ExampleDescribe() {
	filter, _, _ := Compile(profileOf(allowed("read", "write")), specs.ArchAARCH64)
	fmt.Print(Describe(filter))
	// Output:
	//    0  ld arch
	//    1  jeq #0xc00000b7, 2, 8      ; aarch64
	//    2  ld nr
	//    3  jge #63, 5, 4              ; read
	//    4  ret ERRNO(EPERM)
	//    5  jge #65, 7, 6              ; readv
	//    6  ret ALLOW
	//    7  ret ERRNO(ENOSYS)
	//    8  ret KILL_THREAD
}
