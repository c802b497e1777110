package diagram

import (
	"slices"
	"strings"
	"unicode"
)

// A style is what a piece of text is, which says its colour.
type style uint8

const (
	plain style = iota
	faint
	title
	switchName // of a bridge
	addressStyle
	wrong
	outgoing
	incoming
	outside
)

// colours are the parameters of SGR, ECMA-48 8.3.117.
var colours = [...]string{plain: "", faint: "2", title: "1", switchName: "1;36", addressStyle: "32", wrong: "31", outgoing: "33", incoming: "35", outside: "1;34"}

// The directions in which a line leaves a cell.
const (
	north = 1 << iota
	south
	west
	east
	heavy // a bridge's frame
	dotted
)

// A cell is one place of the terminal.
type cell struct {
	r     rune // 0: only lines
	lines uint8
	style style
}

// A canvas is text that is drawn before it is written. Lines that meet join.
type canvas struct {
	rows  [][]cell
	ascii bool
}

func (c *canvas) at(x, y int) *cell {
	for len(c.rows) <= y {
		c.rows = append(c.rows, nil)
	}
	for len(c.rows[y]) <= x {
		c.rows[y] = append(c.rows[y], cell{})
	}
	return &c.rows[y][x]
}

func (c *canvas) join(x, y int, lines uint8, s style) {
	p := c.at(x, y)
	if p.lines == 0 || s != faint {
		p.style = s
	}
	p.lines |= lines
	p.r = 0
}

// horizontal draws from one cell to the other, both included.
func (c *canvas) horizontal(x, to, y int, how uint8, s style) {
	for ; x < to; x++ {
		c.join(x, y, east|how, s)
		c.join(x+1, y, west|how, s)
	}
}

func (c *canvas) vertical(x, y, to int, how uint8, s style) {
	for ; y < to; y++ {
		c.join(x, y, south|how, s)
		c.join(x, y+1, north|how, s)
	}
}

func (c *canvas) box(x, y, width, height int, how uint8, s style) {
	right, bottom := x+width-1, y+height-1
	c.horizontal(x, right, y, how, s)
	c.horizontal(x, right, bottom, how, s)
	c.vertical(x, y, bottom, how, s)
	c.vertical(right, y, bottom, how, s)
}

// write puts a line of text there and returns the column behind it.
func (c *canvas) write(x, y int, text line) int {
	for _, piece := range text {
		for _, r := range piece.text {
			*c.at(x, y) = cell{r: r, style: piece.style}
			x++
			if wide(r) {
				*c.at(x, y) = cell{r: -1, style: piece.style}
				x++
			}
		}
	}
	return x
}

// glyphs are the lines by the directions that meet; light, heavy. Where both meet,
// the frame of a bridge has the upper hand, but for the four ways out of it.
var (
	light = [16]rune{' ', '╵', '╷', '│', '╴', '┘', '┐', '┤', '╶', '└', '┌', '├', '─', '┴', '┬', '┼'}
	bold  = [16]rune{' ', '╹', '╻', '┃', '╸', '┛', '┓', '┫', '╺', '┗', '┏', '┣', '━', '┻', '┳', '╋'}
	ascii = [16]rune{' ', '|', '|', '|', '-', '+', '+', '+', '-', '+', '+', '+', '-', '+', '+', '+'}
)

func (c *canvas) glyph(p cell) rune {
	ways := p.lines & 15
	switch {
	case p.r != 0:
		return p.r
	case p.lines == 0:
		return ' '
	case c.ascii && p.lines&heavy != 0 && ways == west|east:
		return '='
	case c.ascii && p.lines&dotted != 0 && ways == west|east:
		return '.'
	case c.ascii:
		return ascii[ways]
	case p.lines&heavy != 0 && ways == north|south|east:
		return '┠'
	case p.lines&heavy != 0 && ways == north|south|west:
		return '┨'
	case p.lines&heavy != 0 && ways == west|east|north:
		return '┷'
	case p.lines&heavy != 0:
		return bold[ways]
	case p.lines&dotted != 0 && ways == west|east:
		return '╌'
	}
	return light[ways]
}

// String is the canvas as text, with or without colours.
func (c *canvas) text(colour bool) string {
	var b strings.Builder
	for _, row := range c.rows {
		var lineText strings.Builder
		now := plain
		for _, p := range trimmed(row) {
			if p.r == -1 {
				continue
			}
			if colour && p.style != now {
				lineText.WriteString("\x1b[0m")
				if colours[p.style] != "" {
					lineText.WriteString("\x1b[" + colours[p.style] + "m")
				}
				now = p.style
			}
			lineText.WriteRune(c.glyph(p))
		}
		if now != plain {
			lineText.WriteString("\x1b[0m")
		}
		b.WriteString(lineText.String() + "\n")
	}
	return b.String()
}

func trimmed(row []cell) []cell {
	for len(row) > 0 && (row[len(row)-1].r == 0 || row[len(row)-1].r == ' ') && row[len(row)-1].lines == 0 {
		row = row[:len(row)-1]
	}
	return row
}

// A piece is text of one style; a line of them is what is written at once.
type piece struct {
	text  string
	style style
}

type line []piece

func (l line) width() (n int) {
	for _, p := range l {
		n += width(p.text)
	}
	return n
}

func width(s string) (n int) {
	for _, r := range s {
		n++
		if wide(r) {
			n++
		}
	}
	return n
}

// wide reports whether a terminal gives the character two columns.
func wide(r rune) bool {
	return r >= 0x1100 && (unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) ||
		0x3000 <= r && r <= 0x303f || 0xff01 <= r && r <= 0xff60 || 0x1f300 <= r && r <= 0x1faff)
}

// cut is the line with at most so many columns.
func (l line) cut(columns int) line {
	var short line
	for i, p := range l {
		used := short.width()
		if used+width(p.text) < columns || used+width(p.text) == columns && i == len(l)-1 {
			short = append(short, p)
			continue
		}
		return append(short, piece{cut(p.text, columns-used), p.style})
	}
	return short
}

// wrap breaks the line between its pieces and at spaces, and in a word where it must.
// What follows the first line is indented.
func (l line) wrap(columns, indent int) []line {
	if l.width() <= columns {
		return []line{l}
	}
	indent = min(indent, columns/2)
	var lines []line
	now, used := line{}, 0
	for _, word := range l.words() {
		for used+width(strings.TrimRight(word.text, " ")) > columns {
			if used > 0 && len(now) > 0 && now.hasWords() {
				used = max(0, min(indent, columns-width(word.text)))
				lines, now = append(lines, now), line{{strings.Repeat(" ", used), plain}}
				continue
			}
			head, rest := splitAt(word.text, columns-used)
			lines, now, used = append(lines, append(now, piece{head, word.style})), line{{strings.Repeat(" ", indent), plain}}, indent
			word.text = rest
		}
		now, used = append(now, word), used+width(word.text)
	}
	return append(lines, now)
}

// hasWords reports whether there is more than spaces in the line.
func (l line) hasWords() bool {
	return slices.ContainsFunc(l, func(p piece) bool { return strings.TrimSpace(p.text) != "" })
}

// words splits the line behind each space.
func (l line) words() (words line) {
	for _, p := range l {
		for text := range strings.SplitAfterSeq(p.text, " ") {
			if text != "" {
				words = append(words, piece{text, p.style})
			}
		}
	}
	return words
}

// splitAt splits a text behind as much of it as fits, at least one character.
func splitAt(s string, columns int) (head, rest string) {
	n := 0
	for i, r := range s {
		n += width(string(r))
		if n > columns && i > 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}
