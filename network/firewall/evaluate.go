package firewall

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// An answer says whether a rule goes on behind an expression.
type answer uint8

const (
	no answer = iota
	yes
	maybe
)

// result is what an expression comes to: an answer and, if it decides, the
// verdicts that it may decide for.
type result struct {
	answer  answer
	choices []choice
}

func decided(code int32) result { return result{yes, []choice{{code: code}}} }

func answerOf(ok bool) answer {
	if ok {
		return yes
	}
	return no
}

// registers are the 64 bytes that the expressions of a rule share. They have
// two sets of names: 1 to 4 are 16 bytes each, 8 to 23 the same in words.
type registers struct{ value, known [64]byte }

func span(register uint32, length int) (from, to int) {
	from = -1
	switch {
	case register >= unix.NFT_REG_1 && register <= unix.NFT_REG_4:
		from = int(register-unix.NFT_REG_1) * 16
	case register >= unix.NFT_REG32_00 && register <= unix.NFT_REG32_15:
		from = int(register-unix.NFT_REG32_00) * 4
	}
	if from < 0 || length < 0 || from+length > 64 {
		return 0, 0
	}
	return from, from + length
}

func (r *registers) load(register uint32, length int) bits {
	from, to := span(register, length)
	return bits{r.value[from:to], r.known[from:to]}
}

// store writes the bits and clears the rest of the last word, as the kernel does.
func (r *registers) store(register uint32, b bits) {
	from, to := span(register, len(b.value))
	copy(r.value[from:to], b.value)
	copy(r.known[from:to], b.known)
	for ; to%4 != 0; to++ {
		r.value[to], r.known[to] = 0, 0xff
	}
}

// run executes one expression.
func (w *walk) run(e *expression) result {
	a := e.data
	switch e.name {
	case "immediate":
		return w.immediate(a)
	case "payload", "meta", "ct", "fib", "rt", "socket", "osf", "numgen", "hash", "tunnel", "xfrm", "exthdr":
		return w.load(e)
	case "cmp":
		value := a.data(unix.NFTA_CMP_DATA)
		return result{answer: compare(w.registers.load(a.u32(unix.NFTA_CMP_SREG), len(value)), a.u32(unix.NFTA_CMP_OP), value)}
	case "range":
		return result{answer: w.inRange(a)}
	case "bitwise":
		w.bitwise(a)
	case "byteorder":
		w.byteorder(a)
	case "lookup":
		return w.lookup(a)
	case "limit": // a sample is under every limit
		return result{answer: answerOf(a.u32(unix.NFTA_LIMIT_FLAGS)&unix.NFT_LIMIT_F_INV == 0)}
	case "connlimit":
		const flags, inverted = 2, 1
		return result{answer: answerOf(a.u32(flags)&inverted == 0)}
	case "dynset":
		return w.dynset(a)
	case "notrack":
		w.untracked = w.doubts == 0 && !w.unsure
	case "counter", "log", "last", "objref", "dup", "flow_offload", "secmark":
	case "reject":
		return decided(nfDrop)
	case "masq", "nat", "redir", "tproxy":
		w.rewrites(e)
		return decided(nfAccept)
	case "queue":
		return decided(nfQueue)
	case "match":
		return result{answer: w.match(e)}
	case "target":
		return w.target(e)
	default: // quota, synproxy, inner, fwd and what is not invented yet
		w.why = e.String()
		return result{answer: maybe}
	}
	return result{answer: yes}
}

func (w *walk) immediate(a attributes) result {
	data := a.get(unix.NFTA_IMMEDIATE_DATA)
	if v := data.get(unix.NFTA_DATA_VERDICT); v != nil {
		return result{yes, []choice{*parseVerdict(v)}}
	}
	w.registers.store(a.u32(unix.NFTA_IMMEDIATE_DREG), known(data.get(unix.NFTA_DATA_VALUE)))
	return result{answer: yes}
}

// compare answers NFTA_CMP_OP. A bit that is known and differs settles whether
// they are equal, whatever the others are.
func compare(b bits, op uint32, value []byte) answer {
	if len(b.value) != len(value) {
		return maybe
	}
	equal := equalBits(b, value)
	switch op {
	case unix.NFT_CMP_EQ:
		return equal
	case unix.NFT_CMP_NEQ:
		return not(equal)
	}
	if !b.certain() {
		return maybe
	}
	order := bytes.Compare(b.value, value)
	switch op {
	case unix.NFT_CMP_LT:
		return answerOf(order < 0)
	case unix.NFT_CMP_LTE:
		return answerOf(order <= 0)
	case unix.NFT_CMP_GT:
		return answerOf(order > 0)
	case unix.NFT_CMP_GTE:
		return answerOf(order >= 0)
	}
	return maybe
}

func equalBits(b bits, value []byte) answer {
	result := yes
	for i := range value {
		if (b.value[i]^value[i])&b.known[i] != 0 {
			return no
		}
		if b.known[i] != 0xff {
			result = maybe
		}
	}
	return result
}

func not(a answer) answer {
	switch a {
	case yes:
		return no
	case no:
		return yes
	}
	return maybe
}

