package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/rootfs"
)

// TestSizedHistory: layers belong to the steps that changed files, and none is
// lost where the history does not fit.
func TestSizedHistory(t *testing.T) {
	step := func(by string, empty bool) publishedStep { return publishedStep{CreatedBy: by, EmptyLayer: empty} }
	layers := []rootfs.Layer{{Size: 1}, {Size: 20}, {Size: 300}}
	for name, c := range map[string]struct {
		steps []publishedStep
		want  string
	}{
		"as it should be": {[]publishedStep{step("a", false), step("x", true), step("b", false), step("c", false), step("y", true)}, "y 0, c 300, b 20, x 0, a 1"},
		"too short":       {[]publishedStep{step("a", false), step("x", true)}, " 300,  20, x 0, a 1"},
		"too long":        {[]publishedStep{step("a", false), step("b", false), step("c", false), step("d", false)}, "d 0, c 300, b 20, a 1"},
		"none":            {nil, " 300,  20,  1"},
	} {
		var got []string
		for _, s := range sizedHistory(c.steps, layers) {
			got = append(got, s.CreatedBy+" "+strings.TrimSuffix(humanSize(s.size), "B"))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestHistoryRow(t *testing.T) {
	s := sizedStep{publishedStep{Created: now.Add(-time.Hour), CreatedBy: "RUN\t" + strings.Repeat("x", 60) + "\x1b]0;title\a", Comment: "a\nb"}, 1234}
	for want, f := range map[historyRow]historyFlags{
		{"", "About an hour ago", s.Created.Local().Format(time.RFC3339), "RUN " + strings.Repeat("x", 40) + "…", "1.234kB", "a b"}:                 {human: true},
		{"", "About an hour ago", s.Created.Local().Format(time.RFC3339), "RUN " + strings.Repeat("x", 60) + "?]0;title?", "1.234kB", "a b"}:        {human: true, noTrunc: true},
		{"", s.Created.Local().Format(time.RFC3339), s.Created.Local().Format(time.RFC3339), "RUN " + strings.Repeat("x", 40) + "…", "1234", "a b"}: {},
	} {
		if diff := cmp.Diff(want, newHistoryRow(s, now, f)); diff != "" {
			t.Errorf("%+v: %s", f, diff)
		}
	}
}

func TestPruneCondition(t *testing.T) {
	made, labels := now.Add(-2*time.Hour), map[string]string{"a": "b"}
	for text, want := range map[string]bool{
		"": true, "until=1h": true, "until=3h": false, "until=2026-03-04T05:00:00Z": true, "until=2026-03-04T03:00:00Z": false,
		"label=a": true, "label=a=b": true, "label=a=c": false, "label=c": false, "label!=a": false, "label!=a=c": true, "label!=c": true,
		"label=a until=1h": true, "label=a until=3h": false,
	} {
		choose, err := pruning{filter: strings.Fields(text)}.condition(now)
		if err != nil || choose(made, labels) != want {
			t.Errorf("%s: not %v, %v", text, want, err)
		}
	}
	for _, bad := range []string{"until=", "until=soon", "until=1h until=2h", "nope=1", "label"} {
		if _, err := (pruning{filter: strings.Fields(bad)}).condition(now); !is[usageError](err) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[1m": "a?[1m", "c1\u009b31m": "c1?31m", "\x7f": "?", "ü\xff": "ü\ufffd", "\r\n": "??"} {
		if got := terminal.Visible(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
