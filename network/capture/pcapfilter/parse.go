package pcapfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/net/bpf"
)

// Error says what is wrong with an expression, and where.
type Error struct {
	Text  string
	At    int // a byte of Text
	Cause string
}

func (e *Error) Error() string {
	if e.At >= len(e.Text) {
		return fmt.Sprintf("filter %q: at the end: %s", e.Text, e.Cause)
	}
	return fmt.Sprintf("filter %q: at %q: %s", e.Text, e.Text[e.At:], e.Cause)
}

// Resolve finds the addresses of a host's name.
type Resolve func(name string) ([]netip.Addr, error)

// maxDepth is how deep parentheses and the like may be nested.
const maxDepth = 200

// Compile makes the program of an expression. The empty one wants every packet. Names
// of hosts are errors without resolve. An error is an *Error.
func Compile(text string, resolve Resolve) ([]bpf.Instruction, error) {
	words, err := lex(text)
	if err != nil {
		return nil, err
	}
	if len(words) == 1 {
		return generate(always{})
	}
	p := &parser{text: text, words: words, resolve: resolve, network: etherBytes, etherType: etherBytes - 2}
	root, err := p.expression()
	if err == nil && p.peek().kind != end {
		err = p.wrong("this was not expected here")
	}
	if err == nil {
		var list []bpf.Instruction
		if list, err = generate(root); err == nil {
			return list, nil
		}
	}
	var where *Error
	if !errors.As(err, &where) {
		where = &Error{Cause: err.Error(), At: len(text)}
	}
	where = &Error{Text: text, At: where.At, Cause: where.Cause}
	return nil, where
}

// A parser reads words from left to right.
type parser struct {
	text    string
	words   []word
	next    int
	depth   int
	resolve Resolve

	// Where the type of what Ethernet carries stands, and where that begins: "vlan"
	// moves both.
	etherType, network int

	// What a value without qualifiers means: those of the value before. nil: nothing.
	last *qualifiers
}

// etherBytes is the size of Ethernet's header.
const etherBytes = 14

func (p *parser) peek() word { return p.words[p.next] }

// is reports whether the next word is one of these.
func (p *parser) is(texts ...string) bool {
	w := p.peek()
	return (w.kind == symbol || w.kind == name) && slices.Contains(texts, w.text)
}

// take takes the next word if it is one of these.
func (p *parser) take(texts ...string) bool {
	if p.is(texts...) {
		p.next++
		return true
	}
	return false
}

func (p *parser) wrong(format string, args ...any) error { return p.wrongAt(p.peek(), format, args...) }

func (p *parser) wrongAt(w word, format string, args ...any) error {
	return &Error{Text: p.text, At: w.at, Cause: fmt.Sprintf(format, args...)}
}

// deeper counts how deep the expression is nested.
func (p *parser) deeper() (shallower func(), err error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.wrong("more than %d levels", maxDepth)
	}
	return func() { p.depth-- }, nil
}

func (p *parser) expression() (test, error) {
	left, err := p.factor()
	for err == nil {
		var right test
		switch {
		case p.take("and", "&&"):
			if right, err = p.factor(); err == nil {
				left = both{left, right}
			}
		case p.take("or", "||"):
			if right, err = p.factor(); err == nil {
				left = either{left, right}
			}
		default:
			return left, nil
		}
	}
	return nil, err
}

func (p *parser) factor() (test, error) {
	shallower, err := p.deeper()
	if err != nil {
		return nil, err
	}
	defer shallower()
	if p.take("not", "!") {
		t, err := p.factor()
		return not{t}, err
	}
	if t, found, err := p.tryRelation(); found || err != nil {
		return t, err
	}
	if p.take("(") {
		t, err := p.expression()
		if err == nil && !p.take(")") {
			err = p.wrong("a parenthesis is not closed")
		}
		return t, err
	}
	return p.primitive()
}

