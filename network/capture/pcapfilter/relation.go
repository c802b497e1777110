package pcapfilter

import (
	"golang.org/x/net/bpf"
)

// A value is something that is computed into the register A. depth is the number of
// scratch words that are in use.
type value interface {
	compute(depth int) ([]bpf.Instruction, error)
	guards() []test // what must hold for the value to mean anything
}

const scratchWords = 16 // BPF_MEMWORDS

var errTooDeep = &Error{Cause: "the arithmetic is nested too deep"}

// constant is a number.
type constant uint32

func (v constant) compute(int) ([]bpf.Instruction, error) {
	return []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: uint32(v)}}, nil
}

func (constant) guards() []test { return nil }

// length is the packet's.
type length struct{}

func (length) compute(int) ([]bpf.Instruction, error) {
	return []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}, nil
}

func (length) guards() []test { return nil }

// operation is one of two values.
type operation struct {
	op   bpf.ALUOp
	a, b value
}

func (v operation) compute(depth int) ([]bpf.Instruction, error) {
	if k, ok := v.b.(constant); ok {
		list, err := v.a.compute(depth)
		return append(list, bpf.ALUOpConstant{Op: v.op, Val: uint32(k)}), err
	}
	list, err := pair(v.a, v.b, depth)
	return append(list, bpf.ALUOpX{Op: v.op}), err
}

// As in tcpdump, only the first of the values has to be there: "ip[8] + tcp[13] > 5"
// holds for UDP, too, whatever stands at that place.
func (v operation) guards() []test { return v.a.guards() }

// negative is -a. (BPF_NEG would do, but bpf.VM has it not.)
type negative struct{ a value }

func (v negative) compute(depth int) ([]bpf.Instruction, error) {
	list, err := pair(constant(0), v.a, depth)
	return append(list, bpf.ALUOpX{Op: bpf.ALUOpSub}), err
}

func (v negative) guards() []test { return v.a.guards() }

// pair computes a into A and b into X.
func pair(a, b value, depth int) ([]bpf.Instruction, error) {
	if depth >= scratchWords {
		return nil, errTooDeep
	}
	list, err := b.compute(depth)
	if err != nil {
		return nil, err
	}
	first, err := a.compute(depth + 1)
	list = append(list, bpf.StoreScratch{Src: bpf.RegA, N: depth})
	list = append(list, first...)
	return append(list, bpf.LoadScratch{Dst: bpf.RegX, N: depth}), err
}

// load is protocol[index:size].
type load struct {
	base, size int
	behind     bool // the header of IPv4 that begins at base
	index      value
	guard      []test
}

func (v load) guards() []test { return append(v.index.guards(), v.guard...) }

func (v load) compute(depth int) ([]bpf.Instruction, error) {
	header, fetch := bpf.LoadMemShift{Off: uint32(v.base)}, bpf.LoadIndirect{Off: uint32(v.base), Size: v.size}
	if k, ok := v.index.(constant); ok {
		at := uint32(v.base) + uint32(k)
		if v.behind {
			return []bpf.Instruction{header, bpf.LoadIndirect{Off: at, Size: v.size}}, nil
		}
		return []bpf.Instruction{bpf.LoadAbsolute{Off: at, Size: v.size}}, nil
	}
	list, err := v.index.compute(depth)
	if v.behind {
		list = append(list, header, bpf.ALUOpX{Op: bpf.ALUOpAdd})
	}
	return append(list, bpf.TAX{}, fetch), err
}

// relation compares two values.
type relation struct {
	condition bpf.JumpTest
	constant  bool // b is, and needs no register
	value     uint32
	list      []bpf.Instruction
}

// compare makes the test of two values, behind what they need to mean anything.
func compare(condition bpf.JumpTest, a, b value) (test, error) {
	r := relation{condition: condition}
	var err error
	if k, ok := b.(constant); ok {
		r.constant, r.value = true, uint32(k)
		r.list, err = a.compute(0)
	} else {
		r.list, err = pair(a, b, 0)
	}
	if err != nil {
		return nil, err
	}
	return all(append(append(a.guards(), b.guards()...), r)...), nil
}

func (r relation) emit(c *code, yes, no label) {
	if r.constant {
		c.branch(r.condition, r.value, yes, no)
	} else {
		c.branchX(r.condition, yes, no)
	}
	c.put(r.list...)
}
