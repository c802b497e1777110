package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// JSON prints v for people and programs: indented, as docker inspect does.
func JSON(out io.Writer, v any) error {
	e := json.NewEncoder(jsonWriter{out}) // writes each value at once
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	return e.Encode(v)
}

// JSONLines prints each value as a line of JSON.
func JSONLines(out io.Writer, values []any) error {
	e := json.NewEncoder(jsonWriter{out}) // writes each value at once
	e.SetEscapeHTML(false)
	for _, v := range values {
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// A jsonWriter escapes in JSON what a terminal would act on, and package json
// does not escape. It means the same.
type jsonWriter struct{ to io.Writer }

func (w jsonWriter) Write(b []byte) (int, error) {
	var out []byte
	for rest := b; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if steers(r) && r != '\n' {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, rest[:size]...)
		}
		rest = rest[size:]
	}
	if _, err := w.to.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
