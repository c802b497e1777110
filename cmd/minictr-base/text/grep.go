package text

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/pattern"
)

// A grepper is one run of grep.
type grepper struct {
	c                     *applet.Call
	o                     *applet.Options
	res                   []*regexp.Regexp
	names                 bool
	before, after, most   int
	out                   *bufio.Writer
	include, exclude, not []*regexp.Regexp
	color                 bool
	found, bad            bool
}

func grep(c *applet.Call) error {
	o, err := grepOptions(c)
	if err != nil {
		return err
	}
	g := &grepper{c: c, o: o, out: bufio.NewWriter(c.Out)}
	patterns := o.All("e")
	for _, file := range o.All("f") {
		lines, err := allLines(c, []string{file}, '\n')
		if err != nil {
			return applet.ExitError(2)
		}
		patterns = append(patterns, lines...)
	}
	if !o.Has("e", "f") {
		if len(o.Args) == 0 {
			return applet.UsageError("no pattern")
		}
		patterns, o.Args = []string{o.Args[0]}, o.Args[1:]
	}
	if err := g.prepare(patterns); err != nil {
		c.Warn(err)
		return applet.ExitError(2)
	}
	recursive := o.Has("r", "R")
	if len(o.Args) == 0 {
		o.Args = []string{"-"}
		if recursive {
			o.Args = []string{"."}
		}
	}
	g.names = (len(o.Args) > 1 || recursive || o.Has("H")) && !o.Has("h")
	for _, name := range o.Args {
		g.operand(name, recursive)
	}
	if err := g.out.Flush(); err != nil {
		return err
	}
	switch {
	case g.bad && (!g.found || !o.Has("q")):
		return applet.ExitError(2)
	case !g.found:
		return applet.ExitError(1)
	}
	return nil
}

func grepOptions(c *applet.Call) (*applet.Options, error) {
	call := *c
	for i, arg := range call.Args { // -5 is -C 5
		if len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "0123456789") == "" {
			call.Args = append(append(append([]string(nil), call.Args[:i]...), "-C", arg[1:]), call.Args[i+1:]...)
			break
		}
		if arg == "--" {
			break
		}
	}
	return call.Options("EFGPHLchilnoqrRsvwxyzabUA:B:C:m:e:f:", "extended-regexp=E", "fixed-strings=F", "basic-regexp=G", "ignore-case=i", "invert-match=v", "word-regexp=w",
		"line-regexp=x", "count=c", "color?", "colour?", "files-with-matches=l", "files-without-match=L", "max-count=m", "only-matching=o", "quiet=q", "silent=q", "no-messages=s",
		"with-filename=H", "no-filename=h", "line-number=n", "after-context=A", "before-context=B", "context=C", "recursive=r", "dereference-recursive=R", "regexp=e", "file=f",
		"include:", "exclude:", "exclude-dir:", "text=a", "null-data=z", "byte-offset=b")
}

func (g *grepper) prepare(patterns []string) error {
	o := g.o
	options := pattern.Options{
		Extended: o.Last("E", "G", "F", "P") == "E" || o.Last("E", "G", "F", "P") == "P" || g.c.Name == "egrep",
		Fixed:    o.Last("E", "G", "F", "P") == "F" || g.c.Name == "fgrep", IgnoreCase: o.Has("i", "y"), Word: o.Has("w"), Line: o.Has("x"),
	}
	for _, list := range patterns {
		for p := range strings.SplitSeq(list, "\n") {
			re, err := pattern.Compile(p, options)
			if err != nil {
				return err
			}
			g.res = append(g.res, re)
		}
	}
	var err error
	if g.after, err = o.Int("A", 0); err != nil {
		return err
	}
	if g.before, err = o.Int("B", 0); err != nil {
		return err
	}
	if g.most, err = o.Int("m", -1); err != nil {
		return err
	}
	if o.Has("C") {
		both, err := o.Int("C", 0)
		if err != nil {
			return err
		}
		g.after, g.before = max(g.after, both), max(g.before, both)
	}
	for name, list := range map[string]*[]*regexp.Regexp{"include": &g.include, "exclude": &g.exclude, "exclude-dir": &g.not} {
		for _, glob := range o.All(name) {
			re, err := regexp.Compile(pattern.Glob(glob))
			if err != nil {
				return err
			}
			*list = append(*list, re)
		}
	}
	when := o.Value("color", o.Value("colour", "no"))
	f, isFile := g.c.Out.(*os.File)
	g.color = when == "always" || (when == "auto" || when == "") && isFile && term.IsTerminal(int(f.Fd()))
	return nil
}

func (g *grepper) warn(err error) {
	g.bad = true
	if !g.o.Has("s") {
		g.c.Warn(err)
	}
}

