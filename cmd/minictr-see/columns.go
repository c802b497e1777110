package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/terminal"
)

// columns prints a table, one space between the columns, as lsns and ps do. Align has
// a letter for each: r for right. On a terminal no line is longer than a line of it.
func (a *app) columns(table [][]string, align string) {
	var widths []int
	for _, line := range table {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	most := 0
	if size, err := unix.IoctlGetWinsize(int(a.out.Fd()), unix.TIOCGWINSZ); err == nil {
		most = int(size.Col)
	}
	for _, line := range table {
		var b strings.Builder
		for i, cell := range line {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				b.WriteByte(' ')
			}
			if i < len(align) && align[i] == 'r' {
				cell, space = space+cell, ""
			}
			b.WriteString(cell + space)
		}
		text := strings.TrimRight(b.String(), " ")
		if most > 1 {
			text = terminal.Ellipsis(text, most)
		}
		fmt.Fprintln(a.out, text)
	}
}
