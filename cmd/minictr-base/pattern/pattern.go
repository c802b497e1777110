// Package pattern reads the regular expressions of POSIX, basic and extended
// with GNU's additions, and the globs of a shell, and hands them to package
// regexp.
//
// What regexp cannot do is said as an error: a back-reference inside a pattern.
// Matches are the leftmost longest, as POSIX has it.
package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Options say how a pattern is read.
type Options struct {
	Extended   bool // ( ) { } + ? | are special without a backslash
	Fixed      bool // nothing is special
	IgnoreCase bool
	Word, Line bool // only whole words, whole lines
	Multiline  bool // ^ and $ match at newlines, too
}

// Compile compiles a POSIX regular expression.
func Compile(text string, o Options) (*regexp.Regexp, error) {
	translated, err := translate(text, o)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", text, err)
	}
	switch {
	case o.Line:
		translated = `^(?:` + translated + `)$`
	case o.Word:
		translated = `(?:\b|^)(?:` + translated + `)(?:\b|$)`
	}
	if o.Multiline {
		translated = "(?m)" + translated
	} else {
		translated = "(?s)" + translated
	}
	if o.IgnoreCase {
		translated = "(?i)" + translated
	}
	re, err := regexp.Compile(translated)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %s", text, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	re.Longest()
	return re, nil
}

func translate(text string, o Options) (string, error) {
	if o.Fixed {
		return regexp.QuoteMeta(text), nil
	}
	t := &translator{in: text, extended: o.Extended, start: true}
	for t.at < len(t.in) {
		if err := t.one(); err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

// A translator turns a POSIX expression into one of package regexp.
type translator struct {
	in       string
	at       int
	out      strings.Builder
	extended bool
	start    bool // at the beginning of an expression, where * is a star
}

// one translates the next element.
func (t *translator) one() error {
	c := t.in[t.at]
	switch {
	case c == '[':
		return t.bracket()
	case c == '\\':
		return t.escaped()
	case t.extended:
		t.at++
		if strings.IndexByte("*+?{", c) >= 0 && t.start || c == '{' && !isInterval(t.in[t.at-1:]) {
			t.out.WriteString(`\` + string(c))
			t.start = false
			return nil
		}
		t.out.WriteByte(c)
		t.start = c == '(' || c == '|' || c == '^' && t.start
		return nil
	}
	t.basic(c)
	return nil
}

// basic translates a character of a basic expression, where the signs of the
// extended ones are plain, and ^ $ * are where they can mean nothing.
func (t *translator) basic(c byte) {
	t.at++
	rest := t.in[t.at:]
	special := false
	switch c {
	case '^':
		special = t.start
	case '$':
		special = rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`)
	case '*':
		special = !t.start
	case '.':
		special = true
	}
	if special {
		t.out.WriteByte(c)
	} else {
		t.out.WriteString(regexp.QuoteMeta(string(c)))
	}
	t.start = t.start && c == '^'
}

// isInterval reports whether a { begins a repetition.
func isInterval(text string) bool {
	body, _, ok := strings.Cut(text[1:], "}")
	return ok && body != "" && strings.Trim(body, "0123456789,") == ""
}

func (t *translator) escaped() error {
	if t.at+1 >= len(t.in) {
		return errors.New("ends with a backslash")
	}
	c := t.in[t.at+1]
	t.at += 2
	start := t.start
	t.start = false
	switch {
	case c >= '1' && c <= '9':
		return errors.New("back-references in a pattern are not supported")
	case c == '<' || c == '>':
		t.out.WriteString(`\b`)
	case c == '`':
		t.out.WriteString(`\A`)
	case c == '\'':
		t.out.WriteString(`\z`)
	case strings.IndexByte("wWsSbBnt", c) >= 0:
		t.out.WriteByte('\\')
		t.out.WriteByte(c)
	case !t.extended && strings.IndexByte("(){}|+?", c) >= 0:
		t.start = c == '(' || c == '|'
		if start && (c == '{' || c == '+' || c == '?') {
			t.out.WriteByte('\\')
		}
		t.out.WriteByte(c)
	default:
		t.out.WriteString(regexp.QuoteMeta(string(c)))
	}
	return nil
}

// bracket translates [...], in which a backslash is a character like another.
func (t *translator) bracket() error {
	i := t.at + 1
	out := "["
	if i < len(t.in) && t.in[i] == '^' {
		out += "^"
		i++
	}
	for first := true; ; first = false {
		if i >= len(t.in) {
			return errors.New("a ] is missing")
		}
		c := t.in[i]
		if c == ']' && !first {
			break
		}
		if c == '[' && i+1 < len(t.in) && strings.IndexByte(":.=", t.in[i+1]) >= 0 {
			kind := t.in[i+1 : i+2]
			body, _, ok := strings.Cut(t.in[i+2:], kind+"]")
			if !ok {
				return errors.New("a " + kind + "] is missing")
			}
			if kind == ":" {
				out += "[:" + body + ":]"
			} else {
				out += regexp.QuoteMeta(body)
			}
			i += len(body) + 4
			continue
		}
		switch {
		case c == '\\' && i+1 < len(t.in) && strings.IndexByte("nt", t.in[i+1]) >= 0: // GNU: \n is a newline here, too
			out += `\` + t.in[i+1:i+2]
			i++
		case strings.IndexByte(`\[]&~`, c) >= 0 || c == '^':
			out += `\` + string(c)
		default:
			out += t.in[i : i+1]
		}
		i++
	}
	t.out.WriteString(out + "]")
	t.at = i + 1
	t.start = false
	return nil
}

// Glob turns a shell's pattern into an anchored regular expression.
func Glob(glob string) string {
	var b strings.Builder
	b.WriteString("^")
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		case '\\':
			if i+1 < len(glob) {
				i++
			}
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		case '[':
			end := strings.IndexByte(glob[min(i+2, len(glob)):], ']')
			if end < 0 {
				b.WriteString(`\[`)
				continue
			}
			body := glob[i+1 : i+2+end]
			if body[0] == '!' {
				body = "^" + body[1:]
			}
			b.WriteString("[" + strings.ReplaceAll(body, `\`, `\\`) + "]")
			i += end + 2
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	return b.String() + "$"
}
