package seccomp

import (
	"runtime"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// An arch is an architecture whose system calls a filter can judge.
type arch struct {
	name        specs.Arch
	goarch      string             // the GOARCH that it is native to, if any
	audit       uint32             // AUDIT_ARCH_… of linux/audit.h, as in seccomp_data.arch
	base        uint32             // is added to all numbers: x32's bit 30
	private     uint32             // first number of a range of its own outside the table: arm's 0x0f0000
	narrow      bool               // arguments are 32 bits wide
	bigEndian   bool               // the upper half of an argument comes first
	multiplex   bool               // has socketcall(2) and ipc(2)
	zeroUnknown bool               // number 0 stands for calls that the kernel does not know
	numbers     *[callCount]uint16 // number of each name, none, or private | n
}

// The numbers of a table that are not plain ones.
const (
	none    = 0xffff // the architecture does not have the call
	private = 0x8000 // the rest counts from arch.private
)

// x32Bit marks the number of an x32 call (__X32_SYSCALL_BIT, asm/unistd.h).
const x32Bit = 0x40000000

var arches = [...]arch{
	{name: specs.ArchX86_64, goarch: "amd64", audit: unix.AUDIT_ARCH_X86_64, numbers: &numbersX86_64},
	{name: specs.ArchX86, goarch: "386", audit: unix.AUDIT_ARCH_I386, narrow: true, multiplex: true, numbers: &numbersX86},
	{name: specs.ArchX32, audit: unix.AUDIT_ARCH_X86_64, base: x32Bit, narrow: true, numbers: &numbersX32},
	{name: specs.ArchAARCH64, goarch: "arm64", audit: unix.AUDIT_ARCH_AARCH64, numbers: &numbersAARCH64},
	{name: specs.ArchARM, goarch: "arm", audit: unix.AUDIT_ARCH_ARM, private: 0x0f0000, narrow: true, numbers: &numbersARM},
	{name: specs.ArchRISCV64, goarch: "riscv64", audit: unix.AUDIT_ARCH_RISCV64, numbers: &numbersRISCV64},
	{name: specs.ArchS390X, goarch: "s390x", audit: unix.AUDIT_ARCH_S390X, bigEndian: true, zeroUnknown: true, multiplex: true, numbers: &numbersS390X},
	{name: specs.ArchPPC64LE, goarch: "ppc64le", audit: unix.AUDIT_ARCH_PPC64LE, multiplex: true, numbers: &numbersPPC64LE},
}

// Native returns the architecture that this program was built for, or "" if
// filters cannot be compiled for it.
func Native() specs.Arch {
	for i := range arches {
		if arches[i].goarch == runtime.GOARCH {
			return arches[i].name
		}
	}
	return ""
}

func archNamed(name specs.Arch) *arch {
	for i := range arches {
		if arches[i].name == name {
			return &arches[i]
		}
	}
	return nil
}

// number returns the number of a call, an index of the name table, as it
// appears in seccomp_data.nr. It is false if the architecture lacks the call.
func (a *arch) number(call int) (uint32, bool) {
	n := uint32(a.numbers[call])
	switch {
	case n == none:
		return 0, false
	case n&private != 0:
		return a.private + n&^private, true
	}
	return a.base | n, true
}

// callName returns the name at an index of the name table.
func callName(call int) string {
	return callNames[callStarts[call] : callStarts[call+1]-1]
}

// callNamed returns the index of a name in the name table; false if no
// architecture has such a call.
func callNamed(name string) (int, bool) {
	low, high := 0, callCount
	for low < high {
		middle := int(uint(low+high) / 2)
		order := strings.Compare(callName(middle), name)
		if order == 0 {
			return middle, true
		}
		if order < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return 0, false
}
