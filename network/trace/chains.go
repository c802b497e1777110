package trace

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

// A pass is one packet in the chains that hang from one base chain.
type pass struct {
	packet        *packet
	family, table string
	base          string // the base chain
	in, out       int    // indices of links; 0: none
	matches       []match
	verdict       int32 // of the last rule, or the policy
	byPolicy      bool
	mark          uint32 // of the packet, as the rules left it
}

// A match is a rule that matched, and what it decided.
type match struct {
	chain   string
	handle  uint64
	verdict int32
	target  string // of a jump
}

// dropped tells whether the packet ended here. A rule may also decide for
// another end than accept and drop: its packet is queued or stolen.
func (p *pass) dropped() bool { return p.verdict == nfDrop }

// Verdicts, linux/netfilter.h and nf_tables.h; the upper bits are arguments.
const (
	nfDrop      = 0
	nfAccept    = 1
	nfStolen    = 2
	nfQueue     = 3
	verdictMask = 0xff
)

// passes sorts the messages of NFNLGRP_NFTRACE in one namespace. Only the first
// message of a pass bears the packet's headers; the others follow by its id.
type passes struct {
	list []*pass
	open map[uint32]*pass
}

func (ps *passes) add(m syscall.NetlinkMessage) {
	if m.Header.Type != nft(unix.NFT_MSG_TRACE) || len(m.Data) < 4 {
		return
	}
	a := attributes(m.Data[4:])
	id := uint32(a.big(unix.NFTA_TRACE_ID))
	if header := a.get(unix.NFTA_TRACE_NETWORK_HEADER); header != nil {
		whole := append(append([]byte(nil), header...), a.get(unix.NFTA_TRACE_TRANSPORT_HEADER)...)
		p := &pass{
			packet: parseIP(whole), table: a.text(unix.NFTA_TRACE_TABLE), base: a.text(unix.NFTA_TRACE_CHAIN), family: familyName(m.Data[0]),
			in: int(a.big(unix.NFTA_TRACE_IIF)), out: int(a.big(unix.NFTA_TRACE_OIF)),
		}
		if ps.open == nil {
			ps.open = map[uint32]*pass{}
		}
		ps.open[id] = p
		ps.list = append(ps.list, p)
	}
	if p := ps.open[id]; p != nil {
		p.add(a)
	}
}

func (p *pass) add(a attributes) {
	verdict := a.get(unix.NFTA_TRACE_VERDICT)
	if a.get(unix.NFTA_TRACE_MARK) != nil {
		p.mark = uint32(a.big(unix.NFTA_TRACE_MARK))
	}
	switch a.big(unix.NFTA_TRACE_TYPE) {
	case unix.NFT_TRACETYPE_RULE:
		m := match{
			chain: a.text(unix.NFTA_TRACE_CHAIN), handle: a.big(unix.NFTA_TRACE_RULE_HANDLE),
			verdict: int32(uint32(verdict.big(unix.NFTA_VERDICT_CODE))), target: verdict.text(unix.NFTA_VERDICT_CHAIN),
		}
		p.matches = append(p.matches, m)
		p.verdict, p.byPolicy = m.verdict, false
	case unix.NFT_TRACETYPE_POLICY:
		p.byPolicy = true
		p.verdict = int32(uint32(a.big(unix.NFTA_TRACE_POLICY)))
	case unix.NFT_TRACETYPE_RETURN:
		m := match{chain: a.text(unix.NFTA_TRACE_CHAIN), verdict: unix.NFT_RETURN}
		p.matches = append(p.matches, m)
	}
}

// words is the verdict in nft's language.
func (m match) words() string {
	switch m.verdict {
	case unix.NFT_CONTINUE:
		return "continue"
	case unix.NFT_RETURN:
		return "return"
	case unix.NFT_JUMP:
		return "jump " + m.target
	case unix.NFT_GOTO:
		return "goto " + m.target
	}
	switch m.verdict & verdictMask {
	case nfDrop:
		return "drop"
	case nfAccept:
		return "accept"
	case nfQueue:
		return "queue"
	}
	return "stolen"
}

func familyName(family uint8) string {
	return map[uint8]string{
		unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_NETDEV: "netdev",
	}[family]
}

// networkOrder is used by those who build headers.
func networkOrder(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
