package icmp

import (
	"encoding/binary"
	"net/netip"
)

// ICMP types of RFC 792 and RFC 4443.
const (
	echoReply4, echoRequest4 = 0, 8
	unreachable4, exceeded4  = 3, 11
	tooLong6                 = 2
	unreachable6, exceeded6  = 1, 3
	echoRequest6, echoReply6 = 128, 129
	protocolICMP             = 1
	protocolICMP6            = 58
	echoHeaderBytes          = 8
	ip4HeaderBytes           = 20
	ip6HeaderBytes           = 40
)

// An echo is an echo request or reply.
type echo struct {
	id, seq uint16
	payload []byte
}

// request encodes the echo. The kernel fills in the checksum of ICMPv6, and the id
// of a datagram socket.
func (e echo) request(v6 bool) []byte {
	b := make([]byte, echoHeaderBytes, echoHeaderBytes+len(e.payload))
	b[0] = echoRequest4
	if v6 {
		b[0] = echoRequest6
	}
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.seq)
	b = append(b, e.payload...)
	if !v6 {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// An answer is what came back for an echo: the reply, or an error of somebody on
// the way.
type answer struct {
	reply      bool
	id, seq    uint16
	from       netip.Addr
	ttl        int
	size       int   // bytes of the ICMP message
	kind, code uint8 // of an error
	local      error // an error of this machine, which sent nothing
	info       uint32
}

// parse reads an ICMP message. It is none of ours when ok is false.
func parse(b []byte, v6 bool) (a answer, ok bool) {
	if len(b) < echoHeaderBytes {
		return answer{}, false
	}
	a = answer{kind: b[0], code: b[1], size: len(b), info: binary.BigEndian.Uint32(b[4:])}
	switch {
	case !v6 && b[0] == echoReply4, v6 && b[0] == echoReply6:
		a.reply, a.id, a.seq = true, binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
		return a, true
	case !v6 && (b[0] == unreachable4 || b[0] == exceeded4), v6 && (b[0] == unreachable6 || b[0] == exceeded6 || b[0] == tooLong6):
		a.id, a.seq, ok = parseCause(b[echoHeaderBytes:], v6)
		return a, ok
	}
	return answer{}, false
}

// parseCause reads the packet that an error quotes, and tells which echo it was.
func parseCause(b []byte, v6 bool) (id, seq uint16, ok bool) {
	header := ip6HeaderBytes
	if !v6 {
		if len(b) < ip4HeaderBytes || b[9] != protocolICMP {
			return 0, 0, false
		}
		header = int(b[0]&15) * 4
	} else if len(b) < ip6HeaderBytes || b[6] != protocolICMP6 {
		return 0, 0, false
	}
	return parseRequest(b[min(header, len(b)):], v6)
}

func parseRequest(b []byte, v6 bool) (id, seq uint16, ok bool) {
	request := uint8(echoRequest4)
	if v6 {
		request = echoRequest6
	}
	if len(b) < echoHeaderBytes || b[0] != request {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), true
}

// words says what an error means, as iputils does.
func (a answer) words(v6 bool) string {
	type error struct{ kind, code uint8 }
	known := map[error]string{
		{3, 0}: "Destination Net Unreachable", {3, 1}: "Destination Host Unreachable", {3, 2}: "Destination Protocol Unreachable",
		{3, 3}: "Destination Port Unreachable", {3, 4}: "Frag needed and DF set", {3, 5}: "Source Route Failed",
		{3, 6}: "Destination Net Unknown", {3, 7}: "Destination Host Unknown", {3, 9}: "Destination Net Prohibited",
		{3, 10}: "Destination Host Prohibited", {3, 13}: "Packet filtered", {11, 0}: "Time to live exceeded", {11, 1}: "Frag reassembly time exceeded",
	}
	if v6 {
		known = map[error]string{
			{1, 0}: "Destination unreachable: No route", {1, 1}: "Destination unreachable: Administratively prohibited",
			{1, 2}: "Destination unreachable: Beyond scope of source address", {1, 3}: "Destination unreachable: Address unreachable",
			{1, 4}: "Destination unreachable: Port unreachable", {2, 0}: "Packet too big",
			{3, 0}: "Time exceeded: Hop limit", {3, 1}: "Time exceeded: Defragmentation failure",
		}
	}
	if s, ok := known[error{a.kind, a.code}]; ok {
		return s
	}
	return "ICMP type " + itoa(int(a.kind)) + " code " + itoa(int(a.code))
}
