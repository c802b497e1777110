package terminal

import (
	"errors"
	"reflect"
	"strings"
)

// Visible shows control characters as question marks in place of sending them to a
// terminal.
func Visible(s string) string {
	return strings.Map(func(r rune) rune {
		if steers(r) {
			return '?'
		}
		return r
	}, s)
}

// steers reports whether a terminal would act on the character instead of
// showing it: the control characters of ASCII and of ISO 6429 (U+009B begins a
// sequence as ESC [ does), those that break lines, and those that turn the order
// of a line round (Unicode Standard Annex 9), so that it reads as another.
func steers(r rune) bool {
	return r < ' ' || 0x7f <= r && r < 0xa0 || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069
}

// Ellipsis cuts s to n runes, the last of which then is an ellipsis.
func Ellipsis(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// OneLine keeps what an image or a file is called from breaking the line, and
// from filling the screen.
func OneLine(text string) string { return Ellipsis(Visible(strings.TrimSpace(text)), 1000) }

// Joined takes an errors.Join apart, so that each error has its line.
func Joined(err error) []error {
	if reflect.TypeOf(err) != reflect.TypeOf(errors.Join(err)) {
		return []error{err} // what wraps others has words of its own
	}
	var list []error
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		list = append(list, Joined(e)...)
	}
	return list
}
