package lab

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

//go:embed exercises
var files embed.FS // read only

// An Exercise is something to find out or to build, with a check that tells whether it
// is done.
type Exercise struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Title  string `json:"title"` // the first line of its text
	needs  []string
}

// names is the table of the exercises, in the order in which to do them, each with the
// commands of the host that it needs beside ip and sh.
func names() []Exercise {
	return []Exercise{
		{Name: "loopback"},
		{Name: "cable"},
		{Name: "whose-end"},
		{Name: "switch"},
		{Name: "host-joins"},
		{Name: "way-out", needs: []string{"nft"}},
		{Name: "stolen-route"},

		{Name: "nobody", needs: []string{"nft"}},
		{Name: "lost-end"},
		{Name: "silent-port", needs: []string{"nft"}},
		{Name: "by-hand", needs: []string{"nft"}},
		{Name: "own-firewall", needs: []string{"nft"}},
		{Name: "will-not-go", needs: []string{"nsenter"}},
		{Name: "script", needs: []string{"nft"}},
		{Name: "enter", needs: []string{"nft", "nsenter"}},
		{Name: "foreign-drop", needs: []string{"nft"}},
	}
}

// Exercises returns all exercises, in the order in which to do them.
func Exercises() []Exercise {
	all := names()
	for i := range all {
		all[i].Number = i + 1
		title, _, _ := strings.Cut(all[i].file("text.md"), "\n")
		all[i].Title = strings.TrimPrefix(title, "# ")
	}
	return all
}

// A NoExerciseError is that there is no exercise of the name.
type NoExerciseError struct{ Name string }

func (e *NoExerciseError) Error() string { return fmt.Sprintf("no exercise %q", e.Name) }

// Hint says what may help.
func (e *NoExerciseError) Hint() string { return "minictr lab list lists them" }

// Find returns the exercise of a name or a number.
func Find(name string) (Exercise, error) {
	all := Exercises()
	i := slices.IndexFunc(all, func(e Exercise) bool { return e.Name == name || strconv.Itoa(e.Number) == name })
	if i < 0 {
		return Exercise{}, &NoExerciseError{name}
	}
	return all[i], nil
}

// learnt begins the part of a text that is for afterwards.
const learnt = "\n## What you have learnt\n"

// Text is what the learner reads before.
func (e Exercise) Text() string {
	text, _, _ := strings.Cut(e.file("text.md"), learnt)
	return text
}

// Learnt is what the learner reads when it is done.
func (e Exercise) Learnt() string {
	_, text, _ := strings.Cut(e.file("text.md"), learnt)
	return strings.TrimSpace(text) + "\n"
}

// Hints are from a gentle one to one that gives it away.
func (e Exercise) Hints() []string {
	return strings.Split(strings.TrimSpace(e.file("hints.txt")), "\n\n")
}

// Solution is a shell script that does it, with the reasons.
func (e Exercise) Solution() string { return e.file("solution.sh") }

// Wrong are scripts that look as if they did it.
func (e Exercise) Wrong() []string {
	var scripts []string
	matches, _ := fs.Glob(files, "exercises/"+e.Name+"/wrong*.sh") // the pattern is good
	for _, path := range matches {
		scripts = append(scripts, read(path))
	}
	return scripts
}

func (e Exercise) file(name string) string { return read("exercises/" + e.Name + "/" + name) }

// script is one of the exercise's own, behind what all of them begin with.
func (e Exercise) script(name string) string { return read("exercises/begin.sh") + e.file(name) }

// read returns an embedded file. All are there: a test reads each.
func read(path string) string {
	b, _ := files.ReadFile(path)
	return string(b)
}
