package main

import (
	"fmt"
	"slices"
	"strings"
)

// filters are the arguments of --filter, KEY=VALUE: values of one key are
// alternatives, different keys must all hold.
type filters map[string][]string

// parseFilters reads them and refuses keys that the command does not know.
func parseFilters(list []string, known ...string) (filters, error) {
	f := filters{}
	for _, text := range list {
		key, value, found := strings.Cut(text, "=")
		if !found {
			return nil, usageError{fmt.Errorf("--filter %q: not of the form KEY=VALUE", text)}
		}
		if !slices.Contains(known, key) {
			return nil, usageError{fmt.Errorf("--filter %q: no such key; there are %s", text, strings.Join(known, ", "))}
		}
		f[key] = append(f[key], value)
	}
	return f, nil
}

// any reports whether one of the key's values matches; without values it does.
func (f filters) any(key string, matches func(value string) bool) bool {
	return len(f[key]) == 0 || slices.ContainsFunc(f[key], matches)
}

// labels reports whether all labels asked for, NAME or NAME=VALUE, are there.
func (f filters) labels(have map[string]string) bool {
	for _, want := range f["label"] {
		key, value, hasValue := strings.Cut(want, "=")
		got, ok := have[key]
		if !ok || hasValue && got != value {
			return false
		}
	}
	return true
}
