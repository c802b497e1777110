package firewall

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// load puts a field of the packet, or something that the kernel knows of it,
// into a register. What a sample does not tell is unknown.
func (w *walk) load(e *expression) result {
	a := e.data
	b, register, broken := bits{}, uint32(0), false
	switch e.name {
	case "payload":
		if !a.has(unix.NFTA_PAYLOAD_DREG) {
			return result{answer: yes} // writes a header; of no sample's fields we know one that is
		}
		b, register = w.payload(a), a.u32(unix.NFTA_PAYLOAD_DREG)
	case "meta":
		if !a.has(unix.NFTA_META_DREG) {
			return w.setMeta(a)
		}
		b, broken = w.meta(a.u32(unix.NFTA_META_KEY))
		register = a.u32(unix.NFTA_META_DREG)
	case "ct":
		if !a.has(unix.NFTA_CT_DREG) {
			if a.u32(unix.NFTA_CT_KEY) == unix.NFT_CT_MARK {
				w.set(&w.ctMark, w.registers.load(a.u32(unix.NFTA_CT_SREG), 4))
			}
			return result{answer: yes}
		}
		b, register = w.ct(a), a.u32(unix.NFTA_CT_DREG)
	case "fib":
		b, register = w.fib(a), a.u32(unix.NFTA_FIB_DREG)
	case "exthdr":
		return w.exthdr(e)
	default: // rt, socket, osf, numgen, hash, tunnel, xfrm
		// Their destination is no attribute of one number; they use one register at most.
		for r := uint32(unix.NFT_REG_1); r <= unix.NFT_REG_4; r++ {
			w.registers.store(r, unknown(16))
		}
		w.why = e.String()
		return result{answer: yes}
	}
	if broken {
		return result{answer: no}
	}
	if !b.certain() {
		w.why = e.String()
	}
	w.registers.store(register, b)
	return result{answer: yes}
}

func (w *walk) payload(a attributes) bits {
	offset, length := int(a.u32(unix.NFTA_PAYLOAD_OFFSET)), int(a.u32(unix.NFTA_PAYLOAD_LEN))
	var header bits
	switch a.u32(unix.NFTA_PAYLOAD_BASE) {
	case unix.NFT_PAYLOAD_LL_HEADER:
		header = w.packet.frame()
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		header = w.network
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		header = w.transport
	}
	if offset+length > len(header.value) {
		return unknown(length)
	}
	return bits{header.value[offset : offset+length], header.known[offset : offset+length]}
}

// index is a link's number as a rule compares it, zero where there is no link.
func index(l Link) bits {
	if l.Name != "" && l.Index == 0 {
		return unknown(4)
	}
	return known(hostOrder(uint32(l.Index)))
}

// name is its name, padded with zeros.
func name(l Link) bits {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, l.Name)
	return known(padded)
}

// metaSecpath asks for IPsec: NFT_META_SECPATH, linux/netfilter/nf_tables.h.
const metaSecpath = 25

// meta is broken where the rule ends at it: what has no socket has no owner.
func (w *walk) meta(key uint32) (b bits, broken bool) {
	p := w.packet
	switch key {
	case unix.NFT_META_MARK:
		return w.mark, false
	case unix.NFT_META_IIF:
		return index(p.In), false
	case unix.NFT_META_OIF:
		return index(p.Out), false
	case unix.NFT_META_IIFNAME:
		return name(p.In), false
	case unix.NFT_META_OIFNAME:
		return name(p.Out), false
	case unix.NFT_META_NFPROTO:
		return known([]byte{p.family()}), false
	case unix.NFT_META_PROTOCOL:
		return known(binary.BigEndian.AppendUint16(nil, p.etherType())), false
	case unix.NFT_META_L4PROTO:
		return known([]byte{p.Protocol}), false
	case unix.NFT_META_PKTTYPE:
		return known([]byte{unix.PACKET_HOST}), false
	case unix.NFT_META_NFTRACE, metaSecpath:
		return known([]byte{0}), false
	case unix.NFT_META_SKUID, unix.NFT_META_SKGID:
		return unknown(4), w.chain.hook == Forward
	case unix.NFT_META_IIFTYPE, unix.NFT_META_OIFTYPE:
		return unknown(2), false
	}
	return unknown(16), false
}

// setMeta keeps a mark, which later rules may ask for.
func (w *walk) setMeta(a attributes) result {
	if a.u32(unix.NFTA_META_KEY) == unix.NFT_META_MARK {
		w.set(&w.mark, w.registers.load(a.u32(unix.NFTA_META_SREG), 4))
	}
	return result{answer: yes}
}

// set gives a mark a value, or loses it if it is not certain that the rule is reached.
func (w *walk) set(mark *bits, b bits) {
	if w.doubts > 0 || w.unsure || len(b.value) != 4 {
		*mark = unknown(4)
		return
	}
	*mark = join(b) // a copy
}

