package network

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// bridgeGateways yields the gateways that the network "bridge" may have: 172.17.0.1/16
// to 172.31.0.1/16, then 192.168.0.1/20 to 192.168.240.1/20.
func bridgeGateways() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for _, s := range bridgeBlocks() {
			for p := netip.PrefixFrom(s.prefix.Addr(), s.bits); s.prefix.Contains(p.Addr()); {
				if !yield(netip.PrefixFrom(p.Addr().Next(), p.Bits())) {
					return
				}
				p = netip.PrefixFrom(lastOf(p).Next(), p.Bits())
			}
		}
	}
}

// macOf derives a hardware address from an IPv4 address as Docker did:
// 02:42 and the four bytes. Two containers with different addresses on one
// bridge can then not have the same, and an address that is used again brings
// back the hardware address that the neighbours remember for it.
func macOf(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// macOf6 derives a hardware address from an IPv6 address and its subnet. Of one
// within the first 2^32, that is 02:42 and its last four bytes, so that no two have
// the same. Of one further inside it is 06 and a hash of 40 bits; the lease makes
// sure that nobody has one of the same hash (spot.twin).
func macOf6(a netip.Prefix) string {
	if !hashed(a) {
		b := a.Addr().As16()
		return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[12], b[13], b[14], b[15])
	}
	h := farHash(a.Addr())
	return fmt.Sprintf("06:%02x:%02x:%02x:%02x:%02x", byte(h>>32), byte(h>>24), byte(h>>16), byte(h>>8), byte(h))
}

// hashed reports whether the address lies so far inside its subnet that its last
// four bytes are not enough to tell it from others.
func hashed(a netip.Prefix) bool {
	n, ok := distance(a.Masked().Addr(), a.Addr())
	return !ok || n >= 1<<32
}

// gateways are the bridge's addresses, IPv4 first.
func (n Network) gateways() []netip.Prefix {
	return slices.DeleteFunc([]netip.Prefix{n.Gateway, n.Gateway6}, func(p netip.Prefix) bool { return !p.IsValid() })
}

// errNoAddress says that a bridge has no address, and that its hardware address
// is not one that we give.
var errNoAddress = errors.New("a bridge of that name exists that has no IPv4 address and was not made by minictr")

// gatewayOf tells the gateway of a bridge that exists. Its address is the truth.
// One without an address may be ours, made by a launch that is at work or that
// was killed between two steps: then its hardware address says which it is to
// be given.
func (c *conn) gatewayOf(bridge *link) (netip.Prefix, error) {
	addresses, err := c.addresses(unix.AF_INET, bridge.index)
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, a := range addresses {
		if a.prefix.Bits() <= 30 {
			return a.prefix, nil
		}
	}
	if len(addresses) > 0 {
		return netip.Prefix{}, fmt.Errorf("its subnet %s has no room for containers", addresses[0].prefix)
	}
	for pool := range bridgeGateways() {
		if macOf(pool.Addr()) == bridge.mac {
			return pool, nil
		}
	}
	return netip.Prefix{}, errNoAddress
}
