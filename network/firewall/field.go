package firewall

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"
)

// payload names a field of a header.
func (t *textOf) payload(a attributes) field {
	offset, length := a.u32(unix.NFTA_PAYLOAD_OFFSET), a.u32(unix.NFTA_PAYLOAD_LEN)
	base := a.u32(unix.NFTA_PAYLOAD_BASE)
	if base == unix.NFT_PAYLOAD_NETWORK_HEADER {
		switch {
		case offset == 12 && length <= 4:
			return field{name: "ip saddr", value: prefixOf(4)}
		case offset == 16 && length <= 4 && length > 1:
			return field{name: "ip daddr", value: prefixOf(4)}
		case offset == 8 && length == 16:
			return field{name: "ip6 saddr", value: address}
		case offset == 24:
			return field{name: "ip6 daddr", value: prefixOf(16)}
		case offset == 9 && length == 1:
			return field{name: "ip protocol", value: protocol}
		case offset == 6 && length == 1:
			return field{name: "ip6 nexthdr", value: protocol}
		case offset == 8 && length < 16 && length > 1:
			return field{name: "ip6 saddr", value: prefixOf(16)}
		}
	}
	if base == unix.NFT_PAYLOAD_TRANSPORT_HEADER {
		protocol := t.protocol
		if protocol == "" {
			protocol = "th"
		}
		switch {
		case offset == 0 && length == 2:
			return field{name: protocol + " sport", value: number}
		case offset == 2 && length == 2:
			return field{name: protocol + " dport", value: number}
		case offset == 13 && length == 1:
			return field{name: "tcp flags", value: hex}
		case offset == 0 && length == 1:
			return field{name: strings.Replace(protocol, "ipv6-icmp", "icmpv6", 1) + " type", value: number}
		}
	}
	bases := map[uint32]string{unix.NFT_PAYLOAD_LL_HEADER: "ll", unix.NFT_PAYLOAD_NETWORK_HEADER: "nh", unix.NFT_PAYLOAD_TRANSPORT_HEADER: "th"}
	return field{name: fmt.Sprintf("@%s,%d,%d", bases[base], offset*8, length*8), value: hex}
}

// prefixOf writes an address of which a whole number of bytes is compared.
func prefixOf(size int) func([]byte) string {
	return func(b []byte) string {
		if len(b) == 0 || len(b) >= size {
			return address(b)
		}
		return fmt.Sprintf("%s/%d", address(append(append([]byte(nil), b...), make([]byte, size-len(b))...)), len(b)*8)
	}
}

func (t *textOf) meta(a attributes) {
	key := a.u32(unix.NFTA_META_KEY)
	fields := map[uint32]field{
		unix.NFT_META_IIFNAME: {name: "iifname", value: quoted}, unix.NFT_META_OIFNAME: {name: "oifname", value: quoted},
		unix.NFT_META_IIF: {name: "iif", value: linkName}, unix.NFT_META_OIF: {name: "oif", value: linkName},
		unix.NFT_META_MARK: {name: "meta mark", value: hostNumber}, unix.NFT_META_L4PROTO: {name: "meta l4proto", value: protocol},
		unix.NFT_META_NFPROTO: {name: "meta nfproto", value: nfProtocol}, unix.NFT_META_PKTTYPE: {name: "meta pkttype", value: number},
		unix.NFT_META_SKUID: {name: "meta skuid", value: hostNumber}, unix.NFT_META_SKGID: {name: "meta skgid", value: hostNumber},
		unix.NFT_META_PROTOCOL: {name: "meta protocol", value: hex}, unix.NFT_META_LEN: {name: "meta length", value: hostNumber},
		unix.NFT_META_IIFGROUP: {name: "iifgroup", value: hostNumber}, unix.NFT_META_OIFGROUP: {name: "oifgroup", value: hostNumber},
		unix.NFT_META_CGROUP: {name: "meta cgroup", value: hostNumber}, unix.NFT_META_CPU: {name: "meta cpu", value: hostNumber},
	}
	f, ok := fields[key]
	if !ok {
		f = field{name: fmt.Sprintf("<meta %d>", key), value: hex}
	}
	if a.has(unix.NFTA_META_DREG) {
		t.fields[a.u32(unix.NFTA_META_DREG)] = f
		return
	}
	t.word("%s set %s", f.name, t.loaded(a.u32(unix.NFTA_META_SREG)).name)
}

