// Package foreign makes text that came from the network fit for a terminal.
package foreign

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text is s with everything replaced that could move the cursor, change colours or
// hide something: control characters of ASCII and Latin-1, and what is no UTF-8.
func Text(s string) string {
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
