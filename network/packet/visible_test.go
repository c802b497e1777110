package packet

import "testing"

func TestVisibleText(t *testing.T) {
	for in, want := range map[string]string{
		"plain äß": "plain äß", "\x1b[31mred\n": `\x1b[31mred\x0a`, "a\xffb": `a\xffb`, "\u009b1m": `\x9b1m`, "\x7f\x00": `\x7f\x00`, "�": "�",
	} {
		if got := Visible(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
