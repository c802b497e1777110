package seccomp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// A call is a struct seccomp_data: what the kernel shows a filter.
type call struct {
	nr, arch uint32
	args     [6]uint64
}

// data lays the call out in memory, in the byte order of its architecture.
func (c call) data() []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	if c.arch == unix.AUDIT_ARCH_S390X {
		order = binary.BigEndian
	}
	b := order.AppendUint32(nil, c.nr)
	b = order.AppendUint32(b, c.arch)
	b = order.AppendUint64(b, 0x0123456789abcdef) // instruction pointer
	for _, arg := range c.args {
		b = order.AppendUint64(b, arg)
	}
	return b
}

// check refuses what the kernel refuses when a filter is installed: bpf_check_classic
// of net/core/filter.c and seccomp_check_filter of kernel/seccomp.c.
func check(program []unix.SockFilter) error {
	if len(program) == 0 || len(program) > 4096 {
		return fmt.Errorf("%d instructions", len(program))
	}
	for pc, i := range program {
		left := len(program) - pc - 1
		switch i.Code {
		case 0x20: // ld [k]
			if i.K&3 != 0 || i.K >= 64 {
				return fmt.Errorf("instruction %d loads from %d", pc, i.K)
			}
		case 0x54, 0x06: // and #k, ret #k
		case 0x05: // ja
			if int64(i.K) >= int64(left) {
				return fmt.Errorf("instruction %d jumps out of the program", pc)
			}
		case 0x15, 0x25, 0x35, 0x45: // jeq, jgt, jge, jset
			if int(i.Jt) >= left || int(i.Jf) >= left {
				return fmt.Errorf("instruction %d jumps out of the program", pc)
			}
		default:
			return fmt.Errorf("instruction %d has the code %#x", pc, i.Code)
		}
	}
	if last := program[len(program)-1].Code; last != 0x06 {
		return fmt.Errorf("the last instruction has the code %#x", last)
	}
	return nil
}

// run executes a program that check has passed, and returns its verdict and how
// many instructions that took. It is written by the rules of
// Documentation/networking/filter.rst, not by those of the assembler.
func run(program []unix.SockFilter, data []byte, order binary.ByteOrder) (result uint32, steps int) {
	var accumulator uint32
	var memory [16]uint32
	for pc := 0; ; pc++ {
		steps++
		i := program[pc]
		taken := false
		switch i.Code {
		case 0x20:
			accumulator = order.Uint32(data[i.K:])
			continue
		case 0x54:
			accumulator &= i.K
			continue
		case 0x02: // st M[k]: libseccomp's filters may use it
			memory[i.K] = accumulator
			continue
		case 0x60: // ld M[k]
			accumulator = memory[i.K]
			continue
		case 0x06:
			return i.K, steps
		case 0x05:
			pc += int(i.K)
			continue
		case 0x15:
			taken = accumulator == i.K
		case 0x25:
			taken = accumulator > i.K
		case 0x35:
			taken = accumulator >= i.K
		case 0x45:
			taken = accumulator&i.K != 0
		default:
			panic(fmt.Sprintf("instruction %d has the code %#x", pc, i.Code))
		}
		if taken {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
}

func simulate(program []unix.SockFilter, c call) (verdict, int) {
	var order binary.ByteOrder = binary.LittleEndian
	if c.arch == unix.AUDIT_ARCH_S390X {
		order = binary.BigEndian
	}
	result, steps := run(program, c.data(), order)
	return verdict(result), steps
}
