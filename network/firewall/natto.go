package firewall

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// prefixesOf writes a range of addresses as subnets; what is masked, or only the
// beginning of an address, is one.
func prefixesOf(l loaded, from, to []byte) []netip.Prefix {
	size := 4
	if len(from) > 4 || l.size > 4 {
		size = 16
	}
	bits := len(from) * 8
	if l.mask != nil {
		bits = ones(l.mask)
	}
	whole := func(b []byte) []byte { return append(bytes.Clone(b), make([]byte, max(0, size-len(b)))...)[:size] }
	first, _ := netip.AddrFromSlice(whole(from))
	last, _ := netip.AddrFromSlice(whole(to))
	if first == last {
		return []netip.Prefix{netip.PrefixFrom(first, min(bits, first.BitLen())).Masked()}
	}
	return subnets(first, last)
}

// subnets cuts a range of addresses into the fewest subnets.
func subnets(first, last netip.Addr) (list []netip.Prefix) {
	for first.IsValid() && first.Compare(last) <= 0 {
		bits := first.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(first, bits-1)
			if wider.Masked().Addr() != first || lastOf(wider).Compare(last) > 0 {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(first, bits)
		list = append(list, p)
		first = lastOf(p).Next()
	}
	return list
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// lookup meets the condition that what the registers hold is in a set. For a map, and
// for a set of several fields, it follows the rest of the rule for each element, and
// reports that it did; so it does for each port.
func (f *finder) lookup(r *rule, at int, s *state, depth int) (followed bool) {
	a := r.expressions[at].data
	set := r.chain.table.sets[a.text(unix.NFTA_LOOKUP_SET)]
	if set == nil || a.u32(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0 {
		s.excluded(set, a)
		return false
	}
	register := slot(a.u32(unix.NFTA_LOOKUP_SREG))
	parts := s.parts(register, set.length)
	isMap := a.has(unix.NFTA_LOOKUP_DREG)
	if !isMap && len(parts) == 1 && parts[0].name != "port" {
		s.within(parts[0], set)
		return false
	}
	for i := range set.elements {
		e := &set.elements[i]
		if e.behind {
			continue
		}
		if f.ways++; f.ways > maxWays {
			return true
		}
		next := s.copy()
		next.element(parts, e, set.endOf(i))
		if e.verdict != nil {
			f.verdict(r, e.verdict, next, depth)
			continue
		}
		if isMap {
			next.put(slot(a.u32(unix.NFTA_LOOKUP_DREG)), e.value)
		}
		f.expressions(r, at+1, next, depth)
	}
	return true
}

// excluded keeps the links of a set that packets must not leave by.
func (s *state) excluded(set *set, a attributes) {
	l := s.fields[slot(a.u32(unix.NFTA_LOOKUP_SREG))]
	if set == nil || l.name != "out" {
		return
	}
	for _, e := range set.elements {
		s.met.NotOut = append(slices.Clone(s.met.NotOut), linkNamed(e.key))
	}
}

// parts are the fields that a key of so many bytes is made of.
func (s *state) parts(register uint32, length int) (list []loaded) {
	for n := 0; n < length; {
		l := s.fields[register+uint32(n/4)]
		list = append(list, l)
		n += (max(l.size, 1) + 3) &^ 3
	}
	return list
}

// within meets the condition that a field is in a set.
func (s *state) within(l loaded, set *set) {
	switch l.name {
	case "source", "destination":
		var all []netip.Prefix
		for i, e := range set.elements {
			if !e.behind {
				all = append(all, prefixesOf(l, e.key, set.endOf(i))...)
			}
		}
		if l.name == "source" {
			s.met.Sources = all
		} else {
			s.met.Destination = all
		}
	case "":
		s.met.Conditional = true
	case "in", "out":
		var links []Link
		for _, e := range set.elements {
			links = append(links, linkNamed(e.key))
		}
		if l.name == "in" {
			s.met.In = links
		} else {
			s.met.Out = links
		}
	}
}

// endOf is the last key of an element; its only one if it is no interval.
func (s *set) endOf(i int) []byte {
	e := s.elements[i]
	switch {
	case e.end != nil:
		return e.end
	case s.flags&unix.NFT_SET_INTERVAL == 0 || len(s.fields) > 1 || i+1 >= len(s.elements) || !s.elements[i+1].behind:
		return e.key
	}
	return before(s.elements[i+1].key)
}

// element meets the conditions of one element of a set of several fields.
func (s *state) element(parts []loaded, e *element, end []byte) {
	at := 0
	for _, l := range parts {
		size := max(l.size, 1)
		if at+size <= len(e.key) && at+size <= len(end) {
			s.between(l, e.key[at:at+size], end[at:at+size])
		}
		at += (size + 3) &^ 3
	}
}

func (s *state) copy() state {
	c := state{met: s.met, fields: map[uint32]loaded{}, values: map[uint32][]byte{}}
	for k, v := range s.fields {
		c.fields[k] = v
	}
	for k, v := range s.values {
		c.values[k] = v
	}
	return c
}

// put stores a value, whose parts begin at multiples of four bytes.
func (s *state) put(at uint32, value []byte) {
	s.values[at] = value
	for n := 4; n < len(value); n += 4 {
		s.values[at+uint32(n/4)] = value[n:]
	}
}

// translate is true for an expression that translates.
func (s *state) translate(e *expression, family uint8) bool {
	a := e.data
	switch e.name {
	case "masq":
		s.met.Kind = "masquerade"
	case "redir":
		s.met.Kind = "redirect"
		s.met.ToPort = s.port(a, unix.NFTA_REDIR_REG_PROTO_MIN)
	case "nat":
		s.met.Kind = "snat"
		if a.u32(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_DNAT {
			s.met.Kind = "dnat"
		}
		size := 4
		if a.u32(unix.NFTA_NAT_FAMILY) == unix.NFPROTO_IPV6 {
			size = 16
		}
		if b := s.values[slot(a.u32(unix.NFTA_NAT_REG_ADDR_MIN))]; a.has(unix.NFTA_NAT_REG_ADDR_MIN) && len(b) >= size {
			s.met.To, _ = netip.AddrFromSlice(b[:size])
		}
		s.met.ToPort = s.port(a, unix.NFTA_NAT_REG_PROTO_MIN)
	case "target":
		return s.target(a, family)
	default:
		return false
	}
	return true
}

func (s *state) port(a attributes, register uint16) uint16 {
	if b := s.values[slot(a.u32(register))]; a.has(register) && len(b) >= 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// target reads the targets of iptables: struct nf_nat_range, or what IPv4 had before,
// struct nf_nat_ipv4_multi_range_compat, which is shorter.
func (s *state) target(a attributes, family uint8) bool {
	kinds := map[string]string{"MASQUERADE": "masquerade", "SNAT": "snat", "DNAT": "dnat", "REDIRECT": "redirect"}
	kind, ok := kinds[a.text(unix.NFTA_TARGET_NAME)]
	if !ok {
		return false
	}
	const sizeofRange = 40
	s.met.Kind = kind
	i := info{a.get(unix.NFTA_TARGET_INFO)}
	flagsAt, addressAt, portAt, size := 0, 4, 36, 4
	if len(i.bytes) < sizeofRange {
		flagsAt, addressAt, portAt = 4, 8, 16
	}
	if family == unix.NFPROTO_IPV6 {
		size = 16
	}
	if flags := i.u32(flagsAt); len(i.bytes) >= max(portAt+2, addressAt+size) {
		if flags&natMapIPs != 0 {
			s.met.To, _ = netip.AddrFromSlice(i.bytes[addressAt : addressAt+size])
		}
		if flags&natMapPort != 0 && kind != "masquerade" {
			s.met.ToPort = binary.BigEndian.Uint16(i.bytes[portAt:])
		}
	}
	return true
}

// match meets the conditions of iptables' matches, of which we tell those about ports: struct xt_tcp,
// xt_udp and xt_multiport_v1.
func (s *state) match(a attributes) {
	i := info{a.get(unix.NFTA_MATCH_INFO)}
	switch name := a.text(unix.NFTA_MATCH_NAME); name {
	case "tcp", "udp":
		inverted := i.u8(map[string]int{"tcp": 11, "udp": 8}[name])
		if first, last := i.u16(4), i.u16(6); inverted&2 == 0 && (first != 0 || last != 0xffff) {
			s.met.First, s.met.Last = first, last
		}
		s.met.Protocol = name
	case "multiport":
		if count := int(i.u8(0)); count == 1 && i.u8(1) > 0 { // destination ports
			s.met.First, s.met.Last = i.u16(2), i.u16(2*int(i.u8(1)))
		}
	case "comment", "addrtype":
	default:
		s.met.Conditional = true
	}
}
