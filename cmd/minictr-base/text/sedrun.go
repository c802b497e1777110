package text

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// script runs the commands on the pattern space. The error says how it ended.
func (s *sedRun) script() error {
	for i := 0; i < len(s.program); i++ {
		c := &s.program[i]
		if s.selects(i) == c.not {
			if c.name == '{' {
				i = c.jump - 1
			}
			continue
		}
		jump, err := s.do(i)
		if err != nil {
			return err
		}
		if jump >= 0 {
			i = jump - 1
		}
	}
	return nil
}

// selects reports whether the addresses of a command select the line.
func (s *sedRun) selects(i int) bool {
	c := &s.program[i]
	switch {
	case c.from == nil:
		return true
	case c.to == nil:
		return s.matches(c.from)
	case s.active[i]:
		s.active[i] = !s.rangeEnds(i)
		// A line number that lies behind ends the range without this line.
		return s.active[i] || c.to.line == 0 || c.to.re != nil || s.in.number <= c.to.line || s.until[i] > 0
	case !s.matches(c.from) && (!c.from.isZero() || s.in.number != 1):
		return false
	}
	s.until[i] = 0
	switch {
	case c.to.plus > 0:
		s.until[i] = s.in.number + c.to.plus
		s.active[i] = true
	case c.to.step > 0 && c.to.line == 0:
		s.active[i] = s.in.number%c.to.step != 0
		s.until[i] = (s.in.number/c.to.step + 1) * c.to.step
	case c.to.re == nil && !c.to.same && !c.to.last:
		s.active[i] = c.to.line > s.in.number
	case c.to.last:
		s.active[i] = !s.in.last()
	default:
		s.active[i] = true
		if c.from.isZero() { // 0,/re/ looks at the first line, too
			s.active[i] = !s.matches(c.to)
		}
	}
	return true
}

// isZero reports whether it is the 0 of 0,/re/.
func (a *sedAddress) isZero() bool { return a.line == 0 && a.re == nil && !a.last && !a.same }

func (s *sedRun) rangeEnds(i int) bool {
	to := s.program[i].to
	switch {
	case s.until[i] > 0:
		return s.in.number >= s.until[i]
	case to.re == nil && !to.same && !to.last:
		return s.in.number >= to.line
	}
	return s.matches(to)
}

func (s *sedRun) matches(a *sedAddress) bool {
	switch {
	case a.last:
		return s.in.last()
	case a.same:
		return s.lastRE != nil && s.lastRE.MatchString(s.pattern)
	case a.re != nil:
		s.lastRE = a.re
		return a.re.MatchString(s.pattern)
	case a.step > 0:
		return s.in.number >= a.line && (s.in.number-a.line)%a.step == 0
	}
	return s.in.number == a.line
}

// do runs one command. jump is where to go on, or -1.
func (s *sedRun) do(i int) (jump int, err error) {
	c := &s.program[i]
	switch c.name {
	case 'b':
		return c.jump, nil
	case 't', 'T':
		taken := s.replaced == (c.name == 't')
		s.replaced = false
		if taken {
			return c.jump, nil
		}
	case 'd':
		return -1, errNextCycle
	case 'D':
		_, rest, several := strings.Cut(s.pattern, "\n")
		if !several {
			return -1, errNextCycle
		}
		s.pattern = rest
		if err := s.flushAppended(); err != nil {
			return -1, err
		}
		return -1, errRestart
	case 'q':
		s.code = c.code
		return -1, errSedQuit
	case 'Q':
		s.code = c.code
		return -1, errSedHush
	case 'n', 'N':
		return -1, s.readOn(c.name == 'N')
	case 'c':
		if c.to == nil || c.not || !s.active[i] {
			fmt.Fprint(s.out, c.text)
		}
		return -1, errNextCycle
	case 's':
		return -1, s.substitute(c)
	case 'w':
		return -1, s.write(c.text, s.pattern)
	case 'W':
		first, _, _ := strings.Cut(s.pattern, "\n")
		return -1, s.write(c.text, first)
	default:
		s.simple(c)
	}
	return -1, nil
}

// simple runs a command that cannot fail and does not jump.
func (s *sedRun) simple(c *sedCommand) {
	switch c.name {
	case 'p':
		s.print(s.pattern)
	case 'P':
		first, _, _ := strings.Cut(s.pattern, "\n")
		s.print(first)
	case 'l':
		s.printVisible()
	case '=':
		fmt.Fprintf(s.out, "%d\n", s.in.number)
	case 'F':
		fmt.Fprintln(s.out, "-")
	case 'g':
		s.pattern = s.hold
	case 'G':
		s.pattern += "\n" + s.hold
	case 'h':
		s.hold = s.pattern
	case 'H':
		s.hold += "\n" + s.pattern
	case 'x':
		s.pattern, s.hold = s.hold, s.pattern
	case 'z':
		s.pattern = ""
	case 'i':
		fmt.Fprint(s.out, c.text)
	case 'a':
		s.appended = append(s.appended, func(w io.Writer) error { _, err := io.WriteString(w, c.text); return err })
	case 'r':
		s.appended = append(s.appended, func(w io.Writer) error {
			data, err := os.ReadFile(c.text)
			if err != nil {
				return nil // POSIX: a file that cannot be read is an empty one
			}
			_, err = w.Write(data)
			return err
		})
	case 'y':
		from := []rune(c.text)
		s.pattern = strings.Map(func(r rune) rune {
			for i, f := range from {
				if f == r {
					return c.to2[i]
				}
			}
			return r
		}, s.pattern)
	}
}

