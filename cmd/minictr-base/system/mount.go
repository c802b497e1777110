package system

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

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A mounted file system, as /proc/self/mounts has it.
type mounted struct{ source, dir, kind, options string }

func mounts() ([]mounted, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var list []mounted
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		list = append(list, mounted{unescapeOctal(f[0]), unescapeOctal(f[1]), f[2], f[3]})
	}
	return list, nil
}

// unescapeOctal undoes \040 and the like.
func unescapeOctal(text string) string {
	plain, _ := applet.Unescape(text)
	return plain
}

// mountFlags are the options that are flags of mount(2); "no" in false clears.
var mountFlags = map[string]struct {
	flag uintptr
	set  bool
}{
	"ro": {unix.MS_RDONLY, true}, "rw": {unix.MS_RDONLY, false}, "nosuid": {unix.MS_NOSUID, true}, "suid": {unix.MS_NOSUID, false},
	"nodev": {unix.MS_NODEV, true}, "dev": {unix.MS_NODEV, false}, "noexec": {unix.MS_NOEXEC, true}, "exec": {unix.MS_NOEXEC, false},
	"sync": {unix.MS_SYNCHRONOUS, true}, "async": {unix.MS_SYNCHRONOUS, false}, "remount": {unix.MS_REMOUNT, true}, "noatime": {unix.MS_NOATIME, true},
	"relatime": {unix.MS_RELATIME, true}, "strictatime": {unix.MS_STRICTATIME, true}, "nodiratime": {unix.MS_NODIRATIME, true},
	"bind": {unix.MS_BIND, true}, "rbind": {unix.MS_BIND | unix.MS_REC, true}, "move": {unix.MS_MOVE, true}, "dirsync": {unix.MS_DIRSYNC, true},
	"shared": {unix.MS_SHARED, true}, "private": {unix.MS_PRIVATE, true}, "slave": {unix.MS_SLAVE, true}, "unbindable": {unix.MS_UNBINDABLE, true},
	"rshared": {unix.MS_SHARED | unix.MS_REC, true}, "rprivate": {unix.MS_PRIVATE | unix.MS_REC, true}, "rslave": {unix.MS_SLAVE | unix.MS_REC, true}, "runbindable": {unix.MS_UNBINDABLE | unix.MS_REC, true},
	"defaults": {0, true},
}

const propagation = unix.MS_SHARED | unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_UNBINDABLE

func mount(c *applet.Call) error {
	o, err := c.Options("o:t:rwvna", "options=o", "types=t", "read-only=r", "bind", "rbind", "move", "make-private", "make-rprivate", "make-shared", "make-rshared", "make-slave", "make-rslave")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 {
		return listMounts(c, o.Value("t", ""))
	}
	options := strings.Split(strings.Join(o.All("o"), ","), ",")
	for _, g := range o.Given {
		switch {
		case g.Name == "r":
			options = append(options, "ro")
		case g.Name == "bind" || g.Name == "rbind" || g.Name == "move":
			options = append(options, g.Name)
		case strings.HasPrefix(g.Name, "make-"):
			options = append(options, strings.TrimPrefix(g.Name, "make-"))
		}
	}
	var flags uintptr
	var rest []string
	for _, option := range options {
		f, known := mountFlags[option]
		switch {
		case !known && option != "":
			rest = append(rest, option)
		case f.set:
			flags |= f.flag
		default:
			flags &^= f.flag
		}
	}
	source, dir := o.Args[0], o.Args[len(o.Args)-1]
	if len(o.Args) == 1 && flags&(propagation|unix.MS_REMOUNT) == 0 {
		return applet.UsageError("needs a source and a directory")
	}
	return doMount(source, dir, o.Value("t", ""), flags, strings.Join(rest, ","))
}

// doMount mounts. A bind mount takes its flags in a second call: mount(2).
func doMount(source, dir, kind string, flags uintptr, data string) error {
	fail := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s on %s: %w", source, dir, err)
	}
	if flags&propagation != 0 && flags&^(propagation|unix.MS_REC) == 0 {
		return fail(unix.Mount("none", dir, "", flags, ""))
	}
	if flags&unix.MS_BIND != 0 && flags&unix.MS_REMOUNT == 0 {
		if err := unix.Mount(source, dir, "", flags&(unix.MS_BIND|unix.MS_REC), ""); err != nil {
			return fail(err)
		}
		if more := flags &^ (unix.MS_BIND | unix.MS_REC); more != 0 {
			return fail(unix.Mount("none", dir, "", more|unix.MS_BIND|unix.MS_REMOUNT, ""))
		}
		return nil
	}
	if kind != "" || flags&(unix.MS_REMOUNT|unix.MS_MOVE) != 0 {
		return fail(unix.Mount(source, dir, kind, flags, data))
	}
	return fail(tryTypes(source, dir, flags, data))
}

// tryTypes mounts a device whose file system was not named: by each that the
// kernel knows.
func tryTypes(source, dir string, flags uintptr, data string) error {
	f, err := os.Open("/proc/filesystems")
	if err != nil {
		return err
	}
	defer f.Close()
	last := error(unix.ENODEV)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(name, "nodev") {
			continue
		}
		if last = unix.Mount(source, dir, name, flags, data); !errors.Is(last, unix.EINVAL) {
			return last
		}
	}
	return last
}

