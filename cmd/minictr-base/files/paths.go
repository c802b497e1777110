package files

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func stat(c *applet.Call) error {
	o, err := c.Options("Lftc:", "dereference=L", "format=c", "printf:", "file-system=f", "terse=t")
	if err != nil {
		return err
	}
	var n names
	return each(c, o.Args, func(name string) error {
		if o.Has("f") {
			return statFS(c, name)
		}
		look := os.Lstat
		if o.Has("L") {
			look = os.Stat
		}
		info, err := look(name)
		if err != nil {
			return err
		}
		switch {
		case o.Has("printf"):
			fmt.Fprint(c.Out, statFormat(o.Value("printf", ""), true, name, info, &n))
		case o.Has("c"):
			fmt.Fprintln(c.Out, statFormat(o.Value("c", ""), false, name, info, &n))
		case o.Has("t"):
			fmt.Fprintln(c.Out, statFormat("%n %s %b %f %u %g %D %i %h %t %T %X %Y %Z 0 %o", false, name, info, &n))
		default:
			fmt.Fprint(c.Out, statFormat(statDefault(info), true, name, info, &n))
		}
		return nil
	})
}

func statDefault(info fs.FileInfo) string {
	device := ""
	if info.Mode()&fs.ModeDevice != 0 {
		device = `	Device type: %t,%T`
	}
	return `  File: %N\n  Size: %s	Blocks: %b	IO Block: %o	%F\nDevice: %d	Inode: %i	Links: %h` + device +
		`\nAccess: (%a/%A)  Uid: (%u/%U)   Gid: (%g/%G)\nAccess: %x\nModify: %y\nChange: %z\n`
}

