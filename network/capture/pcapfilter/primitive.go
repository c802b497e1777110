package pcapfilter

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/bpf"
)

// qualifiers say what a value is.
type qualifiers struct {
	protocol  string // "" for the usual ones
	direction string // "", src, dst, both
	kind      string // "", host, net, port, portrange, proto
}

var directions = map[string]string{"src": "src", "dst": "dst"}

// primitive reads one test that is no relation.
func (p *parser) primitive() (test, error) {
	w := p.peek()
	if w.kind == end {
		return nil, p.wrong("it ends too early")
	}
	if reason, ok := elsewhere[w.text]; ok && w.kind == name {
		return nil, p.wrong("%s: %s", w.text, reason)
	}
	if t, found, err := p.alone(); found {
		return t, err
	}
	q, named, err := p.qualifiers()
	if err != nil {
		return nil, err
	}
	if !named {
		if !p.value() {
			return nil, p.wrong("this was not expected here")
		}
		if p.last == nil && p.peek().kind == number {
			return nil, p.wrong("a number alone says nothing: port, net, proto or the like is missing before it")
		}
		if p.last != nil {
			q = *p.last
		}
		return p.ids(q)
	}
	if q == (qualifiers{protocol: q.protocol}) {
		switch {
		case p.take("broadcast"):
			return p.broadcast(w, q.protocol)
		case p.take("multicast"):
			return p.multicast(w, q.protocol)
		case !p.value() || q.protocol != "" && p.is("("):
			p.last = nil
			return p.protocol(w, q.protocol)
		}
	}
	p.last = &q
	return p.ids(q)
}

// alone reads what has no qualifiers.
func (p *parser) alone() (t test, found bool, err error) {
	w := p.peek()
	switch {
	case p.take("vlan"):
		t, err = p.vlan()
	case p.take("broadcast"):
		t, err = p.broadcast(w, "")
	case p.take("multicast"):
		t, err = p.multicast(w, "")
	case p.is("less", "greater"):
		p.next += 2
		if p.next > len(p.words)-1 {
			p.next = len(p.words) - 1
		}
		var n uint32
		if n, err = p.number(p.words[p.next-1], 32); err == nil {
			condition := map[string]bpf.JumpTest{"less": bpf.JumpLessOrEqual, "greater": bpf.JumpGreaterOrEqual}[w.text]
			t, err = compare(condition, length{}, constant(n))
		}
	default:
		return nil, false, nil
	}
	p.last = nil
	return t, true, err
}

// qualifiers reads "[protocol] [direction] [kind]".
func (p *parser) qualifiers() (q qualifiers, found bool, err error) {
	begin := p.next
	if w := p.peek(); w.kind == name && (w.text == "ether" || isProtocol(w.text)) {
		q.protocol = w.text
		p.next++
	}
	if p.is("src", "dst") {
		q.direction = p.peek().text
		p.next++
		if p.is("or", "and") && p.next+1 < len(p.words) {
			if other := p.words[p.next+1].text; directions[other] != "" && other != q.direction {
				q.direction = map[string]string{"or": "", "and": "both"}[p.peek().text]
				p.next += 2
			}
		}
		if q.direction == "" { // src or dst is the default, but it makes an id a host
			q.direction = "one"
		}
	}
	if p.is("host", "net", "port", "portrange", "proto") {
		q.kind = p.peek().text
		p.next++
	}
	if q.kind == "proto" && q.direction != "" {
		return q, true, p.wrong("proto has no direction")
	}
	return q, p.next > begin, nil
}

func isProtocol(word string) bool {
	_, isEther := etherTypes[word]
	_, isTransport := transports[word]
	return isEther || isTransport
}

// value reports whether a value of a primitive comes.
func (p *parser) value() bool {
	w := p.peek()
	return w.kind != end && w.kind != symbol && !p.is("and", "or", "not") || p.is("(")
}

// ids reads a value, or several in parentheses: "port (80 or 443)".
func (p *parser) ids(q qualifiers) (test, error) {
	shallower, err := p.deeper()
	if err != nil {
		return nil, err
	}
	defer shallower()
	switch {
	case p.take("not", "!"):
		t, err := p.ids(q)
		return not{t}, err
	case !p.take("("):
		return p.id(q)
	}
	left, err := p.ids(q)
	for err == nil && !p.take(")") {
		conjunction := p.peek()
		if !p.take("and", "&&", "or", "||") {
			return nil, p.wrong("a parenthesis is not closed")
		}
		var right test
		if right, err = p.ids(q); conjunction.text == "and" || conjunction.text == "&&" {
			left = both{left, right}
		} else {
			left = either{left, right}
		}
	}
	return left, err
}

