package main

import (
	"errors"
	"strings"
	"testing"
)

const containers = `{"":{"a.tier":"front","note":"a,b=c"},"State":{"Pid":4,"Running":true},"ID":"4f0c9d2e","Names":"web","Labels":"a.tier=front,note=a,b=c"}
{"":{},"ID":"8a1b2c3d","Names":"database","Labels":""}`

func TestFormat(t *testing.T) {
	for _, c := range []struct{ name, heads, format, in, want string }{
		{"field", "", "{{.ID}} {{.Names}}", containers, "4f0c9d2e web\n8a1b2c3d database\n"},
		{"label", "", `{{.Label "note"}}|{{.Label "none"}}`, containers, "a,b=c|\n|\n"},
		{"json without the labels' map", "", "{{json .}}", containers, `{"ID":"4f0c9d2e","Labels":"a.tier=front,note=a,b=c","Names":"web","State":{"Pid":4,"Running":true}}` + "\n" + `{"ID":"8a1b2c3d","Labels":"","Names":"database"}` + "\n"},
		{"table", `{"ID":"CONTAINER ID","Names":"NAMES"}`, "{{.ID}}\t{{.Names}}\t{{.Label \"a.the-tier\"}}", containers, "CONTAINER ID   NAMES      the tier\n4f0c9d2e       web        \n8a1b2c3d       database   \n"},
		{"table of nothing", `{"ID":"CONTAINER ID"}`, "{{.ID}}", "", "CONTAINER ID\n"},
		{"nested", "", "{{.State.Pid}} {{.State.Running}}", `{"State":{"Pid":4711,"Running":true}}`, "4711 true\n"},
		{"numbers compare", "", "{{if eq .ExitCode 0}}ok{{end}}{{if gt .Share 0.4}} much{{end}}", `{"ExitCode":0,"Share":0.5}`, "ok much\n"},
		{"large number", "", "{{.Memory}} {{.Inode}}", `{"Memory":9223372036854771712,"Inode":4026531840}`, "9223372036854771712 4026531840\n"},
		{"range", "", "{{range .Mounts}}{{.Source}};{{end}}", `{"Mounts":[{"Source":"/a"},{"Source":"/b"}]}`, "/a;/b;\n"},
		{"functions", "", `{{upper .A}} {{lower .B}} {{title .A}} {{truncate .B 2}} {{join .C "+"}} {{len (split .A "b")}} [{{pad .A 1 2}}]`, `{"A":"abc","B":"ÄÖÜ","C":["x","y"]}`, "ABC äöü Abc ÄÖ x+y 2 [ abc  ]\n"},
		{"no HTML escapes", "", "{{json .A}}", `{"A":"<&>"}`, `"<&>"` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{c.format}
			if c.heads != "" {
				args = []string{"-heads", c.heads, c.format}
			}
			var out strings.Builder
			if err := run(args, strings.NewReader(c.in), &out); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.want {
				t.Errorf("got\n%swant\n%s", out.String(), c.want)
			}
		})
	}
}

// An error is one line, about the user's template, and says what there is.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, heads, format, want, hint string }{
		{"unclosed", "", "{{.ID", "format {{.ID: 1: unclosed action", "Go templates:"},
		{"unknown function", "", "{{shout .ID}}", `format {{shout .ID}}: 1: function "shout" not defined`, "Go templates:"},
		{"unknown field", "", "{{.Nope}}", `format {{.Nope}}: <.Nope>: map has no entry for key "Nope"`, "there are ID, Labels, Names, State"},
		{"unknown field of a table", `{"ID":"ID"}`, "{{.Nope}}", `format {{.Nope}}: <.Nope>: map has no entry for key "Nope"`, "there are ID"},
		{"unknown field below", "", "{{.State.Nope}}", `format {{.State.Nope}}: <.State.Nope>: map has no entry for key "Nope"`, "there are Pid, Running"},
		{"field of a string", "", "{{.ID.Nope}}", "format {{.ID.Nope}}: <.ID.Nope>: can't evaluate field Nope in type interface {}", "there are ID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{c.format}
			if c.heads != "" {
				args = []string{"-heads", c.heads, c.format}
			}
			var out strings.Builder
			err := run(args, strings.NewReader(containers), &out)
			f, ok := errors.AsType[*formatError](err)
			if !ok {
				t.Fatalf("no formatError: %v", err)
			}
			if f.Error() != c.want || strings.Contains(f.Error(), "\n") {
				t.Errorf("got %q, want %q", f.Error(), c.want)
			}
			if !strings.HasPrefix(f.hint(), c.hint) {
				t.Errorf("hint: got %q, want %q…", f.hint(), c.hint)
			}
		})
	}
}

// TestVisible: on a terminal control characters are shown, not obeyed.
func TestVisible(t *testing.T) {
	var b strings.Builder
	if err := run([]string{"{{.A}}\t{{json .A}}"}, strings.NewReader(`{"A":"a\u001b[2J\u009b31m\u202e"}`), visible{&b}); err != nil {
		t.Fatal(err)
	}
	if want := "a?[2J?31m?\t\"a\\u001b[2J?31m?\"\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
