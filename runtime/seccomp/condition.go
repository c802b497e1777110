package seccomp

import "golang.org/x/sys/unix"

// condition writes a comparison of an argument that leads to yes if it holds,
// else to no.
//
// An argument has 64 bits and A only 32, so each half is looked at:
//
//	equal      the upper half equal, and the lower half equal
//	greater    the upper half greater, or it is equal and the lower half greater
//
// The other operators are the contrary of these, or these with >= for >.
func (a *assembler) condition(c condition, on *arch, yes, no target) target {
	if c.operator == notEqual || c.operator == less || c.operator == lessEqual {
		yes, no = no, yes
	}
	switch c.operator {
	case greater, lessEqual:
		return a.ordered(c, opMore, on, yes, no)
	case greaterEqual, less:
		return a.ordered(c, opLeast, on, yes, no)
	}
	low, high := on.halves(c.index)
	lower := half{offset: low, mask: uint32(c.mask), value: uint32(c.value)}
	if on.narrow {
		return a.matches(lower, nil, yes, no)
	}
	upper := half{offset: high, mask: uint32(c.mask >> 32), value: uint32(c.value >> 32)}
	return a.matches(upper, nil, a.matches(lower, &upper, yes, no), no)
}

// halves returns the offsets of an argument's lower and upper half.
func (a *arch) halves(index uint) (low, high uint32) {
	at := uint32(offsetArgs + 8*index)
	if a.bigEndian {
		return at + 4, at
	}
	return at, at + 4
}

// A half is 32 bits of an argument and what they are to be under a mask.
type half struct{ offset, mask, value uint32 }

// whole says that the half is compared as it is.
func (h half) whole() bool { return h.mask == ^uint32(0) }

// matches writes the test of one half. known is another half that has been
// found to match by then, if any.
func (a *assembler) matches(h half, known *half, yes, no target) target {
	switch {
	case h.mask == 0:
		return yes
	case h.whole():
		yes = a.thread(yes, h, true, known)
		no = a.thread(no, h, false, known)
		a.branch(opEqual, h.value, yes, no)
	case h.value == 0:
		a.branch(opBits, h.mask, no, yes)
	default:
		a.branch(opEqual, h.value, yes, no)
		a.emit(opAnd, h.mask)
	}
	return a.emit(opLoad, h.offset)
}

// ordered writes the test whether an argument is above the value, or, with
// opLeast, at least the value.
func (a *assembler) ordered(c condition, op uint16, on *arch, yes, no target) target {
	low, high := on.halves(c.index)
	upper, lower := uint32(c.value>>32), uint32(c.value)
	a.branch(op, lower, yes, no)
	t := a.emit(opLoad, low)
	if on.narrow {
		return t
	}
	if upper == 0 { // what is not equal is above
		a.branch(opEqual, 0, t, yes)
	} else {
		t = a.branch(opEqual, upper, t, no)
		a.branch(opMore, upper, yes, t)
	}
	return a.emit(opLoad, high)
}

// thread follows a jump past what is settled already. Several rules for one
// argument are written one after the other, each beginning with the upper half;
// but when a rule has found that the lower half differs, then A holds that half,
// the upper half is known, and the next rule can begin with its own lower half.
//
// When the jump is taken, A holds the half h, which is equal to its value or is
// not; known, if any, is a half that is equal to its own.
func (a *assembler) thread(t target, h half, equal bool, known *half) target {
	for t.label > 1 {
		i := a.code[t.label-1]
		switch {
		case i.Code == opLoad && i.K == h.offset: // A holds that already
			t.label--
		case i.Code == opEqual && (i.K == h.value || equal):
			t.label = taken(t.label, i, equal && i.K == h.value)
		case i.Code == opLoad && known != nil && known.whole() && i.K == known.offset:
			next := a.code[t.label-2]
			if next.Code != opEqual {
				return t
			}
			to := taken(t.label-1, next, next.K == known.value)
			// What is there may count on A being known's half, unless it
			// loads A anew or does not look.
			if code := a.code[to-1].Code; code != opLoad && code != opReturn {
				return t
			}
			t.label = to
		default:
			return t
		}
	}
	return t
}

// taken returns where the branch at a label leads.
func taken(label int, i unix.SockFilter, yes bool) int {
	if yes {
		return label - 1 - int(i.Jt)
	}
	return label - 1 - int(i.Jf)
}
