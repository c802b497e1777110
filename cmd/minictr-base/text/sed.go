package text

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A sedRun is one run of sed. github.com/rwtodd/Go.Sed was looked at: its
// patterns are Go's, so that \(…\) and \{…\} mean something else than people
// type, and it has no -i; hence one of our own.
type sedRun struct {
	c        *applet.Call
	program  []sedCommand
	quiet    bool
	separate bool // each file has lines of its own
	end      byte
	in       *sedInput
	out      *bufio.Writer
	pattern  string
	hold     string
	lastRE   *regexp.Regexp            // what an empty pattern means
	appended []func(w io.Writer) error // what comes behind the line
	replaced bool                      // for t
	newline  bool                      // whether the line had one
	active   []bool                    // of each command with two addresses
	until    []int                     // the line on which such a range ends, where it is known
	files    map[string]*os.File       // of w
	code     int
}

// What ends the script for this line.
var (
	errNextCycle = errors.New("next cycle")
	errRestart   = errors.New("restart without reading")
	errSedQuit   = errors.New("quit")
	errSedHush   = errors.New("quit without printing")
)

func sed(c *applet.Call) error {
	call := *c
	o, inPlace, suffix, err := sedOptions(&call)
	if err != nil {
		return err
	}
	script := strings.Join(o.All("e"), "\n")
	for _, file := range o.All("f") {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		script += "\n" + strings.TrimSuffix(string(text), "\n")
	}
	if !o.Has("e", "f") {
		if len(o.Args) == 0 {
			return applet.UsageError("no script")
		}
		script, o.Args = o.Args[0], o.Args[1:]
	}
	program, quiet, err := parseSed(script, o.Has("E", "r"))
	if err != nil {
		return applet.UsageError(err.Error())
	}
	s := &sedRun{
		c: c, program: program, quiet: quiet || o.Has("n"), separate: inPlace || o.Has("s"), end: '\n', out: bufio.NewWriter(c.Out),
		active: make([]bool, len(program)), until: make([]int, len(program)), files: map[string]*os.File{},
	}
	if o.Has("z") {
		s.end = 0
	}
	defer func() {
		for _, f := range s.files {
			f.Close()
		}
	}()
	if inPlace {
		return s.inPlace(o.Args, suffix)
	}
	return s.run(o.Args)
}

// sedOptions takes -i, whose value is optional and in the same word.
func sedOptions(call *applet.Call) (o *applet.Options, inPlace bool, suffix string, err error) {
	var args []string
	for i, arg := range call.Args {
		if arg == "--" {
			args = append(args, call.Args[i:]...)
			break
		}
		text, long := strings.CutPrefix(arg, "--in-place")
		if long {
			inPlace, suffix = true, strings.TrimPrefix(text, "=")
			continue
		}
		if at := strings.IndexByte(arg, 'i'); at > 0 && arg[0] == '-' && strings.Trim(arg[1:at], "nErsz") == "" {
			inPlace, suffix = true, arg[at+1:]
			if arg = arg[:at]; arg == "-" {
				continue
			}
		}
		args = append(args, arg)
	}
	call.Args = args
	o, err = call.Options("nErsze:f:ul:", "quiet=n", "silent=n", "expression=e", "file=f", "regexp-extended=E", "separate=s", "null-data=z", "posix", "debug", "unbuffered=u")
	return o, inPlace, suffix, err
}

func (s *sedRun) run(files []string) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	bad := false
	if s.separate {
		for _, file := range files {
			s.in = &sedInput{s: s, names: []string{file}}
			if err := s.lines(); err != nil && !errors.Is(err, errSedQuit) {
				return err
			}
			bad = bad || s.in.bad
		}
	} else {
		s.in = &sedInput{s: s, names: files}
		if err := s.lines(); err != nil && !errors.Is(err, errSedQuit) {
			return errors.Join(err, s.out.Flush())
		}
		bad = s.in.bad
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	if s.code != 0 {
		return applet.ExitError(s.code)
	}
	if bad {
		return applet.ExitError(2)
	}
	return nil
}

// inPlace edits each file: what comes out replaces it.
func (s *sedRun) inPlace(files []string, suffix string) error {
	bad := false
	for _, name := range files {
		if err := s.editFile(name, suffix); err != nil {
			s.c.Warn(err)
			bad = true
		}
	}
	return failed(bad)
}

