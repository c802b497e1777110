package text

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// counts are what wc counts.
type counts struct{ lines, words, chars, bytes, longest int64 }

func wc(c *applet.Call) error {
	o, err := c.Options("clmwL", "bytes=c", "lines=l", "chars=m", "words=w", "max-line-length=L")
	if err != nil {
		return err
	}
	if len(o.Given) == 0 {
		o.Given = []applet.Option{{Name: "l"}, {Name: "w"}, {Name: "c"}}
	}
	type row struct {
		counts
		name string
	}
	var rows []row
	var total counts
	err = eachFile(c, o.Args, func(name string, r io.Reader) error {
		n, err := count(r)
		if len(o.Args) == 0 {
			name = ""
		}
		rows = append(rows, row{n, name})
		total.lines += n.lines
		total.words += n.words
		total.chars += n.chars
		total.bytes += n.bytes
		total.longest = max(total.longest, n.longest)
		return err
	})
	if len(o.Args) > 1 {
		rows = append(rows, row{total, "total"})
	}
	width := 1
	if len(o.Args) != 1 || columnsOf(o) > 1 {
		width = len(strconv.FormatInt(total.bytes, 10))
		if len(o.Args) == 0 && columnsOf(o) > 1 {
			width = 7
		}
	}
	if columnsOf(o) == 1 && len(rows) == 1 {
		width = 1
	}
	for _, r := range rows {
		var fields []string
		for _, f := range []struct {
			letter string
			n      int64
		}{{"l", r.lines}, {"w", r.words}, {"m", r.chars}, {"c", r.bytes}, {"L", r.longest}} {
			if o.Has(f.letter) {
				fields = append(fields, fmt.Sprintf("%*d", width, f.n))
			}
		}
		if r.name != "" {
			fields = append(fields, r.name)
		}
		fmt.Fprintln(c.Out, strings.Join(fields, " "))
	}
	return err
}

func columnsOf(o *applet.Options) int {
	n := 0
	for _, letter := range []string{"l", "w", "m", "c", "L"} {
		if o.Has(letter) {
			n++
		}
	}
	return n
}

func count(r io.Reader) (counts, error) {
	var n counts
	err := eachLine(r, '\n', func(line []byte, newline bool) error {
		n.bytes += int64(len(line))
		chars := int64(utf8.RuneCount(line))
		n.chars += chars
		n.longest = max(n.longest, chars)
		n.words += int64(len(bytes.Fields(line)))
		if newline {
			n.lines++
			n.bytes++
			n.chars++
		}
		return nil
	})
	return n, err
}

func uniq(c *applet.Call) error {
	o, err := c.Options("cdiuf:s:w:z", "count=c", "repeated=d", "ignore-case=i", "unique=u", "skip-fields=f", "skip-chars=s", "check-chars=w")
	if err != nil {
		return err
	}
	number := map[string]int{"w": math.MaxInt}
	for _, name := range []string{"f", "s", "w"} {
		if number[name], err = o.Int(name, number[name]); err != nil {
			return err
		}
	}
	key := func(line string) string {
		for range number["f"] {
			line = strings.TrimLeft(line, " \t")
			line = line[len(line)-len(strings.TrimLeftFunc(line, func(r rune) bool { return r != ' ' && r != '\t' })):]
		}
		line = line[min(number["s"], len(line)):]
		line = line[:min(number["w"], len(line))]
		if o.Has("i") {
			line = strings.ToLower(line)
		}
		return line
	}
	in := o.Args
	if len(in) > 1 {
		out, err := os.Create(in[1])
		if err != nil {
			return err
		}
		defer out.Close()
		c.Out, in = out, in[:1]
	}
	w := bufio.NewWriter(c.Out)
	n, held := 0, ""
	flush := func() {
		if n == 0 || n == 1 && o.Has("d") || n > 1 && o.Has("u") {
			return
		}
		if o.Has("c") {
			fmt.Fprintf(w, "%7d ", n)
		}
		fmt.Fprintln(w, held)
	}
	err = eachFile(c, in, func(_ string, r io.Reader) error {
		return eachLine(r, '\n', func(line []byte, _ bool) error {
			if n > 0 && key(string(line)) == key(held) {
				n++
				return nil
			}
			flush()
			held, n = string(line), 1
			return nil
		})
	})
	flush()
	return errors.Join(err, w.Flush())
}

