// Package files holds the commands of the base image that list, make, move and
// remove files.
//
// u-root's packages of the same names were looked at first: their cp has no -a,
// their find no -exec, their xargs no -I, their tar no -z. What a person types
// every day decided for small ones of our own.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// Applets are the commands of this package.
func Applets() []applet.Applet {
	return []applet.Applet{
		{Name: "ls", Usage: "[-aA1dFhilnpRrStu] [FILE…]", Short: "list files", Run: ls},
		{Name: "cp", Usage: "[-aLPRfinpruv] [-t DIR] SOURCE… DESTINATION", Short: "copy files", Run: cp},
		{Name: "mv", Usage: "[-finuv] [-t DIR] SOURCE… DESTINATION", Short: "move or rename files", Run: mv},
		{Name: "rm", Usage: "[-rfiv] FILE…", Short: "remove files", Run: rm},
		{Name: "mkdir", Usage: "[-pv] [-m MODE] DIR…", Short: "make directories", Run: mkdir},
		{Name: "rmdir", Usage: "[-p] DIR…", Short: "remove empty directories", Run: rmdir},
		{Name: "touch", Usage: "[-acmh] [-d TIME] [-r FILE] FILE…", Short: "set the times of files, and make them", Run: touch},
		{Name: "chmod", Usage: "[-Rvf] MODE FILE…", Short: "set the permissions of files", Run: chmod},
		{Name: "chown", Usage: "[-Rhvf] USER[:GROUP] FILE…", Short: "set the owner of files", Run: chown},
		{Name: "chgrp", Usage: "[-Rhvf] GROUP FILE…", Short: "set the group of files", Run: chown},
		{Name: "ln", Usage: "[-sfnvrT] TARGET… [LINK]", Short: "make links", Run: ln},
		{Name: "find", Usage: "[PATH…] [EXPRESSION]", Short: "find files and do something with them", Run: find},
		{Name: "xargs", Usage: "[-0rtp] [-n N] [-L N] [-P N] [-I WORD] [-d C] [COMMAND [ARG…]]", Short: "run a command with what standard input lists", Run: xargs},
		{Name: "stat", Usage: "[-Lft] [-c FORMAT] FILE…", Short: "show what the kernel knows of files", Run: stat},
		{Name: "readlink", Usage: "[-fenm] FILE…", Short: "show where a link points", Run: readlink},
		{Name: "realpath", Usage: "[-ems] FILE…", Short: "show the path without links", Run: realpath},
		{Name: "basename", Usage: "[-a] [-s SUFFIX] PATH [SUFFIX]", Short: "show the last element of a path", Run: basename},
		{Name: "dirname", Usage: "PATH…", Short: "show a path without its last element", Run: dirname},
		{Name: "pwd", Usage: "[-LP]", Short: "show the working directory", Run: pwd},
		{Name: "mknod", Usage: "[-m MODE] NAME b|c|p [MAJOR MINOR]", Short: "make a device node", Run: mknod},
		{Name: "mkfifo", Usage: "[-m MODE] NAME…", Short: "make named pipes", Run: mkfifo},
		{Name: "mktemp", Usage: "[-dqtu] [-p DIR] [TEMPLATE]", Short: "make a temporary file", Run: mktemp},
		{Name: "du", Usage: "[-abcdhksmx] [FILE…]", Short: "show how much files take", Run: du},
		{Name: "dd", Usage: "[if=FILE] [of=FILE] [bs=N] [count=N] [skip=N] [seek=N] [conv=…]", Short: "copy blocks", Run: dd},
		{Name: "sync", Usage: "[-df] [FILE…]", Short: "write everything to the disk", Run: syncFiles},
		{Name: "truncate", Usage: "-s SIZE FILE…", Short: "set the size of files", Run: truncate},
		{Name: "tar", Usage: "c|x|t[vzfkOpP] [-f FILE] [-C DIR] [--strip-components N] [--exclude GLOB] [FILE…]", Short: "pack and unpack archives", Run: tarApplet},
		{Name: "gzip", Usage: "[-cdfkqt1-9] [FILE…]", Short: "compress files", Run: gzipApplet},
		{Name: "gunzip", Usage: "[-cfkqt] [FILE…]", Short: "decompress files", Run: gzipApplet},
		{Name: "zcat", Usage: "[FILE…]", Short: "show compressed files", Run: gzipApplet},
	}
}

// failed is what an applet returns that has warned.
func failed(yes bool) error {
	if yes {
		return applet.ExitError(1)
	}
	return nil
}

// each runs f for each operand and goes on after an error.
func each(c *applet.Call, operands []string, f func(name string) error) error {
	if len(operands) == 0 {
		return applet.UsageError("no operand")
	}
	bad := false
	for _, name := range operands {
		if err := f(name); err != nil {
			c.Warn(err)
			bad = true
		}
	}
	return failed(bad)
}

func statOf(st fs.FileInfo) *syscall.Stat_t {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s
	}
	return &syscall.Stat_t{}
}

func currentUmask() uint32 {
	mask := unix.Umask(0)
	unix.Umask(mask)
	return uint32(mask)
}

// names remembers the names of users and groups.
type names struct {
	users, groups map[uint32]string
}

func (n *names) user(id uint32) string {
	return remember(&n.users, id, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (n *names) group(id uint32) string {
	return remember(&n.groups, id, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func remember(known *map[uint32]string, id uint32, look func(string) (string, error)) string {
	if name, ok := (*known)[id]; ok {
		return name
	}
	if *known == nil {
		*known = map[uint32]string{}
	}
	number := strconv.FormatUint(uint64(id), 10)
	name, err := look(number)
	if err != nil {
		name = number
	}
	(*known)[id] = name
	return name
}

// typeLetter is the first letter of ls -l, and with other letters find's -type.
func typeLetter(m fs.FileMode) byte {
	switch {
	case m.IsDir():
		return 'd'
	case m&fs.ModeSymlink != 0:
		return 'l'
	case m&fs.ModeCharDevice != 0:
		return 'c'
	case m&fs.ModeDevice != 0:
		return 'b'
	case m&fs.ModeNamedPipe != 0:
		return 'p'
	case m&fs.ModeSocket != 0:
		return 's'
	}
	return '-'
}

// modeString is the first column of ls -l.
func modeString(m fs.FileMode) string {
	b := []byte{typeLetter(m)}
	const rwx = "rwxrwxrwx"
	for i := range 9 {
		if m&(1<<(8-i)) != 0 {
			b = append(b, rwx[i])
		} else {
			b = append(b, '-')
		}
	}
	special := func(at int, set bool, with, without byte) {
		if set && b[at] == 'x' {
			b[at] = with
		} else if set {
			b[at] = without
		}
	}
	special(3, m&fs.ModeSetuid != 0, 's', 'S')
	special(6, m&fs.ModeSetgid != 0, 's', 'S')
	special(9, m&fs.ModeSticky != 0, 't', 'T')
	return string(b)
}

// human is a size in powers of 1024 with one digit behind the point.
func human(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	units := "KMGTPE"
	f := float64(n)
	unit := -1
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	// As GNU has it, sizes are rounded up.
	if f < 10 {
		if tenth := float64(int64(f*10)) / 10; tenth < f {
			f = tenth + 0.1
		}
		if f < 10 {
			return fmt.Sprintf("%.1f%c", f, units[unit])
		}
	}
	whole := int64(f)
	if float64(whole) < f {
		whole++
	}
	return fmt.Sprintf("%d%c", whole, units[unit])
}

// isDir reports whether it is a directory, or a link to one.
func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

var errIsDir = errors.New("is a directory")
