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
	within   netip.Prefix // what the stretch is the beginning of: the subnet or a part of it
	from     netip.Addr
	size     int
	reserved []netip.Addr
}

// stretches are the pool's, of IPv4 and of IPv6; a zero one when there is no such family.
func (p pool) stretches() (list [2]stretch) {
	list[0] = newStretch(p.gateway, p.within, p.reserved)
	list[1] = newStretch(p.gateway6, p.within6, p.reserved)
	// Addresses that belong together shall have lines that do. An IPv4 range
	// further inside shifts the beginning of IPv6 by as much.
	if p.within.IsValid() && p.gateway6.IsValid() && !p.within6.IsValid() {
		if a := p.sister(list[0].from); a.IsValid() {
			list[1].from = a
			list[1].size = sizeOf(a, list[1].within)
		}
	}
	return list
}

func newStretch(gateway, within netip.Prefix, reserved []netip.Addr) stretch {
	if !gateway.IsValid() {
		return stretch{}
	}
	if !within.IsValid() {
		within = gateway.Masked()
	}
	from := within.Addr()
	return stretch{gateway: gateway, within: within, from: from, size: sizeOf(from, within), reserved: reserved}
}

// sizeOf is how many addresses of the prefix have lines of their own, counted from one of them.
func sizeOf(from netip.Addr, within netip.Prefix) int {
	n, ok := distance(from, lastOf(within))
	if !ok || n >= nearLeases {
		return nearLeases
	}
	return n + 1
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
	for _, part := range [...][2]int{{start, s.size}, {0, start}} {
		// Nearly always one of the first is free.
		for k, pairs := part[0], 4; k < part[1]; pairs = 256 {
			pairs = min(pairs, part[1]-k)
			text, err := t.read(headLines+2*k, 2*pairs)
			if err != nil {
				return spot{}, err
			}
			for i := range pairs {
				line := 2*i + half(s.from)
				if first := text[line*leaseLineBytes]; first != 0 && first != ' ' {
					continue
				}
				if a := plus(s.from, k+i); s.gives(a) {
					return spot{line: headLines + 2*k + line, address: a}, nil
				}
			}
			k += pairs
		}
	}
	return spot{}, nil
}