// A span is one range of cut's list, counted from 1.
type span struct{ from, to int }

func cut(c *applet.Call) error {
	o, err := c.Options("b:c:f:d:snz", "bytes=b", "characters=c", "fields=f", "delimiter=d", "only-delimited=s", "complement", "output-delimiter:")
	if err != nil {
		return err
	}
	kind := o.Last("b", "c", "f")
	if kind == "" {
		return applet.UsageError("one of -b, -c and -f says what to show")
	}
	spans, err := parseSpans(o.Value(kind, ""))
	if err != nil {
		return err
	}
	in := func(i int) bool {
		for _, s := range spans {
			if i >= s.from && i <= s.to {
				return !o.Has("complement")
			}
		}
		return o.Has("complement")
	}
	delimiter := o.Value("d", "\t")
	between := o.Value("output-delimiter", delimiter)
	return filter(c, o.Args, func(w *bufio.Writer, line []byte, _ bool) error {
		text := string(line)
		switch kind {
		case "f":
			fields := strings.Split(text, delimiter)
			if len(fields) == 1 {
				if o.Has("s") {
					return nil
				}
				return put(w, line)
			}
			return put(w, []byte(strings.Join(chosen(fields, in), between)))
		case "c":
			return put(w, []byte(strings.Join(chosen(strings.Split(text, ""), in), "")))
		}
		var kept []byte
		for i, b := range line {
			if in(i + 1) {
				kept = append(kept, b)
			}
		}
		return put(w, kept)
	})
}

func chosen(list []string, in func(int) bool) []string {
	var kept []string
	for i, item := range list {
		if in(i + 1) {
			kept = append(kept, item)
		}
	}
	return kept
}

func parseSpans(list string) ([]span, error) {
	var spans []span
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		s := span{1, math.MaxInt}
		var err1, err2 error
		if from != "" {
			s.from, err1 = strconv.Atoi(from)
		}
		if to != "" {
			s.to, err2 = strconv.Atoi(to)
		}
		if !isRange {
			s.to = s.from
		}
		if err1 != nil || err2 != nil || s.from < 1 || s.to < s.from || from == "" && to == "" {
			return nil, applet.UsageError(fmt.Sprintf("list %q makes no sense", list))
		}
		spans = append(spans, s)
	}
	return spans, nil
}

func paste(c *applet.Call) error {
	o, err := c.Options("sd:", "serial=s", "delimiters=d")
	if err != nil {
		return err
	}
	between, _ := applet.Unescape(o.Value("d", "\t"))
	if between == "" {
		between = "\x00"
	}
	var columns [][]string
	longest := 0
	if len(o.Args) == 0 {
		o.Args = []string{"-"}
	}
	for _, name := range o.Args {
		lines, err := allLines(c, []string{name}, '\n')
		if err != nil {
			return err
		}
		columns = append(columns, lines)
		longest = max(longest, len(lines))
	}
	join := func(w io.Writer, n int, item func(int) string) {
		for i := range n {
			if i > 0 {
				fmt.Fprintf(w, "%c", between[(i-1)%len(between)])
			}
			fmt.Fprint(w, item(i))
		}
		fmt.Fprintln(w)
	}
	w := bufio.NewWriter(c.Out)
	if o.Has("s") {
		for _, lines := range columns {
			join(w, len(lines), func(i int) string { return lines[i] })
		}
		return w.Flush()
	}
	for row := range longest {
		join(w, len(columns), func(i int) string {
			if row < len(columns[i]) {
				return columns[i][row]
			}
			return ""
		})
	}
	return w.Flush()
}

func tee(c *applet.Call) error {
	o, err := c.Options("ai", "append=a")
	if err != nil {
		return err
	}
	outs := []io.Writer{c.Out}
	bad := false
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if o.Has("a") {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	for _, name := range o.Args {
		f, err := os.OpenFile(name, flags, 0o666)
		if err != nil {
			c.Warn(err)
			bad = true
			continue
		}
		defer f.Close()
		outs = append(outs, f)
	}
	if _, err := io.Copy(io.MultiWriter(outs...), c.In); err != nil {
		return err
	}
	return failed(bad)
}
