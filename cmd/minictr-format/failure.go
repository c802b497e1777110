package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
)

// name is the template's, by which text/template's errors call it.
const name = "format"

// formatError is a template that is none, or that asks for what is not there.
type formatError struct {
	format, cause string
	keys          []string // that there are
}

func (e *formatError) Error() string { return fmt.Sprintf("format %s: %s", e.format, e.cause) }

func (e *formatError) hint() string {
	if len(e.keys) > 0 {
		return "there are " + strings.Join(e.keys, ", ")
	}
	return "Go templates: {{.Field}}, {{json .}}; see https://pkg.go.dev/text/template"
}

// explain leaves of text/template's words what is about the user's template.
func (f *format) explain(err error, value any) error {
	cause := err.Error()
	if _, rest, found := strings.Cut(cause, `executing "`+name+`" at `); found {
		cause = rest
	}
	cause = strings.TrimPrefix(cause, "template: "+name+":")
	e := &formatError{format: f.text, cause: strings.ReplaceAll(cause, "\n", " ")}
	if exec := (template.ExecError{}); errors.As(err, &exec) {
		e.keys = keys(value)
	}
	return e
}

// keys are the fields of what a template was executed on.
func keys(value any) []string {
	switch v := value.(type) {
	case heads:
		return slices.Sorted(maps.Keys(v))
	case row:
		return slices.DeleteFunc(slices.Sorted(maps.Keys(v)), func(k string) bool { return k == labelsKey })
	}
	return nil
}
