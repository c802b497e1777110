package diagram

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/test/kernel"
)

// hostileNames are what a link, a container or a namespace may be called.
var hostileNames = []string{
	`"><script>`, `'/><img/src`, "\x1b]0;x\a", "\u009b2J", "a\nb", "\r", "\u202ereversed", "\u200bzero", "]]><x>", "<!--", "&lt;&#x41;", `\`, `\"`, `\n\l\r`,
	"%%{init}%%", "end", "subgraph", "`**md**`", "#quot;", "|", "-->", ";}", "][", "\xff\xfe", "…", "世界世界世界世", "e\u0301\u0301\u0301", "", " ", "style x fill:red",
	"click x href \"javascript:alert(1)\"", "<br/>", "$(id)", "{{x}}", "@{shape: x}",
}

// named is a small picture in which everything has the name.
func named(name string) *Picture {
	m := newHost()
	m.bridge(name, "172.17.0.1/16")
	room := m.container("docker", name, name, "172.17.0.2/16")
	m.publish(room, "tcp", 80, 80)
	m.Rooms[room].ID = "docker:" + name
	m.Rooms[room].Command = name
	for i := range m.Rooms {
		for j := range m.Rooms[i].Interfaces {
			if f := &m.Rooms[i].Interfaces[j]; f.Kind == "veth" {
				f.Name = name
			}
		}
	}
	m.Cables[0].A.Interface, m.Cables[0].B.Interface, m.Cables[0].B.Room = name, name, m.Rooms[room].ID
	m.Published[0].ToRoom, m.Published[0].Chain, m.Published[0].Owner = m.Rooms[room].ID, name, name
	return &m.Picture
}

func TestNoNameSteersTheTerminal(t *testing.T) {
	for _, name := range hostileNames {
		p := named(name)
		for extension, format := range formats {
			for line := range strings.Lines(format(p)) {
				line = strings.TrimSuffix(line, "\n")
				if terminal.Visible(line) != line || strings.ToValidUTF8(line, "") != line {
					t.Errorf("%q in %s: %q", name, extension, line)
				}
			}
		}
		var b bytes.Buffer
		if err := terminal.JSON(&b, p); err != nil {
			t.Fatal(err)
		}
		if text := strings.ReplaceAll(b.String(), "\n", ""); terminal.Visible(text) != text {
			t.Errorf("%q in JSON: %q", name, text)
		}
	}
}

// The SVG is well-formed, of nothing but the elements that it is made of, and the
// names are in it as text.
func TestSVGOfHostileNames(t *testing.T) {
	elements := map[string]bool{"svg": true, "title": true, "style": true, "rect": true, "text": true, "g": true, "path": true}
	for _, name := range hostileNames {
		svg := named(name).SVG()
		d := xml.NewDecoder(strings.NewReader(svg))
		d.Strict = true
		var texts []string
		inText := false
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q: %v in\n%s", name, err, svg)
			}
			switch e := token.(type) {
			case xml.StartElement:
				inText = e.Name.Local == "text"
				if !elements[e.Name.Local] {
					t.Errorf("%q: element %s", name, e.Name.Local)
				}
				for _, a := range e.Attr {
					if strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Name.Local, "href") {
						t.Errorf("%q: attribute %s", name, a.Name.Local)
					}
				}
			case xml.CharData:
				if inText {
					texts = append(texts, string(e))
				}
			case xml.EndElement:
				inText = false
			}
		}
		if all := strings.Join(texts, "\n"); !strings.Contains(all, shown(name)) {
			t.Errorf("%q is not in %q", name, all)
		}
	}
}

// Every line of Mermaid is one of the few forms that we write, with all that is
// foreign in quotes, where nothing is left that Mermaid would understand.
func TestMermaidOfHostileNames(t *testing.T) {
	const quoted = `"([a-zA-Z0-9 .:/()@,\-]|#[0-9]+;|<br/>|[^\x00-\x7f])*"`
	forms := regexp.MustCompile(`^(flowchart LR|    subgraph room\d+ \[` + quoted + `\]|        r\d+(_\d+)?(\[` + quoted + `\]|\[\[` + quoted + `\]\]|\(` + quoted + `\))|    end|` +
		`    internet\(\(` + quoted + `\)\)|    (internet|r\d+_\d+) (===|-\.-|---|<-->|-\.->)(\|` + quoted + `\|)? r\d+_\d+)\n$`)
	pictures := samples()
	for _, name := range hostileNames {
		pictures[name] = named(name)
	}
	for name, p := range pictures {
		for line := range strings.Lines(p.Mermaid()) {
			if !forms.MatchString(line) {
				t.Errorf("%q: %q", name, line)
			}
		}
	}
}

// Graphviz draws all of them, and has the names as they are.
func TestGraphvizDraws(t *testing.T) {
	kernel.RequireCommand(t, "dot")
	for _, p := range samples() {
		graphviz(t, p.Collapse())
	}
	// Graphviz writes a hyphen and a space in its own way.
	plainly := strings.NewReplacer("&#45;", "-", "&#160;", " ", "&quot;", "&#34;", "&#39;", "'")
	for _, name := range hostileNames {
		text := plainly.Replace(graphviz(t, named(name)))
		var escaped bytes.Buffer
		if err := xml.EscapeText(&escaped, []byte(shown(name))); err != nil {
			t.Fatal(err)
		}
		if want := plainly.Replace(escaped.String()); strings.TrimSpace(want) != "" && !strings.Contains(text, want) {
			t.Errorf("%q is not in it as %q", name, want)
		}
	}
}

func graphviz(t *testing.T, p *Picture) string {
	t.Helper()
	c := exec.Command("dot", "-Tsvg")
	c.Stdin = strings.NewReader(p.DOT())
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("%v: %s in\n%s", err, stderr.String(), p.DOT())
	}
	return string(out)
}
