package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// humanDuration says about how long something lasted, in Docker's words
// (docker/go-units, HumanDuration).
func humanDuration(d time.Duration) string {
	const day, minute = 24 * time.Hour, time.Minute
	hours := int(d.Hours() + 0.5)
	switch {
	case d < time.Second:
		return "Less than a second"
	case d < 2*time.Second:
		return "1 second"
	case d < minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*minute:
		return "About a minute"
	case d < time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case hours == 1:
		return "About an hour"
	}
	for _, row := range []struct {
		below int
		unit  int
		name  string
	}{
		{48, 1, "hours"},
		{24 * 14, 24, "days"},
		{24 * 60, 24 * 7, "weeks"},
		{24 * 365 * 2, 24 * 30, "months"},
	} {
		if hours < row.below {
			return fmt.Sprintf("%d %s", hours/row.unit, row.name)
		}
	}
	return fmt.Sprintf("%d years", int(d/day)/365)
}

// ago is humanDuration since a moment; empty for the zero time.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return humanDuration(now.Sub(then)) + " ago"
}

// humanSize says about how many bytes there are, with four digits and decimal
// units as docker images does (docker/go-units, HumanSize).
func humanSize(bytes int64) string {
	size := float64(bytes)
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for size >= 1000 && len(units) > 1 {
		size /= 1000
		units = units[1:]
	}
	return fmt.Sprintf("%.4g%s", size, units[0])
}

// shortID is the first 12 digits of an id, without the name of the hash.
func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// ellipsis cuts s to n runes, the last of which then is an ellipsis.
func ellipsis(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// visible shows control characters in place of sending them to a terminal: what
// a container is called is its maker's choice, not the reader's.
func visible(s string) string {
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

// A jsonWriter escapes in JSON what a terminal would act on, and package json
// does not escape. It means the same.
type jsonWriter struct{ to io.Writer }

func (w jsonWriter) Write(b []byte) (int, error) {
	var out []byte
	for rest := b; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if steers(r) && r != '\n' {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, rest[:size]...)
		}
		rest = rest[size:]
	}
	if _, err := w.to.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
