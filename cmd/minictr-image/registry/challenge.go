package registry

import (
	"net/http"
	"strings"
)

// A challenge is one way to prove who is asking (RFC 9110, 11.6.1).
type challenge struct {
	scheme     string // lower case: "basic", "bearer"
	parameters map[string]string
}

// challengesOf reads every WWW-Authenticate header of an answer. What cannot be
// read ends the header that it stands in.
func challengesOf(h http.Header) []challenge {
	var list []challenge
	for _, value := range h.Values("WWW-Authenticate") {
		list = append(list, parseChallenges(value)...)
	}
	return list
}

// parseChallenges reads `Basic realm="x", Bearer realm="…",service="…"`: after a
// comma stands either another parameter or another scheme, which has no "=".
func parseChallenges(s string) []challenge {
	var list []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		word := tokenAt(s)
		if word == "" {
			return list
		}
		s = s[len(word):]
		value, isParameter := strings.CutPrefix(strings.TrimLeft(s, " \t"), "=")
		if !isParameter {
			list = append(list, challenge{strings.ToLower(word), map[string]string{}})
			continue
		}
		var ok bool
		if value, s, ok = valueAt(strings.TrimLeft(value, " \t")); !ok || len(list) == 0 {
			return list
		}
		list[len(list)-1].parameters[strings.ToLower(word)] = value
	}
}

// tokenAt is the token (RFC 9110, 5.6.2) at the beginning of s, or empty.
func tokenAt(s string) string {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return s[:i]
		}
	}
	return s
}

// valueAt reads a token or a quoted string, and returns what follows.
func valueAt(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value = tokenAt(s)
		return value, s[len(value):], value != ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// pick returns the challenge that we can answer; ok is false when there is none.
func pick(list []challenge) (c challenge, ok bool) {
	for _, scheme := range []string{"bearer", "basic"} {
		for _, c := range list {
			if c.scheme == scheme {
				return c, true
			}
		}
	}
	return challenge{}, false
}
