package text

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A pager shows text page by page: the space bar the next page, Enter the next
// line, b the page before, g and G the beginning and the end, / a search, q the end.
type pager struct {
	lines         []string
	top           int
	height, width int
	out           *bufio.Writer
	keys          *bufio.Reader
	name          string
}

func more(c *applet.Call) error {
	o, err := c.Options("RFXSNEeinsd")
	if err != nil {
		return err
	}
	out, isFile := c.Out.(*os.File)
	if !isFile || !term.IsTerminal(int(out.Fd())) {
		return eachFile(c, o.Args, func(_ string, r io.Reader) error { _, err := io.Copy(c.Out, r); return err })
	}
	if len(o.Args) == 0 && term.IsTerminal(0) {
		return applet.UsageError("no file")
	}
	p := &pager{name: strings.Join(o.Args, " "), out: bufio.NewWriter(out)}
	if p.lines, err = allLines(c, o.Args, '\n'); err != nil {
		return err
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return err
	}
	defer tty.Close()
	before, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(tty.Fd()), before) }() // a terminal that is gone needs nothing
	p.keys = bufio.NewReader(tty)
	p.width, p.height = 80, 24
	if w, h, err := term.GetSize(int(out.Fd())); err == nil && h > 2 {
		p.width, p.height = w, h
	}
	return p.run()
}

func (p *pager) page() int { return p.height - 1 }

func (p *pager) run() error {
	if len(p.lines) <= p.page() {
		p.show(0, len(p.lines))
		return p.out.Flush()
	}
	p.show(0, p.page())
	for {
		end := p.top + p.page()
		status := fmt.Sprintf("%s %d%%", p.name, min(100, end*100/len(p.lines)))
		if end >= len(p.lines) {
			status = p.name + " (END)"
		}
		fmt.Fprintf(p.out, "\x1b[7m%s\x1b[0m", strings.TrimSpace(status))
		if err := p.out.Flush(); err != nil {
			return err
		}
		key, err := p.key()
		fmt.Fprint(p.out, "\r\x1b[K")
		if err != nil || key == "q" || key == "\x03" || key == "Q" {
			return errors.Join(ignoreEOF(err), p.out.Flush())
		}
		p.act(key)
	}
}

// key reads a key; one that a terminal sends as a sequence is that sequence.
func (p *pager) key() (string, error) {
	b, err := p.keys.ReadByte()
	if err != nil || b != 0x1b || p.keys.Buffered() == 0 {
		return string(rune(b)), err
	}
	sequence := "\x1b"
	for p.keys.Buffered() > 0 {
		b, err := p.keys.ReadByte()
		if err != nil {
			return sequence, err
		}
		sequence += string(rune(b))
		if b >= 'A' && b <= 'Z' || b == '~' {
			break
		}
	}
	return sequence, nil
}

func (p *pager) act(key string) {
	last := max(0, len(p.lines)-p.page())
	switch key {
	case " ", "f", "\x1b[6~":
		p.forward(min(p.page(), last-p.top))
	case "\r", "\n", "j", "\x1b[B":
		p.forward(min(1, last-p.top))
	case "d":
		p.forward(min(p.page()/2, last-p.top))
	case "b", "\x1b[5~":
		p.redraw(max(0, p.top-p.page()))
	case "k", "\x1b[A":
		p.redraw(max(0, p.top-1))
	case "u":
		p.redraw(max(0, p.top-p.page()/2))
	case "g", "<":
		p.redraw(0)
	case "G", ">":
		p.redraw(last)
	case "/":
		p.search()
	}
}

func (p *pager) forward(n int) {
	if n > 0 {
		p.show(p.top+p.page(), p.top+p.page()+n)
		p.top += n
	}
}

func (p *pager) redraw(top int) {
	p.top = top
	fmt.Fprint(p.out, "\x1b[H\x1b[J")
	p.show(top, top+p.page())
}

func (p *pager) show(from, to int) {
	for _, line := range p.lines[min(from, len(p.lines)):min(to, len(p.lines))] {
		runes := []rune(line)
		if len(runes) > p.width {
			line = string(runes[:p.width-1]) + ">"
		}
		fmt.Fprintf(p.out, "%s\r\n", line)
	}
}

func (p *pager) search() {
	var word []byte
	fmt.Fprint(p.out, "/")
	for {
		_ = p.out.Flush() // the next key says whether the terminal is gone
		b, err := p.keys.ReadByte()
		if err != nil || b == '\r' || b == '\n' {
			break
		}
		if b == 0x7f && len(word) > 0 {
			word = word[:len(word)-1]
			fmt.Fprint(p.out, "\b \b")
			continue
		}
		word = append(word, b)
		fmt.Fprintf(p.out, "%c", b)
	}
	fmt.Fprint(p.out, "\r\x1b[K")
	for i := p.top + 1; i < len(p.lines) && len(word) > 0; i++ {
		if strings.Contains(p.lines[i], string(word)) {
			p.redraw(min(i, max(0, len(p.lines)-p.page())))
			return
		}
	}
}
