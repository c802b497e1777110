package network

import (
	"net/netip"
	"slices"
	"strings"
)

// A stretch is what a pool gives out in turn of one family: from, and the size-1
// addresses behind it, without those that are not to be given.
type stretch struct {
	gateway  netip.Prefix
	within   netip.Prefix // the subnet, or the part of it that the stretch is the beginning of
	base     netip.Addr   // the address of the family's first line in the table
	from     netip.Addr
	size     int
	reserved []netip.Addr
}

// stretches are the pool's, of IPv4 and of IPv6; a zero one when there is no such family.
func (p pool) stretches() (list [2]stretch) {
	list[0] = newStretch(p.gateway, p.within, p.reserved)
	list[1] = newStretch(p.gateway6, p.within6, p.reserved)
	// Addresses that belong together shall have lines that do, and be given
	// together: what is given of IPv4 further inside shifts IPv6 by as much.
	if !p.within.IsValid() || !p.gateway6.IsValid() || p.within6.IsValid() {
		return list
	}
	if base, from := p.sister(list[0].base), p.sister(list[0].from); base.IsValid() && from.IsValid() {
		list[1].start(base, from)
	}
	return list
}

func newStretch(gateway, within netip.Prefix, reserved []netip.Addr) stretch {
	if !gateway.IsValid() {
		return stretch{}
	}
	subnet := gateway.Masked()
	if !within.IsValid() {
		within = subnet
	}
	s := stretch{gateway: gateway, within: within, reserved: reserved}
	s.start(subnet.Addr(), within.Addr())
	if n, ok := distance(subnet.Addr(), lastOf(within)); within != subnet && (!ok || n >= nearLeases) {
		s.start(within.Addr(), within.Addr())
	}
	return s
}

// start sets where the lines and the addresses begin, and how many addresses of
// the subnet have a line of their own from there on.
func (s *stretch) start(base, from netip.Addr) {
	s.base, s.from = base, from
	n, ok := distance(base, lastOf(s.within))
	if !ok || n >= nearLeases {
		n = nearLeases - 1
	}
	s.size = n + 1 - s.skip()
}

// skip is how many lines lie before that of from.
func (s stretch) skip() int {
	n, _ := distance(s.base, s.from) // base is not behind it
	return n
}

// sister is the IPv6 address at the place that the other has in the IPv4 subnet;
// the zero Addr when there is none.
func (p pool) sister(a netip.Addr) netip.Addr {
	if !p.gateway6.IsValid() || !p.gateway.IsValid() {
		return netip.Addr{}
	}
	n, ok := distance(p.gateway.Masked().Addr(), a)
	s := plus(p.gateway6.Masked().Addr(), n)
	if !ok || !p.gateway6.Contains(s) {
		return netip.Addr{}
	}
	return s
}

// gives reports whether a container may have the address: not the network's own,
// not the broadcast address, not the gateway's, and not a reserved one.
func (s stretch) gives(a netip.Addr) bool {
	return s.gateway.Contains(a) && a != s.gateway.Masked().Addr() && a != s.gateway.Addr() &&
		(a.Is6() || a != broadcast(s.gateway)) && !slices.Contains(s.reserved, a)
}

// subnets are the pool's, in words.
func (p pool) subnets() string {
	var list []string
	for _, s := range p.stretches() {
		if s.gateway.IsValid() {
			list = append(list, s.within.String())
		}
	}
	return strings.Join(list, " and ")
}

// nextFree finds the next line of the stretch that nobody has, the start-th or a
// later one, and after the last the first. It asks for no owner: of a thousand
// lines in use it sees the first byte. The zero spot when all are in use.
func (t *leaseTable) nextFree(s stretch, start int) (spot, error) {
	first := headLines + 2*s.skip()
	for _, part := range [...][2]int{{start, s.size}, {0, start}} {
		// Nearly always one of the first is free.
		for k, pairs := part[0], 4; k < part[1]; pairs = 256 {
			pairs = min(pairs, part[1]-k)
			text, err := t.read(first+2*k, 2*pairs)
			if err != nil {
				return spot{}, err
			}
			for i := range pairs {
				line := 2*i + half(s.from)
				if c := text[line*leaseLineBytes]; c != 0 && c != ' ' {
					continue
				}
				if a := plus(s.from, k+i); s.gives(a) {
					return spot{line: first + 2*k + line, address: a}, nil
				}
			}
			k += pairs
		}
	}
	return spot{}, nil
}
