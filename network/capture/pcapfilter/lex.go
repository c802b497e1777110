package pcapfilter

import (
	"net/netip"
	"regexp"
	"strings"
)

// A word of an expression. Where it stands is for the error's text.
type word struct {
	kind kind
	text string
	at   int
}

type kind int

const (
	end kind = iota
	symbol
	number
	name    // a keyword, a host, a port's name
	address // of IPv4, perhaps cut short: 10.1
	address6
	mac
)

var (
	symbolForm  = regexp.MustCompile(`^(<<|>>|<=|>=|==|!=|&&|\|\||[][()!<>=&|^+*/%:-])`)
	numberForm  = regexp.MustCompile(`^(0[xX][0-9a-fA-F]+|[0-9]+)`)
	nameForm    = regexp.MustCompile(`^\\?[A-Za-z_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?`)
	addressForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+){1,3}`)
	macForm     = regexp.MustCompile(`^[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}`)
	colonForm   = regexp.MustCompile(`^[0-9a-fA-F:]*:[0-9a-fA-F:.]*`)
)

// lex takes an expression apart.
func lex(text string) ([]word, error) {
	var words []word
	for at := 0; at < len(text); {
		if strings.ContainsRune(" \t\r\n", rune(text[at])) {
			at++
			continue
		}
		w := first(text[at:])
		if w.text == "" {
			return nil, &Error{Text: text, At: at, Cause: "this character means nothing here"}
		}
		w.at = at
		words = append(words, w)
		at += len(w.text)
	}
	return append(words, word{kind: end, at: len(text)}), nil
}

// first is the word at the beginning: what is longest wins, as with "fd00::1", which
// begins like a name, and "tcp-syn".
func first(text string) word {
	if colons := colonForm.FindString(text); strings.Count(colons, ":") > 1 {
		if m := macForm.FindString(text); len(m) == len(colons) {
			return word{kind: mac, text: m}
		}
		if _, err := netip.ParseAddr(colons); err == nil {
			return word{kind: address6, text: colons}
		}
	}
	for _, form := range []struct {
		kind kind
		form *regexp.Regexp
	}{{symbol, symbolForm}, {address, addressForm}, {number, numberForm}, {name, nameForm}} {
		if found := form.form.FindString(text); found != "" {
			return word{kind: form.kind, text: found}
		}
	}
	return word{}
}
