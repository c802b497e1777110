package test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

var update = flag.Bool("update", false, "put into docs/networking.md what its commands print")

// TestNetworkingPage types what docs/networking.md shows. Its block of sh makes the
// machine; the lines of its console blocks that begin with "# " are the commands, in
// one order over the whole page, and what follows each is what it prints, on both
// outputs. See shown for what may differ. With -update the page gets what was
// printed; long output is then to be shortened by hand.
func TestNetworkingPage(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "nsenter", "unshare", "sysctl", "sh")
	const file = "../docs/networking.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := readPage(string(text))
	if len(page.commands) < 50 || page.script == "" {
		t.Fatalf("%s shows %d commands", file, len(page.commands))
	}
	h := newPageHost(t, page.script)
	changed := false
	for _, c := range page.commands {
		out := h.show(c)
		got := lines(out)
		if shown(c.output, got) {
			continue
		}
		if *update {
			c.output, changed = got, true
			continue
		}
		t.Errorf("%s:%d: # %s\nprints\n%s\nand not\n%s", file, c.at, c.line, out, strings.Join(c.output, "\n"))
	}
	if changed {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// show types the command. One that fetches something may do so before the server
// listens, and is tried again.
func (h *netnsHost) show(c *command) string {
	h.t.Helper()
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := h.run(c.line)
		if ended := new(exec.ExitError); err != nil && !errors.As(err, &ended) { // that it fails may be what it shows
			h.t.Fatalf("%s: %v", c.line, err)
		}
		if !strings.Contains(c.line, "wget ") || shown(c.output, lines(out)) || time.Now().After(deadline) {
			return out
		}
	}
}

// newPageHost makes the machine of the page: namespaces whose minictr is this one's,
// and whose wget is that of minictr/base.
func newPageHost(t *testing.T, script string) *netnsHost {
	t.Helper()
	kernel.Snapshot(t)
	programs, dir := kernel.Programs(t), t.TempDir()
	h := &netnsHost{t: t, path: dir + ":" + os.Getenv("PATH")}
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s/minictr --root %s/root \"$@\"\n", programs, dir)
	for _, err := range []error{
		os.WriteFile(dir+"/minictr", []byte(wrapper), 0o755),
		os.Symlink(programs+"/minictr-base", dir+"/wget"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.start(script + "true")
	t.Cleanup(func() {
		h.sh("minictr ps -aq | xargs -r minictr rm -f; minictr network adopted -q | xargs -r -n 1 minictr network release; minictr network rm --all >/dev/null; ip -all netns delete")
	})
	return h
}

// A page is a page of the documentation.
type page struct {
	lines    []string   // those that are no output
	commands []*command // in their order
	script   string     // the block of sh
}

// A command is one that the page shows.
type command struct {
	at     int // the number of its line
	before int // how many of the page's lines come before its output
	line   string
	output []string
}

func readPage(text string) *page {
	p, block := &page{}, ""
	var last *command // whose output is being read
	for i, line := range lines(text) {
		fence, isFence := strings.CutPrefix(line, "```")
		typed, isCommand := strings.CutPrefix(line, "# ")
		switch {
		case isFence:
			block, last = fence, nil
		case block == "sh":
			p.script += line + "\n"
		case block == "console" && isCommand:
			last = &command{at: i + 1, before: len(p.lines) + 1, line: typed}
			p.commands = append(p.commands, last)
		case last != nil:
			last.output = append(last.output, line)
			continue
		}
		p.lines = append(p.lines, line)
	}
	return p
}

// String is the page with the commands' output.
func (p *page) String() string {
	var all []string
	from := 0
	for _, c := range p.commands {
		all = append(append(all, p.lines[from:c.before]...), c.output...)
		from = c.before
	}
	return strings.Join(append(all, p.lines[from:]...), "\n") + "\n"
}

func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// shown reports whether the page shows what was printed. "…" stands for anything,
// and on a line of its own for any lines. What differs from run to run differs in
// digits: 8 and more of hex (ids, inodes), 5 and more (ports, pids), the number of a
// link behind @if, and numbers in front of ms, s, second and seconds. The width of
// columns follows from them, so spaces count as one.
func shown(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] == "…" {
		for i := range len(got) + 1 {
			if shown(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && pattern(want[0]).MatchString(plain(got[0])) && shown(want[1:], got[1:])
}

var varying = regexp.MustCompile(`[0-9a-f]{8,}|[0-9]{5,}|@if[0-9]+|(Less than a second|[0-9.]+ ?(ms|seconds?)\b)|…`)

func plain(line string) string { return strings.Join(strings.Fields(line), " ") }

// pattern matches the lines that may stand for the page's.
func pattern(line string) *regexp.Regexp {
	line = plain(line)
	text, from := "", 0
	for _, at := range varying.FindAllStringIndex(line, -1) {
		text += regexp.QuoteMeta(line[from:at[0]])
		switch found := line[at[0]:at[1]]; {
		case found == "…":
			text += ".*"
		case strings.HasPrefix(found, "@if"):
			text += "@if[0-9]+"
		case strings.HasSuffix(found, "ms"):
			text += "[0-9.]+ ?ms"
		case strings.Contains(found, "second"):
			text += "(Less than a second|[0-9]+ seconds?)"
		case len(found) >= 8:
			text += "[0-9a-f]{8,}"
		default:
			text += "[0-9]{4,}"
		}
		from = at[1]
	}
	return regexp.MustCompile("^" + text + regexp.QuoteMeta(line[from:]) + "$")
}