// readOn is n and N.
func (s *sedRun) readOn(join bool) error {
	if s.in.last() {
		return errSedQuit // and the pattern space is printed, as GNU does for N, too
	}
	if !join && !s.quiet {
		s.print(s.pattern)
	}
	if err := s.flushAppended(); err != nil {
		return err
	}
	line, newline, _ := s.in.next()
	if join {
		line = s.pattern + "\n" + line
	}
	s.pattern, s.newline = line, newline
	return nil
}

func (s *sedRun) write(name, text string) error {
	switch name {
	case "/dev/stdout":
		s.print(text)
		return nil
	case "/dev/stderr":
		fmt.Fprintln(s.c.Err, text)
		return nil
	}
	f, open := s.files[name]
	if !open {
		var err error
		if f, err = os.Create(name); err != nil {
			return err
		}
		s.files[name] = f
	}
	_, err := fmt.Fprintln(f, text)
	return err
}

func (s *sedRun) printVisible() {
	for _, r := range s.pattern {
		switch {
		case r == '\\':
			fmt.Fprint(s.out, `\\`)
		case r == '\t':
			fmt.Fprint(s.out, `\t`)
		case r == '\n':
			fmt.Fprint(s.out, `\n`)
		case r < ' ' || r > '~':
			for _, b := range []byte(string(r)) {
				fmt.Fprintf(s.out, `\%03o`, b)
			}
		default:
			fmt.Fprint(s.out, string(r))
		}
	}
	fmt.Fprintln(s.out, "$")
}

// substitute is the command s.
func (s *sedRun) substitute(c *sedCommand) error {
	re := c.re
	if c.reuse {
		re = s.lastRE
	}
	if re == nil {
		return nil
	}
	s.lastRE = re
	var b strings.Builder
	at, n, changed := 0, 0, false
	for _, m := range re.FindAllStringSubmatchIndex(s.pattern, -1) {
		n++
		if n < max(1, c.nth) {
			continue
		}
		b.WriteString(s.pattern[at:m[0]])
		expandReplacement(&b, c.replace, s.pattern, m)
		at, changed = m[1], true
		if !c.global {
			break
		}
	}
	if !changed {
		return nil
	}
	b.WriteString(s.pattern[at:])
	s.pattern, s.replaced = b.String(), true
	if c.print {
		s.print(s.pattern)
	}
	if c.text != "" {
		return s.write(c.text, s.pattern)
	}
	return nil
}

// A caser changes the case of a replacement as \U, \L, \E, \u and \l say.
type caser struct {
	b         *strings.Builder
	all, next byte
}

func (k *caser) put(text string) {
	for text != "" {
		_, size := utf8.DecodeRuneInString(text)
		one := text[:size]
		text = text[size:]
		how := k.all
		if k.next != 0 {
			how, k.next = k.next, 0
		}
		switch how {
		case 'U', 'u':
			one = strings.ToUpper(one)
		case 'L', 'l':
			one = strings.ToLower(one)
		}
		k.b.WriteString(one)
	}
}

// expandReplacement writes the right-hand side of s for one match.
func expandReplacement(b *strings.Builder, replace, text string, m []int) {
	k := &caser{b: b}
	group := func(n int) {
		if 2*n+1 < len(m) && m[2*n] >= 0 {
			k.put(text[m[2*n]:m[2*n+1]])
		}
	}
	for i := 0; i < len(replace); i++ {
		switch c := replace[i]; {
		case c == '&':
			group(0)
		case c == '\\' && i+1 < len(replace):
			i++
			switch c := replace[i]; {
			case c >= '0' && c <= '9':
				group(int(c - '0'))
			case c == 'n':
				k.put("\n")
			case c == 't':
				k.put("\t")
			case strings.IndexByte("ULul", c) >= 0:
				if c == 'U' || c == 'L' {
					k.all = c
				} else {
					k.next = c
				}
			case c == 'E':
				k.all = 0
			default:
				k.put(string(c))
			}
		default:
			_, size := utf8.DecodeRuneInString(replace[i:])
			k.put(replace[i : i+size])
			i += size - 1
		}
	}
}
