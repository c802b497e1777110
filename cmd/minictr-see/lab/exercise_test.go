package lab

import (
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestExercisesAreWhole(t *testing.T) {
	entries, err := files.ReadDir("exercises")
	if err != nil {
		t.Fatal(err)
	}
	dirs := 0
	for _, e := range entries {
		if e.IsDir() {
			dirs++
		}
	}
	all := Exercises()
	if dirs != len(all) || len(all) < 14 {
		t.Errorf("%d directories, %d exercises in the table", dirs, len(all))
	}
	for _, e := range all {
		if e.Title == "" || len(e.Name) > 14 {
			t.Errorf("%d %s: title %q", e.Number, e.Name, e.Title)
		}
		for _, part := range []string{"## Your goal", "## What you may use"} {
			if !strings.Contains(e.Text(), part) {
				t.Errorf("%s: no %q in its text", e.Name, part)
			}
		}
		if strings.Contains(e.Text(), "## What you have learnt") {
			t.Errorf("%s: the text gives away what is to be learnt", e.Name)
		}
		// It names the command of minictr that shows the same.
		if !regexp.MustCompile("minictr (doctor|inspect|ns|enter|netns|bridge|map|trace|run)").MatchString(e.Learnt()) {
			t.Errorf("%s: no command of minictr in what was learnt", e.Name)
		}
		if len(e.Hints()) < 3 || len(e.Wrong()) == 0 || e.Solution() == "" || e.file("setup.sh") == "" || e.file("check.sh") == "" {
			t.Errorf("%s: %d hints, %d wrong solutions", e.Name, len(e.Hints()), len(e.Wrong()))
		}
		for number, line := range strings.Split(e.file("text.md"), "\n") {
			if utf8.RuneCountInString(line) > 100 {
				t.Errorf("%s/text.md:%d: too wide for a terminal", e.Name, number+1)
			}
		}
	}
}

// A syntax error would show as a check that breaks, at best.
func TestScriptsParse(t *testing.T) {
	for _, e := range Exercises() {
		for _, script := range append(e.Wrong(), e.script("setup.sh"), e.script("check.sh"), e.Solution()) {
			if out, err := exec.Command("sh", "-n", "-c", script).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", e.Name, err, out)
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, name := range []string{"cable", "2"} {
		if e, err := Find(name); err != nil || e.Name != "cable" || e.Number != 2 {
			t.Errorf("%s: %v %v", name, e, err)
		}
	}
	for _, name := range []string{"", "0", "17", "02", "../cable", "cables"} {
		if _, err := Find(name); err == nil {
			t.Errorf("%q was found", name)
		}
	}
}

func TestParse(t *testing.T) {
	goals, rest := parse("ok: a\nsh: 3: oops\nnot yet: b c\nok: d\nlast words")
	want := []Goal{{true, "a"}, {false, "b c"}, {true, "d"}}
	if len(goals) != 3 || goals[0] != want[0] || goals[1] != want[1] || goals[2] != want[2] || rest != "sh: 3: oops\nlast words" {
		t.Errorf("%v %q", goals, rest)
	}
	if goals[1].String() != "not yet: b c" || goals[0].String() != "ok: a" {
		t.Errorf("%v", goals)
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/run/a\040b\134040`); got != `/run/a b\040` {
		t.Errorf("%q", got)
	}
}

func TestMissing(t *testing.T) {
	err := missing(Exercise{Name: "x", needs: []string{"sh", "no-such-command"}})
	if e := (*MissingCommandsError)(nil); !errors.As(err, &e) || len(e.Commands) != 1 || e.Commands[0] != "no-such-command" {
		t.Errorf("%v", err)
	}
	if got := (&MissingCommandsError{[]string{"nft", "ip", "nsenter"}}).Hint(); got != "Debian and Ubuntu: apt install iproute2 nftables util-linux" {
		t.Errorf("%q", got)
	}
	for _, e := range names() {
		for _, command := range e.needs {
			if packages()[command] == "" {
				t.Errorf("%s: no package has %s", e.Name, command)
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	e := strings.Join((&Lab{Exercise: Exercise{Name: "x"}}).Environment([]string{"PATH=/a:/b", "HOME=/root", "TERM=vt100", "ENV=/evil", "MINICTR_LAB=y"}), "\n")
	for _, want := range []string{"PATH=/run/minictr-lab/bin:/a:/b:/usr/local/sbin", ":/run/minictr-lab/base\n", "HOME=/run/minictr-lab/home", "TERM=vt100", "MINICTR_LAB=x"} {
		if !strings.Contains(e, want) {
			t.Errorf("no %s in\n%s", want, e)
		}
	}
	if strings.Contains(e, "evil") || strings.Contains(e, "/root") || strings.Contains(e, "=y") {
		t.Error(e)
	}
}