func (g *grepper) operand(name string, recursive bool) {
	st, err := os.Stat(name)
	if name == "-" || err != nil || !st.IsDir() || !recursive {
		if name != "-" && err == nil && st.IsDir() {
			g.warn(fmt.Errorf("%s: is a directory", name))
			return
		}
		g.file(name)
		return
	}
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			g.warn(err)
		case d.IsDir():
			if path != name && matchesAny(g.not, d.Name()) {
				return filepath.SkipDir
			}
		case matchesAny(g.exclude, d.Name()) || len(g.include) > 0 && !matchesAny(g.include, d.Name()):
		case d.Type().IsRegular() || g.o.Has("R"):
			if name == "." && len(g.o.Args) == 1 && !strings.HasPrefix(path, "./") && g.c.Args[len(g.c.Args)-1] == "." {
				path = "./" + path
			}
			g.file(path)
		}
		return nil
	})
	if err != nil {
		g.warn(err)
	}
}

func matchesAny(list []*regexp.Regexp, name string) bool {
	for _, re := range list {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}

func (g *grepper) file(name string) {
	err := oneFile(g.c, name, func(_ string, r io.Reader) error {
		s := &grepFile{g: g, name: name, last: -1}
		if name == "-" {
			s.name = "(standard input)"
		}
		return s.scan(flushing(r, g.out))
	})
	if err != nil {
		g.warn(err)
	}
}

// A grepFile is the search of one file.
type grepFile struct {
	g       *grepper
	name    string
	number  int
	matches int
	held    [][]byte // lines before, for -B
	due     int      // lines after that are still to show
	last    int      // number of the line shown last
	binary  bool
}

func (s *grepFile) scan(r io.Reader) error {
	g, o := s.g, s.g.o
	in := bufio.NewReaderSize(r, 64<<10)
	if start, err := in.Peek(1); err == nil && len(start) > 0 && !o.Has("a", "z") {
		head, _ := in.Peek(min(in.Buffered(), 32<<10)) // what is buffered is there
		s.binary = bytes.IndexByte(head, 0) >= 0
	}
	end := byte('\n')
	if o.Has("z") {
		end = 0
	}
	quiet := o.Has("q", "l", "L", "c")
	err := eachLine(in, end, func(line []byte, _ bool) error {
		s.number++
		where, hit := g.match(line)
		if hit == o.Has("v") {
			s.context(line, quiet)
			return nil
		}
		s.matches++
		g.found = g.found || !o.Has("L")
		if o.Has("q") || s.binary && !quiet {
			return errDone
		}
		if !quiet {
			s.show(line, where)
		}
		if o.Has("l", "L") || g.most >= 0 && s.matches >= g.most {
			return errDone
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDone) {
		return err
	}
	s.summary()
	return nil
}

// summary shows what is to be said of the file as a whole.
func (s *grepFile) summary() {
	g, o := s.g, s.g.o
	switch {
	case o.Has("q"):
	case o.Has("l"):
		if s.matches > 0 {
			fmt.Fprintln(g.out, s.name)
		}
	case o.Has("L"):
		if s.matches == 0 {
			g.found = true
			fmt.Fprintln(g.out, s.name)
		}
	case o.Has("c"):
		if g.names {
			fmt.Fprintf(g.out, "%s:", s.name)
		}
		fmt.Fprintln(g.out, s.matches)
	case s.binary && s.matches > 0:
		fmt.Fprintf(g.out, "grep: %s: binary file matches\n", s.name)
	}
}

// match returns where the line matches, the leftmost of all patterns.
func (g *grepper) match(line []byte) ([]int, bool) {
	var best []int
	for _, re := range g.res {
		if at := re.FindIndex(line); at != nil && (best == nil || at[0] < best[0] || at[0] == best[0] && at[1] > best[1]) {
			best = at
		}
	}
	return best, best != nil
}

func (s *grepFile) show(line []byte, where []int) {
	g := s.g
	if g.before > 0 || g.after > 0 {
		first := s.number - len(s.held)
		if s.last >= 0 && first > s.last+1 {
			fmt.Fprintln(g.out, "--")
		}
		for i, held := range s.held {
			s.line(first+i, '-', held)
		}
		s.held, s.due = nil, g.after
	}
	if g.o.Has("o") {
		for base := 0; where != nil && !g.o.Has("v"); {
			if where[1] > where[0] {
				s.line(s.number, ':', line[base+where[0]:base+where[1]])
				base += where[1]
			} else {
				base += where[1] + 1
			}
			if base > len(line) {
				break
			}
			where, _ = g.match(line[base:])
		}
		return
	}
	if g.color && where != nil {
		line = fmt.Appendf(nil, "%s\x1b[1;31m%s\x1b[0m%s", line[:where[0]], line[where[0]:where[1]], line[where[1]:])
	}
	s.line(s.number, ':', line)
}

// context keeps or shows a line that does not match.
func (s *grepFile) context(line []byte, quiet bool) {
	g := s.g
	if quiet {
		return
	}
	if s.due > 0 {
		s.due--
		s.line(s.number, '-', line)
		return
	}
	if g.before > 0 {
		s.held = append(s.held, bytes.Clone(line))
		s.held = s.held[max(0, len(s.held)-g.before):]
	}
}

func (s *grepFile) line(number int, mark byte, line []byte) {
	g := s.g
	s.last = number
	if g.names {
		fmt.Fprintf(g.out, "%s%c", s.name, mark)
	}
	if g.o.Has("n") {
		fmt.Fprintf(g.out, "%d%c", number, mark)
	}
	_ = put(g.out, line) // a writer keeps its error until Flush
}