func listMounts(c *applet.Call, kinds string) error {
	list, err := mounts()
	if err != nil {
		return err
	}
	for _, m := range list {
		if kinds == "" || slices.Contains(strings.Split(kinds, ","), m.kind) {
			fmt.Fprintf(c.Out, "%s on %s type %s (%s)\n", m.source, printable(m.dir), m.kind, m.options)
		}
	}
	return nil
}

func umount(c *applet.Call) error {
	o, err := c.Options("flRrnd", "force=f", "lazy=l", "recursive=R")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 {
		return applet.UsageError("no directory")
	}
	flags := 0
	if o.Has("f") {
		flags |= unix.MNT_FORCE
	}
	if o.Has("l") {
		flags |= unix.MNT_DETACH
	}
	bad := false
	for _, dir := range o.Args {
		targets := []string{dir}
		if o.Has("R") {
			targets = below(dir)
		}
		for _, target := range targets {
			if err := unix.Unmount(target, flags); err != nil {
				c.Warn(&fs.PathError{Path: target, Err: err})
				bad = true
			}
		}
	}
	if bad {
		return applet.ExitError(1)
	}
	return nil
}

// below are the mounts at and under the directory, the innermost first.
func below(dir string) []string {
	list, err := mounts()
	if err != nil {
		return []string{dir}
	}
	dir = filepath.Clean(dir)
	var targets []string
	for _, m := range slices.Backward(list) {
		if m.dir == dir || strings.HasPrefix(m.dir, strings.TrimSuffix(dir, "/")+"/") {
			targets = append(targets, m.dir)
		}
	}
	return targets
}

func df(c *applet.Call) error {
	o, err := c.Options("hkmgiTPaBt:x:", "human-readable=h", "inodes=i", "print-type=T", "portability=P", "all=a", "type=t", "exclude-type=x")
	if err != nil {
		return err
	}
	list, err := mounts()
	if err != nil {
		return err
	}
	if len(o.Args) > 0 {
		if list, err = mountsOf(o.Args, list); err != nil {
			return err
		}
	}
	unit := map[string]string{"h": "Size", "m": "1M-blocks", "g": "1G-blocks"}[o.Last("h", "k", "m", "g")]
	if unit == "" {
		unit = "1K-blocks"
	}
	titles := []string{"Filesystem", unit, "Used", "Available", "Use%", "Mounted on"}
	if o.Has("i") {
		titles = []string{"Filesystem", "Inodes", "IUsed", "IFree", "IUse%", "Mounted on"}
	}
	rows := [][]string{titles}
	seen := map[uint64]bool{}
	for _, m := range list {
		row, device, ok := usage(m, o)
		if !ok || len(o.Args) == 0 && !o.Has("a") && seen[device] {
			continue
		}
		seen[device] = true
		rows = append(rows, row)
	}
	if o.Has("T") {
		rows[0] = slices.Insert(slices.Clone(rows[0]), 1, "Type")
	}
	printRows(c, rows)
	return nil
}

// usage is the row of one file system.
func usage(m mounted, o *applet.Options) (row []string, device uint64, ok bool) {
	var s unix.Statfs_t
	var st unix.Stat_t
	if unix.Statfs(m.dir, &s) != nil || unix.Stat(m.dir, &st) != nil {
		return nil, 0, false
	}
	if s.Blocks == 0 && !o.Has("a") && len(o.Args) == 0 || o.Has("t") && o.Value("t", "") != m.kind || o.Value("x", "") == m.kind {
		return nil, 0, false
	}
	size := sizer(o.Last("h", "k", "m", "g"))
	block := s.Frsize
	if block == 0 {
		block = s.Bsize
	}
	all, free, avail := int64(s.Blocks)*block, int64(s.Bfree)*block, int64(s.Bavail)*block
	show := size
	if o.Has("i") {
		all, free, avail = int64(s.Files), int64(s.Ffree), int64(s.Ffree)
		show = func(n int64) string { return strconv.FormatInt(n, 10) }
	}
	percent := "-"
	if used := all - free; used+avail > 0 {
		percent = fmt.Sprintf("%d%%", (used*100+used+avail-1)/(used+avail))
	}
	row = []string{m.source, show(all), show(all - free), show(avail), percent, printable(m.dir)}
	if o.Has("T") {
		row = slices.Insert(row, 1, m.kind)
	}
	return row, st.Dev, true
}

// mountsOf returns the file system on which each file is.
func mountsOf(files []string, list []mounted) ([]mounted, error) {
	var found []mounted
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			return nil, err
		}
		best := mounted{source: "-", dir: "/"}
		for _, m := range list {
			if (m.dir == path || m.dir == "/" || strings.HasPrefix(path, m.dir+"/")) && len(m.dir) >= len(best.dir) {
				best = m
			}
		}
		found = append(found, best)
	}
	return found, nil
}

// printRows prints a table: the first and the last column to the left.
func printRows(c *applet.Call, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], len(text))
		}
	}
	for _, row := range rows {
		line := ""
		for i, text := range row {
			switch {
			case i == len(row)-1:
				line += text
			case i == 0 || len(row) == 7 && i == 1:
				line += fmt.Sprintf("%-*s ", widths[i], text)
			default:
				line += fmt.Sprintf("%*s ", widths[i], text)
			}
		}
		fmt.Fprintln(c.Out, line)
	}
}
