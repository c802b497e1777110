package logfile_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/runtime/logfile"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func write(t *testing.T, chunks ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := &logfile.Writer{W: &b, Stream: "stdout", Now: func() time.Time { return at }}
	for _, c := range chunks {
		if n, err := w.Write([]byte(c)); n != len(c) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	const stamp = "2026-01-02T03:04:05.000000006Z stdout "
	long := strings.Repeat("x", 16<<10)
	for _, c := range []struct {
		chunks []string
		want   string
	}{
		{[]string{"one\ntwo\n"}, stamp + "F one\n" + stamp + "F two\n"},
		{[]string{"o", "ne\n"}, stamp + "P o\n" + stamp + "F ne\n"},
		{[]string{"\n"}, stamp + "F \n"},
		{[]string{long + "y\n"}, stamp + "P " + long + "\n" + stamp + "F y\n"},
		{[]string{""}, ""},
	} {
		if got := write(t, c.chunks...); got != c.want {
			t.Errorf("%.40q: got %.80q, want %.80q", c.chunks, got, c.want)
		}
	}
}

func FuzzParseWhatIsWritten(f *testing.F) {
	f.Add("a line\nand the begin", "ning of another\n")
	f.Add("\x00\xff\n\n\n", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		var text strings.Builder
		log := write(t, a, b)
		for line := range strings.Lines(log) {
			e, err := logfile.Parse([]byte(strings.TrimSuffix(line, "\n")))
			if err != nil {
				t.Fatal(err)
			}
			text.Write(e.Text)
			if e.Full {
				text.WriteByte('\n')
			}
			if !e.Time.Equal(at) || e.Stream != "stdout" {
				t.Errorf("%+v", e)
			}
		}
		if text.String() != a+b {
			t.Errorf("wrote %q, read %q", a+b, text.String())
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05Z stdout F x"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, err := logfile.Parse(line); err == nil && (e.Stream == "" || e.Text == nil) {
			t.Errorf("%q: %+v", line, e)
		}
	})
}
