package shell

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// umask shows or sets the mask of new files: umask [-S] [MODE]. The mask is the
// process's, so a subshell's is the shell's, too.
func umask(c *applet.Call) error {
	o, err := c.Options("+S")
	if err != nil {
		return err
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	switch {
	case len(o.Args) == 0 && o.Has("S"):
		allowed := fs.FileMode(0o777 &^ mask).String()
		fmt.Fprintf(c.Out, "u=%s,g=%s,o=%s\n", letters(allowed[1:4]), letters(allowed[4:7]), letters(allowed[7:10]))
	case len(o.Args) == 0:
		fmt.Fprintf(c.Out, "%04o\n", mask)
	default:
		if n, err := strconv.ParseUint(o.Args[0], 8, 9); err == nil {
			syscall.Umask(int(n))
			return nil
		}
		mode, err := applet.ParseMode(o.Args[0], fs.FileMode(0o777&^mask), 0)
		if err != nil {
			return err
		}
		syscall.Umask(int(^mode & 0o777))
	}
	return nil
}

func letters(rwx string) string { return strings.ReplaceAll(rwx, "-", "") }

// A limit is one resource of ulimit.
type limit struct {
	letter   string
	resource int
	unit     uint64 // bytes, or whatever, of one that is shown
	words    string
}

var limits = []limit{
	{"t", unix.RLIMIT_CPU, 1, "cpu time (seconds)"},
	{"f", unix.RLIMIT_FSIZE, 512, "file size (512-byte blocks)"},
	{"d", unix.RLIMIT_DATA, 1024, "data (KiB)"},
	{"s", unix.RLIMIT_STACK, 1024, "stack (KiB)"},
	{"c", unix.RLIMIT_CORE, 512, "core file (512-byte blocks)"},
	{"m", unix.RLIMIT_RSS, 1024, "resident memory (KiB)"},
	{"l", unix.RLIMIT_MEMLOCK, 1024, "locked memory (KiB)"},
	{"u", unix.RLIMIT_NPROC, 1, "processes"},
	{"n", unix.RLIMIT_NOFILE, 1, "open files"},
	{"v", unix.RLIMIT_AS, 1024, "address space (KiB)"},
}

// ulimit shows or sets a limit: ulimit [-HSa] [-tfdscmlunv] [LIMIT].
func ulimit(c *applet.Call) error {
	o, err := c.Options("HSatfdscmlunv")
	if err != nil {
		return err
	}
	hard := o.Has("H")
	if o.Has("a") {
		for _, l := range limits {
			value, err := l.get(hard)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "-%s: %-28s %s\n", l.letter, l.words, value)
		}
		return nil
	}
	chosen := limits[1] // POSIX: the file size is what is meant without a word
	for _, l := range limits {
		if o.Has(l.letter) {
			chosen = l
		}
	}
	if len(o.Args) == 0 {
		value, err := chosen.get(hard)
		if err == nil {
			fmt.Fprintln(c.Out, value)
		}
		return err
	}
	both := hard == o.Has("S")
	return chosen.set(o.Args[0], hard || both, !hard || both)
}

func (l limit) get(hard bool) (string, error) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(l.resource, &r); err != nil {
		return "", err
	}
	n := r.Cur
	if hard {
		n = r.Max
	}
	if n == unix.RLIM_INFINITY {
		return "unlimited", nil
	}
	return strconv.FormatUint(n/l.unit, 10), nil
}

// set goes through package syscall: it knows that Go itself had raised the limit
// of open files, and must not put it back in the children.
func (l limit) set(text string, hard, soft bool) error {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(l.resource, &r); err != nil {
		return err
	}
	n := uint64(unix.RLIM_INFINITY)
	if text != "unlimited" {
		v, err := strconv.ParseUint(text, 10, 54)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		n = v * l.unit
	}
	if hard {
		r.Max = n
	}
	if soft {
		r.Cur = n
	}
	if err := syscall.Setrlimit(l.resource, &r); err != nil {
		return fmt.Errorf("set %s to %s: %w", l.words, text, err)
	}
	return nil
}
