package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A phase is what happens to a layer; layers only move down this list.
type phase int

const (
	phaseWait phase = iota
	phaseFetch
	phaseFetched
	phaseUnpack
	phaseDone
	phaseExists

	phaseUpload
	phaseUploaded
	phaseMounted
)

var phaseWords = []string{"Waiting", "Downloading", "Download complete", "Unpacking", "Pull complete", "Already exists", "Pushing", "Pushed", "Mounted"}

// follows reports whether a layer that is in one phase is shown in another. It is
// unpacked while it is downloaded: until it is here, that is what counts.
func follows(now, then phase) bool {
	return then >= now && (now != phaseFetch || then != phaseUnpack)
}

// progress shows what happens to the layers of an image. Its methods may be
// called from several goroutines.
type progress interface {
	// update tells that layer i came to done of total bytes in the phase.
	update(i int, p phase, done, total int64)
	// say shows a line about what takes time.
	say(text string)
	// finish leaves the display in its last state.
	finish()
}

// newProgress chooses the display: bars on a terminal, plain lines elsewhere,
// nothing when quiet. names are what the layers are called, one line each.
func newProgress(mode string, quiet bool, w io.Writer, names []string) (progress, error) {
	file, isFile := w.(*os.File)
	width, height := 0, 0
	if isFile && term.IsTerminal(int(file.Fd())) {
		width, height, _ = term.GetSize(int(file.Fd())) // a terminal of no size gets plain lines
	}
	switch {
	case quiet || mode == "none":
		return silent{}, nil
	case mode != "auto" && mode != "plain":
		return nil, &usageError{fmt.Sprintf("--progress %q: must be auto, plain or none", mode), "pull [--progress auto|plain|none] NAME"}
	case mode == "plain" || width < 20 || len(names) >= height:
		return &lines{w: w, names: names, last: make([]phase, len(names))}, nil
	}
	return &bars{w: w, width: width, names: names, now: make([]state, len(names))}, nil
}

type silent struct{}

func (silent) update(int, phase, int64, int64) {}
func (silent) say(string)                      {}
func (silent) finish()                         {}

// lines prints a line for each change of phase.
type lines struct {
	mu    sync.Mutex
	w     io.Writer
	names []string
	last  []phase
}

func (l *lines) update(i int, p phase, _, _ int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p == l.last[i] || !follows(l.last[i], p) {
		return
	}
	l.last[i] = p
	fmt.Fprintf(l.w, "%s: %s\n", l.names[i], phaseWords[p])
}

func (l *lines) say(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "minictr: %s\n", visible(text))
}

func (l *lines) finish() {}

// bars keeps one line for each layer and draws them again when something
// changed, at most ten times a second.
type bars struct {
	mu    sync.Mutex
	w     io.Writer
	width int
	names []string
	now   []state
	drawn bool
	at    time.Time
}

type state struct {
	phase       phase
	done, total int64
}

const redrawEvery = 100 * time.Millisecond

func (b *bars) update(i int, p phase, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !follows(b.now[i].phase, p) {
		return
	}
	changed := b.now[i].phase != p
	b.now[i] = state{p, done, total}
	if changed || time.Since(b.at) >= redrawEvery {
		b.draw()
	}
}

// say puts the line above the layers', which are drawn again below it (CSI J
// erases to the end of the screen).
func (b *bars) say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	up := ""
	if b.drawn {
		up = fmt.Sprintf("\x1b[%dA\r\x1b[J", len(b.names))
	}
	fmt.Fprintf(b.w, "%sminictr: %s\n", up, visible(text))
	b.drawn = false
	b.draw()
}

func (b *bars) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw()
}

// draw goes up to the first line and writes all of them (console_codes(4): CSI A
// is cursor up, CSI K erases to the end of the line).
func (b *bars) draw() {
	var out strings.Builder
	if b.drawn {
		fmt.Fprintf(&out, "\x1b[%dA", len(b.names))
	}
	for i, name := range b.names {
		out.WriteString("\r" + bar(name, b.now[i], b.width-1) + "\x1b[K\n")
	}
	_, _ = io.WriteString(b.w, out.String()) // a terminal that is gone needs no progress
	b.drawn, b.at = true, time.Now()
}

// bar is one line of at most width characters:
//
//	4abcf2066143: Downloading [===========>                  ]  1.3MB/3.5MB
func bar(name string, s state, width int) string {
	text := name + ": " + phaseWords[s.phase]
	if s.phase == phaseFetch || s.phase == phaseUnpack || s.phase == phaseUpload {
		numbers := " " + megabytes(s.done) + "/" + megabytes(s.total)
		if room := min(50, width-len(text)-len(numbers)-3); room >= 10 && s.total > 0 {
			filled := int(min(s.done, s.total) * int64(room) / s.total)
			head := ">"
			if filled == room {
				head = ""
			}
			text += " [" + fmt.Sprintf("%-*s", room, strings.Repeat("=", filled)+head) + "]"
		}
		text += numbers
	}
	return text[:min(len(text), width)]
}

func megabytes(n int64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%.1fkB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1fMB", float64(n)/1_000_000)
}
