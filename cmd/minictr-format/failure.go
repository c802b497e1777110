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
		e.keys = keys(value, cause)
	}
	return e
}

// keys are those that stand where the template looked for one: in
// <.State.Nope> those of State.
func keys(value any, cause string) []string {
	if h, ok := value.(heads); ok {
		return slices.Sorted(maps.Keys(h))
	}
	r, ok := value.(row)
	if !ok {
		return nil
	}
	here := map[string]any(r)
	_, path, _ := strings.Cut(cause, "<.")
	path, _, _ = strings.Cut(path, ">")
	for key := range strings.SplitSeq(path, ".") {
		below, ok := here[key].(map[string]any)
		if !ok {
			break
		}
		here = below
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(here)), func(k string) bool { return k == labelsKey })
}
