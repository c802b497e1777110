package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// translation says what the rule makes of addresses; nil for one that does not touch
// them.
func (r *rule) translation() *Translation {
	constants := map[uint32][]byte{} // what is in the registers, as far as it is constant
	for _, e := range r.expressions {
		a := e.data
		switch e.name {
		case "immediate":
			constants[a.u32(unix.NFTA_IMMEDIATE_DREG)] = a.get(unix.NFTA_IMMEDIATE_DATA).get(unix.NFTA_DATA_VALUE)
		case "lookup":
			delete(constants, a.u32(unix.NFTA_LOOKUP_DREG))
		case "masq":
			return &Translation{Kind: "masquerade"}
		case "redir":
			return &Translation{Kind: "redirect", To: target(nil, constants[a.u32(unix.NFTA_REDIR_REG_PROTO_MIN)])}
		case "nat":
			kind := "snat"
			if a.u32(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_DNAT {
				kind = "dnat"
			}
			return &Translation{Kind: kind, To: target(constants[a.u32(unix.NFTA_NAT_REG_ADDR_MIN)], constants[a.u32(unix.NFTA_NAT_REG_PROTO_MIN)])}
		case "target":
			return xtTranslation(a.text(unix.NFTA_TARGET_NAME), info{a.get(unix.NFTA_TARGET_INFO)}, r.chain.table.family)
		}
	}
	return nil
}

// target writes an address and a port, of which either may be missing.
func target(ip, port []byte) string {
	text := ""
	if a, ok := netip.AddrFromSlice(ip); ok {
		text = a.String()
		if a.Is6() && len(port) >= 2 {
			text = "[" + text + "]"
		}
	}
	if len(port) >= 2 {
		text += fmt.Sprintf(":%d", binary.BigEndian.Uint16(port))
	}
	return text
}

// Flags of struct nf_nat_range and of struct nf_nat_ipv4_range, linux/netfilter/nf_nat.h.
const (
	natMapIPs  = 1 << 0
	natMapPort = 1 << 1
)

// xtTranslation reads the targets of iptables-nft. DNAT and SNAT of revision 0 have
// struct nf_nat_ipv4_multi_range_compat: a count, then flags, two addresses of 4
// bytes and two ports; later ones, and those of IPv6, struct nf_nat_range: flags, two
// addresses of 16 bytes, two ports.
func xtTranslation(name string, i info, family uint8) *Translation {
	switch name {
	case "MASQUERADE":
		return &Translation{Kind: "masquerade"}
	case "REDIRECT":
		return &Translation{Kind: "redirect", To: target(nil, i.slice(16, 2))}
	case "DNAT", "SNAT":
		kind := map[string]string{"DNAT": "dnat", "SNAT": "snat"}[name]
		flags, ip, port := i.u32(4), i.slice(8, 4), i.slice(16, 2)
		if len(i.bytes) >= 40 { // struct nf_nat_range
			flags, ip, port = i.u32(0), i.slice(4, 16), i.slice(36, 2)
			if family != unix.NFPROTO_IPV6 {
				ip = ip[:min(4, len(ip))]
			}
		}
		if flags&natMapIPs == 0 {
			ip = nil
		}
		if flags&natMapPort == 0 {
			port = nil
		}
		return &Translation{Kind: kind, To: target(ip, port)}
	}
	return nil
}

// slice is n bytes at a place, in the order in which they are; nil behind the end.
func (i info) slice(at, n int) []byte {
	if at+n > len(i.bytes) {
		return nil
	}
	return i.bytes[at : at+n]
}
