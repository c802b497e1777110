package seccomp

import "golang.org/x/sys/unix"

// The instructions of classic BPF that seccomp filters are made of
// (linux/bpf_common.h). A is the accumulator, k the instruction's constant.
const (
	opLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS   // A = the 32 bits at offset k of seccomp_data
	opAnd    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K  // A &= k
	opJump   = unix.BPF_JMP | unix.BPF_JA                // skip k instructions
	opEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K  // A == k: skip jt instructions, else jf
	opMore   = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K  // A > k
	opLeast  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K  // A >= k
	opBits   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K // A & k != 0
	opReturn = unix.BPF_RET | unix.BPF_K                 // the verdict is k
)

// Offsets in struct seccomp_data.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// An assembler writes a program from its end to its beginning. Jumps of BPF go
// forward only, so what a jump leads to is always there already when the
// jump is written, and its distance is known.
//
// The programs are made of two things: code, which has a label, and verdicts,
// which have none until something jumps there: a return that is near enough is
// used again.
type assembler struct {
	code    []unix.SockFilter // last instruction first
	returns []place           // the newest return of each verdict
}

type place struct {
	verdict verdict
	label   int
}

// A target is where a jump leads: a label, or a verdict.
type target struct {
	label   int // how many instructions lie from there to the end; 0 for a verdict
	verdict verdict
}

// reach is how far conditional jumps may lead. The field has 8 bits; one is kept
// in reserve for a return or jump that the other branch may need in between.
const reach = 254

// emit puts an instruction before all others.
func (a *assembler) emit(op uint16, k uint32) target {
	a.code = append(a.code, unix.SockFilter{Code: op, K: k})
	return target{label: len(a.code)}
}

// branch puts a conditional jump before all others.
func (a *assembler) branch(op uint16, k uint32, yes, no target) target {
	yes = a.near(yes)
	no = a.near(no)
	at := len(a.code)
	a.code = append(a.code, unix.SockFilter{
		Code: op, K: k,
		Jt: uint8(at - yes.label),
		Jf: uint8(at - no.label),
	})
	return target{label: len(a.code)}
}

// near returns a label within reach that leads to the target.
func (a *assembler) near(t target) target {
	if t.label == 0 {
		return a.verdict(t.verdict)
	}
	if distance := len(a.code) - t.label; distance > reach {
		return a.emit(opJump, uint32(distance))
	}
	return t
}

// verdict returns the label of a return within reach, a new one if need be.
func (a *assembler) verdict(v verdict) target {
	for i, r := range a.returns {
		if r.verdict != v {
			continue
		}
		if len(a.code)-r.label <= reach {
			return target{label: r.label}
		}
		t := a.emit(opReturn, uint32(v))
		a.returns[i].label = t.label
		return t
	}
	t := a.emit(opReturn, uint32(v))
	a.returns = append(a.returns, place{v, t.label})
	return t
}

// program returns the instructions in the order in which they run, without
// those that no jump leads to any more.
func (a *assembler) program() []unix.SockFilter {
	size := len(a.code)
	before := make([]int, size+1) // how many reached instructions have labels up to this one
	reached := a.reached()
	count := 0
	for label := 1; label <= size; label++ {
		if reached[label] {
			count++
		}
		before[label] = count
	}
	program := make([]unix.SockFilter, 0, count)
	for label := size; label > 0; label-- {
		if !reached[label] {
			continue
		}
		i := a.code[label-1]
		skip := func(distance int) int { return before[label-1] - before[label-1-distance] }
		switch {
		case i.Code == opJump:
			i.K = uint32(skip(int(i.K)))
		case branches(i):
			i.Jt, i.Jf = uint8(skip(int(i.Jt))), uint8(skip(int(i.Jf)))
		}
		program = append(program, i)
	}
	return program
}

// reached says of each label whether the program can get there from its
// beginning, which is the last label.
func (a *assembler) reached() []bool {
	reached := make([]bool, len(a.code)+1)
	reached[len(a.code)] = true
	for label := len(a.code); label > 0; label-- {
		i := a.code[label-1]
		switch {
		case !reached[label] || i.Code == opReturn:
		case i.Code == opJump:
			reached[label-1-int(i.K)] = true
		case branches(i):
			reached[label-1-int(i.Jt)] = true
			reached[label-1-int(i.Jf)] = true
		default:
			reached[label-1] = true
		}
	}
	return reached
}

// branches says that the instruction is a conditional jump.
func branches(i unix.SockFilter) bool {
	return i.Code&7 == unix.BPF_JMP && i.Code != opJump
}
