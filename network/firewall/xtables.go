package firewall

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// iptables-nft puts what nf_tables has no expression for into "match" and
// "target": the structures that the modules of iptables have had since ever,
// in the order of bytes of the host (linux/netfilter/xt_*.h).

// match answers the match of an xtables module.
func (w *walk) match(e *expression) answer {
	info, revision := info{e.data.get(unix.NFTA_MATCH_INFO)}, e.data.u32(unix.NFTA_MATCH_REV)
	result := maybe
	switch e.data.text(unix.NFTA_MATCH_NAME) {
	case "comment", "limit": // a sample is under every limit
		result = yes
	case "conntrack":
		result = w.matchConntrack(info, revision)
	case "state":
		result = answerOf(info.u32(0)&w.stateMask() != 0)
	case "tcp":
		result = w.matchTCP(info)
	case "udp":
		result = w.matchPorts(info, info.u8(8))
	case "multiport":
		result = w.matchMultiport(info)
	case "addrtype":
		result = w.matchAddressType(info, revision)
	case "mark":
		result = w.matchMark(info)
	case "pkttype":
		result = answerOf((info.u32(0) == unix.PACKET_HOST) != (info.u32(4) != 0))
	case "iprange":
		result = w.matchRange(info)
	case "icmp", "icmp6":
		result = w.matchICMP(info)
	case "rt", "frag", "hbh", "dst", "ipv6header", "ah", "esp": // headers that no sample has
		result = no
	}
	if result == maybe {
		w.why = e.String()
	}
	return result
}

// info is the structure of a match or target. What lies behind its end is 0.
type info struct{ bytes []byte }

func (i info) u8(at int) byte {
	if at < len(i.bytes) {
		return i.bytes[at]
	}
	return 0
}

func (i info) u16(at int) uint16 {
	if at+2 <= len(i.bytes) {
		return binary.NativeEndian.Uint16(i.bytes[at:])
	}
	return 0
}

func (i info) u32(at int) uint32 {
	if at+4 <= len(i.bytes) {
		return binary.NativeEndian.Uint32(i.bytes[at:])
	}
	return 0
}

// Bits of a state in xtables; the first are those of nf_tables.
const (
	xtStateDNAT      = 1 << 7
	xtStateUntracked = 1 << 8
)

func (w *walk) stateMask() uint32 {
	mask := w.state()
	if mask == stateUntracked {
		mask = xtStateUntracked
	}
	if w.packet.DNAT {
		mask |= xtStateDNAT
	}
	return mask
}

// matchConntrack: struct xt_conntrack_mtinfo3. All that is asked for must hold.
func (w *walk) matchConntrack(i info, revision uint32) answer {
	const (
		flagsAt, stateAt                           = 146, 150
		state, protocol, status, direction, inSNAT = 1 << 0, 1 << 1, 1 << 6, 1 << 12, 1 << 6
	)
	wanted, inverted := i.u16(flagsAt), i.u16(flagsAt+2)
	stateMask, statusMask := uint32(i.u16(stateAt)), uint32(i.u16(stateAt+2))
	if revision == 1 {
		stateMask, statusMask = uint32(i.u8(stateAt)), uint32(i.u8(stateAt+1))
	}
	result := yes
	require := func(flag uint16, holds answer) {
		if wanted&flag == 0 {
			return
		}
		if inverted&flag != 0 {
			holds = not(holds)
		}
		result = both(result, holds)
	}
	stateHolds := answerOf(stateMask&w.stateMask() != 0)
	if stateHolds == no && stateMask&inSNAT != 0 && w.packet.State != New {
		stateHolds = maybe
	}
	require(state, stateHolds)
	require(protocol, answerOf(i.u16(136) == uint16(w.packet.Protocol)))
	require(status, anyBit(w.status(), statusMask))
	// Without the inversion it is the original direction that is wanted.
	require(direction, answerOf(!w.packet.Reply))
	const answered = state | protocol | status | direction | 1<<13 // STATE_ALIAS changes nothing
	if wanted&^answered != 0 {
		result = both(result, maybe)
	}
	return result
}

func both(a, b answer) answer {
	switch {
	case a == no || b == no:
		return no
	case a == maybe || b == maybe:
		return maybe
	}
	return yes
}

// anyBit says whether a bit of the mask is set.
func anyBit(b bits, mask uint32) answer {
	value, certain := binary.NativeEndian.Uint32(b.value), binary.NativeEndian.Uint32(b.known)
	if value&certain&mask != 0 {
		return yes
	}
	if mask&^certain != 0 {
		return maybe
	}
	return no
}

// matchTCP: struct xt_tcp, ports and then option, flags and what is inverted.
func (w *walk) matchTCP(i info) answer {
	const flagsInverted, optionInverted = 1 << 2, 1 << 3
	inverted := i.u8(11)
	result := w.matchPorts(i, inverted)
	if i.u8(8) != 0 || inverted&optionInverted != 0 {
		result = both(result, maybe)
	}
	header := w.transport
	if w.packet.Protocol != unix.IPPROTO_TCP {
		return no
	}
	mask := i.u8(9)
	flags := equalBits(bits{[]byte{header.value[13] & mask}, []byte{header.known[13] | ^mask}}, []byte{i.u8(10)})
	if inverted&flagsInverted != 0 {
		flags = not(flags)
	}
	return both(result, flags)
}