func (s *sedRun) editFile(name, suffix string) (err error) {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", name)
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), ".sed*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	s.out = bufio.NewWriter(temporary)
	s.in = &sedInput{s: s, names: []string{name}}
	if err := s.lines(); err != nil && !errors.Is(err, errSedQuit) {
		return err
	}
	if err := errors.Join(s.in.rest(s.out), s.out.Flush(), temporary.Chmod(st.Mode()), temporary.Close()); err != nil {
		return err
	}
	if suffix != "" {
		backup := name + suffix
		if strings.Contains(suffix, "*") {
			backup = filepath.Join(filepath.Dir(name), strings.ReplaceAll(suffix, "*", filepath.Base(name)))
		}
		if err := os.Rename(name, backup); err != nil {
			return err
		}
	}
	return os.Rename(temporary.Name(), name)
}

// lines runs the script for each line.
func (s *sedRun) lines() error {
	for {
		line, newline, ok := s.in.next()
		if !ok {
			return nil
		}
		s.pattern, s.newline = line, newline
		for {
			err := s.script()
			if errors.Is(err, errRestart) {
				continue
			}
			if err := s.endOfCycle(err); err != nil {
				return err
			}
			break
		}
	}
}

// endOfCycle prints what is due at the end of the script.
func (s *sedRun) endOfCycle(ended error) error {
	if (ended == nil || errors.Is(ended, errSedQuit)) && !s.quiet {
		s.print(s.pattern)
	}
	if err := s.flushAppended(); err != nil {
		return err
	}
	switch {
	case errors.Is(ended, errNextCycle):
		return nil
	case errors.Is(ended, errSedHush):
		return errSedQuit
	}
	return ended
}

func (s *sedRun) print(text string) {
	fmt.Fprint(s.out, text)
	if s.newline {
		_ = s.out.WriteByte(s.end) // a writer keeps its error until Flush
	}
}

func (s *sedRun) flushAppended() error {
	for _, f := range s.appended {
		if err := f(s.out); err != nil {
			return err
		}
	}
	s.appended = nil
	return nil
}

// A sedInput is the lines of some files, one after the other. It looks one line
// ahead, for the address $.
type sedInput struct {
	s       *sedRun
	names   []string
	reader  *bufio.Reader
	file    *os.File
	number  int
	ahead   string
	newline bool
	have    bool
	bad     bool
}

// next returns the next line and whether it had a newline.
func (in *sedInput) next() (line string, newline, ok bool) {
	if !in.fill() {
		return "", false, false
	}
	in.number++
	in.have = false
	return in.ahead, in.newline || in.more(), true
}

// more reports whether another line follows; a file in the middle that has no
// newline at its end gets one.
func (in *sedInput) more() bool { return in.fill() }

// last reports whether the current line is the last.
func (in *sedInput) last() bool { return !in.fill() }

func (in *sedInput) fill() bool {
	if in.have {
		return true
	}
	for {
		if in.reader == nil && !in.open() {
			return false
		}
		line, newline := in.ahead, in.newline
		text, err := in.reader.ReadString(in.s.end)
		if err != nil && !errors.Is(err, io.EOF) {
			in.s.c.Warn(err)
			in.bad = true
		}
		if text == "" {
			in.ahead, in.newline = line, newline
			if in.file != nil {
				in.file.Close()
			}
			in.reader, in.file = nil, nil
			continue
		}
		in.newline = text[len(text)-1] == in.s.end
		in.ahead = strings.TrimSuffix(text, string(in.s.end))
		in.have = true
		return true
	}
}

func (in *sedInput) open() bool {
	for len(in.names) > 0 {
		name := in.names[0]
		in.names = in.names[1:]
		if name == "-" {
			in.reader = bufio.NewReader(flushing(in.s.c.In, in.s.out))
			return true
		}
		f, err := os.Open(name)
		if err == nil {
			if st, statErr := f.Stat(); statErr == nil && st.IsDir() {
				err = fmt.Errorf("%s: is a directory", name)
			}
		}
		if err != nil {
			in.s.c.Warn(err)
			in.bad = true
			continue
		}
		in.file, in.reader = f, bufio.NewReaderSize(f, 64<<10)
		return true
	}
	return false
}

// rest copies what was not read, after q.
func (in *sedInput) rest(w io.Writer) error {
	if in.have {
		fmt.Fprint(w, in.ahead)
		if in.newline {
			fmt.Fprint(w, string(in.s.end))
		}
	}
	if in.reader == nil {
		return nil
	}
	_, err := io.Copy(w, in.reader)
	return err
}
