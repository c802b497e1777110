// Minictr-format prints JSON through a Go template: it is what stands behind
// --format of minictr ps, inspect, images and the like.
//
// It is a program of its own because a program that executes templates has to
// keep every exported method of every type (text/template finds them by name, so
// the linker cannot tell which are called): that makes minictr a quarter larger
// and costs each of its commands 0.12 ms. minictr runs it as a child; people may
// run it too.
//
//	minictr-format [-heads JSON] TEMPLATE
//
// For each JSON object on standard input a line is printed. An object may have
// labels, under the empty key: {{.Label "NAME"}} looks them up. With -heads the
// output is a table whose first line is the template's answer to the heads. The
// exit status is 0, or 1 after an error.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"text/template"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, output()); err != nil {
		fmt.Fprintln(os.Stderr, "minictr: "+err.Error())
		var f *formatError
		if errors.As(err, &f) {
			fmt.Fprintln(os.Stderr, "hint: "+f.hint())
		}
		os.Exit(1)
	}
}

// output is standard output. What an image or a container calls itself must not
// steer a terminal; a program that reads it gets it as it is.
func output() io.Writer {
	if _, err := unix.IoctlGetTermios(unix.Stdout, unix.TCGETS); err != nil {
		return os.Stdout
	}
	return visible{os.Stdout}
}

// A visible writer shows control characters as question marks, and so what turns
// the order of a line round; see steers in cmd/minictr. It is given whole
// characters.
type visible struct{ to io.Writer }

func (v visible) Write(b []byte) (int, error) {
	shown := bytes.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || 0x7f <= r && r < 0xa0 || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069) {
			return '?'
		}
		return r
	}, b)
	if _, err := v.to.Write(shown); err != nil {
		return 0, err
	}
	return len(b), nil
}

func run(args []string, in io.Reader, out io.Writer) error {
	var table map[string]string
	if len(args) == 3 && args[0] == "-heads" {
		if err := json.Unmarshal([]byte(args[1]), &table); err != nil {
			return fmt.Errorf("read the heads: %w", err)
		}
		args = args[2:]
	}
	if len(args) != 1 {
		return errors.New("minictr-format: usage: minictr-format [-heads JSON] TEMPLATE")
	}
	t, err := parse(args[0])
	if err != nil {
		return err
	}
	if table == nil {
		return t.lines(bufio.NewReader(in), out)
	}
	w := tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)
	if err := t.line(heads(table), w); err != nil {
		return err
	}
	if err := t.lines(bufio.NewReader(in), w); err != nil {
		return err
	}
	return w.Flush()
}

// A format is a parsed template.
type format struct {
	text     string
	template *template.Template
}

func parse(text string) (*format, error) {
	f := &format{text: text}
	t, err := template.New(name).Funcs(functions()).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, f.explain(err, nil)
	}
	f.template = t
	return f, nil
}

// lines prints a line for each object that it reads.
func (f *format) lines(in io.Reader, out io.Writer) error {
	d := json.NewDecoder(in)
	d.UseNumber()
	for {
		var r row
		err := d.Decode(&r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what is to be formatted: %w", err)
		}
		for key, v := range r {
			r[key] = native(v)
		}
		if err := f.line(r, out); err != nil {
			return err
		}
	}
}

// line prints the template's answer to one value: all of it or, after an error,
// nothing.
func (f *format) line(value any, out io.Writer) error {
	var b strings.Builder
	if err := f.template.Execute(&b, value); err != nil {
		return f.explain(err, value)
	}
	_, err := io.WriteString(out, b.String()+"\n")
	return err
}

// native turns numbers into those that a template compares with its own.
func native(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		n, _ := v.Float64() // the decoder has seen that it is a number
		return n
	case []any:
		for i := range v {
			v[i] = native(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = native(v[key])
		}
	}
	return v
}
