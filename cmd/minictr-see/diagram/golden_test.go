package diagram

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/minictr/minictr/cmd/terminal"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// formats are the ways to draw a picture, by the extensions of their golden files.
var formats = map[string]func(*Picture) string{
	"txt":        func(p *Picture) string { return p.Collapse().Text(TextOptions{Columns: 80}) },
	"narrow.txt": func(p *Picture) string { return p.Collapse().Text(TextOptions{Columns: 44}) },
	"ascii.txt":  func(p *Picture) string { return p.Collapse().Text(TextOptions{Columns: 80, ASCII: true}) },
	"dot":        func(p *Picture) string { return p.Collapse().DOT() },
	"mmd":        func(p *Picture) string { return p.Collapse().Mermaid() },
	"svg":        func(p *Picture) string { return p.Collapse().SVG() },
	"way.txt":    ways,
}

// ways are those of all rooms but the first, of the collapsed picture.
func ways(p *Picture) string {
	var b strings.Builder
	q := p.Collapse()
	for i := 1; i < len(q.Rooms); i++ {
		fmt.Fprintln(&b, q.Way(&q.Rooms[i]).Text(q, TextOptions{Columns: 80}))
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	for name, p := range samples() {
		for extension, format := range formats {
			file := filepath.Join("testdata", name+"."+extension)
			seen[file] = true
			compare(t, file, format(p))
		}
	}
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !seen[file] {
			t.Errorf("%s belongs to no test", file)
		}
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s", file, got)
	}
}

// Whatever the width, no line is longer, and drawing twice is the same.
func TestTextFits(t *testing.T) {
	for name, p := range samples() {
		for columns := minColumns; columns < 140; columns++ {
			for _, ascii := range []bool{false, true} {
				o := TextOptions{Columns: columns, ASCII: ascii}
				text := p.Collapse().Text(o)
				if again := p.Collapse().Text(o); again != text {
					t.Fatalf("%s: not the same twice", name)
				}
				q := p.Collapse()
				for i := range q.Rooms {
					text += q.Way(&q.Rooms[i]).Text(q, o)
				}
				for line := range strings.Lines(text) {
					if w := width(strings.TrimSuffix(line, "\n")); w > columns {
						t.Errorf("%s, %d columns: %d in %q", name, columns, w, line)
					}
					if ascii && strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
						t.Errorf("%s: not ASCII: %q", name, line)
					}
				}
			}
		}
	}
}

// Every room, every address and both names of every cable are in the text of a
// picture that is wide enough.
func TestTextIsComplete(t *testing.T) {
	for _, name := range []string{"three", "mixed", "routers"} {
		p := samples()[name]
		text := p.Text(TextOptions{Columns: 200})
		for _, r := range p.Rooms {
			words := []string{" " + r.Name + " "}
			for _, i := range r.Interfaces {
				if i.Kind == "lo" {
					continue
				}
				words = append(words, i.Name)
				for _, a := range i.Addresses {
					words = append(words, a.String())
				}
			}
			for _, w := range words {
				if !strings.Contains(text, w) {
					t.Errorf("%s: %q is missing in\n%s", name, w, text)
				}
			}
		}
	}
}

func TestColours(t *testing.T) {
	p := samples()["routers"]
	coloured := p.Text(TextOptions{Columns: 80, Colour: true})
	if !strings.Contains(coloured, "\x1b[31m") {
		t.Errorf("the cable without carrier is not red: %q", coloured)
	}
	for line := range strings.Lines(coloured) {
		if strings.Contains(line, "\x1b[") && !strings.HasSuffix(line, "\x1b[0m\n") && strings.LastIndex(line, "\x1b[0m") < strings.LastIndex(line, "\x1b[3") {
			t.Errorf("colour goes on behind the line: %q", line)
		}
	}
	bare := p.Text(TextOptions{Columns: 80})
	if strings.Contains(bare, "\x1b") {
		t.Errorf("%q", bare)
	}
}

func TestJSON(t *testing.T) {
	for name, p := range samples() {
		var b bytes.Buffer
		if err := terminal.JSON(&b, p); err != nil {
			t.Fatal(err)
		}
		var back Picture
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		for i := range back.Rooms { // an empty list is written as one, and read as one
			if len(back.Rooms[i].Routes) == 0 {
				back.Rooms[i].Routes = nil
			}
		}
		if !reflect.DeepEqual(&back, p) {
			t.Errorf("%s: not the same:\n%+v\n%+v", name, &back, p)
		}
	}
}

func TestCollapse(t *testing.T) {
	all := samples()
	for name, want := range map[string][]string{
		"three": {"host", "web", "db", "cache"}, "hundred": {"host", "web-1 … web-97", "db", "cache"},
	} {
		var got []string
		for _, r := range all[name].Collapse().Rooms {
			got = append(got, r.Name)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	q := all["hundred"].Collapse()
	if len(q.Published) != 1 || q.Published[0].Count != 97 || q.Published[0].First != 8001 || q.Published[0].Last != 8097 {
		t.Errorf("%+v", q.Published)
	}
	if len(q.Cables) != 3 || len(q.Rooms[1].Members) != 97 {
		t.Errorf("%+v", q.Cables)
	}
	m := &maker{Picture: *all["hundred"]}
	m.Rooms[7].Interfaces[1].MTU = 1400 // that one is not equal
	if n := len(m.Collapse().Rooms); n != 5 {
		t.Errorf("%d rooms", n)
	}
}
