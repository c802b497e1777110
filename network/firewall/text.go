package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// String is the rule in nft's language. It reads as nft(8) would print it where
// the rule is made of the usual expressions; another one is its bare name in
// angle brackets.
func (r *rule) String() string {
	t := textOf{table: r.chain.table, fields: map[uint32]field{}}
	for i := range r.expressions {
		t.add(&r.expressions[i])
	}
	if r.comment != "" {
		t.words = append(t.words, fmt.Sprintf("comment %q", r.comment))
	}
	return strings.Join(t.words, " ")
}

// String is the expression alone.
func (e *expression) String() string {
	t := textOf{fields: map[uint32]field{}}
	t.add(e)
	if len(t.words) == 0 { // a load
		for _, f := range t.fields {
			return f.name
		}
		return "<" + e.name + ">"
	}
	return strings.Join(t.words, " ")
}

// A field is what was loaded into a register: its name and how its values are written.
type field struct {
	name  string
	value func([]byte) string
	mask  []byte // of a bitwise expression in between

	constant []byte // if it is one: its bytes
}

// textOf renders expressions one after the other: what a load put into a
// register is written when the register is compared.
type textOf struct {
	table    *table
	fields   map[uint32]field
	protocol string // "tcp", once a rule has asked for it
	words    []string
}

func (t *textOf) word(format string, args ...any) {
	t.words = append(t.words, fmt.Sprintf(format, args...))
}

// loaded is what the register holds.
func (t *textOf) loaded(register uint32) field {
	if f, ok := t.fields[register]; ok {
		return f
	}
	return field{name: fmt.Sprintf("<register %d>", register), value: hex}
}

func (t *textOf) add(e *expression) {
	a := e.data
	switch e.name {
	case "payload":
		t.fields[a.u32(unix.NFTA_PAYLOAD_DREG)] = t.payload(a)
	case "meta":
		t.meta(a)
	case "ct":
		if a.has(unix.NFTA_CT_DREG) {
			t.fields[a.u32(unix.NFTA_CT_DREG)] = ctField(a.u32(unix.NFTA_CT_KEY))
		} else {
			t.word("ct %s set %s", ctName(a.u32(unix.NFTA_CT_KEY)), t.loaded(a.u32(unix.NFTA_CT_SREG)).name)
		}
	case "fib":
		t.fields[a.u32(unix.NFTA_FIB_DREG)] = fibField(a)
	case "exthdr":
		t.fields[a.u32(unix.NFTA_EXTHDR_DREG)] = field{name: fmt.Sprintf("<exthdr %d>", a.u32(unix.NFTA_EXTHDR_TYPE)&0xff), value: hex}
	case "bitwise":
		f := t.loaded(a.u32(unix.NFTA_BITWISE_SREG))
		f.mask = a.data(unix.NFTA_BITWISE_MASK)
		t.fields[a.u32(unix.NFTA_BITWISE_DREG)] = f
	case "byteorder":
		t.fields[a.u32(unix.NFTA_BYTEORDER_DREG)] = t.loaded(a.u32(unix.NFTA_BYTEORDER_SREG))
	case "cmp":
		t.compare(a)
	case "range":
		f := t.loaded(a.u32(unix.NFTA_RANGE_SREG))
		not := map[bool]string{true: "!= "}[a.u32(unix.NFTA_RANGE_OP) != 0]
		t.word("%s %s%s-%s", f.name, not, f.value(a.data(unix.NFTA_RANGE_FROM_DATA)), f.value(a.data(unix.NFTA_RANGE_TO_DATA)))
	case "lookup":
		t.lookup(a)
	case "immediate":
		t.immediate(a)
	case "limit":
		t.word("%s", limitText(a))
	case "match":
		if name := a.text(unix.NFTA_MATCH_NAME); name != "comment" {
			t.word("%s", xtText("match", name))
		}
	case "target":
		t.word("%s", xtText("target", a.text(unix.NFTA_TARGET_NAME)))
	case "masq":
		t.word("masquerade")
	case "nat":
		t.translate(a)
	case "redir":
		t.word("redirect%s", t.targetText(0, a.u32(unix.NFTA_REDIR_REG_PROTO_MIN)))
	case "counter", "reject", "log", "notrack", "queue":
		t.word("%s", e.name)
	default:
		t.word("<%s>", e.name)
	}
}

