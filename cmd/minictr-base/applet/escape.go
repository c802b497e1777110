package applet

import (
	"strconv"
	"strings"
)

// Escape is the character that a backslash and c stand for; of what stands for
// nothing, both.
func Escape(c byte) string {
	if i := strings.IndexByte(`abefnrtv\0`, c); i >= 0 {
		return "\a\b\x1b\f\n\r\t\v\\\x00"[i : i+1]
	}
	return `\` + string(c)
}

// Unescape replaces backslash escapes, \033 and \x1b among them. stop reports a
// \c, which ends all output.
func Unescape(text string) (out string, stop bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch c := text[i]; {
		case c == 'c':
			return b.String(), true
		case c >= '0' && c <= '7':
			n := digits(text[i:], 3+btoi(c == '0'), "01234567")
			v, _ := strconv.ParseUint(text[i:i+n], 8, 16) // at most four digits
			b.WriteByte(byte(v))
			i += n - 1
		case c == 'x' && digits(text[i+1:], 2, hexDigits) > 0:
			n := digits(text[i+1:], 2, hexDigits)
			v, _ := strconv.ParseUint(text[i+1:i+1+n], 16, 8) // at most two digits
			b.WriteByte(byte(v))
			i += n
		default:
			b.WriteString(Escape(c))
		}
	}
	return b.String(), false
}

const hexDigits = "0123456789abcdefABCDEF"

func digits(text string, most int, set string) int {
	n := 0
	for n < most && n < len(text) && strings.IndexByte(set, text[n]) >= 0 {
		n++
	}
	return n
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
