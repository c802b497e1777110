// Package packet reads frames as they come from a link, and says in one line what
// is in them, in tcpdump's words: addresses, ports, flags, lengths, what DNS and DHCP
// ask, what ARP and IPv6's neighbour discovery look for.
//
// It knows no file and no socket. The command sniff and the applet of that name in
// minictr/base share it.
package packet

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Visible is s with everything replaced that could move the cursor, change colours or
// hide something: a packet is written by whoever sends it.
func Visible(s string) string {
	const del, lastControl = 0x7f, 0x9f
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < ' ' || r >= del && r <= lastControl:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
