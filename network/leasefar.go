package network

import (
	"hash/fnv"
	"net/netip"
)

// Addresses further than nearLeases from the beginning, which somebody asked for
// by name (--ip6 fd4d:12::dead:beef), have their leases in buckets of one page.
// An address belongs into the bucket of its hash, and when that is full, into the
// next one. In a bucket that was full once, no line is untouched any more: so
// whoever looks for an address may stop at the first that has an untouched line.
const (
	bucketLines = 4096 / leaseLineBytes
	farBuckets  = 256
	farLine     = (2*nearLeases/bucketLines + 1) * bucketLines // at the beginning of a page
)

// findFar finds the address, or else the line that it is to have; line 0 when
// there is none left.
func (t *leaseTable) findFar(a netip.Addr) (spot, error) {
	s := spot{address: a}
	hash := farHash(a)
	for i := range uint64(farBuckets) {
		begin := farLine + int((hash+i)%farBuckets)*bucketLines
		text, err := t.read(begin, bucketLines)
		if err != nil {
			return spot{}, err
		}
		untouched := false
		for i := range bucketLines {
			line := text[i*leaseLineBytes:][:leaseLineBytes]
			l := parseLease(line)
			switch {
			case l.address == a:
				s.line, s.owner = begin+i, l.owner
				return s, nil
			case l.owner == "" && s.line == 0:
				s.line = begin + i
			case l.owner != "" && l.address.Is6() && a.Is6() && farHash(l.address) == hash:
				s.twin = l.address
			}
			untouched = untouched || line[0] == 0
		}
		if untouched {
			return s, nil
		}
	}
	return s, nil
}

// farHash is 40 bits, as many as a hardware address has room for.
func farHash(a netip.Addr) uint64 {
	h := fnv.New64a()
	b := a.As16()
	_, _ = h.Write(b[:]) // it never fails (hash.Hash)
	return (h.Sum64() ^ h.Sum64()>>40) & (1<<40 - 1)
}

// distance is how far b lies behind a, both of one family; not ok when it lies
// before, or further than an int can say.
func distance(a, b netip.Addr) (n int, ok bool) {
	if !a.IsValid() || a.Is4() != b.Is4() || b.Less(a) {
		return 0, false
	}
	from, to := a.As16(), b.As16()
	for i := range to {
		n = n<<8 + int(to[i]) - int(from[i])
		if n > 1<<48 {
			return 0, false
		}
	}
	return n, true
}

// plus is the address n behind a.
func plus(a netip.Addr, n int) netip.Addr {
	b := a.As16()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	sum := netip.AddrFrom16(b)
	if a.Is4() {
		return sum.Unmap()
	}
	return sum
}
