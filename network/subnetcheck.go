package network

import (
	"fmt"
	"net/netip"
)

// The readers of network create's arguments. An error says which, its value, and
// what is wrong with it.

// readSubnet reads --subnet.
func readSubnet(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	reason := ""
	switch {
	case err != nil:
		reason = "not of the form 172.18.5.0/24"
	case p.Addr().Is4In6():
		reason = "an IPv4 subnet written as IPv6; write " + netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0)).String()
	case p != p.Masked():
		reason = fmt.Sprintf("%s is an address in the subnet %s", p.Addr(), p.Masked())
	case p.Bits() < 8:
		reason = "too large; it must be /8 or smaller"
	case p.Addr().BitLen()-p.Bits() < 2:
		reason = fmt.Sprintf("no room for a gateway and a container; it must be /%d or larger", p.Addr().BitLen()-2)
	default:
		reason = special(p)
	}
	if reason != "" {
		return netip.Prefix{}, fmt.Errorf("subnet %s: %s", text, reason)
	}
	return p, nil
}

// special tells what kind of addresses a container cannot have are in the prefix;
// nothing when it is all ordinary ones (RFC 6890).
func special(p netip.Prefix) string {
	for prefix, kind := range map[string]string{
		"0.0.0.0/8":      "addresses of no host",
		"127.0.0.0/8":    "loopback",
		"169.254.0.0/16": "link-local",
		"224.0.0.0/4":    "multicast",
		"240.0.0.0/4":    "reserved",
		"::/8":           "reserved",
		"fe80::/10":      "link-local",
		"ff00::/8":       "multicast",
	} {
		if netip.MustParsePrefix(prefix).Overlaps(p) {
			return fmt.Sprintf("it overlaps %s, %s", prefix, kind)
		}
	}
	return ""
}

// readGateway reads --gateway; without one it is the first address of the subnet.
func readGateway(text string, subnet netip.Prefix) (netip.Prefix, error) {
	if text == "" {
		return netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()), nil
	}
	a, err := netip.ParseAddr(text)
	if reason := unusable(a, err, subnet, "the subnet "+subnet.String()); reason != "" {
		return netip.Prefix{}, fmt.Errorf("gateway %s: %s", text, reason)
	}
	return netip.PrefixFrom(a, subnet.Bits()), nil
}

// unusable tells why no host of the subnet can have the address; nothing when one can.
func unusable(a netip.Addr, err error, subnet netip.Prefix, name string) string {
	switch {
	case err != nil || a.Zone() != "":
		return "not an IP address"
	case a.Is4In6():
		return "an IPv4 address written as IPv6; write " + a.Unmap().String()
	case !subnet.Addr().Is4() && a.Is4():
		return "not an IPv6 address"
	case subnet.Addr().Is4() && !a.Is4():
		return "not an IPv4 address"
	case !subnet.Contains(a):
		return "not in " + name
	case a == subnet.Masked().Addr() && a.Is6():
		return "the address of all routers of the subnet (RFC 4291, 2.6.1)"
	case a == subnet.Masked().Addr():
		return "the address of the network itself"
	case a.Is4() && a == broadcast(subnet):
		return "the broadcast address of the network"
	}
	return ""
}

// readRange reads --ip-range.
func readRange(text string, gateway netip.Prefix) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(text)
	reason := ""
	switch {
	case err != nil:
		reason = "not of the form 172.18.5.128/25"
	case p.Addr().Is4In6():
		reason = "an IPv4 range written as IPv6; write " + netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0)).String()
	case p != p.Masked():
		reason = fmt.Sprintf("%s is an address in the range %s", p.Addr(), p.Masked())
	case p.Bits() < gateway.Bits() || !gateway.Contains(p.Addr()):
		reason = "not in the subnet " + gateway.Masked().String()
	case hashed(netip.PrefixFrom(plus(p.Addr(), nearLeases), gateway.Bits())):
		// So that no two addresses in turn have the same hardware address: macOf6.
		reason = "too far inside the subnet; make the range the subnet"
	case !newStretch(gateway, p, nil).any():
		reason = "no container may have an address of it"
	}
	if reason != "" {
		return netip.Prefix{}, fmt.Errorf("ip-range %s: %s", text, reason)
	}
	return p, nil
}

// any reports whether the stretch has an address to give.
func (s stretch) any() bool {
	for k := range min(s.size, 4) { // the network's, the gateway's and the broadcast address are three
		if s.gives(plus(s.from, k)) {
			return true
		}
	}
	return false
}

// readReserved reads an --aux-address, which lies in the subnet of its family.
func (n Network) readReserved(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	gateway := n.Gateway
	if a.Is6() && n.Gateway6.IsValid() || !gateway.IsValid() {
		gateway = n.Gateway6
	}
	reason := unusable(a, err, gateway.Masked(), "the subnet "+gateway.Masked().String())
	if reason == "" && a == gateway.Addr() {
		reason = "the address of the gateway"
	}
	if reason != "" {
		return netip.Addr{}, fmt.Errorf("aux-address %s: %s", text, reason)
	}
	return a, nil
}

// reserves reports whether the address is one that no container is to have.
func (n Network) reserves(a netip.Addr) bool {
	for _, r := range n.Reserved {
		if r == a {
			return true
		}
	}
	return false
}

// readAddresses reads --ip and --ip6, and tells why a container of the network
// cannot have them. An address that is not asked for is the zero Addr.
func (n Network) readAddresses(u Use) (want [2]netip.Addr, err error) {
	if want[0], err = n.readAddress("ip", u.IP, n.Gateway); err != nil {
		return want, err
	}
	want[1], err = n.readAddress("ip6", u.IP6, n.Gateway6)
	return want, err
}

func (n Network) readAddress(flag, text string, gateway netip.Prefix) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	if !gateway.IsValid() {
		return netip.Addr{}, fmt.Errorf("%s %s: network %s has no %s", flag, text, n.Name, map[string]string{"ip": "IPv4", "ip6": "IPv6"}[flag])
	}
	a, err := netip.ParseAddr(text)
	reason := unusable(a, err, gateway.Masked(), fmt.Sprintf("the subnet %s of network %s", gateway.Masked(), n.Name))
	if reason == "" && a == gateway.Addr() {
		reason = "the address of the gateway"
	}
	if reason == "" && n.reserves(a) {
		reason = "a reserved address (--aux-address)"
	}
	if reason != "" {
		return netip.Addr{}, fmt.Errorf("%s %s: %s", flag, text, reason)
	}
	return a, nil
}
