package applet

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// layouts are the forms of a time that people type.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05", "2006-01-02 15:04",
	"2006-01-02T15:04", "2006-01-02", "200601021504.05", "200601021504", "0601021504", "15:04:05", "15:04",
	time.RFC1123, time.RFC1123Z, time.UnixDate, time.ANSIC, "Jan 2 2006 15:04:05", "2 Jan 2006 15:04:05", "2 Jan 2006", "Jan 2 2006",
}

// ParseTime reads a point in time: "@1700000000", "now", "yesterday", "2 hours
// ago", "+3 days", or a date in one of the usual forms, in the local zone.
func ParseTime(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "now", "today", "":
		return now, nil
	case "yesterday":
		return now.AddDate(0, 0, -1), nil
	case "tomorrow":
		return now.AddDate(0, 0, 1), nil
	}
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		f, err := strconv.ParseFloat(seconds, 64)
		if err == nil {
			whole := int64(f)
			return time.Unix(whole, int64((f-float64(whole))*1e9)), nil
		}
	}
	if t, ok := parseRelative(text, now); ok {
		return t, nil
	}
	for _, layout := range layouts {
		t, err := time.ParseInLocation(layout, text, time.Local)
		if err != nil {
			continue
		}
		if strings.HasPrefix(layout, "15:") {
			y, m, d := now.Date()
			t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, time.Local)
		}
		return t, nil
	}
	return now, fmt.Errorf("%q is no time that I know", text)
}

// parseRelative reads "3 days ago", "+2 hours", "1 week".
func parseRelative(text string, now time.Time) (time.Time, bool) {
	words := strings.Fields(text)
	ago := 1
	if len(words) > 0 && words[len(words)-1] == "ago" {
		ago, words = -1, words[:len(words)-1]
	}
	if len(words) != 2 {
		return now, false
	}
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return now, false
	}
	n *= ago
	switch strings.TrimSuffix(words[1], "s") {
	case "second", "sec":
		return now.Add(time.Duration(n) * time.Second), true
	case "minute", "min":
		return now.Add(time.Duration(n) * time.Minute), true
	case "hour":
		return now.Add(time.Duration(n) * time.Hour), true
	case "day":
		return now.AddDate(0, 0, n), true
	case "week":
		return now.AddDate(0, 0, 7*n), true
	case "month":
		return now.AddDate(0, n, 0), true
	case "year":
		return now.AddDate(n, 0, 0), true
	}
	return now, false
}
