package text

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func echo(c *applet.Call) error {
	args := c.Args
	newline, escapes := true, false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], "neE") == "" {
		for _, letter := range args[0][1:] {
			switch letter {
			case 'n':
				newline = false
			case 'e':
				escapes = true
			case 'E':
				escapes = false
			}
		}
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if escapes {
		var stop bool
		text, stop = applet.Unescape(text)
		newline = newline && !stop
	}
	if newline {
		text += "\n"
	}
	_, err := fmt.Fprint(c.Out, text)
	return err
}

func yes(c *applet.Call) error {
	line := strings.Join(c.Args, " ")
	if line == "" {
		line = "y"
	}
	page := []byte(strings.Repeat(line+"\n", 1+4096/len(line)))
	for {
		if _, err := c.Out.Write(page); err != nil {
			return err
		}
	}
}

func seq(c *applet.Call) error {
	call := *c
	for i, arg := range call.Args { // a negative number is no flag
		if arg != "" && arg[0] != '-' {
			break // behind a number all are numbers
		}
		if len(arg) > 1 && arg[0] == '-' && (isDigit(arg[1]) || arg[1] == '.') {
			call.Args = append(append(append([]string(nil), call.Args[:i]...), "--"), call.Args[i:]...)
			break
		}
	}
	o, err := call.Options("+ws:f:", "equal-width=w", "separator=s", "format=f")
	if err != nil {
		return err
	}
	if len(o.Args) < 1 || len(o.Args) > 3 {
		return applet.UsageError("needs one to three numbers")
	}
	numbers := []float64{1, 1, 1}
	precision, width := 0, 0
	for i, text := range o.Args {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return applet.UsageError(fmt.Sprintf("%q is not a number", text))
		}
		at := i
		if i == len(o.Args)-1 {
			at = 2
		}
		numbers[at] = n
		if _, digits, ok := strings.Cut(text, "."); ok && at < 2 {
			precision = max(precision, len(digits))
		}
		width = max(width, len(text))
	}
	first, step, last := numbers[0], numbers[1], numbers[2]
	if step == 0 {
		return applet.UsageError("the step is 0")
	}
	format := fmt.Sprintf("%%.%df", precision)
	if o.Has("w") {
		format = fmt.Sprintf("%%0%d.%df", width, precision)
	}
	if o.Has("f") {
		format = strings.ReplaceAll(o.Value("f", ""), "%g", "%.6g")
	}
	w := bufio.NewWriter(c.Out)
	separator, _ := applet.Unescape(o.Value("s", "\n"))
	any := false
	for i := 0; ; i++ {
		n := first + float64(i)*step
		if step > 0 && n > last+1e-9 || step < 0 && n < last-1e-9 {
			break
		}
		if any {
			fmt.Fprint(w, separator)
		}
		any = true
		if _, err := fmt.Fprintf(w, format, n); err != nil {
			return err
		}
	}
	if any {
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// A printfRun is one run of printf.
type printfRun struct {
	c    *applet.Call
	w    *bufio.Writer
	args []string
	bad  bool
	stop bool
	used bool // an argument in this round
}

func printfApplet(c *applet.Call) error {
	args := c.Args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return applet.UsageError("no format")
	}
	p := &printfRun{c: c, w: bufio.NewWriter(c.Out), args: args[1:]}
	for {
		p.used = false
		err := p.round(args[0])
		if err != nil {
			return errors.Join(err, p.w.Flush())
		}
		if len(p.args) == 0 || !p.used || p.stop {
			break
		}
	}
	if err := p.w.Flush(); err != nil {
		return err
	}
	return failed(p.bad)
}

// round goes through the format once.
func (p *printfRun) round(format string) error {
	for i := 0; i < len(format) && !p.stop; i++ {
		switch c := format[i]; {
		case c == '\\':
			n := min(len(format), i+2)
			for n < len(format) && n < i+5 && isDigit(format[n]) && isDigit(format[i+1]) || n < len(format) && format[i+1] == 'x' && n < i+4 && strings.IndexByte("0123456789abcdefABCDEF", format[n]) >= 0 {
				n++
			}
			text, stop := applet.Unescape(format[i:n])
			p.stop = stop
			_, _ = p.w.WriteString(text) // a writer keeps its error until Flush
			i = n - 1
		case c == '%' && i+1 < len(format) && format[i+1] == '%':
			_ = p.w.WriteByte('%') // a writer keeps its error until Flush
			i++
		case c == '%':
			n, err := p.directive(format[i:])
			if err != nil {
				return err
			}
			i += n - 1
		default:
			_ = p.w.WriteByte(c) // a writer keeps its error until Flush
		}
	}
	return nil
}

func (p *printfRun) next() (string, bool) {
	p.used = true
	if len(p.args) == 0 {
		return "", false
	}
	arg := p.args[0]
	p.args = p.args[1:]
	return arg, true
}

// directive writes one %…; it returns its length.
func (p *printfRun) directive(text string) (int, error) {
	n := 1
	spec := "%"
	for n < len(text) && strings.IndexByte("-+ #0123456789.*", text[n]) >= 0 {
		if text[n] == '*' {
			arg, _ := p.next()
			spec += strconv.FormatInt(p.integer(arg), 10)
		} else {
			spec += text[n : n+1]
		}
		n++
	}
	for n < len(text) && strings.IndexByte("lhLjzt", text[n]) >= 0 {
		n++
	}
	if n >= len(text) {
		return n, fmt.Errorf("%q: a letter is missing", text)
	}
	arg, given := p.next()
	switch verb := text[n]; verb {
	case 's':
		fmt.Fprintf(p.w, spec+"s", arg)
	case 'b':
		plain, stop := applet.Unescape(arg)
		p.stop = stop
		fmt.Fprintf(p.w, spec+"s", plain)
	case 'q':
		fmt.Fprintf(p.w, spec+"s", "'"+strings.ReplaceAll(arg, "'", `'\''`)+"'")
	case 'c':
		fmt.Fprintf(p.w, spec+"s", arg[:min(1, len(arg))])
	case 'd', 'i':
		fmt.Fprintf(p.w, spec+"d", p.integer(arg))
	case 'u':
		fmt.Fprintf(p.w, spec+"d", uint64(p.integer(arg)))
	case 'x', 'X', 'o':
		fmt.Fprintf(p.w, spec+string(verb), uint64(p.integer(arg)))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, err := strconv.ParseFloat(strings.TrimSpace(arg), 64)
		if err != nil && given && arg != "" {
			p.complain(arg)
		}
		fmt.Fprintf(p.w, spec+string(verb), f)
	default:
		return n, fmt.Errorf("%s is no directive", text[:n+1])
	}
	return n + 1, nil
}

func (p *printfRun) complain(arg string) {
	p.c.Warn(fmt.Errorf("%q is not a number", arg))
	p.bad = true
}

// integer reads 10, -0x1f, 017 and 'c.
func (p *printfRun) integer(arg string) int64 {
	arg = strings.TrimLeft(arg, " \t")
	if arg == "" {
		return 0
	}
	if arg[0] == '\'' || arg[0] == '"' {
		r := []rune(arg[1:] + "\x00")
		return int64(r[0])
	}
	v, err := strconv.ParseInt(arg, 0, 64)
	if err != nil {
		u, uerr := strconv.ParseUint(arg, 0, 64)
		if uerr == nil {
			return int64(u)
		}
		p.complain(arg)
		end := len(arg)
		for end > 0 && err != nil {
			end--
			v, err = strconv.ParseInt(arg[:end], 10, 64)
		}
	}
	return v
}
