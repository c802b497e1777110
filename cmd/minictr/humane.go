package main

import (
	"fmt"
	"strings"
	"time"
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
