package files

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/pattern"
)

// A finder is one run of find.
type finder struct {
	c        *applet.Call
	out      *bufio.Writer
	words    []string // of the expression that are left to parse
	min, max int
	depth    bool // what is in a directory before the directory
	oneFS    bool
	follow   bool
	acts     bool      // the expression has an action, so -print is not implied
	batches  []*batch  // of -exec … {} +
	now      time.Time // what -mtime counts from
	names    names
	bad      bool
}

// A found is a file that the expression is asked about.
type found struct {
	path  string
	info  fs.FileInfo
	depth int
	prune bool
	quit  bool
}

// A test answers for one file; an action is a test that does something.
type test func(f *found) bool

var errQuit = errors.New("quit")

func find(c *applet.Call) error {
	f := &finder{c: c, out: bufio.NewWriter(c.Out), max: -1, now: time.Now()}
	args := c.Args
	for len(args) > 0 && (args[0] == "-L" || args[0] == "-P" || args[0] == "-H") {
		f.follow = args[0] == "-L"
		args = args[1:]
	}
	var roots []string
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "(" && args[0] != "!" {
		roots = append(roots, args[0])
		args = args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	f.words = args
	expression, err := f.parse()
	if err != nil {
		return applet.UsageError(err.Error())
	}
	for _, root := range roots {
		if err := f.walk(root, 0, expression, 0); err != nil {
			break // -quit
		}
	}
	for _, b := range f.batches {
		b.run()
	}
	if err := f.out.Flush(); err != nil {
		return err
	}
	return failed(f.bad)
}

func (f *finder) warn(err error) {
	f.c.Warn(err)
	f.bad = true
}

// walk asks the expression about a file and what is below it.
func (f *finder) walk(path string, depth int, expression test, dev uint64) error {
	info, err := os.Lstat(path)
	if f.follow && err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if followed, statErr := os.Stat(path); statErr == nil {
			info = followed
		}
	}
	if err != nil {
		f.warn(err)
		return nil
	}
	here := inodeOf(info).dev
	if depth == 0 {
		dev = here
	}
	one := &found{path: path, info: info, depth: depth}
	ask := func() error {
		if depth >= f.min {
			expression(one)
		}
		if one.quit {
			return errQuit
		}
		return nil
	}
	if !f.depth {
		if err := ask(); err != nil {
			return err
		}
	}
	if info.IsDir() && !one.prune && (f.max < 0 || depth < f.max) && (!f.oneFS || here == dev) {
		items, err := os.ReadDir(path)
		if err != nil {
			f.warn(err)
		}
		for _, item := range items {
			child := path + "/" + item.Name()
			if strings.HasSuffix(path, "/") {
				child = path + item.Name()
			}
			if err := f.walk(child, depth+1, expression, dev); err != nil {
				return err
			}
		}
	}
	if f.depth {
		return ask()
	}
	return nil
}

// parse reads the whole expression.
func (f *finder) parse() (test, error) {
	if len(f.words) == 0 {
		return f.print("\n"), nil
	}
	e, err := f.or()
	if err == nil && len(f.words) > 0 {
		err = fmt.Errorf("%q is not expected here", f.words[0])
	}
	if err != nil || f.acts {
		return e, err
	}
	show := f.print("\n")
	return func(one *found) bool { return e(one) && show(one) }, nil
}

func (f *finder) next() string {
	if len(f.words) == 0 {
		return ""
	}
	return f.words[0]
}

func (f *finder) take() string {
	w := f.next()
	if w != "" || len(f.words) > 0 {
		f.words = f.words[1:]
	}
	return w
}

func (f *finder) or() (test, error) {
	left, err := f.and()
	for err == nil && (f.next() == "-o" || f.next() == "-or") {
		f.take()
		var right test
		l := left
		if right, err = f.and(); err == nil {
			left = func(one *found) bool { return l(one) || right(one) }
		}
	}
	return left, err
}

func (f *finder) and() (test, error) {
	left, err := f.not()
	for err == nil && len(f.words) > 0 && f.next() != "-o" && f.next() != "-or" && f.next() != ")" {
		if f.next() == "-a" || f.next() == "-and" {
			f.take()
		}
		var right test
		l := left
		if right, err = f.not(); err == nil {
			left = func(one *found) bool { return l(one) && right(one) }
		}
	}
	return left, err
}

