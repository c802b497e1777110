package seccomp

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Describe returns the program as text, one instruction a line, in the notation
// of bpf_asm (tools/bpf in the kernel's tree) with the fields of seccomp_data
// and the verdicts by name. Jumps name the instruction that they lead to.
// Behind a semicolon stands what a number means, as far as that follows from the
// instructions before:
//
//	0  ld arch
//	1  jeq #0xc000003e, 2, 8      ; x86_64
//	2  ld nr
//	3  jge #60, 7, 4              ; exit
func Describe(filter []unix.SockFilter) string {
	known := follow(filter)
	var b strings.Builder
	for pc, i := range filter {
		line := fmt.Sprintf("%4d  %s", pc, instruction(i, pc))
		if remark := known[pc].remark(i); remark != "" {
			line = fmt.Sprintf("%-32s ; %s", line, remark)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// mnemonics are bpf_asm's names of the instructions that compare.
var mnemonics = [...]struct {
	code uint16
	name string
}{{opEqual, "jeq"}, {opMore, "jgt"}, {opLeast, "jge"}, {opBits, "jset"}}

func instruction(i unix.SockFilter, pc int) string {
	switch i.Code {
	case opLoad:
		return "ld " + fieldName(i.K)
	case opAnd:
		return "and #" + constant(i.K)
	case opJump:
		return fmt.Sprintf("ja %d", pc+1+int(i.K))
	case opReturn:
		return "ret " + verdict(i.K).String()
	}
	for _, m := range mnemonics {
		if m.code == i.Code {
			return fmt.Sprintf("%s #%s, %d, %d", m.name, constant(i.K), pc+1+int(i.Jt), pc+1+int(i.Jf))
		}
	}
	return fmt.Sprintf(".code %#x, k %#x, jt %d, jf %d", i.Code, i.K, i.Jt, i.Jf)
}

// constant prints small numbers in decimal, as system calls are counted, and
// others in hexadecimal, as bits are.
func constant(k uint32) string {
	if k < 1000 {
		return fmt.Sprint(k)
	}
	return fmt.Sprintf("%#x", k)
}

// fieldName returns the name of what lies at an offset of seccomp_data.
func fieldName(offset uint32) string {
	switch {
	case offset == offsetNumber:
		return "nr"
	case offset == offsetArch:
		return "arch"
	case offset >= offsetArgs && offset < offsetArgs+8*argCount && offset%4 == 0:
		at := offset - offsetArgs
		return fmt.Sprintf("args[%d]+%d", at/8, at%8)
	}
	return fmt.Sprintf("[%d]", offset)
}

// String returns the verdict as "ALLOW" or "ERRNO(EPERM)".
func (v verdict) String() string {
	data := uint32(v &^ actionBits)
	for _, a := range actions {
		if a.name == specs.ActKill || v&actionBits != a.verdict {
			continue // KILL is the old name of KILL_THREAD
		}
		name := strings.TrimPrefix(string(a.name), "SCMP_ACT_")
		if a.verdict == errno && unix.ErrnoName(unix.Errno(data)) != "" {
			return name + "(" + unix.ErrnoName(unix.Errno(data)) + ")"
		}
		if a.data != 0 || data != 0 {
			return fmt.Sprintf("%s(%d)", name, data)
		}
		return name
	}
	return fmt.Sprintf("%#x", uint32(v))
}

// A knowledge is what is certain before an instruction runs, however it was
// reached.
type knowledge struct {
	reached bool
	loaded  uint32 // offset in seccomp_data of what A holds, or unknown
	audit   uint32 // seccomp_data.arch, or unknown
}

const unknown = 0xffffffff

// follow walks through the program and returns the knowledge before each
// instruction. Jumps go forward only, so once is enough.
func follow(filter []unix.SockFilter) []knowledge {
	known := make([]knowledge, len(filter))
	if len(filter) > 0 {
		known[0] = knowledge{true, unknown, unknown}
	}
	pass := func(to int, k knowledge) {
		switch {
		case to >= len(known):
		case !known[to].reached:
			known[to] = k
		default:
			if known[to].loaded != k.loaded {
				known[to].loaded = unknown
			}
			if known[to].audit != k.audit {
				known[to].audit = unknown
			}
		}
	}
	for pc, i := range filter {
		k := known[pc]
		switch {
		case !k.reached || i.Code == opReturn:
		case i.Code == opLoad:
			k.loaded = i.K
			pass(pc+1, k)
		case i.Code == opAnd:
			pass(pc+1, k)
		case i.Code == opJump:
			pass(pc+1+int(i.K), k)
		default:
			pass(pc+1+int(i.Jf), k)
			if i.Code == opEqual && k.loaded == offsetArch {
				k.audit = i.K
			}
			pass(pc+1+int(i.Jt), k)
		}
	}
	return known
}

// remark says what the number in a comparison stands for.
func (k knowledge) remark(i unix.SockFilter) string {
	if i.Code != opEqual && i.Code != opLeast && i.Code != opMore {
		return ""
	}
	switch k.loaded {
	case offsetArch:
		return archNames(i.K)
	case offsetNumber:
		if k.audit == unix.AUDIT_ARCH_X86_64 && i.K == x32Bit && i.Code == opLeast {
			return "x32"
		}
		return numberName(k.audit, i.K)
	}
	return ""
}

func archNames(audit uint32) string {
	var list []string
	for _, a := range arches {
		if a.audit == audit {
			list = append(list, strings.ToLower(strings.TrimPrefix(string(a.name), "SCMP_ARCH_")))
		}
	}
	return strings.Join(list, " or ")
}

func numberName(audit, number uint32) string {
	for i := range arches {
		a := &arches[i]
		if a.audit != audit || a.base != number&x32Bit {
			continue
		}
		for at := range callCount {
			if n, ok := a.number(at); ok && n == number {
				return callName(at)
			}
		}
	}
	return ""
}
