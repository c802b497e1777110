package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBar(t *testing.T) {
	for _, c := range []struct {
		s     state
		width int
		want  string
	}{
		{state{phaseWait, 0, 0}, 79, "4abcf2066143: Waiting"},
		{state{phaseFetch, 0, 3_500_000}, 79, "4abcf2066143: Downloading [>                                      ] 0.0kB/3.5MB"},
		{state{phaseFetch, 1_750_000, 3_500_000}, 79, "4abcf2066143: Downloading [===================>                   ] 1.8MB/3.5MB"},
		{state{phaseFetch, 3_500_000, 3_500_000}, 79, "4abcf2066143: Downloading [=======================================] 3.5MB/3.5MB"},
		{state{phaseUnpack, 500, 1000}, 79, "4abcf2066143: Unpacking [====================>                    ] 0.5kB/1.0kB"},
		{state{phaseUnpack, 500, 0}, 79, "4abcf2066143: Unpacking 0.5kB/0.0kB"},
		{state{phaseFetch, 1, 2}, 30, "4abcf2066143: Downloading 0.0k"},
		{state{phaseUpload, 500, 1000}, 79, "4abcf2066143: Pushing [=====================>                     ] 0.5kB/1.0kB"},
		{state{phaseDone, 0, 0}, 20, "4abcf2066143: Pull c"},
	} {
		got := bar("4abcf2066143", c.s, c.width)
		if got != c.want || len(got) > c.width {
			t.Errorf("%+v\n got %q\nwant %q", c.s, got, c.want)
		}
	}
}

// TestBarsStayInPlace: every drawing goes up as many lines as the last one went
// down.
func TestBarsStayInPlace(t *testing.T) {
	var out bytes.Buffer
	b := &bars{w: &out, width: 60, names: []string{"one", "two"}, now: make([]state, 2)}
	b.update(0, phaseFetch, 1, 10)
	b.update(1, phaseExists, 0, 0)
	b.finish()
	text := out.String()
	if strings.Count(text, "\n") != 6 || strings.Count(text, "\x1b[2A") != 2 || !strings.HasSuffix(text, "\rtwo: Already exists\x1b[K\n") {
		t.Errorf("%q", text)
	}
}

// TestOverlap: a layer that is unpacked while it is downloaded has one line for
// each phase, and no bar that jumps.
func TestOverlap(t *testing.T) {
	var plain, drawn bytes.Buffer
	l := &lines{w: &plain, names: []string{"one"}, last: make([]phase, 1)}
	b := &bars{w: &drawn, width: 60, names: []string{"one"}, now: make([]state, 1)}
	for _, p := range []progress{l, b} {
		p.update(0, phaseFetch, 1, 10)
		p.update(0, phaseUnpack, 1, 10)
		p.update(0, phaseFetch, 10, 10)
		p.update(0, phaseFetched, 0, 0)
		p.update(0, phaseUnpack, 5, 10)
		p.update(0, phaseDone, 0, 0)
		p.update(0, phaseUnpack, 10, 10)
		p.finish()
	}
	if want := "one: Downloading\none: Download complete\none: Unpacking\none: Pull complete\n"; plain.String() != want {
		t.Errorf("%q", plain.String())
	}
	if n := strings.Count(drawn.String(), "Unpacking"); n != 1 || !strings.HasSuffix(drawn.String(), "one: Pull complete\x1b[K\n") {
		t.Errorf("%q", drawn.String())
	}
}

// TestSay: a notice stands above the bars, which are drawn again.
func TestSay(t *testing.T) {
	var out bytes.Buffer
	b := &bars{w: &out, width: 60, names: []string{"one"}, now: make([]state, 1)}
	b.say("before")
	b.say("a\x1b[2Jb")
	want := "minictr: before\n\rone: Waiting\x1b[K\n\x1b[1A\r\x1b[Jminictr: a[2Jb\n\rone: Waiting\x1b[K\n"
	if out.String() != want {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	(&lines{w: &out}).say("line")
	silent{}.say("nothing")
	if out.String() != "minictr: line\n" {
		t.Errorf("%q", out.String())
	}
}

func TestProgressModes(t *testing.T) {
	if _, err := newProgress("fancy", false, &bytes.Buffer{}, nil); err == nil {
		t.Error("--progress fancy")
	}
	for mode, want := range map[string]string{"auto": "x: Downloading\nx: Pull complete\n", "plain": "x: Downloading\nx: Pull complete\n", "none": ""} {
		var out bytes.Buffer
		p, err := newProgress(mode, false, &out, []string{"x"})
		check(t, err)
		p.update(0, phaseFetch, 1, 2)
		p.update(0, phaseFetch, 2, 2)
		p.update(0, phaseDone, 0, 0)
		p.finish()
		if out.String() != want {
			t.Errorf("%s: %q", mode, out.String())
		}
	}
}

func TestUsage(t *testing.T) {
	requireRoot(t)
	for _, c := range []struct{ args, want string }{
		{"", "minictr: no command\nhint: usage: minictr-image [--root DIR] " + usage() + "\n"},
		{"x y", "minictr: unknown command \"x\"\nhint: usage: minictr-image [--root DIR] " + usage() + "\n"},
		{"load x", "minictr: load: wrong number of arguments\nhint: usage: minictr-image [--root DIR] " + subcommands()["load"].usage + "\n"},
		{"load --bad", "minictr: flag provided but not defined: -bad\nhint: usage: minictr-image [--root DIR] " + subcommands()["load"].usage + "\n"},
	} {
		if _, stderr, err := run(t, t.TempDir(), strings.Fields(c.args)...); err == nil || stderr != c.want {
			t.Errorf("%q: got %q, want %q", c.args, stderr, c.want)
		}
	}
	for name, sub := range subcommands() {
		if stdout, _, err := run(t, t.TempDir(), name, "--help"); err != nil || stdout != "usage: minictr-image [--root DIR] "+sub.usage+"\n" {
			t.Errorf("%s --help: %q, %v", name, stdout, err)
		}
	}
}

// TestOneLine: what a registry says cannot break the line or steer a terminal.
func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{"a\nb\tc": "a b c", "x\x1b[31mred\a\u009b": "x[31mred", strings.Repeat("y", 2000): strings.Repeat("y", 1000) + "…"} {
		if got := oneLine(&usageError{problem: text}); got != want {
			t.Errorf("%q -> %q", text, got)
		}
	}
}