// compare writes "field value". A comparison that only says which protocol a
// port belongs to is left out, as nft does.
func (t *textOf) compare(a attributes) {
	f := t.loaded(a.u32(unix.NFTA_CMP_SREG))
	value, operator := a.data(unix.NFTA_CMP_DATA), compareText(a.u32(unix.NFTA_CMP_OP))
	switch {
	case f.mask != nil && isPrefix(f.mask) && len(value) == len(f.mask) && len(value)%4 == 0 && strings.HasSuffix(f.name, "addr"):
		t.word("%s %s%s/%d", f.name, operator, f.value(value), ones(f.mask))
	case f.mask != nil && allZero(value) && operator == "!= ": // any bit of the mask
		t.word("%s %s", f.name, f.value(f.mask))
	case f.mask != nil:
		t.word("%s & %s %s%s", f.name, hex(f.mask), map[string]string{"": "== "}[operator]+operator, hex(value))
	default:
		if f.name == "meta l4proto" && operator == "" {
			t.protocol = f.value(value)
		}
		t.word("%s %s%s", f.name, operator, f.value(value))
		t.joinRange(f.name)
	}
}

// joinRange makes "a >= 1", "a <= 5" one "a 1-5": nft compiles a range so.
func (t *textOf) joinRange(name string) {
	n := len(t.words)
	if n < 2 {
		return
	}
	from, low := strings.CutPrefix(t.words[n-2], name+" >= ")
	to, high := strings.CutPrefix(t.words[n-1], name+" <= ")
	if low && high {
		t.words = append(t.words[:n-2], fmt.Sprintf("%s %s-%s", name, from, to))
	}
}

func compareText(op uint32) string {
	return map[uint32]string{unix.NFT_CMP_NEQ: "!= ", unix.NFT_CMP_LT: "< ", unix.NFT_CMP_LTE: "<= ", unix.NFT_CMP_GT: "> ", unix.NFT_CMP_GTE: ">= "}[op]
}