// tryRelation reads a relation, if there is one: its beginning looks like that of
// something else, "(" or a number.
func (p *parser) tryRelation() (t test, found bool, err error) {
	begin := p.next
	if w := p.peek(); w.kind != number && w.kind != symbol && !p.indexed() && w.text != "len" && constants[w.text] == nil {
		return nil, false, nil
	}
	a, err := p.arithmetic(0)
	if err == nil && p.is(")") || err == nil && p.peek().kind == end || err != nil && p.words[begin].text == "(" {
		p.next = begin
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	condition, ok := conditions[p.peek().text]
	if !ok {
		p.next = begin
		return nil, false, nil
	}
	p.next++
	b, err := p.arithmetic(0)
	if err != nil {
		return nil, false, err
	}
	p.last = nil
	t, err = compare(condition, a, b)
	return t, true, err
}

var conditions = map[string]bpf.JumpTest{
	">": bpf.JumpGreaterThan, "<": bpf.JumpLessThan, ">=": bpf.JumpGreaterOrEqual, "<=": bpf.JumpLessOrEqual,
	"=": bpf.JumpEqual, "==": bpf.JumpEqual, "!=": bpf.JumpNotEqual,
}

// indexed reports whether "protocol [" comes.
func (p *parser) indexed() bool {
	return p.peek().kind == name && p.next+1 < len(p.words) && p.words[p.next+1].text == "["
}

// operators stand in the order in which they bind, the weakest first.
var operators = []map[string]bpf.ALUOp{
	{"|": bpf.ALUOpOr},
	{"^": bpf.ALUOpXor},
	{"&": bpf.ALUOpAnd},
	{"<<": bpf.ALUOpShiftLeft, ">>": bpf.ALUOpShiftRight},
	{"+": bpf.ALUOpAdd, "-": bpf.ALUOpSub},
	{"*": bpf.ALUOpMul, "/": bpf.ALUOpDiv, "%": bpf.ALUOpMod},
}

func (p *parser) arithmetic(level int) (value, error) {
	if level == len(operators) {
		return p.operand()
	}
	left, err := p.arithmetic(level + 1)
	for err == nil {
		op, ok := operators[level][p.peek().text]
		if !ok {
			return left, nil
		}
		at := p.peek()
		p.next++
		var right value
		if right, err = p.arithmetic(level + 1); err == nil {
			if k, ok := right.(constant); ok && k == 0 && (op == bpf.ALUOpDiv || op == bpf.ALUOpMod) {
				err = p.wrongAt(at, "a division by zero")
			} else if ok && k > 31 && (op == bpf.ALUOpShiftLeft || op == bpf.ALUOpShiftRight) {
				err = p.wrongAt(at, "a shift by more than 31 bits")
			}
			left = operation{op, left, right}
		}
	}
	return nil, err
}

func (p *parser) operand() (value, error) {
	shallower, err := p.deeper()
	if err != nil {
		return nil, err
	}
	defer shallower()
	w := p.peek()
	switch {
	case p.take("("):
		v, err := p.arithmetic(0)
		if err == nil && !p.take(")") {
			err = p.wrong("a parenthesis is not closed")
		}
		return v, err
	case p.take("-"):
		v, err := p.operand()
		return negative{v}, err
	case p.take("len"):
		return length{}, nil
	case w.kind == number:
		p.next++
		n, err := p.number(w, 32)
		return constant(n), err
	case p.indexed():
		return p.index()
	}
	if k := constants[w.text]; k != nil && w.kind == name {
		p.next++
		return constant(*k), nil
	}
	return nil, p.wrong("neither a number nor a value such as tcp[13]")
}

// index reads protocol[index:size].
func (p *parser) index() (value, error) {
	w := p.peek()
	base, ok := p.bases()[w.text]
	if !ok {
		return nil, p.wrong("%q has no bytes to look at: ether, ip, ip6, arp, rarp, icmp, icmp6, igmp, tcp, udp, sctp have", w.text)
	}
	p.next += 2
	var err error
	if base.index, err = p.arithmetic(0); err != nil {
		return nil, err
	}
	if k, ok := base.index.(constant); ok && k > 0xffff {
		return nil, p.wrongAt(w, "no packet is so long")
	}
	base.size = 1
	if p.take(":") {
		size := p.peek()
		p.next++
		n, err := p.number(size, 32)
		if err != nil || n != 1 && n != 2 && n != 4 {
			return nil, p.wrongAt(size, "a size is 1, 2 or 4")
		}
		base.size = int(n)
	}
	if !p.take("]") {
		return nil, p.wrong("a bracket is not closed")
	}
	return base, nil
}

// number reads the number of a word, as C writes them.
func (p *parser) number(w word, bits int) (uint32, error) {
	if w.kind != number {
		return 0, p.wrongAt(w, "a number is missing")
	}
	n, err := strconv.ParseUint(w.text, 0, bits)
	if err != nil {
		return 0, p.wrongAt(w, "not a number of %d bits", bits)
	}
	return uint32(n), nil
}
