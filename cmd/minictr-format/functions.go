package main

import (
	"encoding/json"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"
)

// functions are those that Docker adds to the ones of text/template: docker/cli,
// templates/templates.go.
func functions() template.FuncMap {
	return template.FuncMap{
		"json":     toJSON,
		"split":    strings.Split,
		"join":     join,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"title":    title,
		"pad":      pad,
		"truncate": truncate,
	}
}

func toJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// join joins strings, which come from JSON as values of any type.
func join(list []any, separator string) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i], _ = v.(string) // what is none is left empty
	}
	return strings.Join(words, separator)
}

func title(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToTitle(first)) + s[size:]
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
}

// truncate returns the first n runes of s.
func truncate(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:max(n, 0)])
	}
	return s
}

// heads are what the first line of a table is made from: the head of each field.
type heads map[string]string

// Label is the head of a column that shows one label: the last part of its name.
func (heads) Label(name string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(last)
}

// A row is one object to print.
type row map[string]any

// labelsKey is where a row has its labels: no field is called so.
const labelsKey = ""

// Label returns the label of that name, or nothing.
func (r row) Label(name string) string {
	labels, _ := r[labelsKey].(map[string]any)
	value, _ := labels[name].(string)
	return value
}

// MarshalJSON leaves the labels away, which are in a field too.
func (r row) MarshalJSON() ([]byte, error) {
	fields := map[string]any{}
	for key, v := range r {
		if key != labelsKey {
			fields[key] = v
		}
	}
	return json.Marshal(fields)
}
