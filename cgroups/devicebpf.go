package cgroups

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// v2 has no devices controller. A BPF program of type CGROUP_DEVICE that is
// attached to a group (Linux 4.15) is asked at every open and mknod of a device
// by a process of the group or below, and answers 1 to allow or 0 to deny. It
// is given (linux/bpf.h)
//
//	struct bpf_cgroup_dev_ctx {
//		__u32 access_type;      // access << 16 | type
//		__u32 major;
//		__u32 minor;
//	};

// An instruction is struct bpf_insn. Destination and source register share a
// byte; the order of the halves is that of a little-endian machine, which amd64
// and arm64 are.
type instruction struct {
	code      uint8
	registers uint8 // source << 4 | destination
	offset    int16 // of a jump, in instructions after the next one
	immediate int32
}

// The instructions that the program uses (Documentation/bpf/standardization/
// instruction-set.rst).
const (
	loadWord   = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W // dst = *(u32 *)(src + off)
	moveImm    = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	move32     = unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X
	and32Imm   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	shiftRight = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	jumpIfNot  = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K // if (u32)dst != imm
	jumpIfIs   = unix.BPF_JMP32 | unix.BPF_JEQ | unix.BPF_K
	exit       = unix.BPF_JMP | unix.BPF_EXIT
)

// Registers. r0 is the answer, r1 points to the context on entry.
const (
	answer = iota
	context
	kindOfDevice
	undecided // the accesses that no rule has decided yet
	majorOfDevice
	minorOfDevice
	scratch
)

// deviceProgram assembles the rules. They are gone through from the last to the
// first, and each access that is asked for (a read and a write, for an open with
// O_RDWR) is decided by the first rule met that matches the device and names
// that access; the open is allowed if all are. What no rule decides is denied.
//
//	for rule in reverse(rules):
//	    if kind, major or minor differ: continue
//	    if rule denies and undecided & rule.access: return 0
//	    if rule allows: undecided &= ~rule.access; if undecided == 0: return 1
//	return 0
//
// crun compares an access as a whole instead, and so lets an O_RDWR through
// that a later rule denies to write. runc runs the rules through an emulator of
// v1 first, and refuses those that v1 cannot hold.
func deviceProgram(rules []specs.LinuxDeviceCgroup) ([]instruction, error) {
	program := []instruction{
		{loadWord, context<<4 | kindOfDevice, 0, 0},
		{and32Imm, kindOfDevice, 0, 0xffff},
		{loadWord, context<<4 | undecided, 0, 0},
		{shiftRight, undecided, 0, 16},
		{loadWord, context<<4 | majorOfDevice, 4, 0},
		{loadWord, context<<4 | minorOfDevice, 8, 0},
	}
	for i := len(rules) - 1; i >= 0; i-- {
		m, set, err := parseRule(rules[i])
		if err != nil {
			return nil, fmt.Errorf("linux.resources.devices[%d]: %w", i, err)
		}
		program = append(program, block(m, set, rules[i].Allow)...)
		if m.kind == 'a' {
			// It decides everything. What came behind it would never be
			// reached, and the verifier refuses such a program.
			return program, nil
		}
	}
	return append(program, returns(0)...), nil
}

// block is the code of one rule. Its conditions jump behind its end.
func block(m deviceMatch, set access, allow bool) []instruction {
	var conditions []instruction
	differs := func(register uint8, n int64) {
		conditions = append(conditions, instruction{jumpIfNot, register, 0, int32(uint32(n))})
	}
	switch m.kind {
	case 'b':
		differs(kindOfDevice, unix.BPF_DEVCG_DEV_BLOCK)
	case 'c':
		differs(kindOfDevice, unix.BPF_DEVCG_DEV_CHAR)
	}
	if m.major != anyNumber {
		differs(majorOfDevice, m.major)
	}
	if m.minor != anyNumber {
		differs(minorOfDevice, m.minor)
	}
	action := denyBlock(set)
	if allow {
		action = allowBlock(set)
	}
	for i := range conditions {
		conditions[i].offset = int16(len(conditions) - 1 - i + len(action))
	}
	return append(conditions, action...)
}

func denyBlock(set access) []instruction {
	if set == accessAll {
		return returns(0)
	}
	return append([]instruction{
		{move32, undecided<<4 | scratch, 0, 0},
		{and32Imm, scratch, 0, int32(set)},
		{jumpIfIs, scratch, 2, 0},
	}, returns(0)...)
}

func allowBlock(set access) []instruction {
	if set == accessAll {
		return returns(1)
	}
	return append([]instruction{
		{and32Imm, undecided, 0, int32(accessAll &^ set)},
		{jumpIfNot, undecided, 2, 0},
	}, returns(1)...)
}

func returns(n int32) []instruction {
	return []instruction{{moveImm, answer, 0, n}, {exit, 0, 0, 0}}
}

// AttachDeviceProgram confines a v2 group to the devices that the rules allow.
// The program is attached with BPF_F_ALLOW_MULTI: programs of groups below,
// such as a systemd in the container attaches, are asked as well, and each can
// only forbid more. A program of an earlier Apply is replaced. Undo has nothing
// to do: the kernel drops the program with the group.
type AttachDeviceProgram struct {
	Dir   string
	Rules []specs.LinuxDeviceCgroup
}

// Apply loads the program and attaches it.
func (s AttachDeviceProgram) Apply() error {
	program, err := deviceProgram(s.Rules)
	if err != nil {
		return err
	}
	group, err := openFile(s.Dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return step.Fail("open cgroup", s.Dir, err)
	}
	defer closeFile(group)
	fd, err := loadProgram(program)
	if err != nil {
		return step.Fail("load device program", "for "+s.Dir, explainBPF(err))
	}
	defer closeFile(fd)
	return step.Fail("attach device program", "to "+s.Dir, explainBPF(attachProgram(group, fd)))
}

// explainBPF says what the errnos of bpf(2) mean here.
func explainBPF(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("bpf: %w (device rules on cgroup v2 need CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, and no seccomp filter against bpf)", err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("bpf: %w (kernel without CONFIG_BPF_SYSCALL)", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("bpf: %w (kernel without CONFIG_CGROUP_BPF)", err)
	case err != nil:
		return fmt.Errorf("bpf: %w", err)
	}
	return nil
}

// Undo does nothing; see the type.
func (s AttachDeviceProgram) Undo() error { return nil }

// Check tells whether a device program is attached to the group.
func (s AttachDeviceProgram) Check() error {
	group, err := openFile(s.Dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return step.Fail("open cgroup", s.Dir, err)
	}
	defer closeFile(group)
	ids, err := attachedPrograms(group)
	if err == nil && len(ids) == 0 {
		err = unix.ENOENT
	}
	return step.Fail("find device program", "of "+s.Dir, err)
}

// Words implements step.Step.
func (s AttachDeviceProgram) Words() string {
	return fmt.Sprintf("let the group use devices by %d rules, as a BPF program", len(s.Rules))
}

// String is a comment: no command makes such a program out of rules.
func (s AttachDeviceProgram) String() string {
	var b strings.Builder
	b.WriteString("# bpf(BPF_PROG_ATTACH, cgroup_device) to " + s.Dir + ", the last rule that matches wins:")
	for _, rule := range s.Rules {
		m, set, err := parseRule(rule)
		if err != nil {
			continue // Apply says so
		}
		verb := "deny"
		if rule.Allow {
			verb = "allow"
		}
		b.WriteString("\n#   " + verb + " " + m.String() + " " + set.String())
	}
	return b.String()
}
