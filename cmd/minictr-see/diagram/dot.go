package diagram

import (
	"fmt"
	"strings"
)

// DOT draws the picture in the language of Graphviz, dot(1).
func (p *Picture) DOT() string {
	g := newGraph(p)
	var b strings.Builder
	b.WriteString("digraph network {\n    rankdir=LR; compound=true; fontname=\"sans-serif\"\n    node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"monospace\", fontsize=11]\n    edge [dir=none, fontname=\"monospace\", fontsize=10]\n")
	for i, r := range g.rooms {
		fmt.Fprintf(&b, "    subgraph cluster_%d {\n        label=%s; style=\"rounded,filled\"; fillcolor=\"#f6f8fa\"\n", i, dotString(r.label))
		for _, n := range r.nodes {
			extra := ""
			switch {
			case n.bridge:
				extra = ", fillcolor=\"#ddf4ff\", penwidth=2"
			case n.blank:
				extra = ", style=invis"
			}
			fmt.Fprintf(&b, "        %s [label=%s%s]\n", n.id, dotString(n.label), extra)
		}
		b.WriteString("    }\n")
	}
	if g.internet {
		b.WriteString("    internet [label=\"the internet\", shape=ellipse, fillcolor=\"#ddf4ff\"]\n")
	}
	for _, e := range g.edges {
		fmt.Fprintf(&b, "    %s -> %s [label=%s%s]\n", e.from, e.to, dotString(e.label), dotEdges[e.kind])
	}
	b.WriteString("}\n")
	return b.String()
}

var dotEdges = map[edgeKind]string{
	cableEdge:   ", penwidth=2",
	deadEdge:    ", style=dashed, color=\"#cf222e\"",
	portEdge:    "",
	skyEdge:     ", dir=both, color=\"#0550ae\"",
	outEdge:     ", dir=forward, color=\"#bf8700\", fontcolor=\"#9a6700\", constraint=false",
	publishEdge: ", dir=forward, color=\"#8250df\", fontcolor=\"#8250df\", constraint=false",
}

// dotString quotes text for DOT. In it only the quotation mark and the backslash mean
// something; \n and \l would be line breaks.
func dotString(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(shown(lines[i]))
	}
	return `"` + strings.ReplaceAll(strings.Join(lines, `\n`), "&", "&amp;") + `"` // dot expands entities of HTML
}

// Mermaid draws the picture as a flowchart of Mermaid, which many Markdown readers show.
func (p *Picture) Mermaid() string {
	g := newGraph(p)
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, r := range g.rooms {
		fmt.Fprintf(&b, "    subgraph room%d [%s]\n", i, mermaidString(r.label))
		for _, n := range r.nodes {
			shape := "%s[%s]"
			switch {
			case n.bridge:
				shape = "%s[[%s]]"
			case n.blank:
				shape = "%s(%s)"
			}
			fmt.Fprintf(&b, "        "+shape+"\n", n.id, mermaidString(n.label))
		}
		b.WriteString("    end\n")
	}
	if g.internet {
		b.WriteString("    internet((\"the internet\"))\n")
	}
	for _, e := range g.edges {
		arrow := mermaidEdges[e.kind]
		if e.label == "" {
			fmt.Fprintf(&b, "    %s %s %s\n", e.from, arrow, e.to)
			continue
		}
		fmt.Fprintf(&b, "    %s %s|%s| %s\n", e.from, arrow, mermaidString(e.label), e.to)
	}
	return b.String()
}

var mermaidEdges = map[edgeKind]string{cableEdge: "===", deadEdge: "-.-", portEdge: "---", skyEdge: "<-->", outEdge: "-.->", publishEdge: "-.->"}

// mermaidString quotes text for Mermaid. What could mean something, to Mermaid, to
// Markdown or to HTML, is written as the number of the character.
func mermaidString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, part := range strings.Split(s, "\n") {
		if i > 0 {
			b.WriteString("<br/>")
		}
		for _, r := range shown(part) {
			if r < 0x80 && !isMermaidPlain(r) {
				fmt.Fprintf(&b, "#%d;", r)
				continue
			}
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func isMermaidPlain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(" .:/-()@,", r)
}
