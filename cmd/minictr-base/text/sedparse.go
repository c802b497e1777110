package text

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/pattern"
)

// A sedAddress is a line number, $, or a pattern.
type sedAddress struct {
	line int
	step int  // first~step
	last bool // $
	re   *regexp.Regexp
	same bool // the pattern used last: //
	plus int  // addr1,+N
}

// A sedCommand is one command; braces are jumps.
type sedCommand struct {
	from, to *sedAddress
	not      bool
	name     byte
	text     string // of a, i, c; the label; the file; the set of y
	jump     int    // of b, t, T and of { that does not match
	re       *regexp.Regexp
	reuse    bool // s//…/
	replace  string
	global   bool
	print    bool
	nth      int
	to2      []rune // of y
	code     int
}

// A sedParser reads a script.
type sedParser struct {
	text     string
	at       int
	extended bool
	program  []sedCommand
	labels   map[string]int
	open     []int // { that wait for their }
}

// parseSed reads a script. quiet is what "#n" on its first line says.
func parseSed(script string, extended bool) (program []sedCommand, quiet bool, err error) {
	p := &sedParser{text: script, extended: extended, labels: map[string]int{}}
	quiet = script == "#n" || strings.HasPrefix(script, "#n\n")
	for err == nil && p.skip(" \t\n;") {
		err = p.command()
	}
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("script, character %d: %w", p.at, err)
	case len(p.open) > 0:
		return nil, false, errors.New("script: a } is missing")
	}
	for i, c := range p.program {
		if strings.IndexByte("btT", c.name) < 0 || c.name == 0 {
			continue
		}
		target, ok := p.labels[c.text]
		if c.text == "" {
			target, ok = len(p.program), true
		}
		if !ok {
			return nil, false, fmt.Errorf("script: no label %q", c.text)
		}
		p.program[i].jump = target
	}
	return p.program, quiet, nil
}

// skip passes over characters of the set, and reports whether there is more.
func (p *sedParser) skip(set string) bool {
	for p.at < len(p.text) && strings.IndexByte(set, p.text[p.at]) >= 0 {
		p.at++
	}
	return p.at < len(p.text)
}

func (p *sedParser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *sedParser) command() error {
	var c sedCommand
	var err error
	if c.from, err = p.address(); err != nil {
		return err
	}
	p.skip(" \t")
	if c.from != nil && p.peek() == ',' {
		p.at++
		p.skip(" \t")
		if c.to, err = p.address(); err != nil {
			return err
		}
		if c.to == nil {
			return errors.New("an address is missing behind the comma")
		}
	}
	for p.skip(" \t") && p.peek() == '!' {
		c.not = true
		p.at++
	}
	if p.at >= len(p.text) {
		return errors.New("a command is missing")
	}
	c.name = p.text[p.at]
	p.at++
	return p.arguments(c)
}

// address reads an address, or returns nil where there is none.
func (p *sedParser) address() (*sedAddress, error) {
	switch c := p.peek(); {
	case c >= '0' && c <= '9':
		a := &sedAddress{line: p.number()}
		if p.peek() == '~' {
			p.at++
			a.step = p.number()
		}
		return a, nil
	case c == '+':
		p.at++
		return &sedAddress{plus: p.number()}, nil
	case c == '$':
		p.at++
		return &sedAddress{last: true}, nil
	case c == '/' || c == '\\':
		if c == '\\' {
			p.at++
		}
		text, err := p.delimited()
		if err != nil {
			return nil, err
		}
		fold := false
		if p.peek() == 'I' {
			p.at++
			fold = true
		}
		if text == "" {
			return &sedAddress{same: true}, nil
		}
		re, err := pattern.Compile(text, pattern.Options{Extended: p.extended, IgnoreCase: fold})
		return &sedAddress{re: re}, err
	}
	return nil, nil
}

func (p *sedParser) number() int {
	start := p.at
	for p.peek() >= '0' && p.peek() <= '9' {
		p.at++
	}
	n, _ := strconv.Atoi(p.text[start:p.at]) // digits only
	return n
}

