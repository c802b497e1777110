package firewall

import (
	"bytes"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A NAT is a rule, or an element of its map, that gives packets another address, with what of its
// conditions can be said in a line.
type NAT struct {
	Kind   string // "masquerade", "snat", "dnat" or "redirect"
	Family string // "ip", "ip6" or "inet", of the table
	Table  string
	Chain  string
	Handle uint64
	Owner  string // see Owner
	Rule   string // in nft's language

	// The conditions; an empty one means any.
	Protocol    string // "tcp", "udp", …
	Sources     []netip.Prefix
	Destination []netip.Prefix
	First, Last uint16 // the port that packets go to; 0 for any
	In, Out     []Link // by these, known by name or by index
	NotOut      []Link
	// Conditional says that there are conditions that are not told here: a mark, a
	// state of the connection. That a packet is for an address of the host itself is
	// none, for all that is published is so.
	Conditional bool

	To     netip.Addr // the new address; none of masquerade and redirect
	ToPort uint16     // 0: the same
}

// NAT lists the rules that translate addresses when packets come in, go out
// or begin here, each with the conditions on the way to it. An element of a map that
// says where a port leads is a translation of its own; rules that say the same twice,
// for packets that arrive and for those that begin here, are listed once.
func (r *Ruleset) NAT() []NAT {
	f := &finder{}
	for _, base := range r.bases {
		if base.kind == "nat" {
			f.chain(base, state{}, 0)
		}
	}
	return f.list
}

// maxDepth is how deep chains may jump into each other (NFT_JUMP_STACK_SIZE); more
// than maxWays through them are not followed.
const (
	maxDepth = 16
	maxWays  = 1 << 14
)

type finder struct {
	list []NAT
	ways int
}

// A state is what is known on the way through a rule: the conditions so far, and what
// the registers hold, in units of four bytes.
type state struct {
	met    NAT
	fields map[uint32]loaded
	values map[uint32][]byte
}

// loaded is a field of the packet in a register.
type loaded struct {
	name string
	mask []byte
	size int
}

func (f *finder) chain(c *chain, s state, depth int) {
	if depth > maxDepth {
		return
	}
	for _, r := range c.rules {
		if f.ways++; f.ways > maxWays {
			return
		}
		f.expressions(r, 0, state{met: s.met, fields: map[uint32]loaded{}, values: map[uint32][]byte{}}, depth)
	}
}

// expressions follows a rule from one of its expressions on. Where a map has several
// values it goes on with each.
func (f *finder) expressions(r *rule, from int, s state, depth int) {
	for i := from; i < len(r.expressions); i++ {
		e := &r.expressions[i]
		a := e.data
		switch e.name {
		case "payload":
			s.load(a.u32(unix.NFTA_PAYLOAD_DREG), payloadField(a))
		case "meta":
			s.load(a.u32(unix.NFTA_META_DREG), metaField(a))
		case "ct":
			s.load(a.u32(unix.NFTA_CT_DREG), loaded{})
		case "fib":
			s.load(a.u32(unix.NFTA_FIB_DREG), loaded{name: "local"})
		case "bitwise":
			l := s.fields[slot(a.u32(unix.NFTA_BITWISE_SREG))]
			l.mask = a.data(unix.NFTA_BITWISE_MASK)
			s.load(a.u32(unix.NFTA_BITWISE_DREG), l)
		case "cmp":
			s.compare(a)
		case "range":
			if l := s.fields[slot(a.u32(unix.NFTA_RANGE_SREG))]; a.u32(unix.NFTA_RANGE_OP) == 0 {
				s.between(l, a.data(unix.NFTA_RANGE_FROM_DATA), a.data(unix.NFTA_RANGE_TO_DATA))
			}
		case "lookup":
			if f.lookup(r, i, &s, depth) {
				return // the rest was followed for each element
			}
		case "immediate":
			if v := a.get(unix.NFTA_IMMEDIATE_DATA).get(unix.NFTA_DATA_VERDICT); v != nil {
				f.verdict(r, parseVerdict(v), s, depth)
				return
			}
			s.values[slot(a.u32(unix.NFTA_IMMEDIATE_DREG))] = a.data(unix.NFTA_IMMEDIATE_DATA)
		case "match":
			s.match(a)
		default:
			if s.translate(e, r.chain.table.family) {
				f.found(r, s)
				return
			}
		}
	}
}

func (f *finder) verdict(r *rule, v *choice, s state, depth int) {
	if target := r.chain.table.chains[v.chain]; target != nil {
		f.chain(target, s, depth+1)
	}
}

func (f *finder) found(r *rule, s state) {
	t := s.met
	t.Family, t.Table, t.Chain, t.Handle = familyName(r.chain.table.family), r.chain.table.name, r.chain.name, r.handle
	t.Owner, t.Rule = Owner(t.Family, t.Table, t.Chain), r.String()
	if !slices.ContainsFunc(f.list, func(o NAT) bool { return same(o, t) }) {
		f.list = append(f.list, t)
	}
}

// same reports whether two are the same element of the same rule.
func same(a, b NAT) bool {
	return a.Handle == b.Handle && a.Table == b.Table && a.Family == b.Family && a.To == b.To && a.ToPort == b.ToPort && a.First == b.First && a.Last == b.Last &&
		a.Protocol == b.Protocol && slices.Equal(a.Sources, b.Sources) && slices.Equal(a.Destination, b.Destination) && slices.Equal(a.Out, b.Out)
}

// slot is where a register begins, in units of four bytes. NFT_REG_1 to NFT_REG_4
// are sixteen bytes each, from NFT_REG32_00 on they are counted singly.
func slot(register uint32) uint32 {
	if register >= unix.NFT_REG32_00 {
		return register - unix.NFT_REG32_00
	}
	return 4 * (register - unix.NFT_REG_1)
}

func (s *state) load(register uint32, l loaded) {
	s.fields[slot(register)] = l
	delete(s.values, slot(register))
}

// payloadField names the fields that conditions are told of.
func payloadField(a attributes) loaded {
	offset, size := a.u32(unix.NFTA_PAYLOAD_OFFSET), int(a.u32(unix.NFTA_PAYLOAD_LEN))
	network := a.u32(unix.NFTA_PAYLOAD_BASE) == unix.NFT_PAYLOAD_NETWORK_HEADER
	transport := a.u32(unix.NFTA_PAYLOAD_BASE) == unix.NFT_PAYLOAD_TRANSPORT_HEADER
	name := ""
	switch {
	case network && (offset == 12 && size <= 4 || offset == 8 && size > 4):
		name = "source"
	case network && (offset == 16 && size <= 4 && size > 1 || offset == 24):
		name = "destination"
	case network && size == 1 && (offset == 9 || offset == 6):
		name = "protocol"
	case transport && offset == 2 && size == 2:
		name = "port"
	}
	return loaded{name: name, size: size}
}

func metaField(a attributes) loaded {
	names := map[uint32]loaded{
		unix.NFT_META_L4PROTO: {name: "protocol", size: 1},
		unix.NFT_META_IIFNAME: {name: "in", size: unix.IFNAMSIZ}, unix.NFT_META_OIFNAME: {name: "out", size: unix.IFNAMSIZ},
		unix.NFT_META_NFPROTO: {name: "family", size: 1}, unix.NFT_META_PROTOCOL: {name: "family", size: 2},
		unix.NFT_META_IIF: {name: "in", size: 4}, unix.NFT_META_OIF: {name: "out", size: 4},
	}
	return names[a.u32(unix.NFTA_META_KEY)]
}

func (s *state) compare(a attributes) {
	l, value := s.fields[slot(a.u32(unix.NFTA_CMP_SREG))], a.data(unix.NFTA_CMP_DATA)
	if l.name == "" {
		s.met.Conditional = true
	}
	switch a.u32(unix.NFTA_CMP_OP) {
	case unix.NFT_CMP_EQ:
		s.between(l, value, value)
	case unix.NFT_CMP_NEQ:
		if l.name == "out" {
			s.met.NotOut = append(slices.Clone(s.met.NotOut), linkNamed(value))
		}
	case unix.NFT_CMP_GTE:
		if l.name == "port" && len(value) == 2 {
			s.met.First = uint16(value[0])<<8 | uint16(value[1])
		}
	case unix.NFT_CMP_LTE:
		if l.name == "port" && len(value) == 2 {
			s.met.Last = uint16(value[0])<<8 | uint16(value[1])
		}
	}
}

// between meets the condition that a field is from one value to another.
func (s *state) between(l loaded, from, to []byte) {
	switch l.name {
	case "source":
		s.met.Sources = prefixesOf(l, from, to)
	case "destination":
		s.met.Destination = prefixesOf(l, from, to)
	case "protocol":
		s.met.Protocol = protocol(from)
	case "port":
		if len(from) >= 2 && len(to) >= 2 {
			s.met.First, s.met.Last = uint16(from[0])<<8|uint16(from[1]), uint16(to[0])<<8|uint16(to[1])
		}
	case "in":
		s.met.In = []Link{linkNamed(from)}
	case "out":
		s.met.Out = []Link{linkNamed(from)}
	}
}

// linkNamed is a link by the bytes of its name, or by its index.
func linkNamed(value []byte) Link {
	if len(value) == 4 {
		return Link{Index: int(info{value}.u32(0))}
	}
	name := unix.ByteSliceToString(value)
	if len(value) < unix.IFNAMSIZ && !bytes.Contains(value, []byte{0}) {
		name += "*"
	}
	return Link{Name: name}
}
