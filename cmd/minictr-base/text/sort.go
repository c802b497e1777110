package text

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A sortKey is one -k, or the whole line. Fields and characters count from 1; 0
// in to is the end of the line.
type sortKey struct {
	from, fromChar, to, toChar int
	flags                      string
}

// A sorter compares lines.
type sorter struct {
	keys      []sortKey
	separator string
	flags     string // of all keys that have none of their own
	reverse   bool   // of the last resort
	stable    bool
}

func sortLines(c *applet.Call) error {
	o, err := c.Options("bcCdfghiMnrsuVzk:t:o:mS:T:", "reverse=r", "numeric-sort=n", "unique=u", "key=k", "field-separator=t", "output=o", "check=c", "human-numeric-sort=h", "version-sort=V", "stable=s", "ignore-case=f", "zero-terminated=z")
	if err != nil {
		return err
	}
	s := &sorter{separator: o.Value("t", ""), reverse: o.Has("r"), stable: o.Has("s", "u")}
	for _, g := range o.Given {
		if strings.Contains("bdfghiMnrV", g.Name) {
			s.flags += g.Name
		}
	}
	for _, text := range o.All("k") {
		key, err := parseKey(text)
		if err != nil {
			return err
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		s.keys = []sortKey{{from: 1}}
	}
	end := byte('\n')
	if o.Has("z") {
		end = 0
	}
	lines, err := allLines(c, o.Args, end)
	if err != nil {
		return applet.ExitError(2)
	}
	if o.Has("c", "C") {
		return s.check(c, lines, o)
	}
	slices.SortStableFunc(lines, s.compare)
	if o.Has("u") {
		lines = slices.CompactFunc(lines, func(a, b string) bool { return s.compare(a, b) == 0 })
	}
	out := c.Out
	if name := o.Value("o", ""); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		out = io.Writer(f)
	}
	w := bufio.NewWriterSize(out, 64<<10)
	for _, line := range lines {
		if _, err := w.WriteString(line); err != nil {
			return err
		}
		if err := w.WriteByte(end); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (s *sorter) check(c *applet.Call, lines []string, o *applet.Options) error {
	for i := 1; i < len(lines); i++ {
		if n := s.compare(lines[i-1], lines[i]); n > 0 || n == 0 && o.Has("u") {
			if o.Has("c") {
				fmt.Fprintf(c.Err, "sort: line %d is out of order: %s\n", i+1, lines[i])
			}
			return applet.ExitError(1)
		}
	}
	return nil
}

// parseKey reads FIELD[.CHAR][FLAGS][,FIELD[.CHAR][FLAGS]].
func parseKey(text string) (sortKey, error) {
	var k sortKey
	first, second, hasEnd := strings.Cut(text, ",")
	var err1, err2 error
	var flags string
	k.from, k.fromChar, k.flags, err1 = parsePosition(first)
	if hasEnd {
		k.to, k.toChar, flags, err2 = parsePosition(second)
		k.flags += flags
	}
	if errors.Join(err1, err2) != nil || k.from < 1 {
		return k, applet.UsageError(fmt.Sprintf("key %q makes no sense", text))
	}
	return k, nil
}

func parsePosition(text string) (field, char int, flags string, err error) {
	i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i >= 0 {
		text, flags = text[:i], text[i:]
	}
	f, c, hasChar := strings.Cut(text, ".")
	if field, err = strconv.Atoi(f); err == nil && hasChar {
		char, err = strconv.Atoi(c)
	}
	return field, char, flags, err
}

func (s *sorter) compare(a, b string) int {
	for _, k := range s.keys {
		flags := k.flags
		if strings.Trim(flags, "b") == "" {
			flags += s.flags
		}
		n := compareBy(flags, s.cut(k, a, flags), s.cut(k, b, flags))
		if strings.Contains(flags, "r") {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	if s.stable {
		return 0
	}
	n := strings.Compare(a, b)
	if s.reverse {
		n = -n
	}
	return n
}

// cut returns the part of the line that the key names.
func (s *sorter) cut(k sortKey, line, flags string) string {
	if k.from == 1 && k.fromChar <= 1 && k.to == 0 {
		if strings.Contains(flags, "b") {
			return strings.TrimLeft(line, " \t")
		}
		return line
	}
	starts, ends := s.fields(line)
	if k.from > len(starts) {
		return ""
	}
	from := starts[k.from-1]
	blanks := func(at int) int {
		for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
			at++
		}
		return at
	}
	if strings.Contains(flags, "b") {
		from = blanks(from)
	}
	from = min(from+max(0, k.fromChar-1), len(line))
	to := len(line)
	if k.to > 0 && k.to <= len(ends) {
		to = ends[k.to-1]
		if k.toChar > 0 {
			to = min(starts[k.to-1]+k.toChar, len(line))
		}
	}
	return line[from:max(from, to)]
}

// fields returns where each field begins and ends. Without a separator the
// blanks before a field are part of it.
func (s *sorter) fields(line string) (starts, ends []int) {
	at := 0
	for {
		starts = append(starts, at)
		end := at
		if s.separator != "" {
			i := strings.Index(line[at:], s.separator)
			if i < 0 {
				return starts, append(ends, len(line))
			}
			ends = append(ends, at+i)
			at += i + len(s.separator)
			continue
		}
		for end < len(line) && (line[end] == ' ' || line[end] == '\t') {
			end++
		}
		for end < len(line) && line[end] != ' ' && line[end] != '\t' {
			end++
		}
		ends = append(ends, end)
		if end == len(line) {
			return starts, ends
		}
		at = end
	}
}

func compareBy(flags, a, b string) int {
	switch {
	case strings.ContainsAny(flags, "nhgM"):
		x, y := number(a, flags), number(b, flags)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	case strings.Contains(flags, "V"):
		return compareVersions(a, b)
	}
	if strings.Contains(flags, "d") {
		a, b = dictionary(a), dictionary(b)
	}
	if strings.Contains(flags, "f") {
		a, b = strings.ToUpper(a), strings.ToUpper(b)
	}
	return strings.Compare(a, b)
}

func dictionary(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80 {
			return r
		}
		return -1
	}, s)
}

// number is the number that the text begins with; what is none counts as 0.
func number(text, flags string) float64 {
	text = strings.TrimLeft(text, " \t")
	if strings.Contains(flags, "M") {
		return float64(strings.Index("JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", strings.ToUpper(text[:min(3, len(text))]))/3 + 1)
	}
	n := 0
	for n < len(text) && (text[n] >= '0' && text[n] <= '9' || text[n] == '.' || n == 0 && (text[n] == '-' || text[n] == '+') || strings.Contains(flags, "g") && strings.IndexByte("eE+-", text[n]) >= 0) {
		n++
	}
	f, err := strconv.ParseFloat(text[:n], 64)
	if err != nil {
		f = 0
	}
	if strings.Contains(flags, "h") && n < len(text) {
		if i := strings.IndexByte("KMGTPE", text[n]&^0x20); i >= 0 {
			for range i + 1 {
				f *= 1024
			}
		}
	}
	return f
}

// compareVersions compares runs of digits as numbers.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		if isDigit(a[0]) && isDigit(b[0]) {
			x, y := leadingDigits(a), leadingDigits(b)
			a, b = a[len(x):], b[len(y):]
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if n := strings.Compare(x, y); n != 0 {
				return n
			}
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}