// matchPorts: a range of source ports and one of destination ports.
func (w *walk) matchPorts(i info, inverted byte) answer {
	in := func(port uint16, at int, flag byte) bool {
		return (port >= i.u16(at) && port <= i.u16(at+2)) != (inverted&flag != 0)
	}
	return answerOf(in(w.packet.SourcePort, 0, 1) && in(w.packet.DestinationPort, 4, 2))
}

// matchMultiport: struct xt_multiport_v1; a port with its flag set begins a range.
func (w *walk) matchMultiport(i info) answer {
	const source, either = 0, 2
	which, p := i.u8(0), w.packet
	hit := false
	for n := 0; n < int(i.u8(1)); n++ {
		from := i.u16(2 + 2*n)
		to := from
		if i.u8(32+n) != 0 {
			n++
			to = i.u16(2 + 2*n)
		}
		if which != source && p.DestinationPort >= from && p.DestinationPort <= to ||
			(which == source || which == either) && p.SourcePort >= from && p.SourcePort <= to {
			hit = true
		}
	}
	return answerOf(hit != (i.u8(47) != 0))
}

func (w *walk) matchAddressType(i info, revision uint32) answer {
	source, destination := i.u16(0), i.u16(2)
	invertSource, invertDestination := i.u32(4) != 0, i.u32(8) != 0
	if revision >= 1 {
		invertSource, invertDestination = i.u32(4)&1 != 0, i.u32(4)&2 != 0
	}
	p, hit := w.packet, true
	if source != 0 {
		hit = hit && (source>>addressType(p.Source, p.SourceLocal)&1 != 0) != invertSource
	}
	if destination != 0 {
		hit = hit && (destination>>addressType(p.Destination, p.DestinationLocal)&1 != 0) != invertDestination
	}
	return answerOf(hit)
}

// matchMark: struct xt_mark_mtinfo1, the mark, a mask and whether it is inverted.
func (w *walk) matchMark(i info) answer {
	mask, value := hostOrder(i.u32(4)), hostOrder(i.u32(0))
	b := unknown(4)
	for n := range b.value {
		b.value[n], b.known[n] = w.mark.value[n]&mask[n], w.mark.known[n]|^mask[n]
	}
	if i.u8(8) != 0 {
		return not(equalBits(b, value))
	}
	return equalBits(b, value)
}

// matchRange: struct xt_iprange_mtinfo, four addresses of 16 bytes and flags.
func (w *walk) matchRange(i info) answer {
	if len(i.bytes) < 65 {
		return maybe
	}
	flags, hit := i.u8(64), true
	in := func(address []byte, at int, wanted, inverted byte) {
		if flags&wanted != 0 {
			from, to := i.bytes[at:at+len(address)], i.bytes[at+16:at+16+len(address)]
			hit = hit && (bytes.Compare(address, from) >= 0 && bytes.Compare(address, to) <= 0) != (flags&inverted != 0)
		}
	}
	in(w.packet.Source.AsSlice(), 0, 1, 1<<4)
	in(w.packet.Destination.AsSlice(), 32, 2, 1<<5)
	return answerOf(hit)
}

// matchICMP: struct ipt_icmp or ip6t_icmp, a type and a range of codes.
func (w *walk) matchICMP(i info) answer {
	if w.packet.Protocol != unix.IPPROTO_ICMP && w.packet.Protocol != unix.IPPROTO_ICMPV6 {
		return no
	}
	const anyType = 0xff
	hit := i.u8(0) == anyType || i.u8(0) == w.packet.icmpType() && i.u8(1) == 0
	return answerOf(hit != (i.u8(3)&1 != 0))
}

// target does what a target of xtables does to the packet.
func (w *walk) target(e *expression) result {
	i := info{e.data.get(unix.NFTA_TARGET_INFO)}
	switch name := e.data.text(unix.NFTA_TARGET_NAME); name {
	case "REJECT", "TARPIT", "DELUDE", "CHAOS":
		return decided(nfDrop)
	case "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY":
		w.xtRewrites(name, i)
		return decided(nfAccept)
	case "NFQUEUE", "QUEUE":
		return decided(nfQueue)
	case "MARK":
		w.markTarget(i, e.data.u32(unix.NFTA_TARGET_REV))
	case "LOG", "NFLOG", "ULOG", "AUDIT", "TRACE", "TEE", "CT", "NOTRACK", "TCPMSS", "TCPOPTSTRIP", "CLASSIFY", "DSCP", "TOS", "ECN", "TTL",
		"HL", "CHECKSUM", "SET", "LED", "IDLETIMER", "SECMARK", "CONNSECMARK", "RATEEST", "HMARK":
	case "CONNMARK":
		w.mark, w.ctMark = unknown(4), unknown(4) // it saves the one in the other, or restores it
	default:
		w.why = e.String()
		return result{answer: maybe, choices: []choice{{code: nfDrop}, {code: nfAccept}}}
	}
	return result{answer: yes}
}

// markTarget: struct xt_mark_tginfo2, (mark & ~mask) ^ value.
func (w *walk) markTarget(i info, revision uint32) {
	if revision < 2 {
		w.mark = unknown(4)
		return
	}
	value, mask := hostOrder(i.u32(0)), hostOrder(i.u32(4))
	b := unknown(4)
	for n := range b.value {
		b.value[n], b.known[n] = w.mark.value[n]&^mask[n]^value[n], w.mark.known[n]|mask[n]
	}
	w.set(&w.mark, b)
}

// xtText names a match or target as nft(8) does that cannot translate it.
func xtText(kind, name string) string { return "xt " + kind + " " + name }