// linkName asks for the name of the link with the index, of which the rule has
// only the number.
func linkName(b []byte) string {
	if len(b) == 4 {
		if l, err := net.InterfaceByIndex(int(binary.NativeEndian.Uint32(b))); err == nil {
			return fmt.Sprintf("%q", l.Name)
		}
		return fmt.Sprint(binary.NativeEndian.Uint32(b))
	}
	return hex(b)
}

func nfProtocol(b []byte) string {
	if len(b) != 1 {
		return hex(b)
	}
	return map[byte]string{unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"}[b[0]]
}

func ctName(key uint32) string {
	names := map[uint32]string{
		unix.NFT_CT_STATE: "state", unix.NFT_CT_DIRECTION: "direction", unix.NFT_CT_STATUS: "status", unix.NFT_CT_MARK: "mark",
		unix.NFT_CT_ZONE: "zone", unix.NFT_CT_HELPER: "helper", unix.NFT_CT_L3PROTOCOL: "l3proto", unix.NFT_CT_PROTOCOL: "protocol",
		unix.NFT_CT_LABELS: "label", unix.NFT_CT_BYTES: "bytes", unix.NFT_CT_PKTS: "packets",
	}
	if name, ok := names[key]; ok {
		return name
	}
	return fmt.Sprintf("<%d>", key)
}

func ctField(key uint32) field {
	f := field{name: "ct " + ctName(key), value: hostNumber}
	switch key {
	case unix.NFT_CT_STATE:
		f.value = flagNames(map[uint32]string{stateInvalid: "invalid", stateEstablished: "established", 1 << 2: "related", stateNew: "new", stateUntracked: "untracked"})
	case unix.NFT_CT_STATUS:
		f.value = flagNames(map[uint32]string{1 << 0: "expected", statusSeenReply: "seen-reply", statusAssured: "assured", statusConfirmed: "confirmed", statusSourceNAT: "snat", statusDNAT: "dnat"})
	case unix.NFT_CT_DIRECTION:
		f.value = number
	}
	return f
}

// flagNames writes the names of the bits that are set.
func flagNames(names map[uint32]string) func([]byte) string {
	return func(b []byte) string {
		if len(b) != 4 {
			return hex(b)
		}
		var set []string
		for value, bit := binary.NativeEndian.Uint32(b), uint32(1); bit != 0; bit <<= 1 {
			if value&bit != 0 && names[bit] != "" {
				set = append(set, names[bit])
			}
		}
		return strings.Join(set, ",")
	}
}

func fibField(a attributes) field {
	flags := a.u32(unix.NFTA_FIB_FLAGS)
	var asked []string
	for _, f := range []struct {
		flag uint32
		name string
	}{
		{unix.NFTA_FIB_F_SADDR, "saddr"}, {unix.NFTA_FIB_F_DADDR, "daddr"}, {unix.NFTA_FIB_F_MARK, "mark"}, {unix.NFTA_FIB_F_IIF, "iif"}, {unix.NFTA_FIB_F_OIF, "oif"},
	} {
		if flags&f.flag != 0 {
			asked = append(asked, f.name)
		}
	}
	name := "fib " + strings.Join(asked, " . ")
	switch a.u32(unix.NFTA_FIB_RESULT) {
	case unix.NFT_FIB_RESULT_ADDRTYPE:
		return field{name: name + " type", value: addressTypeName}
	case unix.NFT_FIB_RESULT_OIFNAME:
		return field{name: name + " oifname", value: quoted}
	}
	if flags&unix.NFTA_FIB_F_PRESENT != 0 {
		return field{name: name + " oif", value: func(b []byte) string { return map[bool]string{true: "missing", false: "exists"}[allZero(b)] }}
	}
	return field{name: name + " oif", value: linkName}
}

func addressTypeName(b []byte) string {
	if len(b) != 4 {
		return hex(b)
	}
	names := map[uint32]string{unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast", unix.RTN_MULTICAST: "multicast", unix.RTN_BLACKHOLE: "blackhole"}
	if name, ok := names[binary.NativeEndian.Uint32(b)]; ok {
		return name
	}
	return hostNumber(b)
}
