package files

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A lister is one run of ls.
type lister struct {
	c     *applet.Call
	o     *applet.Options
	out   *bufio.Writer
	names names
	width int // of the terminal, 0 for one name a line
	color bool
	tty   bool
	bad   bool
	lost  bool // an operand could not be found
}

// An entry is one file as ls shows it.
type entry struct {
	name, path string
	info       fs.FileInfo
}

func ls(c *applet.Call) error {
	o, err := c.Options("aA1dFfhilnopRrStuUcCgkNsvxQ", "all=a", "almost-all=A", "human-readable=h", "recursive=R",
		"directory=d", "reverse=r", "inode=i", "size=s", "classify=F", "numeric-uid-gid=n", "color?", "full-time", "si")
	if err != nil {
		return err
	}
	l := &lister{c: c, o: o, out: bufio.NewWriter(c.Out)}
	if f, ok := c.Out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l.tty = true
		l.width = 80
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			l.width = w
		}
		l.color = o.Value("color", "auto") != "never" && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	l.color = l.color || o.Has("color") && slices.Contains([]string{"always", "yes", ""}, o.Value("color", "no"))
	if o.Has("1", "l", "n", "o", "g", "full-time") && !o.Has("C") || l.width == 0 && !o.Has("C", "x") {
		l.width = 0
	} else if l.width == 0 {
		l.width = 80
	}
	l.operands()
	if err := l.out.Flush(); err != nil {
		return err
	}
	if l.lost {
		return applet.ExitError(2)
	}
	return failed(l.bad)
}

func (l *lister) long() bool { return l.o.Has("l", "n", "o", "g", "full-time") }

func (l *lister) warn(err error) {
	l.c.Warn(err)
	l.bad = true
}

// operands lists the files among the operands and then the directories.
func (l *lister) operands() {
	operands := l.o.Args
	if len(operands) == 0 {
		operands = []string{"."}
	}
	var files, dirs []entry
	for _, name := range operands {
		info, err := os.Lstat(name)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 && !l.long() && !l.o.Has("d", "F") || strings.HasSuffix(name, "/") {
			if followed, statErr := os.Stat(name); statErr == nil {
				info, err = followed, nil
			}
		}
		if err == nil && info.Mode()&fs.ModeSymlink != 0 && !l.long() && !l.o.Has("d") {
			if followed, statErr := os.Stat(name); statErr == nil && followed.IsDir() {
				info = followed
			}
		}
		switch {
		case err != nil:
			l.warn(err)
			l.lost = true
		case info.IsDir() && !l.o.Has("d"):
			dirs = append(dirs, entry{name, name, info})
		default:
			files = append(files, entry{name, name, info})
		}
	}
	l.sort(files)
	l.sort(dirs)
	l.show(files)
	headers := len(operands) > 1 || l.o.Has("R")
	for i, d := range dirs {
		if headers && (i > 0 || len(files) > 0) {
			fmt.Fprintln(l.out)
		}
		l.directory(d.path, headers)
	}
}

// directory lists one directory, and those in it with -R.
func (l *lister) directory(path string, header bool) {
	items, err := os.ReadDir(path)
	if err != nil {
		l.warn(err)
		if len(items) == 0 {
			return
		}
	}
	if header {
		fmt.Fprintf(l.out, "%s:\n", path)
	}
	var list []entry
	if l.o.Has("a", "f") {
		for _, dot := range []string{".", ".."} {
			if info, err := os.Lstat(path + "/" + dot); err == nil {
				list = append(list, entry{dot, path + "/" + dot, info})
			}
		}
	}
	for _, item := range items {
		if strings.HasPrefix(item.Name(), ".") && !l.o.Has("a", "A", "f") {
			continue
		}
		info, err := item.Info()
		if err != nil {
			l.warn(err)
			continue
		}
		list = append(list, entry{item.Name(), strings.TrimSuffix(path, "/") + "/" + item.Name(), info})
	}
	l.sort(list)
	if l.long() || l.o.Has("s") {
		var blocks int64
		for _, e := range list {
			blocks += statOf(e.info).Blocks
		}
		total := strconv.FormatInt(blocks/2, 10)
		if l.o.Has("h") {
			total = human(blocks * 512)
		}
		fmt.Fprintf(l.out, "total %s\n", total)
	}
	l.show(list)
	if !l.o.Has("R") {
		return
	}
	for _, e := range list {
		if e.info.IsDir() && e.name != "." && e.name != ".." {
			fmt.Fprintln(l.out)
			l.directory(e.path, true)
		}
	}
}

func (l *lister) sort(list []entry) {
	if l.o.Has("U", "f") {
		return
	}
	key := l.o.Last("S", "t", "v")
	slices.SortStableFunc(list, func(a, b entry) int {
		n := 0
		switch key {
		case "S":
			n = compare(b.info.Size(), a.info.Size())
		case "t":
			n = l.time(b).Compare(l.time(a))
		}
		if n == 0 {
			n = strings.Compare(a.name, b.name)
		}
		if l.o.Has("r") {
			n = -n
		}
		return n
	})
}

