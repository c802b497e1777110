package lab

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// A Goal is one thing that a check looks at.
type Goal struct {
	Reached bool   `json:"reached"`
	Words   string `json:"words"`
}

const reached, missed = "ok: ", "not yet: "

// String is the line of the goal.
func (g Goal) String() string {
	if g.Reached {
		return reached + g.Words
	}
	return missed + g.Words
}

// Check looks how far the learner is. All goals reached is the exercise done.
func (l *Lab) Check() (goals []Goal, done bool, err error) {
	if up, err := l.Running(); !up || err != nil {
		return nil, false, errors.Join(err, l.notRunning(up))
	}
	out, err := l.Run(l.script("check.sh"))
	goals, rest := parse(out)
	if err == nil && len(goals) == 0 {
		err = errors.New("it said nothing")
	}
	if err != nil {
		return goals, false, step.Fail("check", l.Name, fmt.Errorf("%w: %s", err, lastWords(rest)))
	}
	for _, g := range goals {
		if !g.Reached {
			return goals, false, nil
		}
	}
	return goals, true, l.write("solved", "")
}

// parse takes the goals out of what a check has printed.
func parse(out string) (goals []Goal, rest string) {
	for line := range strings.Lines(out) {
		words := strings.TrimSuffix(line, "\n")
		if ok, is := strings.CutPrefix(words, reached); is {
			goals = append(goals, Goal{true, ok})
		} else if not, is := strings.CutPrefix(words, missed); is {
			goals = append(goals, Goal{false, not})
		} else {
			rest += line
		}
	}
	return goals, rest
}

// Solved reports whether a check has found the exercise done, since the lab was started.
func (l *Lab) Solved() bool { return l.has("solved") }

// NextHint returns the first hint that it has not given yet, and how many are left. Of a
// lab that does not run, that is always the first.
func (l *Lab) NextHint() (hint string, left int, err error) {
	all := l.Hints()
	up, err := l.Running()
	if err != nil {
		return "", 0, err
	}
	given := 0
	if up {
		given = min(l.given(), len(all)-1)
		if err := l.write("hints", strings.Repeat("+", given+1)); err != nil {
			return "", 0, err
		}
	}
	return all[given], len(all) - given - 1, nil
}

func (l *Lab) notRunning(up bool) error {
	if up {
		return nil
	}
	return &NotRunningError{l.Name}
}

// given is the number of hints that were given.
func (l *Lab) given() int {
	return len(l.read("hints"))
}
