package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseMoment reads --since and --until as docker logs does: a duration before
// now ("10m", "1h30m"), a date with or without time and zone (RFC 3339; without
// a zone it is the caller's), or seconds since 1970.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if seconds, fraction, _ := strings.Cut(text, "."); strings.Trim(text, "0123456789.") == "" {
		whole, err := strconv.ParseInt(seconds, 10, 64)
		nanoseconds, err2 := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
		if err == nil && err2 == nil {
			return time.Unix(whole, nanoseconds), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 10m nor a time such as 2026-01-02T15:04:05Z", text)
}