func (p Packet) family() byte {
	if p.v6() {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

func (p Packet) etherType() uint16 {
	if p.ARP {
		return unix.ETH_P_ARP
	}
	if p.v6() {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

// Bits of ct state and ct status, linux/netfilter/nf_conntrack_common.h.
const (
	stateInvalid     = 1 << 0
	stateEstablished = 1 << 1
	stateNew         = 1 << 3
	stateUntracked   = 1 << 6

	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
	statusConfirmed = 1 << 3
	statusSourceNAT = 1 << 4
	statusDNAT      = 1 << 5
	statusDNATDone  = 1 << 8
)

// beforeTracking is the priority from which on connection tracking has seen
// the packet (NF_IP_PRI_CONNTRACK), in the hooks where it begins.
const beforeTracking = -200

func (w *walk) state() uint32 {
	early := (w.chain.hook == Prerouting || w.chain.hook == Output) && w.chain.priority <= beforeTracking
	switch {
	case early:
		return stateInvalid // no connection at all is what the kernel calls so
	case w.packet.State == Established:
		return stateEstablished
	case w.packet.State == Untracked:
		return stateUntracked
	}
	return stateNew
}

// ct is what connection tracking knows of the packet.
func (w *walk) ct(a attributes) bits {
	p := w.packet
	switch a.u32(unix.NFTA_CT_KEY) {
	case unix.NFT_CT_STATE:
		return known(hostOrder(w.state()))
	case unix.NFT_CT_DIRECTION:
		if p.Reply {
			return known([]byte{1})
		}
		return known([]byte{0})
	case unix.NFT_CT_STATUS:
		return w.status()
	case unix.NFT_CT_MARK:
		return w.ctMark
	case unix.NFT_CT_ZONE:
		return known([]byte{0, 0})
	case unix.NFT_CT_PROTOCOL, unix.NFT_CT_L3PROTOCOL:
		if a.u32(unix.NFTA_CT_KEY) == unix.NFT_CT_PROTOCOL {
			return known([]byte{p.Protocol})
		}
		return known([]byte{p.family()})
	}
	return unknown(16)
}

func (w *walk) status() bits {
	value, certain := uint32(0), uint32(statusSeenReply|statusConfirmed|statusDNAT|statusDNATDone|statusSourceNAT)
	if w.packet.DNAT {
		value |= statusDNAT
	}
	if w.packet.State != New {
		value |= statusSeenReply | statusConfirmed
		certain &^= statusSourceNAT
	} else {
		certain |= statusAssured
	}
	certain &^= statusDNATDone
	return bits{hostOrder(value), hostOrder(certain)}
}

// fib asks the routing table. That the way back to the source is the way the
// packet came is taken for granted: rp_filter rules let a sample pass.
func (w *walk) fib(a attributes) bits {
	p, flags := w.packet, a.u32(unix.NFTA_FIB_FLAGS)
	switch a.u32(unix.NFTA_FIB_RESULT) {
	case unix.NFT_FIB_RESULT_ADDRTYPE:
		if flags&unix.NFTA_FIB_F_SADDR != 0 {
			return known(hostOrder(addressType(p.Source, p.SourceLocal)))
		}
		return known(hostOrder(addressType(p.Destination, p.DestinationLocal)))
	case unix.NFT_FIB_RESULT_OIF:
		if flags&unix.NFTA_FIB_F_SADDR == 0 {
			return unknown(4)
		}
		if flags&unix.NFTA_FIB_F_PRESENT != 0 {
			return known([]byte{1})
		}
		return index(p.In)
	case unix.NFT_FIB_RESULT_OIFNAME:
		if flags&unix.NFTA_FIB_F_SADDR != 0 && flags&unix.NFTA_FIB_F_PRESENT == 0 {
			return name(p.In)
		}
	}
	return unknown(16)
}

// exthdr asks for an IPv6 extension header or an IPv4 option, which a sample
// does not have, or for an option of TCP, which it may have.
func (w *walk) exthdr(e *expression) result {
	a := e.data
	const tcpOption, present = 1, 1
	if !a.has(unix.NFTA_EXTHDR_DREG) {
		return result{answer: yes}
	}
	register := a.u32(unix.NFTA_EXTHDR_DREG)
	asksPresence := a.u32(unix.NFTA_EXTHDR_FLAGS)&present != 0
	switch {
	case a.u32(unix.NFTA_EXTHDR_OP) == tcpOption:
		w.why = e.String()
		w.registers.store(register, unknown(int(a.u32(unix.NFTA_EXTHDR_LEN))))
		return result{answer: yes}
	case asksPresence:
		w.registers.store(register, known([]byte{0}))
		return result{answer: yes}
	}
	return result{answer: no}
}
