package pcapfilter

import (
	"errors"
	"slices"

	"golang.org/x/net/bpf"
)

// A test is a node of the tree: whether a packet is wanted. It emits itself before
// what it leads to.
type test interface {
	emit(c *code, yes, no label)
}

// A label is a place in the program: the number of instructions from there to the end.
type label int

// A code is a program that grows from its end to its beginning, so that where a jump
// leads is known when it is written. Classic BPF jumps forward only.
type code struct{ reversed []bpf.Instruction }

// maxInstructions is BPF_MAXINSNS of linux/bpf_common.h.
const maxInstructions = 4096

var errTooLong = errors.New("the filter has more than 4096 instructions")

// AcceptBytes is what the program returns for a packet that is wanted: so much of it is
// copied. tcpdump takes as much.
const AcceptBytes = 262144

// generate makes the program of a tree.
func generate(root test) ([]bpf.Instruction, error) {
	c := &code{}
	c.put(bpf.RetConstant{Val: 0})
	no := c.here()
	c.put(bpf.RetConstant{Val: AcceptBytes})
	yes := c.here()
	root.emit(c, yes, no)
	if len(c.reversed) > maxInstructions {
		return nil, errTooLong
	}
	slices.Reverse(c.reversed)
	return c.reversed, nil
}

// here is the place of what was put last.
func (c *code) here() label { return label(len(c.reversed)) }

// put puts instructions before all that is there, in the order in which they run.
func (c *code) put(list ...bpf.Instruction) {
	for _, i := range slices.Backward(list) {
		c.reversed = append(c.reversed, i)
	}
}

// skip is how far it is from an instruction that is about to be put.
func (c *code) skip(to label) int { return len(c.reversed) - int(to) }

// near makes sure that a conditional jump, which has eight bits, can lead there.
func (c *code) near(to label) label {
	const farthest = 250 // less than 255: more jumps may be put in between
	if c.skip(to) <= farthest {
		return to
	}
	c.put(bpf.Jump{Skip: uint32(c.skip(to))})
	return c.here()
}

// branch puts a comparison of A with a number.
func (c *code) branch(condition bpf.JumpTest, value uint32, yes, no label) {
	yes, no = c.near(yes), c.near(no)
	c.put(bpf.JumpIf{Cond: condition, Val: value, SkipTrue: uint8(c.skip(yes)), SkipFalse: uint8(c.skip(no))})
}

// branchX puts a comparison of A with X.
func (c *code) branchX(condition bpf.JumpTest, yes, no label) {
	yes, no = c.near(yes), c.near(no)
	c.put(bpf.JumpIfX{Cond: condition, SkipTrue: uint8(c.skip(yes)), SkipFalse: uint8(c.skip(no))})
}

// both is wanted if a and b are.
type both struct{ a, b test }

func (t both) emit(c *code, yes, no label) {
	t.b.emit(c, yes, no)
	t.a.emit(c, c.here(), no)
}

// either is wanted if a or b is.
type either struct{ a, b test }

func (t either) emit(c *code, yes, no label) {
	t.b.emit(c, yes, no)
	t.a.emit(c, yes, c.here())
}

// not is wanted if the test is not.
type not struct{ test }

func (t not) emit(c *code, yes, no label) { t.test.emit(c, no, yes) }

// always is wanted.
type always struct{}

func (always) emit(c *code, yes, _ label) { c.put(bpf.Jump{Skip: uint32(c.skip(yes))}) }

// all is wanted if each is.
func all(tests ...test) test { return fold(tests, func(a, b test) test { return both{a, b} }) }

// anyOf is wanted if one is.
func anyOf(tests ...test) test { return fold(tests, func(a, b test) test { return either{a, b} }) }

func fold(tests []test, join func(a, b test) test) test {
	t := tests[0]
	for _, next := range tests[1:] {
		t = join(t, next)
	}
	return t
}

// field compares bytes at a place that is known.
type field struct {
	at, size  int
	mask      uint32 // 0: all
	condition bpf.JumpTest
	value     uint32
}

func (t field) emit(c *code, yes, no label) {
	c.branch(t.condition, t.value, yes, no)
	if t.mask != 0 {
		c.put(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask})
	}
	c.put(bpf.LoadAbsolute{Off: uint32(t.at), Size: t.size})
}

// equal is a field that has the value.
func equal(at, size int, value uint32) field { return field{at: at, size: size, value: value} }

// behindIPv4 compares two bytes behind the header of IPv4, whose length varies.
type behindIPv4 struct {
	network, at int
	condition   bpf.JumpTest
	value       uint32
}

func (t behindIPv4) emit(c *code, yes, no label) {
	c.branch(t.condition, t.value, yes, no)
	c.put(bpf.LoadMemShift{Off: uint32(t.network)}, bpf.LoadIndirect{Off: uint32(t.network + t.at), Size: 2})
}
