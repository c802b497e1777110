package network

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A block is a part of the private addresses (RFC 1918), and how long the subnets
// are that are cut out of it.
type block struct {
	prefix netip.Prefix
	bits   int
}

// bridgeBlocks are for the network "bridge": Docker's, 172.17.0.0/16 first.
func bridgeBlocks() (list []block) {
	for b := 17; b <= 31; b++ {
		list = append(list, block{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(b)}), 16), 16})
	}
	return append(list, block{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168}), 16), 20})
}

// madeBlocks are for networks that are made: the same without 172.17.0.0/16, but
// in pieces of 253 containers. Docker's pieces, of 65533 and 4093, are used up
// after 31 networks, and no bridge has more than 1023 ports anyway; of these there
// are 3840. They are cut from the front, so that as much as can be stays for
// Docker on the same host.
func madeBlocks() (list []block) {
	for _, s := range bridgeBlocks()[1:] {
		list = append(list, block{s.prefix, 24})
	}
	return list
}

// firstFree is the first subnet of the blocks that overlaps nothing that is taken.
func firstFree(blocks []block, list []taken) (netip.Prefix, bool) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b taken) int { return a.prefix.Masked().Addr().Compare(b.prefix.Masked().Addr()) })
	for _, s := range blocks {
		free := netip.PrefixFrom(s.prefix.Addr(), s.bits)
		for _, t := range list {
			if !t.prefix.Overlaps(free) {
				continue
			}
			// What lies before this in the list begins before it, and so is passed.
			behind := lastOf(t.prefix).Next()
			if !behind.IsValid() || !s.prefix.Contains(behind) {
				free = netip.Prefix{}
				break
			}
			free = netip.PrefixFrom(behind, s.bits).Masked()
			if free.Addr() != behind {
				free = netip.PrefixFrom(lastOf(free).Next(), s.bits)
			}
		}
		if free.IsValid() && s.prefix.Contains(free.Addr()) {
			return free, true
		}
	}
	return netip.Prefix{}, false
}

// NoSubnetError says that nothing is left of what subnets are chosen from.
type NoSubnetError struct {
	Blocks   string // "172.18.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16"
	Overlaps string // what has them, in words
	hint     string
}

func (e *NoSubnetError) Error() string {
	return fmt.Sprintf("no subnet is free in %s: they overlap %s", e.Blocks, e.Overlaps)
}

// Hint is what may help.
func (e *NoSubnetError) Hint() string { return e.hint }

// Unwrap returns EADDRNOTAVAIL.
func (e *NoSubnetError) Unwrap() error { return unix.EADDRNOTAVAIL }

const (
	hintSubnet = "choose one: minictr network create --subnet 10.77.0.0/24 NAME"
	hintBridge = "give the bridge one yourself: ip link add " + DefaultBridge + " type bridge; ip addr add 10.77.0.1/24 dev " + DefaultBridge
)

// chooseSubnet returns the gateway of the first free subnet: the first address.
func (c *conn) chooseSubnet(blocks []block, list []taken, hint string) (netip.Prefix, error) {
	if p, ok := firstFree(blocks, list); ok {
		return netip.PrefixFrom(p.Addr().Next(), p.Bits()), nil
	}
	var all []taken
	for _, s := range blocks {
		all = append(all, overlaps(s.prefix, list)...)
	}
	// The large ones first: they are what keeps most from being chosen.
	slices.SortStableFunc(all, func(a, b taken) int { return a.prefix.Bits() - b.prefix.Bits() })
	last := len(blocks) - 2 // 192.168.0.0/16 comes behind
	name := fmt.Sprintf("%s to %s and %s", blocks[0].prefix, blocks[last].prefix, blocks[last+1].prefix)
	return netip.Prefix{}, &NoSubnetError{Blocks: name, Overlaps: c.describe(all), hint: hint}
}

// chooseULA returns the gateway of a private IPv6 subnet: fd, 40 digits of the
// network's id, which are random as RFC 4193 wants them, and then /64. That of a
// host's own number would be the same on two clones of a machine; that of the
// name, on all hosts.
func (c *conn) chooseULA(id string, list []taken) (netip.Prefix, error) {
	random, err := hex.DecodeString(id)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("network id %q: %w", id, err)
	}
	var clash []taken
	for ; len(random) >= 5; random = random[1:] {
		a := [16]byte{0: 0xfd, 15: 1}
		copy(a[1:], random[:5])
		p := netip.PrefixFrom(netip.AddrFrom16(a), 64)
		found := overlaps(p.Masked(), list)
		if len(found) == 0 {
			return p, nil
		}
		clash = append(clash, found...)
	}
	return netip.Prefix{}, &NoSubnetError{Blocks: "fd00::/8", Overlaps: c.describe(clash), hint: "choose one: minictr network create --ipv6 --subnet fd12:3456:789a::/64 NAME"}
}

