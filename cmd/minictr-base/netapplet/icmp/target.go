package icmp

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
)

// resolve finds the address of a host: of the family that was asked for, or the
// first one that there is.
func resolve(host string, only4, only6 bool) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if only4 && !a.Is4() || only6 && a.Is4() {
			return a, fmt.Errorf("%s: not an address of the family that was asked for", host)
		}
		return a, nil
	}
	network := "ip"
	if only4 {
		network = "ip4"
	}
	if only6 {
		network = "ip6"
	}
	found, err := net.DefaultResolver.LookupNetIP(context.Background(), network, host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s: %w", host, neterr.Lookup(err))
	}
	for _, a := range found {
		if a.Unmap().Is4() {
			return a.Unmap(), nil
		}
	}
	return found[0], nil
}

// named is "NAME (ADDRESS)", or the address alone when no name was given.
func named(host string, a netip.Addr) string {
	if host == a.String() {
		return host
	}
	return fmt.Sprintf("%s (%s)", host, a)
}
