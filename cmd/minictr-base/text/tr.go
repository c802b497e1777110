package text

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func tr(c *applet.Call) error {
	o, err := c.Options("+cCdst", "complement=c", "delete=d", "squeeze-repeats=s", "truncate-set1=t")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 || len(o.Args) > 2 || len(o.Args) == 1 && !o.Has("d", "s") {
		return applet.UsageError("needs one set, or two")
	}
	first, err := trSet(o.Args[0], 0)
	if err != nil {
		return err
	}
	if o.Has("c", "C") {
		first = complement(first)
	}
	var second []byte
	if len(o.Args) == 2 {
		if second, err = trSet(o.Args[1], len(first)); err != nil {
			return err
		}
	}
	var table [256]byte
	for i := range table {
		table[i] = byte(i)
	}
	var drop, squeeze [256]bool
	switch {
	case o.Has("d"):
		for _, b := range first {
			drop[b] = true
		}
		mark(&squeeze, second, o.Has("s"))
	case second != nil:
		if len(second) == 0 {
			return applet.UsageError("the second set is empty")
		}
		for i, b := range first {
			table[b] = second[min(i, len(second)-1)]
		}
		mark(&squeeze, second, o.Has("s"))
	default:
		mark(&squeeze, first, true)
	}
	return translateBytes(c, &table, &drop, &squeeze)
}

func mark(set *[256]bool, bytes []byte, wanted bool) {
	for _, b := range bytes {
		set[b] = wanted
	}
}

func translateBytes(c *applet.Call, table *[256]byte, drop, squeeze *[256]bool) error {
	w := bufio.NewWriterSize(c.Out, 64<<10)
	buffer := make([]byte, 64<<10)
	in := flushing(c.In, w)
	last := -1
	for {
		n, err := in.Read(buffer)
		for _, b := range buffer[:n] {
			if drop[b] {
				continue
			}
			b = table[b]
			if squeeze[b] && int(b) == last {
				continue
			}
			last = int(b)
			_ = w.WriteByte(b) // a writer keeps its error until Flush
		}
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
	}
}

func complement(set []byte) []byte {
	var in [256]bool
	mark(&in, set, true)
	var out []byte
	for i := range 256 {
		if !in[i] {
			out = append(out, byte(i))
		}
	}
	return out
}

var classes = map[string]func(b byte) bool{
	"alpha": isAlpha, "digit": isDigit, "upper": func(b byte) bool { return b >= 'A' && b <= 'Z' }, "lower": func(b byte) bool { return b >= 'a' && b <= 'z' },
	"alnum": func(b byte) bool { return isAlpha(b) || isDigit(b) }, "space": func(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' },
	"blank": func(b byte) bool { return b == ' ' || b == '\t' }, "punct": func(b byte) bool { return b > ' ' && b < 0x7f && !isAlpha(b) && !isDigit(b) },
	"cntrl": func(b byte) bool { return b < ' ' || b == 0x7f }, "print": func(b byte) bool { return b >= ' ' && b < 0x7f },
	"graph": func(b byte) bool { return b > ' ' && b < 0x7f }, "xdigit": func(b byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", b) >= 0 },
}

func isAlpha(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// trSet reads a set: a-z, [:alpha:], [=a=], [a*5], \n, \012. want is how long
// [a*] makes it.
func trSet(text string, want int) ([]byte, error) {
	var set []byte
	for i := 0; i < len(text); {
		if rest := text[i:]; rest[0] == '[' && len(rest) > 3 {
			if name, _, ok := strings.Cut(rest[2:], ":]"); ok && rest[1] == ':' {
				class, known := classes[name]
				if !known {
					return nil, applet.UsageError(fmt.Sprintf("class %q is unknown", name))
				}
				for b := range 256 {
					if class(byte(b)) {
						set = append(set, byte(b))
					}
				}
				i += len(name) + 4
				continue
			}
			if count, _, ok := strings.Cut(rest[3:], "]"); ok && rest[2] == '*' {
				n := want - len(set)
				if count != "" {
					if _, err := fmt.Sscanf(count, "%d", &n); err != nil {
						return nil, applet.UsageError(fmt.Sprintf("set %q makes no sense", text))
					}
				}
				for range n {
					set = append(set, rest[1])
				}
				i += len(count) + 4
				continue
			}
		}
		from, n := trChar(text[i:])
		i += n
		if i+1 < len(text) && text[i] == '-' {
			to, n := trChar(text[i+1:])
			if to < from {
				return nil, applet.UsageError(fmt.Sprintf("range %c-%c is backwards", from, to))
			}
			for b := int(from); b <= int(to); b++ {
				set = append(set, byte(b))
			}
			i += n + 1
			continue
		}
		set = append(set, from)
	}
	return set, nil
}

// trChar reads one character, and how long it is written.
func trChar(text string) (byte, int) {
	if text[0] != '\\' || len(text) == 1 {
		return text[0], 1
	}
	n := 1
	for n < 4 && n < len(text) && text[n] >= '0' && text[n] <= '7' {
		n++
	}
	if n == 1 {
		n = 2
	}
	plain, _ := applet.Unescape(text[:n])
	if len(plain) != 1 {
		return text[1], 2
	}
	return plain[0], n
}
