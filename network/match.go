package network

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The words of our rules (table.go): each is one expression of the kernel or a
// few. A concatenation loads its parts into neighbouring registers: register 1
// is 16 bytes, the same as the 4-byte registers 8 to 11, and 2 is 12 to 15.

func join(words ...[]expr.Any) []expr.Any { return slices.Concat(words...) }

// endpointOf is one of the two addresses of an IP header.
type endpointOf int

const (
	source endpointOf = iota
	destination
)

// offset is where the address is in the IP header, and how long it is.
func (f family) offset(e endpointOf) (offset, length uint32) {
	if f == ipv4 {
		return 12 + 4*uint32(e), 4
	}
	return 8 + 16*uint32(e), 16
}

func payload(register uint32, base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}

// addr loads the address.
func (t table) addr(e endpointOf) []expr.Any {
	offset, length := t.family.offset(e)
	return []expr.Any{payload(1, expr.PayloadBaseNetworkHeader, offset, length)}
}

// loopback matches an address of the loopback: 127.0.0.0/8, whose first byte is
// enough, or ::1.
func (t table) loopback(e endpointOf) []expr.Any {
	offset, length := t.family.offset(e)
	value := []byte{127}
	if t.family == ipv6 {
		value = make([]byte, length)
		value[length-1] = 1
	}
	return []expr.Any{
		payload(1, expr.PayloadBaseNetworkHeader, offset, uint32(len(value))),
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value},
	}
}

// equals matches one address.
func (t table) equals(e endpointOf, a netip.Addr) []expr.Any {
	return join(t.addr(e), []expr.Any{&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()}})
}

func l4proto() []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}} }

func dport(register uint32) []expr.Any {
	return []expr.Any{payload(register, expr.PayloadBaseTransportHeader, 2, 2)}
}

// service loads protocol . destination address . destination port.
func (t table) service() []expr.Any {
	offset, length := t.family.offset(destination)
	address := payload(9, expr.PayloadBaseNetworkHeader, offset, length)
	return join(l4proto(), []expr.Any{address}, dport(9+length/4))
}

// lookup wants what was loaded to be in the set.
func lookup(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set}}
}

// dnat sends the packet where the map says: to an address and a port, or to an
// address and the port that it has.
func (t table) dnat(m string, port bool) []expr.Any {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(t.family), RegAddrMin: 1}
	if port {
		_, length := t.family.offset(destination)
		nat.RegProtoMin = 8 + length/4
	}
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: m, DestRegister: 1, IsDestRegSet: true}, nat}
}

func iif(set string) []expr.Any {
	return join([]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}, lookup(set))
}

func oif(set string) []expr.Any {
	return join([]expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}, lookup(set))
}

func notOif(set string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true},
	}
}

func notIif(set string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: set, Invert: true},
	}
}

// links loads iifname . oifname. The first is not known at postrouting.
func links() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 2},
	}
}

// oifBehind loads oifname behind an address.
func (t table) oifBehind() []expr.Any {
	_, length := t.family.offset(source)
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 8 + length/4}}
}

// isLocal matches what is sent to an address of this host.
func isLocal() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// Bits of ct state (NF_CT_STATE_BIT) and ct status (IPS_DST_NAT).
const (
	ctInvalid     uint32 = 1
	ctEstablished uint32 = 2
	ctRelated     uint32 = 4
	ctDNAT        uint32 = 0x20
)

// ct matches a connection that has one of the bits.
func ct(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: binaryutil.NativeEndian.PutUint32(0),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// snat gives the packet a source.
func snat(a netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: a.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(familyOf(a)), RegAddrMin: 1},
	}
}

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }
