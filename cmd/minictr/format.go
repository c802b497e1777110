package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"reflect"
	"strings"
	"text/tabwriter"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/runtime"
)

// formatHelp describes --format where a command prints a table.
const formatHelp = "print it as \"json\", as a Go template, or as \"table TEMPLATE\" with column heads"

// A listing says how rows are printed, which are structs of strings. The tag
// "head" of a field is the head of its column; without one it is the field's
// name in capitals.
type listing struct {
	format  string   // --format; empty is the table
	columns []string // the fields that the table shows
	quiet   string   // with -q, the one field that is printed
}

// list prints the rows. Row is one of their type, for when there are none.
func (a *app) list(l listing, rows []any, row any) error {
	template, isTable := strings.CutPrefix(l.format, "table ")
	switch {
	case l.format == "json":
		return terminal.JSONLines(a.out, rows)
	case l.format != "" && l.format != "table":
		heads := map[string]string(nil)
		if isTable {
			heads = headsOf(row)
		}
		// Docker lets \t and \n be written in a shell's single quotes here.
		return a.template(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(template), rows, heads)
	case l.quiet != "":
		for _, r := range rows {
			fmt.Fprintln(a.out, reflect.ValueOf(r).FieldByName(l.quiet))
		}
		return nil
	}
	return l.table(a.out, rows, headsOf(row))
}

// table prints the usual columns.
func (l listing) table(out io.Writer, rows []any, heads map[string]string) error {
	w := tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)
	var line []string
	for _, column := range l.columns {
		line = append(line, heads[column])
	}
	fmt.Fprintln(w, strings.Join(line, "\t"))
	for _, r := range rows {
		line = line[:0]
		for _, column := range l.columns {
			line = append(line, reflect.ValueOf(r).FieldByName(column).String())
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	return w.Flush()
}

func headsOf(row any) map[string]string {
	heads := map[string]string{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(row)) {
		if !f.IsExported() {
			continue
		}
		head, ok := f.Tag.Lookup("head")
		if !ok {
			head = strings.ToUpper(f.Name)
		}
		heads[f.Name] = head
	}
	return heads
}

// labelled is a row whose labels a template may ask for by name.
type labelled interface{ labelMap() map[string]string }

// template prints values through a Go template, which minictr-format executes:
// see there for why. With heads it is a table.
func (a *app) template(text string, values []any, heads map[string]string) error {
	path, err := runtime.Beside("minictr-format")
	if err != nil {
		return err
	}
	var in bytes.Buffer
	for _, v := range values {
		if err := encode(&in, v); err != nil {
			return err
		}
	}
	args := []string{text}
	if heads != nil {
		b, err := json.Marshal(heads)
		if err != nil {
			return err
		}
		args = append([]string{"-heads", string(b)}, args...)
	}
	c := exec.Command(path, args...)
	c.Stdin, c.Stdout, c.Stderr = &in, a.out, a.err
	if err := c.Run(); !is[*exec.ExitError](err) {
		return err
	}
	return exitError(exitFailed) // it has said why
}

// encode writes a value as minictr-format reads it: labels under the empty key.
func encode(in *bytes.Buffer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	l, ok := v.(labelled)
	if !ok {
		in.Write(b)
		return nil
	}
	labels, err := json.Marshal(l.labelMap())
	if err != nil {
		return err
	}
	fmt.Fprintf(in, `{"":%s,%s`, labels, bytes.TrimPrefix(b, []byte("{")))
	return nil
}