func (t *textOf) lookup(a attributes) {
	f := t.loaded(a.u32(unix.NFTA_LOOKUP_SREG))
	name, not := a.text(unix.NFTA_LOOKUP_SET), ""
	if a.u32(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0 {
		not = "!= "
	}
	kind := ""
	if a.has(unix.NFTA_LOOKUP_DREG) {
		kind = "map "
		if a.u32(unix.NFTA_LOOKUP_DREG) == unix.NFT_REG_VERDICT {
			kind = "vmap "
		}
	}
	var s *set
	if t.table != nil {
		s = t.table.sets[name]
	}
	if s == nil || s.flags&unix.NFT_SET_ANONYMOUS == 0 {
		name = "@" + name
	} else {
		name = s.text(f.value)
	}
	if kind == "map " { // the answer is what the next expression is about
		t.fields[a.u32(unix.NFTA_LOOKUP_DREG)] = field{name: f.name + " map " + name, value: hex}
		return
	}
	t.word("%s %s%s%s", f.name, not, kind, name)
}

// text lists the elements of a set that has no name of its own.
func (s *set) text(value func([]byte) string) string {
	var list []string
	for i, e := range s.elements {
		if e.behind {
			continue
		}
		text := value(e.key)
		if s.flags&unix.NFT_SET_INTERVAL != 0 && len(s.fields) < 2 && i+1 < len(s.elements) && s.elements[i+1].behind {
			if last := before(s.elements[i+1].key); string(last) != string(e.key) {
				text += "-" + value(last)
			}
		}
		if e.verdict != nil {
			text += " : " + e.verdict.String()
		}
		if len(e.value) > 0 {
			text += " : " + address(e.value)
		}
		list = append(list, text)
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

// before is the key one less.
func before(key []byte) []byte {
	less := append([]byte(nil), key...)
	for i := len(less) - 1; i >= 0; i-- {
		less[i]--
		if less[i] != 0xff {
			break
		}
	}
	return less
}

func (c choice) String() string {
	switch c.code {
	case nfAccept:
		return "accept"
	case nfDrop:
		return "drop"
	case unix.NFT_RETURN:
		return "return"
	case unix.NFT_JUMP:
		return "jump " + c.chain
	case unix.NFT_GOTO:
		return "goto " + c.chain
	case unix.NFT_CONTINUE:
		return "continue"
	}
	return fmt.Sprintf("<verdict %d>", c.code)
}

func (t *textOf) immediate(a attributes) {
	data := a.get(unix.NFTA_IMMEDIATE_DATA)
	if v := data.get(unix.NFTA_DATA_VERDICT); v != nil {
		t.word("%s", parseVerdict(v))
		return
	}
	value := data.get(unix.NFTA_DATA_VALUE)
	t.fields[a.u32(unix.NFTA_IMMEDIATE_DREG)] = field{name: hex(value), value: hex, constant: value}
}

// translate writes "dnat to ADDRESS:PORT". What is in the registers may have come out
// of a map, which then is what it is translated to.
func (t *textOf) translate(a attributes) {
	kind := "snat"
	if a.u32(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_DNAT {
		kind = "dnat"
	}
	t.word("%s%s", kind, t.targetText(a.u32(unix.NFTA_NAT_REG_ADDR_MIN), a.u32(unix.NFTA_NAT_REG_PROTO_MIN)))
}

func (t *textOf) targetText(ip, port uint32) string {
	f, known := t.fields[ip]
	p, withPort := t.fields[port]
	switch {
	case known && f.constant != nil || withPort && p.constant != nil:
		return " to " + target(f.constant, p.constant)
	case known:
		return " to " + f.name
	}
	return ""
}

func limitText(a attributes) string {
	unit := map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}[a.u64(unix.NFTA_LIMIT_UNIT)]
	over := map[bool]string{true: "over "}[a.u32(unix.NFTA_LIMIT_FLAGS)&unix.NFT_LIMIT_F_INV != 0]
	return fmt.Sprintf("limit rate %s%d/%s", over, a.u64(unix.NFTA_LIMIT_RATE), unit)
}

func hex(b []byte) string { return fmt.Sprintf("0x%x", b) }

func number(b []byte) string {
	n := uint64(0)
	for _, digit := range b {
		n = n<<8 | uint64(digit)
	}
	return fmt.Sprint(n)
}

// hostNumber is a number in the order of the host.
func hostNumber(b []byte) string {
	if len(b) == 4 {
		return fmt.Sprintf("%#08x", binary.NativeEndian.Uint32(b))
	}
	return hex(b)
}

func address(b []byte) string {
	if a, ok := netip.AddrFromSlice(b); ok {
		return a.String()
	}
	return hex(b) // a prefix of an address, of which only some bytes are compared
}

func quoted(b []byte) string {
	text := unix.ByteSliceToString(b)
	if len(b) < unix.IFNAMSIZ && !strings.Contains(string(b), "\x00") {
		text += "*"
	}
	return fmt.Sprintf("%q", text)
}

func protocol(b []byte) string {
	if len(b) != 1 {
		return hex(b)
	}
	return protocolName(b[0])
}

func allZero(b []byte) bool { return strings.Trim(string(b), "\x00") == "" }

func ones(mask []byte) (n int) {
	for _, b := range mask {
		for ; b != 0; b <<= 1 {
			n++
		}
	}
	return n
}

// isPrefix is true for a mask whose ones come first.
func isPrefix(mask []byte) bool {
	seen := false
	for i := range len(mask) * 8 {
		set := mask[i/8]>>(7-i%8)&1 != 0
		if set && seen {
			return false
		}
		seen = seen || !set
	}
	return true
}
