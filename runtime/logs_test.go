package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minictr/minictr/runtime/logfile"
)

var logStart = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)

// logText is a log of one entry for each word, a second apart: "o:" is standard
// output, "e:" standard error, and a word that ends with "+" is the beginning of
// a line.
func logText(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		stream := map[byte]string{'o': "stdout", 'e': "stderr"}[w[0]]
		tag, text := "F", w[2:]
		if strings.HasSuffix(text, "+") {
			tag, text = "P", strings.TrimSuffix(text, "+")
		}
		fmt.Fprintf(&b, "%s %s %s %s\n", logStart.Add(time.Duration(i)*time.Second).Format(time.RFC3339Nano), stream, tag, text)
	}
	return b.String()
}

func TestTailOffset(t *testing.T) {
	for _, c := range []struct {
		words string
		n     int
		want  string
	}{
		{"o:a o:b o:c", 0, ""},
		{"o:a o:b o:c", 1, "o:c"},
		{"o:a o:b o:c", 2, "o:b o:c"},
		{"o:a o:b o:c", 3, "o:a o:b o:c"},
		{"o:a o:b o:c", 9, "o:a o:b o:c"},
		{"o:a e:b o:c", 2, "e:b o:c"},
		{"o:a o:b+ o:c+ o:d", 1, "o:b+ o:c+ o:d"},         // a line in three parts
		{"o:a o:b+ o:c+ o:d o:e", 2, "o:b+ o:c+ o:d o:e"}, // and one behind it
		{"o:a o:b o:c+", 2, "o:b o:c+"},                   // a line that is being written
		{"o:a o:b+ o:c+", 1, "o:b+ o:c+"},
		{"", 3, ""},
	} {
		all := logText(strings.Fields(c.words)...)
		want := ""
		if n := len(strings.Fields(c.want)); n > 0 {
			lines := slices.Collect(strings.Lines(all))
			want = strings.Join(lines[len(lines)-n:], "")
		}
		offset, err := tailOffset(strings.NewReader(all), int64(len(all)), c.n)
		if err != nil {
			t.Errorf("%s, %d: %v", c.words, c.n, err)
		} else if got := all[offset:]; got != want {
			t.Errorf("%s, %d: got\n%swant\n%s", c.words, c.n, got, want)
		}
	}
}

// The tail is the same whether the log fits into one block or not.
func TestTailOffsetOfManyBlocks(t *testing.T) {
	var words []string
	for i := range 4000 {
		words = append(words, "o:"+strings.Repeat("x", i%97))
	}
	words[1000] += strings.Repeat("y", 3*tailBlock)
	all := logText(words...)
	lines := slices.Collect(strings.Lines(all))
	for _, n := range []int{1, 10, 2999, 3000, 3001, 4000} {
		want := len(strings.Join(lines[len(lines)-n:], ""))
		offset, err := tailOffset(strings.NewReader(all), int64(len(all)), n)
		if err != nil || len(all)-int(offset) != want {
			t.Errorf("%d lines: %d bytes, %v, want %d", n, len(all)-int(offset), err, want)
		}
	}
}

func FuzzTailOffset(f *testing.F) {
	f.Add(logText("o:a", "e:b+", "o:c"), 2)
	f.Add("\n\n\n", 1)
	f.Fuzz(func(t *testing.T, log string, n int) {
		if n < 0 {
			return
		}
		offset, err := tailOffset(strings.NewReader(log), int64(len(log)), n)
		if err != nil || offset < 0 || offset > int64(len(log)) {
			t.Fatalf("%d, %v", offset, err)
		}
		if offset > 0 && log[offset-1] != '\n' && offset != int64(len(log)) {
			t.Errorf("%d is not where a line begins", offset)
		}
	})
}

// logged is a container with a log, which has ended.
func logged(t *testing.T, log string) (*Runtime, *Container) {
	t.Helper()
	r := &Runtime{Root: t.TempDir(), Runroot: t.TempDir()}
	c := &Container{Config: &Config{ID: strings.Repeat("a", 64), Name: "web", Detach: true}, Status: Exited}
	if err := os.MkdirAll(r.lasting(c.Config.ID), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.lasting(c.Config.ID, logfile.Name), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, c
}

func TestLogs(t *testing.T) {
	r, c := logged(t, logText("o:a", "e:b", "o:c", "o:d"))
	for _, x := range []struct {
		name    string
		options LogOptions
		want    string
	}{
		{"all", LogOptions{Tail: AllLines}, "a b c d"},
		{"none", LogOptions{}, ""},
		{"tail", LogOptions{Tail: 2}, "c d"},
		{"since", LogOptions{Tail: AllLines, Since: logStart.Add(time.Second)}, "b c d"},
		{"until", LogOptions{Tail: AllLines, Until: logStart.Add(time.Second)}, "a b"},
		{"since and until", LogOptions{Tail: AllLines, Since: logStart.Add(time.Second), Until: logStart.Add(2 * time.Second)}, "b c"},
		{"of the tail, since", LogOptions{Tail: 3, Since: logStart.Add(2 * time.Second)}, "c d"},
		{"follow what has ended", LogOptions{Tail: AllLines, Follow: true}, "a b c d"},
	} {
		t.Run(x.name, func(t *testing.T) {
			var got []string
			err := r.Logs(c, x.options, func(e logfile.Entry) error { got = append(got, string(e.Text)); return nil })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(x.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A line cut by a full disk is reported, and costs no other line.
func TestLogsOfACorruptFile(t *testing.T) {
	r, c := logged(t, logText("o:a")+"2026-01-02T03:04:0\n"+logText("o:b"))
	var got []string
	err := r.Logs(c, LogOptions{Tail: AllLines}, func(e logfile.Entry) error { got = append(got, string(e.Text)); return nil })
	if err == nil || !strings.Contains(err.Error(), "read the log of web: 1 lines passed over") {
		t.Errorf("error: %v", err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLogsThatAreNot(t *testing.T) {
	r, c := logged(t, "")
	if err := r.Logs(c, LogOptions{Tail: AllLines}, nil); err != nil {
		t.Errorf("detached, has printed nothing: %v", err)
	}
	c.Config.Detach = false
	err := r.Logs(c, LogOptions{Tail: AllLines}, nil)
	if _, ok := errors.AsType[*NoLogError](err); !ok {
		t.Errorf("not detached: no NoLogError: %v", err)
	}
	if err := os.Remove(r.lasting(c.Config.ID, logfile.Name)); err != nil {
		t.Fatal(err)
	}
	if err := r.Logs(c, LogOptions{Tail: AllLines}, nil); err != nil {
		t.Errorf("never run: %v", err)
	}
}

// Reading again goes on where it stopped, even in the middle of an entry.
func TestLogReaderGoesOn(t *testing.T) {
	text := logText("o:one", "o:two", "o:three")
	for cut := range len(text) {
		file := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(file, []byte(text[:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(file, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		l := logReader{file: bufio.NewReader(f), emit: func(e logfile.Entry) error { got.Write(append(e.Text, ' ')); return nil }}
		if err := l.read(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.read(); err != nil || got.String() != "one two three " || l.bad != 0 {
			t.Errorf("cut at %d: %q, %d bad, %v", cut, got.String(), l.bad, err)
		}
		f.Close()
	}
}