// statFormat fills the directives of stat -c.
func statFormat(format string, escapes bool, name string, info fs.FileInfo, n *names) string {
	st := statOf(info)
	stamp := func(t unix.Timespec) string {
		return time.Unix(t.Unix()).Format("2006-01-02 15:04:05.000000000 -0700")
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		link, _ := os.Readlink(name) // it was one a moment ago
		target = " -> '" + link + "'"
	}
	atime, mtime, ctime := unix.Timespec(st.Atim), unix.Timespec(st.Mtim), unix.Timespec(st.Ctim)
	values := map[byte]any{
		'n': name, 'N': "'" + name + "'" + target, 's': info.Size(), 'b': st.Blocks, 'B': 512, 'o': st.Blksize, 'F': typeWords(info),
		'a': fmt.Sprintf("%o", applet.Bits(info.Mode())), 'A': modeString(info.Mode()), 'f': fmt.Sprintf("%x", st.Mode),
		'u': st.Uid, 'U': n.user(st.Uid), 'g': st.Gid, 'G': n.group(st.Gid), 'i': st.Ino, 'h': st.Nlink,
		'd': st.Dev, 'D': fmt.Sprintf("%x", st.Dev), 't': fmt.Sprintf("%x", unix.Major(st.Rdev)), 'T': fmt.Sprintf("%x", unix.Minor(st.Rdev)),
		'X': st.Atim.Sec, 'Y': st.Mtim.Sec, 'Z': st.Ctim.Sec, 'x': stamp(atime), 'y': stamp(mtime), 'z': stamp(ctime), 'W': 0, 'w': "-", '%': "%",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		switch c := format[i]; {
		case c == '\\' && escapes && i+1 < len(format):
			i++
			b.WriteString(applet.Escape(format[i]))
		case c == '%' && i+1 < len(format):
			i++
			if value, ok := values[format[i]]; ok {
				fmt.Fprint(&b, value)
			} else {
				b.WriteByte('?')
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func typeWords(info fs.FileInfo) string {
	switch typeLetter(info.Mode()) {
	case 'd':
		return "directory"
	case 'l':
		return "symbolic link"
	case 'c':
		return "character special file"
	case 'b':
		return "block special file"
	case 'p':
		return "fifo"
	case 's':
		return "socket"
	}
	if info.Size() == 0 {
		return "regular empty file"
	}
	return "regular file"
}

func statFS(c *applet.Call, name string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(name, &s); err != nil {
		return wrap(name, err)
	}
	fmt.Fprintf(c.Out, "  File: \"%s\"\n    Type: 0x%x  Block size: %d  Name length: %d\nBlocks: Total: %d  Free: %d  Available: %d\nInodes: Total: %d  Free: %d\n",
		name, s.Type, s.Bsize, s.Namelen, s.Blocks, s.Bfree, s.Bavail, s.Files, s.Ffree)
	return nil
}

func readlink(c *applet.Call) error {
	o, err := c.Options("fenmqsv", "canonicalize=f", "canonicalize-existing=e", "canonicalize-missing=m", "no-newline=n")
	if err != nil {
		return err
	}
	end := "\n"
	if o.Has("n") {
		end = ""
	}
	bad := false
	for _, name := range o.Args {
		target, err := os.Readlink(name)
		if o.Has("f", "e", "m") {
			target, err = canonical(name, o.Last("f", "e", "m"))
		}
		if err != nil {
			bad = true // readlink(1) says nothing
			continue
		}
		fmt.Fprint(c.Out, target, end)
	}
	if len(o.Args) == 0 {
		return applet.UsageError("no operand")
	}
	return failed(bad)
}

func realpath(c *applet.Call) error {
	o, err := c.Options("emqs", "canonicalize-existing=e", "canonicalize-missing=m", "no-symlinks=s", "strip=s")
	if err != nil {
		return err
	}
	return each(c, o.Args, func(name string) error {
		how := o.Last("e", "m")
		if o.Has("s") {
			how = "s"
		}
		path, err := canonical(name, how)
		if err == nil {
			fmt.Fprintln(c.Out, path)
		}
		return err
	})
}

// canonical resolves all links. "e" wants all elements to exist, "m" none; else
// all but the last.
func canonical(name, how string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil || how == "s" {
		return path, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil || how == "e" || !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if target, linkErr := os.Readlink(path); linkErr == nil { // a link to what is not there
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		if target != path {
			return canonical(target, how)
		}
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err == nil {
		return filepath.Join(dir, filepath.Base(path)), nil
	}
	if how == "m" {
		dir, err = canonical(filepath.Dir(path), how)
		return filepath.Join(dir, filepath.Base(path)), err
	}
	return "", err
}

func basename(c *applet.Call) error {
	o, err := c.Options("+as:z", "multiple=a", "suffix=s")
	if err != nil {
		return err
	}
	suffix := o.Value("s", "")
	operands := o.Args
	if len(operands) == 2 && !o.Has("a", "s") {
		suffix, operands = operands[1], operands[:1]
	}
	return each(c, operands, func(name string) error {
		base := filepath.Base(name)
		if name == "" {
			base = ""
		}
		if base != suffix {
			base = strings.TrimSuffix(base, suffix)
		}
		fmt.Fprintln(c.Out, base)
		return nil
	})
}

func dirname(c *applet.Call) error {
	o, err := c.Options("+")
	if err != nil {
		return err
	}
	return each(c, o.Args, func(name string) error {
		trimmed := strings.TrimRight(name, "/")
		switch i := strings.LastIndexByte(trimmed, '/'); {
		case trimmed == "" && name != "":
			fmt.Fprintln(c.Out, "/")
		case i < 0:
			fmt.Fprintln(c.Out, ".")
		case strings.TrimRight(trimmed[:i], "/") == "":
			fmt.Fprintln(c.Out, "/")
		default:
			fmt.Fprintln(c.Out, strings.TrimRight(trimmed[:i], "/"))
		}
		return nil
	})
}

func pwd(c *applet.Call) error {
	o, err := c.Options("LP")
	if err != nil {
		return err
	}
	dir, err := os.Getwd() // which takes $PWD where that is right
	if err == nil && o.Last("L", "P") == "P" {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err == nil {
		fmt.Fprintln(c.Out, dir)
	}
	return err
}

func mknod(c *applet.Call) error {
	o, err := c.Options("m:", "mode=m")
	if err != nil {
		return err
	}
	if len(o.Args) != 2 && len(o.Args) != 4 {
		return applet.UsageError("needs a name, a type and, for a device, its numbers")
	}
	kinds := map[string]uint32{"b": unix.S_IFBLK, "c": unix.S_IFCHR, "u": unix.S_IFCHR, "p": unix.S_IFIFO}
	kind, ok := kinds[o.Args[1]]
	if !ok || (kind == unix.S_IFIFO) != (len(o.Args) == 2) {
		return applet.UsageError(fmt.Sprintf("type %q with %d numbers makes no sense", o.Args[1], len(o.Args)-2))
	}
	device := 0
	if len(o.Args) == 4 {
		major, err1 := strconv.ParseUint(o.Args[2], 0, 32)
		minor, err2 := strconv.ParseUint(o.Args[3], 0, 32)
		if err := errors.Join(err1, err2); err != nil {
			return applet.UsageError("the numbers of a device are numbers")
		}
		device = int(unix.Mkdev(uint32(major), uint32(minor)))
	}
	if err := unix.Mknod(o.Args[0], kind|0o666, device); err != nil {
		return wrap(o.Args[0], err)
	}
	return applyMode(o, o.Args[0], 0o666)
}

func mkfifo(c *applet.Call) error {
	o, err := c.Options("m:", "mode=m")
	if err != nil {
		return err
	}
	return each(c, o.Args, func(name string) error {
		if err := unix.Mkfifo(name, 0o666); err != nil {
			return wrap(name, err)
		}
		return applyMode(o, name, 0o666)
	})
}

func mktemp(c *applet.Call) error {
	o, err := c.Options("dqtup:", "directory=d", "quiet=q", "dry-run=u", "tmpdir=p")
	if err != nil {
		return err
	}
	dir, template := o.Value("p", os.Getenv("TMPDIR")), "tmp.XXXXXXXXXX"
	if dir == "" {
		dir = "/tmp"
	}
	if len(o.Args) > 0 {
		template = o.Args[0]
		if !o.Has("p", "t") {
			dir = ""
		}
	}
	trimmed := strings.TrimRight(template, "X")
	suffix := ""
	if trimmed == template { // XXXXXX.txt
		if i := strings.LastIndexByte(template, 'X'); i >= 0 {
			suffix = template[i+1:]
			trimmed = strings.TrimRight(template[:i+1], "X")
		}
	}
	if len(template)-len(trimmed)-len(suffix) < 3 {
		return applet.UsageError(fmt.Sprintf("template %q needs three X", template))
	}
	path := filepath.Join(dir, template)
	if dir == "" {
		path = template
	}
	cut := len(path) - len(template) + len(trimmed)
	name, err := makeTemporary(path[:cut], len(template)-len(trimmed)-len(suffix), suffix, o.Has("d"))
	if err == nil && o.Has("u") {
		err = os.Remove(name)
	}
	if err != nil && o.Has("q") {
		return applet.ExitError(1)
	}
	if err == nil {
		fmt.Fprintln(c.Out, name)
	}
	return err
}

// makeTemporary makes a file or directory of a name that nobody has: n random
// letters between the two ends.
func makeTemporary(before string, n int, after string, dir bool) (string, error) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for {
		middle := make([]byte, n)
		for i := range middle {
			middle[i] = letters[rand.IntN(len(letters))]
		}
		name := before + string(middle) + after
		if dir {
			if err := os.Mkdir(name, 0o700); !errors.Is(err, fs.ErrExist) {
				return name, err
			}
			continue
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
}