func compare(a, b int64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func (l *lister) time(e entry) time.Time {
	st := statOf(e.info)
	switch {
	case l.o.Has("u"):
		return time.Unix(st.Atim.Unix())
	case l.o.Has("c"):
		return time.Unix(st.Ctim.Unix())
	}
	return e.info.ModTime()
}

func (l *lister) show(list []entry) {
	switch {
	case l.long():
		l.showLong(list)
	case l.width == 0:
		for _, e := range list {
			fmt.Fprintln(l.out, l.prefix(e)+l.label(e))
		}
	default:
		l.showColumns(list)
	}
}

// prefix is what -i and -s put before the name.
func (l *lister) prefix(e entry) string {
	prefix := ""
	if l.o.Has("i") {
		prefix += fmt.Sprintf("%d ", statOf(e.info).Ino)
	}
	if l.o.Has("s") {
		size := strconv.FormatInt(statOf(e.info).Blocks/2, 10)
		if l.o.Has("h") {
			size = human(statOf(e.info).Blocks * 512)
		}
		prefix += fmt.Sprintf("%4s ", size)
	}
	return prefix
}

// plainName is the name as it is shown: a terminal gets no control characters.
func (l *lister) plainName(name string) string {
	if !l.tty {
		return name
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}

func (l *lister) label(e entry) string {
	return l.paint(e.info.Mode(), l.plainName(e.name)) + l.suffix(e.info.Mode())
}

func (l *lister) suffix(m fs.FileMode) string {
	switch {
	case l.o.Has("F", "p") && m.IsDir():
		return "/"
	case !l.o.Has("F"):
		return ""
	case m&fs.ModeSymlink != 0 && !l.long():
		return "@"
	case m&fs.ModeNamedPipe != 0:
		return "|"
	case m&fs.ModeSocket != 0:
		return "="
	case m.IsRegular() && m&0o111 != 0:
		return "*"
	}
	return ""
}

func (l *lister) paint(m fs.FileMode, text string) string {
	if !l.color {
		return text
	}
	code := ""
	switch {
	case m.IsDir():
		code = "1;34"
	case m&fs.ModeSymlink != 0:
		code = "1;36"
	case m&(fs.ModeDevice|fs.ModeNamedPipe) != 0:
		code = "33"
	case m&fs.ModeSocket != 0:
		code = "1;35"
	case m&0o111 != 0:
		code = "1;32"
	default:
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (l *lister) showColumns(list []entry) {
	widths := make([]int, len(list))
	widest := 0
	for i, e := range list {
		widths[i] = len([]rune(l.prefix(e)+l.plainName(e.name))) + len(l.suffix(e.info.Mode()))
		widest = max(widest, widths[i])
	}
	columns := max(1, l.width/(widest+2))
	rows := (len(list) + columns - 1) / columns
	for row := range rows {
		for i := row; i < len(list); i += rows {
			fmt.Fprint(l.out, l.prefix(list[i])+l.label(list[i]))
			if i+rows < len(list) {
				fmt.Fprint(l.out, strings.Repeat(" ", widest+2-widths[i]))
			}
		}
		fmt.Fprintln(l.out)
	}
}

// showLong shows a line for each file, its columns as wide as they need.
func (l *lister) showLong(list []entry) {
	rows := make([][]string, len(list))
	var widths [6]int
	for i, e := range list {
		rows[i] = l.columns(e)
		for j, text := range rows[i] {
			widths[j] = max(widths[j], len(text))
		}
	}
	for i, e := range list {
		r := rows[i]
		fmt.Fprintf(l.out, "%s%s %*s ", l.prefix(e), r[0], widths[1], r[1])
		if !l.o.Has("g") {
			fmt.Fprintf(l.out, "%-*s ", widths[2], r[2])
		}
		if !l.o.Has("o") {
			fmt.Fprintf(l.out, "%-*s ", widths[3], r[3])
		}
		fmt.Fprintf(l.out, "%*s %s %s", widths[4], r[4], r[5], l.label(e))
		if e.info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(e.path)
			if err != nil {
				target = "?"
			}
			fmt.Fprintf(l.out, " -> %s", l.plainName(target))
		}
		fmt.Fprintln(l.out)
	}
}

func (l *lister) columns(e entry) []string {
	st := statOf(e.info)
	owner, group := l.names.user(st.Uid), l.names.group(st.Gid)
	if l.o.Has("n") {
		owner, group = strconv.Itoa(int(st.Uid)), strconv.Itoa(int(st.Gid))
	}
	size := strconv.FormatInt(e.info.Size(), 10)
	switch {
	case e.info.Mode()&fs.ModeDevice != 0:
		size = fmt.Sprintf("%d, %d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	case l.o.Has("h"):
		size = human(e.info.Size())
	}
	return []string{modeString(e.info.Mode()), fmt.Sprint(st.Nlink), owner, group, size, l.date(l.time(e))}
}

// date is the time, or the year for what is older than half a year or not yet.
func (l *lister) date(t time.Time) string {
	switch age := time.Since(t); {
	case l.o.Has("full-time"):
		return t.Format("2006-01-02 15:04:05.000000000 -0700")
	case age > 182*24*time.Hour || age < -time.Minute:
		return t.Format("Jan _2  2006")
	}
	return t.Format("Jan _2 15:04")
}
