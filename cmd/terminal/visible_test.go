package terminal

import (
	"encoding/json"
	"strings"
	"testing"
)

// steering is text that does something to a terminal: an escape sequence with
// ESC and with U+009B, a title, a bell, a new line, and a line turned round.
const steering = "a\x1b[2Jb\u009b31mc\x1b]0;x\ad\ne\u202ef\u2066g\u2028h\x7f\x9b"

// TestSteering: what an image calls itself reaches a terminal as characters.
func TestSteering(t *testing.T) {
	if got, want := Visible(steering), "a?[2Jb?31mc?]0;x?d?e?f?g?h?\ufffd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Visible("Grüße 世界 👩‍💻 a\u00a0b"); got != "Grüße 世界 👩‍💻 a\u00a0b" {
		t.Errorf("got %q", got)
	}
	value := map[string]string{"key\u009b": strings.TrimSuffix(steering, "\x9b")}
	for name, print := range map[string]func(*strings.Builder) error{
		"inspect": func(b *strings.Builder) error { return JSON(b, value) },
		"json":    func(b *strings.Builder) error { return JSONLines(b, []any{value}) },
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
