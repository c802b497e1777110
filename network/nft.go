package network

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// An nftables rule is a list of expressions, small instructions on registers:
// load the source address, look it up in a set, and so on. nft(8) compiles its
// language into them. This file goes the other way, for the expressions that
// our own rules are made of, so that what is printed (by --explain, by
// --dry-run, by inspect) is decoded from what is sent or was read, and never
// written a second time.

// field is a piece of a packet's header: where it begins and how long it is.
type field struct {
	base   expr.PayloadBase
	offset uint32 // bytes
	length uint32 // bytes
}

// fieldNames are nft's names of the IPv4 header's fields that we match.
func fieldNames() map[field]string {
	return map[field]string{
		{expr.PayloadBaseNetworkHeader, 12, 4}: "ip saddr",
		{expr.PayloadBaseNetworkHeader, 16, 4}: "ip daddr",
	}
}

// metaNames are nft's names of what the kernel knows of a packet beside its bytes.
func metaNames() map[expr.MetaKey]string {
	return map[expr.MetaKey]string{
		expr.MetaKeyIIFNAME: "iifname",
		expr.MetaKeyOIFNAME: "oifname",
	}
}

// ruleText renders the rule in nft's language, with its comment. An expression
// that is not ours shows as <its type>.
func ruleText(r *nftables.Rule) string {
	var words []string
	for _, e := range r.Exprs {
		words = append(words, exprText(e))
	}
	if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
		words = append(words, fmt.Sprintf("comment %q", comment))
	}
	return strings.Join(words, " ")
}

func exprText(e expr.Any) string {
	text := ""
	switch e := e.(type) {
	case *expr.Payload: // loads the left side of a match
		text = fieldNames()[field{e.Base, e.Offset, e.Len}]
	case *expr.Meta:
		text = metaNames()[e.Key]
	case *expr.Lookup: // and this is its right side
		text = "@" + e.SetName
		if e.Invert {
			text = "!= " + text
		}
	case *expr.Masq:
		text = "masquerade"
	case *expr.Counter:
		text = "counter"
	}
	if text == "" {
		return fmt.Sprintf("<%s>", strings.TrimPrefix(fmt.Sprintf("%T", e), "*expr."))
	}
	return text
}