// id reads one value.
func (p *parser) id(q qualifiers) (test, error) {
	w := p.peek()
	if !p.value() {
		return nil, p.wrong("a value is missing")
	}
	p.next++
	switch q.kind {
	case "port":
		return p.port(q, w)
	case "portrange":
		return p.portRange(q, w)
	case "proto":
		return p.number4(q, w)
	case "net":
		return p.net(q, w)
	}
	if w.kind == mac || q.protocol == "ether" {
		return p.station(q, w)
	}
	if p.is("/") {
		if q.kind == "host" {
			return nil, p.wrong("a host has no prefix: write net")
		}
		return p.net(q, w)
	}
	return p.host(q, w)
}

// carries is the test for what Ethernet carries.
func (p *parser) carries(protocol string) test { return equal(p.etherType, 2, etherTypes[protocol]) }

// Where IP's headers name the next one.
const (
	protocolAt, nextHeaderAt, ipv6Bytes = 9, 6, 40
	fragmentHeader                      = 44
)

// overIPv4 is the test for a protocol in IPv4's header.
func (p *parser) overIPv4(number uint32) test {
	return both{p.carries("ip"), equal(p.network+protocolAt, 1, number)}
}

// overIPv6 looks behind a fragment's header, too; others are not passed over.
func (p *parser) overIPv6(number uint32) test {
	next := p.network + nextHeaderAt
	inFragment := both{equal(next, 1, fragmentHeader), equal(p.network+ipv6Bytes, 1, number)}
	return both{p.carries("ip6"), either{equal(next, 1, number), inFragment}}
}

// protocol is the test for a protocol's name alone.
func (p *parser) protocol(w word, protocol string) (test, error) {
	if _, ok := etherTypes[protocol]; ok {
		return p.carries(protocol), nil
	}
	t, ok := transports[protocol]
	switch {
	case !ok:
		return nil, p.wrongAt(w, "something is missing behind %q: host, proto, broadcast or multicast", w.text)
	case t.ipv4 && t.ipv6:
		return either{p.overIPv4(t.number), p.overIPv6(t.number)}, nil
	case t.ipv6:
		return p.overIPv6(t.number), nil
	}
	return p.overIPv4(t.number), nil
}

func (p *parser) vlan() (test, error) {
	tests := []test{anyOf(equal(p.etherType, 2, 0x8100), equal(p.etherType, 2, 0x88a8), equal(p.etherType, 2, 0x9100))}
	if w := p.peek(); w.kind == number {
		p.next++
		id, err := p.number(w, 12)
		if err != nil {
			return nil, err
		}
		tests = append(tests, field{at: p.network, size: 2, mask: 0xfff, value: id})
	}
	p.etherType, p.network = p.etherType+4, p.network+4
	return all(tests...), nil
}

func (p *parser) broadcast(w word, protocol string) (test, error) {
	switch protocol {
	case "", "ether":
		return both{equal(2, 4, 0xffffffff), equal(0, 2, 0xffff)}, nil
	case "ip":
		return nil, p.wrongAt(w, "which addresses of IP are broadcast depends on the network: write dst host and the address")
	}
	return nil, p.wrongAt(w, "%s has no broadcast", protocol)
}

func (p *parser) multicast(w word, protocol string) (test, error) {
	switch protocol {
	case "", "ether":
		return field{at: 0, size: 1, condition: bpf.JumpBitsSet, value: 1}, nil
	case "ip":
		return both{p.carries("ip"), field{at: p.network + 16, size: 1, condition: bpf.JumpGreaterOrEqual, value: 224}}, nil
	case "ip6":
		return both{p.carries("ip6"), equal(p.network+24, 1, 255)}, nil
	}
	return nil, p.wrongAt(w, "%s has no multicast", protocol)
}

