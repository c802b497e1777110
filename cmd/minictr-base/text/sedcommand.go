package text

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/pattern"
)

func (p *sedParser) substitution(c *sedCommand) error {
	delimiter := p.peek()
	text, err := p.delimited()
	if err != nil {
		return err
	}
	p.at-- // the delimiter in the middle begins the second half
	if c.replace, err = p.delimitedRaw(delimiter); err != nil {
		return err
	}
	fold := false
	for {
		switch f := p.peek(); {
		case f == 'g':
			c.global = true
		case f == 'p':
			c.print = true
		case f == 'i' || f == 'I':
			fold = true
		case f == 'm' || f == 'M':
			text = "(?m)" + text
		case f >= '1' && f <= '9':
			c.nth = p.number()
			continue
		case f == 'w':
			p.at++
			p.skip(" \t")
			c.text = p.line()
			continue
		default:
			if text == "" {
				c.reuse = true
				return p.endOfCommand()
			}
			multi := strings.HasPrefix(text, "(?m)")
			re, err := pattern.Compile(strings.TrimPrefix(text, "(?m)"), pattern.Options{Extended: p.extended, IgnoreCase: fold, Multiline: multi})
			if err != nil {
				return err
			}
			c.re = re
			return p.endOfCommand()
		}
		p.at++
	}
}

// delimitedRaw reads a replacement: a backslash stays with what follows it.
func (p *sedParser) delimitedRaw(delimiter byte) (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case '\\':
			p.at++
		case delimiter:
			text := p.text[start:p.at]
			p.at++
			if delimiter != '&' && (delimiter < '0' || delimiter > '9') && delimiter != 'n' {
				text = strings.ReplaceAll(text, `\`+string(delimiter), string(delimiter))
			}
			return text, nil
		}
		p.at++
	}
	return "", fmt.Errorf("a %c is missing", delimiter)
}

func (p *sedParser) transliteration(c *sedCommand) error {
	delimiter := p.peek()
	from, err := p.delimited()
	if err != nil {
		return err
	}
	p.at--
	to, err := p.delimitedRaw(delimiter)
	if err != nil {
		return err
	}
	from, _ = applet.Unescape(from)
	to, _ = applet.Unescape(to)
	c.text, c.to2 = from, []rune(to)
	if len([]rune(from)) != len(c.to2) {
		return errors.New("the two halves of y differ in length")
	}
	return p.endOfCommand()
}
