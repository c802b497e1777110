package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/term"
)

// converse is the interactive shell.
func (s *shell) converse(ctx context.Context, in *os.File) int {
	if !isTerminal(in) {
		return s.runLines(ctx, &plainLines{in: in})
	}
	return s.runLines(ctx, newEditor(s, in))
}

// An editor reads lines from a terminal that a person edits. The terminal is raw
// only while a line is being typed, so that a command finds it as usual.
type editor struct {
	shell   *shell
	in      *os.File
	term    *term.Terminal
	history history
	keys    *keyReader
	tabs    completer
}

func newEditor(s *shell, in *os.File) *editor {
	e := &editor{shell: s, in: in, keys: &keyReader{in: in}}
	e.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{e.keys, os.Stderr}, "")
	e.term.History = &e.history
	e.history.skip = &e.keys.interrupted
	e.tabs = completer{shell: s, show: e.term}
	e.term.AutoCompleteCallback = e.tabs.complete
	return e
}

// line reads one line. ^C gives errInterrupted, ^D on an empty line io.EOF.
func (e *editor) line(more bool) (string, error) {
	prompt := e.shell.prompt("PS2", "> ")
	if !more {
		e.shell.tellJobs()
		prompt = e.shell.prompt("PS1", `\w \$ `)
	}
	fd := int(e.in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(fd, before) }() // a terminal that is gone needs nothing
	if width, height, err := term.GetSize(fd); err == nil && width > 0 {
		_ = e.term.SetSize(width, height) // only a terminal that cannot be written to fails
	}
	e.term.SetPrompt(prompt)
	e.keys.interrupted.Store(false)
	line, err := e.term.ReadLine()
	switch {
	case e.keys.interrupted.Load():
		e.shell.setStatus(130)
		return "", errInterrupted
	case errors.Is(err, term.ErrPasteIndicator):
		err = nil
	case errors.Is(err, io.EOF):
		_, _ = io.WriteString(os.Stderr, "\r\n") // where the terminal is gone, nobody reads it
	}
	return line + newlineUnless(err), err
}

func newlineUnless(err error) string {
	if err != nil {
		return ""
	}
	return "\n"
}

const keyInterrupt = 3 // ^C

// A keyReader makes of ^C the end of the line that was being typed.
type keyReader struct {
	in          io.Reader
	interrupted atomic.Bool
}

// Read reads keys.
func (k *keyReader) Read(b []byte) (int, error) {
	n, err := k.in.Read(b)
	for i := range n {
		if b[i] == keyInterrupt {
			k.interrupted.Store(true)
			_, _ = io.WriteString(os.Stderr, "^C") // where the terminal is gone, nobody reads it
			b[i] = '\r'
			return i + 1, err
		}
	}
	return n, err
}

// A history is what was typed before, the newest first.
type history struct {
	lines []string // the newest last
	skip  *atomic.Bool
}

const maxHistory = 500

// Add adds a line, unless it is empty, was given up, or only repeats.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || h.skip.Load() || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
}

// Len is how many lines there are.
func (h *history) Len() int { return len(h.lines) }

// At returns a line; 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// prompt returns PS1 or PS2 as it is shown.
func (s *shell) prompt(name, fallback string) string {
	format := fallback
	if v, ok := s.runner.Vars[name]; ok && v.IsSet() {
		format = v.String()
	} else if v := os.Getenv(name); v != "" {
		format = v
	}
	if !strings.Contains(format, `\`) {
		return format
	}
	host, _ := os.Hostname() // without a name the prompt is the shorter
	short, _, _ := strings.Cut(host, ".")
	dir := s.runner.Dir
	home := s.runner.Vars["HOME"].String()
	if rest, ok := strings.CutPrefix(dir, home); ok && len(home) > 1 && (rest == "" || rest[0] == '/') {
		dir = "~" + rest
	}
	sign, user := "$", os.Getenv("USER")
	if os.Geteuid() == 0 {
		sign, user = "#", "root"
	}
	return strings.NewReplacer(`\w`, dir, `\W`, dir[strings.LastIndex(dir, "/")+1:], `\h`, short, `\H`, host, `\u`, user,
		`\$`, sign, `\s`, "sh", `\n`, "\n", `\e`, "\x1b", `\[`, "", `\]`, "", `\\`, `\`).Replace(format)
}