// number4 is the test of "proto N".
func (p *parser) number4(q qualifiers, w word) (test, error) {
	known := strings.TrimPrefix(w.text, `\`)
	if q.protocol == "ether" {
		n, ok := etherTypes[known]
		if !ok {
			var err error
			if n, err = p.number(w, 16); err != nil {
				return nil, err
			}
		}
		if n <= 1500 {
			return nil, p.wrongAt(w, "a type of Ethernet is greater than 1500")
		}
		return equal(p.etherType, 2, n), nil
	}
	n := transports[known].number
	if n == 0 {
		var err error
		if n, err = p.number(w, 8); err != nil {
			return nil, err
		}
	}
	switch q.protocol {
	case "":
		return either{p.overIPv4(n), p.overIPv6(n)}, nil
	case "ip":
		return p.overIPv4(n), nil
	case "ip6":
		return p.overIPv6(n), nil
	}
	return nil, p.wrongAt(w, "%s carries no protocol that has a number here", q.protocol)
}

// towards is the test of two places, of the source's and of the destination's.
func (q qualifiers) towards(src, dst test) test {
	switch q.direction {
	case "src":
		return src
	case "dst":
		return dst
	case "both":
		return both{src, dst}
	}
	return either{src, dst}
}

// station is the test for an address of Ethernet.
func (p *parser) station(q qualifiers, w word) (test, error) {
	if q.protocol != "" && q.protocol != "ether" || w.kind != mac {
		return nil, p.wrongAt(w, "an address of Ethernet, such as 02:42:ac:11:00:02, goes with ether, and ether with nothing else")
	}
	var b []byte
	for digits := range strings.SplitSeq(w.text, ":") {
		n, err := net.ParseMAC("00:00:00:00:00:" + fmt.Sprintf("%02s", digits))
		if err != nil {
			return nil, p.wrongAt(w, "not an address of Ethernet")
		}
		b = append(b, n[5])
	}
	is := func(at int) test {
		return both{equal(at+2, 4, binary.BigEndian.Uint32(b[2:])), equal(at, 2, uint32(binary.BigEndian.Uint16(b)))}
	}
	return q.towards(is(6), is(0)), nil
}

// host is the test for a host's address or name.
func (p *parser) host(q qualifiers, w word) (test, error) {
	if a, err := netip.ParseAddr(w.text); err == nil {
		return p.prefix(q, w, netip.PrefixFrom(a, a.BitLen()))
	}
	if w.kind != name || p.resolve == nil {
		return nil, p.wrongAt(w, "not the address of a host")
	}
	addresses, err := p.resolve(w.text)
	if err != nil {
		return nil, p.wrongAt(w, "neither a word of the filter nor a host: %v", err)
	}
	var tests []test
	for _, a := range addresses {
		if q.protocol == "ip" && !a.Is4() || q.protocol == "ip6" && !a.Is6() {
			continue
		}
		t, err := p.prefix(q, w, netip.PrefixFrom(a, a.BitLen()))
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	if len(tests) == 0 {
		return nil, p.wrongAt(w, "it has no such address")
	}
	return anyOf(tests...), nil
}

// bases are where the bytes of a protocol begin, for protocol[…].
func (p *parser) bases() map[string]load {
	m := map[string]load{"ether": {}, "ip": {base: p.network, guard: []test{p.carries("ip")}}, "ip6": {base: p.network, guard: []test{p.carries("ip6")}}}
	for _, name := range []string{"arp", "rarp"} {
		m[name] = load{base: p.network, guard: []test{p.carries(name)}}
	}
	for name, t := range transports {
		if t.ipv4 {
			m[name] = load{base: p.network, behind: true, guard: []test{p.overIPv4(t.number), p.unfragmented()}}
		}
	}
	m["icmp6"] = load{base: p.network + ipv6Bytes, guard: []test{p.carries("ip6"), equal(p.network+nextHeaderAt, 1, 58)}}
	return m
}

// unfragmented is the test for the first fragment of IPv4, which has the ports.
func (p *parser) unfragmented() test {
	return not{field{at: p.network + 6, size: 2, condition: bpf.JumpBitsSet, value: 0x1fff}}
}

// ported are the protocols of a port.
func (p *parser) ported(q qualifiers, w word) ([]string, error) {
	if q.protocol == "" {
		return withPorts, nil
	}
	if !slices.Contains(withPorts, q.protocol) {
		return nil, p.wrongAt(w, "%s has no ports: tcp, udp and sctp have", q.protocol)
	}
	return []string{q.protocol}, nil
}
