package trace

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The rules that mark the probe are a few expressions of nf_tables each: load a
// field, compare it, and at last "meta nftrace set 1". There is one for the way
// there, one for the way back, and one for ICMP errors, which quote the probe.

// markRules are the rules for the probe. Its addresses may change on the way,
// and its destination's port; its own port it has bound, so nobody else of its
// namespace has it.
func (p *probe) markRules() (list []attributes) {
	ports := p.destinationPorts()
	if p.protocol == icmp {
		return append(p.echoRules(), p.errorRule())
	}
	for _, port := range ports {
		list = append(list,
			p.rule(transportIs(p.number()), field(0, port16(p.flow.Source.Port())), field(2, port16(port))),
			p.rule(transportIs(p.number()), field(0, port16(port)), field(2, port16(p.flow.Source.Port()))))
	}
	return append(list, p.errorRule())
}

func (p *probe) rule(matches ...attributes) (r attributes) {
	for _, m := range matches {
		r = append(r, m...)
	}
	return append(r, setTrace()...)
}

func (p *probe) echoRules() (list []attributes) {
	for _, kind := range []byte{p.echo(), p.echoAnswer()} {
		list = append(list, p.rule(transportIs(p.number()), field(0, []byte{kind}), field(4, port16(p.flow.Source.Port()))))
	}
	return list
}

// errorRule finds the ports behind the headers of ICMP, 8 bytes, and of the IP
// packet that it quotes.
func (p *probe) errorRule() attributes {
	protocol, at := uint8(unix.IPPROTO_ICMP), uint32(8+20)
	if p.v6() {
		protocol, at = unix.IPPROTO_ICMPV6, 8+40
	}
	if p.protocol == icmp { // the identifier of the echo
		at += 4
	}
	return p.rule(transportIs(protocol), field(at, port16(p.flow.Source.Port())))
}

func port16(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// expression is one of a rule's list.
func expression(name string, data attributes) (e attributes) {
	var inner attributes
	inner.addText(unix.NFTA_EXPR_NAME, name)
	inner.nest(unix.NFTA_EXPR_DATA, data)
	e.nest(unix.NFTA_LIST_ELEM, inner)
	return e
}

func equals(value []byte) attributes {
	var bytes, a attributes
	bytes.add(unix.NFTA_DATA_VALUE, value...)
	a.addBig(unix.NFTA_CMP_SREG, unix.NFT_REG_1)
	a.addBig(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ)
	a.nest(unix.NFTA_CMP_DATA, bytes)
	return expression("cmp", a)
}

// transportIs is "meta l4proto NUMBER".
func transportIs(protocol uint8) attributes {
	var a attributes
	a.addBig(unix.NFTA_META_DREG, unix.NFT_REG_1)
	a.addBig(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO)
	return append(expression("meta", a), equals([]byte{protocol})...)
}

// field is "@th,OFFSET,LENGTH VALUE", in bytes.
func field(offset uint32, value []byte) attributes {
	var a attributes
	a.addBig(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1)
	a.addBig(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_TRANSPORT_HEADER)
	a.addBig(unix.NFTA_PAYLOAD_OFFSET, offset)
	a.addBig(unix.NFTA_PAYLOAD_LEN, uint32(len(value)))
	return append(expression("payload", a), equals(value)...)
}

// setTrace is "meta nftrace set 1".
func setTrace() attributes {
	var one, load, set attributes
	one.add(unix.NFTA_DATA_VALUE, 1)
	load.addBig(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_1)
	load.nest(unix.NFTA_IMMEDIATE_DATA, one)
	set.addBig(unix.NFTA_META_KEY, unix.NFT_META_NFTRACE)
	set.addBig(unix.NFTA_META_SREG, unix.NFT_REG_1)
	return append(expression("immediate", load), expression("meta", set)...)
}