func (f *finder) not() (test, error) {
	switch f.next() {
	case "!", "-not":
		f.take()
		e, err := f.not()
		return func(one *found) bool { return !e(one) }, err
	case "(":
		f.take()
		e, err := f.or()
		if err == nil && f.take() != ")" {
			err = errors.New("a ) is missing")
		}
		return e, err
	case "":
		return nil, errors.New("the expression ends too early")
	}
	return f.primary(f.take())
}

// primary reads one test or action.
func (f *finder) primary(name string) (test, error) {
	switch name {
	case "-print":
		f.acts = true
		return f.print("\n"), nil
	case "-print0":
		f.acts = true
		return f.print("\x00"), nil
	case "-prune":
		return func(one *found) bool { one.prune = true; return true }, nil
	case "-quit":
		f.acts = true
		return func(one *found) bool { one.quit = true; return true }, nil
	case "-delete":
		f.acts, f.depth = true, true
		return f.remove, nil
	case "-ls":
		f.acts = true
		return f.long, nil
	case "-exec", "-execdir", "-ok":
		f.acts = true
		return f.exec(name)
	case "-true", "-noleaf", "-follow":
		return func(*found) bool { return true }, nil
	case "-false":
		return func(*found) bool { return false }, nil
	case "-depth", "-d":
		f.depth = true
		return func(*found) bool { return true }, nil
	case "-xdev", "-mount":
		f.oneFS = true
		return func(*found) bool { return true }, nil
	case "-empty":
		return isEmpty, nil
	case "-executable":
		return func(one *found) bool { return unix.Access(one.path, unix.X_OK) == nil }, nil
	case "-readable":
		return func(one *found) bool { return unix.Access(one.path, unix.R_OK) == nil }, nil
	case "-writable":
		return func(one *found) bool { return unix.Access(one.path, unix.W_OK) == nil }, nil
	case "-nouser":
		return func(one *found) bool { _, err := strconv.Atoi(f.names.user(statOf(one.info).Uid)); return err == nil }, nil
	}
	if len(f.words) == 0 {
		return nil, fmt.Errorf("%s is unknown or needs a value", name)
	}
	return f.valued(name, f.take())
}

// valued reads a test with one value.
func (f *finder) valued(name, value string) (test, error) {
	switch name {
	case "-name", "-iname":
		return globTest(name == "-iname", value, func(one *found) string { return filepath.Base(one.path) })
	case "-path", "-wholename", "-ipath":
		return globTest(name == "-ipath", value, func(one *found) string { return one.path })
	case "-lname":
		return globTest(false, value, func(one *found) string { target, _ := os.Readlink(one.path); return target })
	case "-regex", "-iregex":
		re, err := pattern.Compile(`^\(`+value+`\)$`, pattern.Options{IgnoreCase: name == "-iregex"})
		if err != nil {
			return nil, err
		}
		return func(one *found) bool { return re.MatchString(one.path) }, nil
	case "-type":
		return func(one *found) bool {
			letter := typeLetter(one.info.Mode())
			if letter == '-' {
				letter = 'f'
			}
			return slices.Contains(strings.Split(value, ","), string(letter))
		}, nil
	case "-maxdepth", "-mindepth":
		n, err := strconv.Atoi(value)
		if name == "-maxdepth" {
			f.max = n
		} else {
			f.min = n
		}
		return func(*found) bool { return true }, err
	case "-newer":
		st, err := os.Stat(value)
		if err != nil {
			return nil, err
		}
		return func(one *found) bool { return one.info.ModTime().After(st.ModTime()) }, nil
	case "-user", "-uid":
		uid, _, err := parseOwner(value)
		return func(one *found) bool { return int(statOf(one.info).Uid) == uid }, err
	case "-group", "-gid":
		_, gid, err := parseOwner(":" + value)
		return func(one *found) bool { return int(statOf(one.info).Gid) == gid }, err
	case "-perm":
		return permTest(value)
	case "-printf":
		f.acts = true
		return func(one *found) bool { fmt.Fprint(f.out, f.format(value, one)); return true }, nil
	}
	return f.counted(name, value)
}
