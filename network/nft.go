package network

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// An nftables rule is a list of expressions, small instructions on registers:
// load the source address, look it up in a set, and so on. nft(8) compiles its
// language into them. This file goes the other way, for the expressions that
// our own rules are made of, so that what is printed (by --explain, by
// --dry-run, by inspect) is decoded from what is sent or was read, and never
// written a second time.

// field is a piece of a packet's header: where it begins.
type field struct {
	base   expr.PayloadBase
	offset uint32 // bytes
}

// fieldNames are nft's names of the headers' fields that we match.
func fieldNames(f family) map[field]string {
	source, _ := f.offset(source)
	destination, _ := f.offset(destination)
	return map[field]string{
		{expr.PayloadBaseNetworkHeader, source}:      f.String() + " saddr",
		{expr.PayloadBaseNetworkHeader, destination}: f.String() + " daddr",
		{expr.PayloadBaseTransportHeader, 2}:         "th dport",
	}
}

// metaNames are nft's names of what the kernel knows of a packet beside its bytes.
func metaNames() map[expr.MetaKey]string {
	return map[expr.MetaKey]string{
		expr.MetaKeyIIFNAME: "iifname",
		expr.MetaKeyOIFNAME: "oifname",
		expr.MetaKeyL4PROTO: "meta l4proto",
	}
}

// ctNames are nft's names of the bits of a connection's state and status.
func ctNames() map[expr.CtKey]map[uint32]string {
	return map[expr.CtKey]map[uint32]string{
		expr.CtKeySTATE:  {ctInvalid: "invalid", ctEstablished: "established", ctRelated: "related"},
		expr.CtKeySTATUS: {ctDNAT: "dnat"},
	}
}

// ruleText renders the rule in nft's language, with its comment. An expression
// that is not ours shows as <its type>.
func ruleText(r *nftables.Rule) string {
	d := decoder{family: family(r.Table.Family)}
	for _, e := range r.Exprs {
		d.expression(e)
	}
	if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
		d.words = append(d.words, fmt.Sprintf("comment %q", comment))
	}
	return strings.Join(d.words, " ")
}

// A decoder puts expressions into words. What was loaded into registers waits
// for the expression that uses it.
type decoder struct {
	family family
	loaded []string
	bits   map[uint32]string // the names of the bits of what was loaded
	masked string            // those that a mask has left: established,related
	words  []string
}

// say takes what was loaded as the left side of a match.
func (d *decoder) say(right string) {
	left := strings.Join(d.loaded, " . ")
	d.words = append(d.words, strings.TrimSpace(left+" "+right))
	d.loaded, d.bits, d.masked = nil, nil, ""
}

func (d *decoder) load(name string) { d.loaded = append(d.loaded, name) }

func (d *decoder) expression(e expr.Any) {
	switch e := e.(type) {
	case *expr.Payload:
		d.load(fieldNames(d.family)[field{e.Base, e.Offset}])
	case *expr.Meta:
		d.load(metaNames()[e.Key])
	case *expr.Fib:
		d.load("fib daddr type")
	case *expr.Ct:
		d.load(map[expr.CtKey]string{expr.CtKeySTATE: "ct state", expr.CtKeySTATUS: "ct status"}[e.Key])
		d.bits = ctNames()[e.Key]
	case *expr.Bitwise:
		d.mask(e)
	case *expr.Byteorder: // nft(8) puts one in front of a lookup of intervals, of no effect on one byte
	case *expr.Cmp:
		d.say(d.operand(e))
	case *expr.Lookup:
		d.lookup(e)
	case *expr.Immediate:
		a, _ := netip.AddrFromSlice(e.Data)
		d.load(a.String())
	case *expr.Notrack:
		d.say("notrack")
	case *expr.NAT:
		d.nat(e)
	case *expr.Masq:
		d.say("masquerade")
	case *expr.Counter:
		d.say("counter")
	case *expr.Verdict:
		d.say(verdictText(e))
	default:
		d.say(fmt.Sprintf("<%s>", strings.TrimPrefix(fmt.Sprintf("%T", e), "*expr.")))
	}
}

func (d *decoder) mask(e *expr.Bitwise) {
	var names []string
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if len(e.Mask) == 4 && binaryutil.NativeEndian.Uint32(e.Mask)&bit != 0 {
			names = append(names, cmp.Or(d.bits[bit], fmt.Sprintf("%#x", bit)))
		}
	}
	d.masked = strings.Join(names, ",")
}

// operand is the right side of a comparison.
func (d *decoder) operand(e *expr.Cmp) string {
	left := strings.Join(d.loaded, " . ")
	switch {
	case d.masked != "" && e.Op == expr.CmpOpNeq: // not 0: one of the bits
		return d.masked
	case e.Op != expr.CmpOpEq:
		return fmt.Sprintf("<cmp %d>", e.Op)
	case left == "fib daddr type" && bytes.Equal(e.Data, binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)):
		return "local"
	case strings.HasSuffix(left, "addr"):
		return prefixText(d.family, e.Data)
	}
	return fmt.Sprintf("%#x", e.Data)
}

// prefixText is an address of which only the first bytes are compared.
func prefixText(f family, data []byte) string {
	_, length := f.offset(destination)
	a, ok := netip.AddrFromSlice(append(bytes.Clone(data), make([]byte, max(0, int(length)-len(data)))...))
	if !ok || len(data) == int(length) {
		return a.String()
	}
	return netip.PrefixFrom(a, 8*len(data)).String()
}

// lookup is a match, or, of a map, a value for the expression that follows.
func (d *decoder) lookup(e *expr.Lookup) {
	switch {
	case e.IsDestRegSet:
		d.loaded = []string{strings.Join(d.loaded, " . ") + " map @" + e.SetName}
	case e.Invert:
		d.say("!= @" + e.SetName)
	default:
		d.say("@" + e.SetName)
	}
}

// nat takes what was loaded as its right side.
func (d *decoder) nat(e *expr.NAT) {
	to := "dnat to "
	switch {
	case e.Type == expr.NATTypeSourceNAT:
		to = "snat to "
	case e.RegProtoMin != 0: // nft wants to be told the family of a concatenation
		to = "dnat " + d.family.String() + " to "
	}
	value := strings.Join(d.loaded, " . ")
	d.loaded = nil
	d.say(to + value)
}

func verdictText(e *expr.Verdict) string {
	switch e.Kind {
	case expr.VerdictAccept:
		return "accept"
	case expr.VerdictDrop:
		return "drop"
	case expr.VerdictReturn:
		return "return"
	case expr.VerdictJump:
		return "jump " + e.Chain
	}
	return fmt.Sprintf("<verdict %d>", e.Kind)
}
