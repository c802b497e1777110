package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/minictr/minictr/rootfs"
)

// steering is text that does something to a terminal: an escape sequence with
// ESC and with U+009B, a title, a bell, a new line, and a line turned round.
const steering = "a\x1b[2Jb\u009b31mc\x1b]0;x\ad\ne\u202ef\u2066g\u2028h\x7f\x9b"

// TestSteering: what an image calls itself reaches a terminal as characters.
func TestSteering(t *testing.T) {
	if got, want := visible(steering), "a?[2Jb?31mc?]0;x?d?e?f?g?h?\ufffd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := visible("Grüße 世界 👩‍💻 a\u00a0b"); got != "Grüße 世界 👩‍💻 a\u00a0b" {
		t.Errorf("got %q", got)
	}
	value := map[string]string{"key\u009b": strings.TrimSuffix(steering, "\x9b")}
	for name, print := range map[string]func(*strings.Builder) error{
		"inspect": func(b *strings.Builder) error { return printJSON(b, value) },
		"json":    func(b *strings.Builder) error { return printLines(b, []any{value}) },
	} {
		var b strings.Builder
		if err := print(&b); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(strings.ReplaceAll(b.String(), "\n", ""), steers) {
			t.Errorf("%s: %q", name, b.String())
		}
		var back map[string]string
		if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back["key\u009b"] != value["key\u009b"] {
			t.Errorf("%s is not the same any more: %q, %v", name, back, err)
		}
	}
}

// TestJudge: what an image says must be what the kernel and minictr can do.
func TestJudge(t *testing.T) {
	for want, c := range map[string]rootfs.Config{
		"": {Cmd: []string{"sh", "a b"}, Env: []string{"A=b", "NOVALUE", "=x", "N\n=1"}, WorkingDir: "/", User: "0:0", StopSignal: "SIGRTMIN+3"},
		`config.Entrypoint: "a\x00b" contains a NUL`:      {Entrypoint: []string{"x", "a\x00b"}},
		`config.Cmd: "\x00" contains a NUL`:               {Cmd: []string{"\x00"}},
		`config.Env: "A=\x00" contains a NUL`:             {Env: []string{"A=\x00"}},
		`config.WorkingDir: "/tmp\x00/x" contains a NUL`:  {WorkingDir: "/tmp\x00/x"},
		`config.User: "root\x00x" contains a NUL`:         {User: "root\x00x"},
		`config.StopSignal: unknown signal "KILL;reboot"`: {StopSignal: "KILL;reboot"},
		`config.StopSignal: unknown signal "-9"`:          {StopSignal: "-9"},
		`config.StopSignal: unknown signal "0"`:           {StopSignal: "0"},
		`config.StopSignal: unknown signal "4294967305"`:  {StopSignal: "4294967305"},
	} {
		err := judge(c)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
