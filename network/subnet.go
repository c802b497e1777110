package network

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// defaultPools yields the gateways of the subnets that a network without a wish
// may have, as Docker's: 172.17.0.1/16 to 172.31.0.1/16, then 192.168.0.1/20 to
// 192.168.240.1/20.
func defaultPools() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for b := 17; b <= 31; b++ {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(b), 0, 1}), 16)) {
				return
			}
		}
		for c := 0; c < 256; c += 16 {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(c), 1}), 20)) {
				return
			}
		}
	}
}

// NoSubnetError says that every default pool overlaps something of the host.
type NoSubnetError struct {
	Pool     netip.Prefix // one of the pools
	Overlaps netip.Prefix // what it overlaps
}

func (e *NoSubnetError) Error() string {
	return fmt.Sprintf("every default subnet overlaps a route or an address of the host; %s overlaps %s", e.Pool.Masked(), e.Overlaps)
}

// Unwrap returns EADDRNOTAVAIL.
func (e *NoSubnetError) Unwrap() error { return unix.EADDRNOTAVAIL }

// chooseGateway returns the first default pool that overlaps none of the
// prefixes that the host has in use.
func chooseGateway(used []netip.Prefix) (netip.Prefix, error) {
	var none NoSubnetError
	for pool := range defaultPools() {
		clash := overlapping(pool, used)
		if !clash.IsValid() {
			return pool, nil
		}
		if !none.Pool.IsValid() {
			none = NoSubnetError{Pool: pool, Overlaps: clash}
		}
	}
	return netip.Prefix{}, &none
}

// overlapping returns the first of the prefixes that overlaps the pool, or the
// zero Prefix.
func overlapping(pool netip.Prefix, used []netip.Prefix) netip.Prefix {
	for _, u := range used {
		// A route shorter than /8 says nothing about whose a private address
		// is: it is the default route, perhaps in pieces (OpenVPN's
		// redirect-gateway makes 0.0.0.0/1 and 128.0.0.0/1).
		if u.Bits() >= 8 && u.Overlaps(pool) {
			return u
		}
	}
	return netip.Prefix{}
}

// used lists what the host has in use: the destinations of all its routes, in
// every table (a VPN's are often not in main), and its addresses, which have no
// route while their link is down.
func (c *conn) used() ([]netip.Prefix, error) {
	var used []netip.Prefix
	routes, err := c.routes(unix.RT_TABLE_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		used = append(used, r.to)
	}
	addresses, err := c.addresses(unix.AF_INET, 0)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		used = append(used, a.prefix.Masked())
	}
	return used, nil
}

// macOf derives a hardware address from an IPv4 address as Docker did:
// 02:42 and the four bytes. Two containers with different addresses on one
// bridge can then not have the same, and an address that is used again brings
// back the hardware address that the neighbours remember for it.
func macOf(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// macOf6 derives a hardware address from the end of an IPv6 address.
func macOf6(a netip.Addr) string {
	b := a.As16()
	return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[12], b[13], b[14], b[15])
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
	for pool := range defaultPools() {
		if macOf(pool.Addr()) == bridge.mac {
			return pool, nil
		}
	}
	return netip.Prefix{}, errNoAddress
}
