package step_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/runtime/step"
)

// note is a step that writes down what is done with it.
type note struct {
	name string
	log  *[]string
	undo error
}

func (n note) Apply() error   { *n.log = append(*n.log, "+"+n.name); return nil }
func (n note) Undo() error    { *n.log = append(*n.log, "-"+n.name); return n.undo }
func (n note) Check() error   { return errors.New(n.name + " is missing") }
func (n note) Words() string  { return "make " + n.name }
func (n note) String() string { return "touch " + n.name }

func plan(log *[]string) []step.Step {
	return []step.Step{note{name: "a", log: log}, note{name: "b", log: log}, note{name: "c", log: log}}
}

func TestRunUndoesInReverse(t *testing.T) {
	cause := errors.New("no room")
	for i, want := range []string{"", "+a -a", "+a +b -b -a"} {
		var log []string
		var observed []string
		err := step.Run(step.FailAt(plan(&log), i, cause), func(s step.Step, took time.Duration, err error) {
			if took < 0 {
				t.Errorf("took %v", took)
			}
			observed = append(observed, s.Words())
		})
		if !errors.Is(err, cause) {
			t.Errorf("step %d: %v", i, err)
		}
		if got := strings.Join(log, " "); got != want {
			t.Errorf("step %d: %q, want %q", i, got, want)
		}
		if len(observed) != i+1 {
			t.Errorf("step %d: observed %q", i, observed)
		}
	}
}

func TestUndoGoesOn(t *testing.T) {
	var log []string
	first, second := errors.New("first"), errors.New("second")
	err := step.Undo([]step.Step{note{name: "a", log: &log, undo: first}, note{name: "b", log: &log, undo: second}})
	if got := strings.Join(log, " "); got != "-b -a" || !errors.Is(err, first) || !errors.Is(err, second) {
		t.Errorf("%s: %v", got, err)
	}
}

func TestUndoErrorsAreJoined(t *testing.T) {
	var log []string
	cause, stuck := errors.New("cause"), errors.New("stuck")
	steps := []step.Step{note{name: "a", log: &log, undo: stuck}, note{name: "b", log: &log}}
	err := step.Run(step.FailAt(steps, 1, cause), nil)
	if !errors.Is(err, cause) || !errors.Is(err, stuck) {
		t.Error(err)
	}
}

func TestCheckJoins(t *testing.T) {
	var log []string
	err := step.Check(plan(&log))
	for _, name := range []string{"a", "b", "c"} {
		if err == nil || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%v lacks %s", err, name)
		}
	}
}

func TestScript(t *testing.T) {
	var log []string
	want := "#!/bin/sh\nset -eu\n\n# make a\ntouch a\n\n# make b\ntouch b\n\n# make c\ntouch c\n"
	if got := step.Script(plan(&log)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(log) > 0 {
		t.Errorf("printing did %q", log)
	}
}

func TestError(t *testing.T) {
	cause := errors.New("file exists")
	err := step.Fail("add address", "10.0.0.1/8 on eth0", cause)
	if err.Error() != "add address 10.0.0.1/8 on eth0: file exists" || !errors.Is(err, cause) {
		t.Error(err)
	}
	if step.Fail("add address", "x", nil) != nil {
		t.Error("no error became one")
	}
	if err := step.Fail("detect", "", cause); err.Error() != "detect: file exists" {
		t.Error(err)
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{"/var/lib": "/var/lib", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "~": "'~'", "a\nb": "'a\nb'"} {
		if got := step.Quote(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}