// OverlapError says that a subnet overlaps what is there already.
type OverlapError struct {
	Subnet netip.Prefix
	With   string // in words
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("subnet %s: it overlaps %s", e.Subnet, e.With)
}

// Unwrap returns EADDRINUSE.
func (e *OverlapError) Unwrap() error { return unix.EADDRINUSE }

// checkOverlap fails with OverlapError.
func (c *conn) checkOverlap(subnet netip.Prefix, list []taken) error {
	found := overlaps(subnet, list)
	if len(found) == 0 {
		return nil
	}
	return &OverlapError{Subnet: subnet, With: c.describe(found)}
}

// A familyWish is what is asked of one family: the arguments of network create.
type familyWish struct {
	wanted                  bool
	subnet, gateway, within string // empty: chosen, the first address, the whole
}

// sortWishes puts the arguments of network create to their families.
func sortWishes(want Creation) (wishes [2]familyWish, err error) {
	wishes[0].wanted, wishes[1].wanted = want.IPv4, want.IPv6
	for _, text := range want.Subnets {
		p, err := readSubnet(text)
		if err != nil {
			return wishes, err
		}
		w := &wishes[half(p.Addr())]
		if w.subnet != "" {
			return wishes, fmt.Errorf("subnet %s: the network has %s already, and one of each family is what it can have", text, w.subnet)
		}
		if p.Addr().Is4() && !want.IPv4 {
			return wishes, fmt.Errorf("subnet %s: the network is to have no IPv4", text)
		}
		w.subnet, w.wanted = text, true
	}
	for flag, texts := range map[string][]string{"gateway": want.Gateways, "ip-range": want.Ranges} {
		for _, text := range texts {
			f := 0
			if strings.Contains(text, ":") {
				f = 1
			}
			w := &wishes[f]
			value := map[string]*string{"gateway": &w.gateway, "ip-range": &w.within}[flag]
			if w.subnet == "" {
				return wishes, fmt.Errorf("%s %s: it needs a --subnet that it lies in", flag, text)
			}
			if *value != "" {
				return wishes, fmt.Errorf("%s %s: there is %s already", flag, text, *value)
			}
			*value = text
		}
	}
	if !wishes[0].wanted && !wishes[1].wanted {
		return wishes, fmt.Errorf("a network without IPv4 needs --ipv6")
	}
	return wishes, nil
}

// chooseSubnets settles the subnets, gateways and ranges of a network that is to
// be made beside the others.
func (n *Network) chooseSubnets(c *conn, want Creation, others []*Network) error {
	wishes, err := sortWishes(want)
	if err != nil {
		return err
	}
	list, err := c.taken(others)
	if err != nil {
		return err
	}
	if n.Driver == MacvlanDriver { // its subnet is one that the host is on, too
		list = slices.DeleteFunc(list, func(t taken) bool { return !strings.HasPrefix(t.owner, "network ") })
	}
	for f, w := range wishes {
		if !w.wanted {
			continue
		}
		gateway, within, err := n.chooseOne(c, f, w, list)
		if err != nil {
			return err
		}
		if f == 0 {
			n.Gateway, n.Range = gateway, within
		} else {
			n.Gateway6, n.Range6 = gateway, within
		}
	}
	for what, text := range want.Reserved {
		a, err := n.readReserved(text)
		if err != nil {
			return err
		}
		if n.Reserved == nil {
			n.Reserved = map[string]netip.Addr{}
		}
		n.Reserved[what] = a
	}
	return nil
}

// chooseOne settles one family.
func (n *Network) chooseOne(c *conn, f int, w familyWish, list []taken) (gateway, within netip.Prefix, err error) {
	switch {
	case w.subnet == "" && f == 0:
		gateway, err = c.chooseSubnet(madeBlocks(), list, hintSubnet)
		return gateway, within, err
	case w.subnet == "":
		gateway, err = c.chooseULA(n.ID, list)
		return gateway, within, err
	}
	subnet, err := readSubnet(w.subnet)
	if err == nil {
		gateway, err = readGateway(w.gateway, subnet)
	}
	if err == nil {
		within, err = readRange(w.within, gateway)
	}
	// The subnet of a macvlan is that of the parent's neighbours: it is on the host.
	if err == nil && n.Driver != MacvlanDriver {
		err = c.checkOverlap(subnet, list)
	}
	return gateway, within, err
}
