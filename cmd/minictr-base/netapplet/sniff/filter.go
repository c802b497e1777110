package sniff

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/network/packet"
)

// A filter tells whether a packet is wanted. It is compiled from the words of
// pcap-filter(7), as far as they are here:
//
//	expression = term { "or" term }
//	term       = factor { ["and"] factor }
//	factor     = "not" factor | "(" expression ")" | [direction] [kind] value | protocol
//	direction  = "src" | "dst"
//	kind       = "host" | "net" | "port" | "portrange"
//	protocol   = "ip" | "ip6" | "arp" | "icmp" | "icmp6" | "tcp" | "udp" | "vlan" | "broadcast" | "multicast"
//
// A factor follows another without "and" where a protocol qualifies it: "tcp port 80".
type filter func(*packet.Packet) bool

func everything(*packet.Packet) bool { return true }

// compile reads an expression.
func compile(text string) (filter, error) {
	for _, c := range []string{"(", ")", "!"} {
		text = strings.ReplaceAll(text, c, " "+c+" ")
	}
	p := &parser{words: strings.Fields(text)}
	if len(p.words) == 0 {
		return everything, nil
	}
	f, err := p.expression(0)
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("unexpected %q", p.words[0])
	}
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return f, nil
}

type parser struct {
	words []string
	last  qualifier // of the value before: "port 80 or 443"
}

const maxDepth = 100 // of parentheses

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

// take removes the next word if it is one of these.
func (p *parser) take(words ...string) bool {
	if len(p.words) > 0 && slices.Contains(words, p.words[0]) {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *parser) expression(depth int) (filter, error) {
	left, err := p.term(depth)
	for err == nil && p.take("or", "||") {
		var right filter
		a := left
		right, err = p.term(depth)
		left = func(k *packet.Packet) bool { return a(k) || right(k) }
	}
	return left, err
}

func (p *parser) term(depth int) (filter, error) {
	left, err := p.factor(depth)
	for err == nil {
		explicit := p.take("and", "&&")
		if next := p.peek(); !explicit && (next == "" || next == "or" || next == "||" || next == ")") {
			break
		}
		var right filter
		a := left
		right, err = p.factor(depth)
		left = func(k *packet.Packet) bool { return a(k) && right(k) }
	}
	return left, err
}

func (p *parser) factor(depth int) (filter, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels", maxDepth)
	}
	switch {
	case len(p.words) == 0:
		return nil, fmt.Errorf("it ends too early")
	case p.take("not", "!"):
		f, err := p.factor(depth + 1)
		return func(k *packet.Packet) bool { return !f(k) }, err
	case p.take("("):
		f, err := p.expression(depth + 1)
		if err == nil && !p.take(")") {
			err = fmt.Errorf("a parenthesis is not closed")
		}
		return f, err
	}
	if f, ok := protocols[p.peek()]; ok {
		p.words = p.words[1:]
		return f, nil
	}
	return p.primitive()
}

// protocols are the words that stand alone.
var protocols = map[string]filter{
	"ip":        func(k *packet.Packet) bool { return k.EtherType == packet.IPv4 },
	"ip6":       func(k *packet.Packet) bool { return k.EtherType == packet.IPv6 },
	"arp":       func(k *packet.Packet) bool { return k.EtherType == packet.ARP },
	"vlan":      func(k *packet.Packet) bool { return len(k.VLANs) > 0 },
	"icmp":      carried(packet.IPv4, packet.ICMP),
	"icmp6":     carried(packet.IPv6, packet.ICMP6),
	"tcp":       carried(0, packet.TCP),
	"udp":       carried(0, packet.UDP),
	"broadcast": func(k *packet.Packet) bool { return k.DstMAC.String() == "ff:ff:ff:ff:ff:ff" },
	"multicast": func(k *packet.Packet) bool { return k.Dst.IsMulticast() || len(k.DstMAC) > 0 && k.DstMAC[0]&1 != 0 },
}

func carried(etherType uint16, protocol uint8) filter {
	return func(k *packet.Packet) bool {
		isIP := k.EtherType == packet.IPv4 || k.EtherType == packet.IPv6
		return isIP && k.Src.IsValid() && k.Protocol == protocol && (etherType == 0 || k.EtherType == etherType)
	}
}

// A qualifier says what a value is.
type qualifier struct {
	kind     string // host, net, port, portrange
	src, dst bool   // neither: one of both
}

// primitive reads "[src|dst] [host|net|port|portrange] VALUE". A value without
// either is of the kind of the one before, or a host.
func (p *parser) primitive() (filter, error) {
	q := qualifier{}
	if p.take("src") {
		q.src = true
	} else if p.take("dst") {
		q.dst = true
	}
	explicit := q.src || q.dst
	if k := p.peek(); k == "host" || k == "net" || k == "port" || k == "portrange" {
		p.words = p.words[1:]
		q.kind, explicit = k, true
	}
	if !explicit {
		q = p.last
	}
	if len(p.words) == 0 {
		return nil, fmt.Errorf("a value is missing at the end")
	}
	value := p.words[0]
	p.words = p.words[1:]
	if q.kind == "" {
		q.kind = "host"
		if strings.Contains(value, "/") {
			q.kind = "net"
		}
	}
	p.last = q
	return q.filter(value)
}

func (q qualifier) filter(value string) (filter, error) {
	switch q.kind {
	case "port", "portrange":
		low, high, isRange := strings.Cut(value, "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || isRange != (q.kind == "portrange") {
			return nil, fmt.Errorf("%q: not a %s", value, q.kind)
		}
		within := func(port uint16) bool { return uint64(port) >= from && uint64(port) <= to }
		return func(k *packet.Packet) bool { return k.HasPorts && q.either(within(k.SrcPort), within(k.DstPort)) }, nil
	case "net":
		n, err := netip.ParsePrefix(value)
		if err != nil {
			return nil, fmt.Errorf("%q: not a network such as 10.0.0.0/8", value)
		}
		n = n.Masked()
		return func(k *packet.Packet) bool { return q.either(n.Contains(k.Src), n.Contains(k.Dst)) }, nil
	}
	a, err := netip.ParseAddr(value)
	if err != nil {
		return nil, fmt.Errorf("%q: neither a word of the filter nor an address", value)
	}
	a = a.WithZone("")
	return func(k *packet.Packet) bool { return q.either(k.Src == a, k.Dst == a) }, nil
}

func (q qualifier) either(src, dst bool) bool {
	switch {
	case q.src:
		return src
	case q.dst:
		return dst
	}
	return src || dst
}