func (w *walk) inRange(a attributes) answer {
	from, to := a.data(unix.NFTA_RANGE_FROM_DATA), a.data(unix.NFTA_RANGE_TO_DATA)
	b := w.registers.load(a.u32(unix.NFTA_RANGE_SREG), len(from))
	if !b.certain() || len(from) != len(to) || len(b.value) == 0 {
		return maybe
	}
	in := answerOf(bytes.Compare(b.value, from) >= 0 && bytes.Compare(b.value, to) <= 0)
	if a.u32(unix.NFTA_RANGE_OP) == unix.NFT_RANGE_NEQ {
		return not(in)
	}
	return in
}

// bitwise is (source & mask) ^ xor. The other operations, which no firewall
// that we know uses, leave an unknown result.
func (w *walk) bitwise(a attributes) {
	const operation = 6 // NFTA_BITWISE_OP, Linux 5.6
	length := int(a.u32(unix.NFTA_BITWISE_LEN))
	target := a.u32(unix.NFTA_BITWISE_DREG)
	source := w.registers.load(a.u32(unix.NFTA_BITWISE_SREG), length)
	mask, xor := a.data(unix.NFTA_BITWISE_MASK), a.data(unix.NFTA_BITWISE_XOR)
	if a.u32(operation) != 0 || len(mask) != len(source.value) || len(xor) != len(source.value) {
		w.registers.store(target, unknown(length))
		return
	}
	out := unknown(len(source.value))
	for i := range source.value {
		out.value[i] = source.value[i]&mask[i] ^ xor[i]
		out.known[i] = source.known[i] | ^mask[i]
	}
	w.registers.store(target, out)
}

// byteorder turns each number of the register round; between network order and
// a little-endian host's that is the same both ways.
func (w *walk) byteorder(a attributes) {
	length, size := int(a.u32(unix.NFTA_BYTEORDER_LEN)), int(a.u32(unix.NFTA_BYTEORDER_SIZE))
	source := w.registers.load(a.u32(unix.NFTA_BYTEORDER_SREG), length)
	out := bits{slices.Clone(source.value), slices.Clone(source.known)}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 && size > 0 {
		for from := 0; from+size <= len(out.value); from += size {
			slices.Reverse(out.value[from : from+size])
			slices.Reverse(out.known[from : from+size])
		}
	}
	w.registers.store(a.u32(unix.NFTA_BYTEORDER_DREG), out)
}

func (w *walk) lookup(a attributes) result {
	s := w.chain.table.sets[a.text(unix.NFTA_LOOKUP_SET)]
	if s == nil {
		w.why = "set " + a.text(unix.NFTA_LOOKUP_SET)
		return result{answer: maybe}
	}
	key := w.registers.load(a.u32(unix.NFTA_LOOKUP_SREG), s.length)
	if !key.certain() && (len(s.elements) > 0 || s.fallback != nil) {
		return w.lookupAny(a, s)
	}
	found := s.find(key.value)
	if a.has(unix.NFTA_LOOKUP_DREG) {
		return w.mapped(a.u32(unix.NFTA_LOOKUP_DREG), found)
	}
	inverted := a.u32(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0
	return result{answer: answerOf((found != nil) != inverted)}
}

// mapped stores what the map has, which may be a verdict.
func (w *walk) mapped(register uint32, found *element) result {
	switch {
	case found == nil:
		return result{answer: no}
	case found.verdict == nil:
		w.registers.store(register, known(found.value))
		return result{answer: yes}
	case found.verdict.code == unix.NFT_CONTINUE:
		return result{answer: yes}
	}
	return result{yes, []choice{*found.verdict}}
}

// lookupAny looks up a key that is not known: any element may be it, or none.
func (w *walk) lookupAny(a attributes, s *set) result {
	r := result{answer: maybe}
	if !a.has(unix.NFTA_LOOKUP_DREG) {
		return r
	}
	for _, e := range append(slices.Clone(s.elements), s.catchall()...) {
		if e.verdict != nil && !slices.Contains(r.choices, *e.verdict) {
			r.choices = append(r.choices, *e.verdict)
		}
		if e.value != nil {
			w.registers.store(a.u32(unix.NFTA_LOOKUP_DREG), unknown(len(e.value)))
		}
	}
	return r
}

// dynset adds the packet's key to a set; with a limit in it, the rule goes on
// only under the limit, where a sample is.
func (w *walk) dynset(a attributes) result {
	const inverted, expressions = 1, 10 // NFT_DYNSET_F_INV, NFTA_DYNSET_EXPRESSIONS
	if a.u32(unix.NFTA_DYNSET_FLAGS)&inverted != 0 {
		return result{answer: no}
	}
	if e := a.get(unix.NFTA_DYNSET_EXPR); e != nil {
		return w.run(&expression{name: e.text(unix.NFTA_EXPR_NAME), data: e.get(unix.NFTA_EXPR_DATA)})
	}
	if a.has(expressions) {
		w.why = "a set that the rule changes"
		return result{answer: maybe}
	}
	return result{answer: yes}
}
