package pcapfilter

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/bpf"
)

// net is the test for a network: 10.0.0.0/8, 10.0.0.0 mask 255.0.0.0, 10, fd00::/8.
func (p *parser) net(q qualifiers, w word) (test, error) {
	a, bits, err := p.netAddress(w)
	if err != nil {
		return nil, err
	}
	switch {
	case p.take("/"):
		length := p.peek()
		n, err := p.number(length, 8)
		if err != nil || int(n) > a.BitLen() {
			return nil, p.wrongAt(length, "a prefix is at most /%d long", a.BitLen())
		}
		p.next++
		bits = int(n)
	case a.Is4() && p.take("mask", "netmask"):
		if bits, err = p.mask(); err != nil {
			return nil, err
		}
	}
	prefix := netip.PrefixFrom(a, bits)
	if prefix.Masked().Addr() != a {
		return nil, p.wrongAt(w, "bits of a host are set: the network is %s", prefix.Masked())
	}
	return p.prefix(q, w, prefix)
}

// netAddress reads the address of a network. Where it is cut short, what is there is
// its prefix: 10.1 is 10.1.0.0/16.
func (p *parser) netAddress(w word) (netip.Addr, int, error) {
	text := w.text
	given := strings.Count(text, ".") + 1
	if w.kind == number || w.kind == address {
		text += strings.Repeat(".0", 4-given)
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, 0, p.wrongAt(w, "not a network such as 10.0.0.0/8")
	}
	if a.Is4() {
		return a, given * 8, nil
	}
	return a, a.BitLen(), nil
}

// mask reads 255.0.0.0 as 8.
func (p *parser) mask() (int, error) {
	w := p.peek()
	a, err := netip.ParseAddr(w.text)
	if err != nil || !a.Is4() {
		return 0, p.wrong("not a mask such as 255.0.0.0")
	}
	p.next++
	ones, size := net.IPMask(a.AsSlice()).Size()
	if size == 0 {
		return 0, p.wrongAt(w, "a mask with holes")
	}
	return ones, nil
}

// prefix is the test for addresses.
func (p *parser) prefix(q qualifiers, w word, prefix netip.Prefix) (test, error) {
	type places struct {
		protocol string
		src, dst int
	}
	list := []places{{"ip", 12, 16}, {"arp", 14, 24}, {"rarp", 14, 24}}
	if prefix.Addr().Is6() {
		list = []places{{"ip6", 8, 24}}
	}
	var tests []test
	for _, l := range list {
		if q.protocol == "" || q.protocol == l.protocol {
			src, dst := within(p.network+l.src, prefix), within(p.network+l.dst, prefix)
			tests = append(tests, both{p.carries(l.protocol), q.towards(src, dst)})
		}
	}
	if len(tests) == 0 {
		return nil, p.wrongAt(w, "%s has no such addresses", q.protocol)
	}
	return anyOf(tests...), nil
}

// within compares the address at a place, four bytes at a time.
func within(at int, prefix netip.Prefix) test {
	b, bits := prefix.Addr().AsSlice(), prefix.Bits()
	var tests []test
	for i := 0; i < len(b); i += 4 {
		mask := ^uint32(0)
		if rest := bits - i*8; rest <= 0 {
			continue
		} else if rest < 32 {
			mask <<= 32 - rest
		}
		t := field{at: at + i, size: 4, value: binary.BigEndian.Uint32(b[i:])}
		if mask != ^uint32(0) {
			t.mask = mask
		}
		tests = append(tests, t)
	}
	if len(tests) == 0 { // /0 is any address, but the packet has one
		return field{at: at, size: 4, condition: bpf.JumpGreaterOrEqual}
	}
	return all(tests...)
}

func (p *parser) port(q qualifiers, w word) (test, error) {
	if w.kind == name {
		return p.namedPort(q, w)
	}
	n, err := p.number(w, 16)
	if err != nil {
		return nil, p.wrongAt(w, "not a port")
	}
	return p.ports(q, w, n, n)
}

// namedPort looks a port's name up in /etc/services. A name of TCP alone, as http is,
// is no port of UDP.
func (p *parser) namedPort(q qualifiers, w word) (test, error) {
	if _, err := p.ported(q, w); err != nil {
		return nil, err
	}
	tcp, noTCP := net.DefaultResolver.LookupPort(context.Background(), "tcp", w.text)
	udp, noUDP := net.DefaultResolver.LookupPort(context.Background(), "udp", w.text)
	number, only := tcp, ""
	switch {
	case noTCP != nil && noUDP != nil:
		return nil, p.wrongAt(w, "no port of that name is in /etc/services")
	case noTCP != nil || noUDP == nil && udp != tcp && q.protocol == "udp":
		number, only = udp, "udp"
	case noUDP != nil || udp != tcp:
		only = "tcp"
	}
	if only != "" && q.protocol != "" && q.protocol != only {
		return nil, p.wrongAt(w, "this is a port of %s, by /etc/services", only)
	}
	if only != "" {
		q.protocol = only
	}
	return p.ports(q, w, uint32(number), uint32(number))
}

// portRange reads "1000-2000", or a single port.
func (p *parser) portRange(q qualifiers, w word) (test, error) {
	from, err := p.number(w, 16)
	to := from
	if err == nil && p.take("-") {
		high := p.peek()
		to, err = p.number(high, 16)
		p.next += min(1, len(p.words)-1-p.next)
	}
	if err != nil {
		return nil, p.wrongAt(w, "not a range of ports such as 8000-8100")
	}
	return p.ports(q, w, min(from, to), max(from, to))
}

// ports is the test for a port between two, of each protocol that has ports.
func (p *parser) ports(q qualifiers, w word, from, to uint32) (test, error) {
	protocols, err := p.ported(q, w)
	if err != nil {
		return nil, err
	}
	var v4, v6 []test
	for _, protocol := range protocols {
		v4 = append(v4, equal(p.network+protocolAt, 1, transports[protocol].number))
		v6 = append(v6, equal(p.network+nextHeaderAt, 1, transports[protocol].number))
	}
	at4 := func(place int) test {
		return between(from, to, func(c bpf.JumpTest, n uint32) test { return behindIPv4{p.network, place, c, n} })
	}
	at6 := func(place int) test {
		return between(from, to, func(c bpf.JumpTest, n uint32) test {
			return field{at: p.network + ipv6Bytes + place, size: 2, condition: c, value: n}
		})
	}
	return either{
		all(p.carries("ip6"), anyOf(v6...), q.towards(at6(0), at6(2))),
		all(p.carries("ip"), anyOf(v4...), p.unfragmented(), q.towards(at4(0), at4(2))),
	}, nil
}

// between compares with one number, or with two.
func between(from, to uint32, compare func(bpf.JumpTest, uint32) test) test {
	if from == to {
		return compare(bpf.JumpEqual, from)
	}
	return both{compare(bpf.JumpGreaterOrEqual, from), compare(bpf.JumpLessOrEqual, to)}
}
