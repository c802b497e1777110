package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
	"unicode"
	"unicode/utf8"
)

// formatHelp describes --format where a command prints a table.
const formatHelp = "print it as \"json\", as a Go template, or as \"table TEMPLATE\" with column heads"

// formatError is a --format that is no template, or that asks for what is not
// there.
type formatError struct {
	format string
	cause  string
	fields []string // that there are
}

// Hint says what there is.
func (e *formatError) Hint() string {
	if len(e.fields) > 0 {
		return "there are " + strings.Join(e.fields, ", ")
	}
	return "Go templates: {{.Field}}, {{json .}}; see https://pkg.go.dev/text/template"
}

func (e *formatError) Error() string { return fmt.Sprintf("format %s: %s", e.format, e.cause) }

// newFormatError takes text/template's place markers out of its words, so that
// what is left is about the user's template.
func newFormatError(format string, err error) *formatError {
	cause := err.Error()
	var exec template.ExecError
	if errors.As(err, &exec) {
		cause = exec.Err.Error()
	}
	if _, rest, found := strings.Cut(cause, `executing "format" at `); found {
		cause = rest
	}
	cause = strings.TrimPrefix(cause, "template: format:")
	return &formatError{format: format, cause: strings.ReplaceAll(cause, "main.", "")}
}

// parseFormat reads a Go template, with the functions that Docker adds to
// those of text/template.
func parseFormat(format string) (*template.Template, error) {
	t, err := template.New("format").Funcs(formatFunctions()).Parse(format)
	if err != nil {
		return nil, newFormatError(format, err)
	}
	return t, nil
}

// formatFunctions are Docker's, docker/cli templates/templates.go.
func formatFunctions() template.FuncMap {
	return template.FuncMap{
		"json": func(v any) (string, error) {
			var b strings.Builder
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			err := e.Encode(v)
			return strings.TrimSpace(b.String()), err
		},
		"split": strings.Split,
		"join":  strings.Join,
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"title": func(s string) string {
			first, size := utf8.DecodeRuneInString(s)
			return string(unicode.ToTitle(first)) + s[size:]
		},
		"pad": func(s string, before, after int) string {
			return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
		},
		"truncate": truncate,
	}
}

// truncate returns the first n runes of s.
func truncate(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:max(n, 0)])
	}
	return s
}

// A listing prints rows, which are structs, as --format says. The field tag
// "head" is the head of a field's column.
type listing struct {
	format string // --format; empty is the table
	table  string // the template of the usual table, without "table"
	quiet  string // with -q, the template that replaces it
}

// print prints the rows.
func (l listing) print(out io.Writer, rows []any, row any) error {
	format := l.format
	switch {
	case l.quiet != "" && format == "":
		format = l.quiet
	case format == "" || format == "table":
		format = "table " + l.table
	case format == "json":
		format = "{{json .}}"
	}
	columns, isTable := strings.CutPrefix(format, "table ")
	t, err := parseFormat(unescape(strings.TrimSpace(columns)))
	if err != nil {
		return err
	}
	t.Option("missingkey=error")
	heads := headsOf(row)
	if !isTable {
		return withFields(heads, execute(t, format, out, rows))
	}
	w := tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)
	if err := execute(t, format, w, append([]any{heads}, rows...)); err != nil {
		return withFields(heads, err)
	}
	return w.Flush()
}

// withFields lets the error tell which fields there are.
func withFields(h heads, err error) error {
	var f *formatError
	if errors.As(err, &f) {
		f.fields = slices.Sorted(maps.Keys(h))
	}
	return err
}

// unescape lets a shell's user write \t and \n in single quotes, as docker does.
func unescape(format string) string {
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
}

// execute prints one line for each value. Nothing is printed of a value at
// which the template fails.
func execute(t *template.Template, format string, out io.Writer, values []any) error {
	for _, v := range values {
		var line strings.Builder
		if err := t.Execute(&line, v); err != nil {
			return newFormatError(format, err)
		}
		if _, err := io.WriteString(out, line.String()+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// heads are the values of a table's first line: for each field, its head.
type heads map[string]string

// Label is the head of a column that shows one label: the last part of its name.
func (heads) Label(name string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(last)
}

func headsOf(row any) heads {
	h := heads{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(row)) {
		if !f.IsExported() {
			continue
		}
		head, ok := f.Tag.Lookup("head")
		if !ok {
			head = strings.ToUpper(f.Name)
		}
		h[f.Name] = head
	}
	return h
}

// printJSON prints v for people and programs: indented, as docker inspect does.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	return e.Encode(v)
}