// delimited reads up to the next delimiter, which is the character it begins
// with. A delimiter behind a backslash is that character; in brackets too.
func (p *sedParser) delimited() (string, error) {
	if p.at >= len(p.text) || p.text[p.at] == '\n' || p.text[p.at] == '\\' {
		return "", errors.New("a delimiter is missing")
	}
	delimiter := p.text[p.at]
	p.at++
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == delimiter:
			return b.String(), nil
		case c == '\\' && p.at < len(p.text):
			if next := p.text[p.at]; next == delimiter && strings.IndexByte("+?(){}|", next) < 0 {
				b.WriteByte(next)
			} else {
				b.WriteByte('\\')
				b.WriteByte(next)
			}
			p.at++
		case c == '[' && delimiter != '[':
			p.at--
			p.brackets(&b, delimiter)
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("a %c is missing", delimiter)
}

// brackets copies a bracket expression, if it is closed before the line ends.
func (p *sedParser) brackets(b *strings.Builder, delimiter byte) {
	i := p.at + 1
	if i < len(p.text) && p.text[i] == '^' {
		i++
	}
	if i < len(p.text) && p.text[i] == ']' {
		i++
	}
	for i < len(p.text) && p.text[i] != ']' && p.text[i] != '\n' && p.text[i] != delimiter {
		if p.text[i] == '[' && i+1 < len(p.text) && strings.IndexByte(":.=", p.text[i+1]) >= 0 {
			if end := strings.Index(p.text[i:], string(p.text[i+1])+"]"); end > 0 {
				i += end + 1
			}
		}
		i++
	}
	if i < len(p.text) && p.text[i] == ']' {
		b.WriteString(p.text[p.at : i+1])
		p.at = i + 1
		return
	}
	b.WriteByte('[')
	p.at++
}

// arguments reads what belongs to the command and adds it.
func (p *sedParser) arguments(c sedCommand) error {
	var err error
	switch c.name {
	case '#':
		p.line()
		return nil
	case '{':
		p.open = append(p.open, len(p.program))
		p.program = append(p.program, c)
		return nil
	case '}':
		if len(p.open) == 0 {
			return errors.New("an unexpected }")
		}
		p.program[p.open[len(p.open)-1]].jump = len(p.program)
		p.open = p.open[:len(p.open)-1]
		return p.endOfCommand()
	case ':':
		p.labels[strings.TrimSpace(p.word())] = len(p.program)
		return nil
	case 'b', 't', 'T':
		c.text = strings.TrimSpace(p.word())
	case 'a', 'i', 'c':
		c.text = p.textLines()
	case 'r', 'w', 'R', 'W':
		p.skip(" \t")
		c.text = p.line()
	case 'q', 'Q':
		p.skip(" \t")
		c.code = p.number()
		err = p.endOfCommand()
	case 's':
		err = p.substitution(&c)
	case 'y':
		err = p.transliteration(&c)
	case '=', 'd', 'D', 'g', 'G', 'h', 'H', 'l', 'n', 'N', 'p', 'P', 'x', 'z', 'F':
		err = p.endOfCommand()
	default:
		err = fmt.Errorf("command %q is unknown", c.name)
	}
	p.program = append(p.program, c)
	return err
}

func (p *sedParser) endOfCommand() error {
	p.skip(" \t")
	switch p.peek() {
	case 0, '\n', ';', '}', '#':
		return nil
	}
	return fmt.Errorf("%q is not expected behind the command", p.peek())
}

// line reads the rest of the line.
func (p *sedParser) line() string {
	text, _, _ := strings.Cut(p.text[p.at:], "\n")
	p.at += len(text)
	return text
}

// word reads a label: up to a semicolon or the end of the line.
func (p *sedParser) word() string {
	i := strings.IndexAny(p.text[p.at:], ";\n}")
	if i < 0 {
		i = len(p.text) - p.at
	}
	text := p.text[p.at : p.at+i]
	p.at += i
	return text
}

// textLines reads the text of a, i and c: "a text", or "a\" and the next lines.
func (p *sedParser) textLines() string {
	p.skip(" \t")
	if p.peek() == '\\' {
		p.at++
		p.skip(" \t")
		if p.peek() == '\n' {
			p.at++
		}
	}
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		if c == '\n' {
			break
		}
		if c == '\\' && p.at < len(p.text) {
			c = p.text[p.at]
			p.at++
			if c == 't' {
				c = '\t'
			}
		}
		b.WriteByte(c)
	}
	return b.String() + "\n"
}
