package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func mkdir(c *applet.Call) error {
	o, err := c.Options("pvm:", "parents=p", "verbose=v", "mode=m")
	if err != nil {
		return err
	}
	return each(c, o.Args, func(name string) error {
		make, mode := os.Mkdir, fs.FileMode(0o777)
		if o.Has("p") {
			make = os.MkdirAll
		}
		if err := make(name, mode); err != nil {
			return err
		}
		if o.Has("v") {
			fmt.Fprintf(c.Out, "created directory '%s'\n", name)
		}
		return applyMode(o, name, 0o777)
	})
}

// applyMode sets what -m says; a mode of letters changes the usual one.
func applyMode(o *applet.Options, name string, usual fs.FileMode) error {
	if !o.Has("m") {
		return nil
	}
	bits, err := applet.ParseMode(o.Value("m", ""), usual, 0)
	if err != nil {
		return err
	}
	return os.Chmod(name, applet.FileMode(bits))
}

func rmdir(c *applet.Call) error {
	o, err := c.Options("pv", "parents=p", "ignore-fail-on-non-empty")
	if err != nil {
		return err
	}
	return each(c, o.Args, func(name string) error {
		for {
			err := unix.Rmdir(name)
			if errors.Is(err, unix.ENOTEMPTY) && o.Has("ignore-fail-on-non-empty") {
				return nil
			}
			if err != nil {
				return &fs.PathError{Op: "rmdir", Path: name, Err: err}
			}
			name = filepath.Dir(strings.TrimRight(name, "/"))
			if !o.Has("p") || name == "." || name == "/" {
				return nil
			}
		}
	})
}

func touch(c *applet.Call) error {
	o, err := c.Options("acmhfd:r:t:", "no-create=c", "date=d", "reference=r", "no-dereference=h")
	if err != nil {
		return err
	}
	now := time.Now()
	times := [2]time.Time{now, now}
	switch {
	case o.Has("r"):
		st, err := os.Stat(o.Value("r", ""))
		if err != nil {
			return err
		}
		times = [2]time.Time{time.Unix(statOf(st).Atim.Unix()), st.ModTime()}
	case o.Has("d", "t"):
		t, err := applet.ParseTime(o.Value("d", o.Value("t", "")), now)
		if err != nil {
			return err
		}
		times = [2]time.Time{t, t}
	}
	specs := make([]unix.Timespec, 2)
	for i, t := range times {
		specs[i] = unix.NsecToTimespec(t.UnixNano())
	}
	if o.Has("a") && !o.Has("m") {
		specs[1] = unix.Timespec{Nsec: unix.UTIME_OMIT}
	} else if o.Has("m") && !o.Has("a") {
		specs[0] = unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	flags := 0
	if o.Has("h") {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	return each(c, o.Args, func(name string) error {
		err := unix.UtimesNanoAt(unix.AT_FDCWD, name, specs, flags)
		if errors.Is(err, unix.ENOENT) {
			if o.Has("c", "h") {
				return nil
			}
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
			if !o.Has("d", "t", "r") {
				return nil
			}
			err = unix.UtimesNanoAt(unix.AT_FDCWD, name, specs, 0)
			return wrap(name, err)
		}
		return wrap(name, err)
	})
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "set", Path: name, Err: err}
}

// walk runs f for the operand, and with -R for all below it. Links among what is
// below are not followed.
func walk(c *applet.Call, name string, recursive bool, f func(path string, info fs.FileInfo, operand bool) error) error {
	bad := false
	err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				err = f(path, info, path == name)
			}
		}
		if err != nil && path == name {
			return err
		}
		if err != nil {
			c.Warn(err)
			bad = true
		}
		if d != nil && d.IsDir() && (!recursive || err != nil && path != name) {
			return filepath.SkipDir
		}
		return nil
	})
	if err == nil && bad {
		return errSomeFailed
	}
	return err
}

var errSomeFailed = errors.New("not done for all below")

func chmod(c *applet.Call) error {
	o, err := modeOptions(c)
	if err != nil {
		return err
	}
	var mode string
	if o.Has("reference") {
		st, err := os.Stat(o.Value("reference", ""))
		if err != nil {
			return err
		}
		mode = strconv.FormatUint(uint64(applet.Bits(st.Mode())), 8)
	} else if len(o.Args) > 0 {
		mode, o.Args = o.Args[0], o.Args[1:]
	}
	mask := currentUmask()
	if _, err := applet.ParseMode(mode, 0, mask); err != nil {
		return err
	}
	return each(c, o.Args, func(name string) error {
		return walk(c, name, o.Has("R"), func(path string, info fs.FileInfo, operand bool) error {
			if info.Mode()&fs.ModeSymlink != 0 {
				if !operand {
					return nil
				}
				var err error
				if info, err = os.Stat(path); err != nil {
					return err
				}
			}
			bits, err := applet.ParseMode(mode, info.Mode(), mask)
			if err != nil {
				return err
			}
			if err := os.Chmod(path, applet.FileMode(bits)); err != nil && !o.Has("f") {
				return err
			}
			if o.Has("v") {
				fmt.Fprintf(c.Out, "mode of '%s' is %04o\n", path, bits)
			}
			return nil
		})
	})
}

// modeOptions takes a mode such as -x or -w,+r for what it is.
func modeOptions(c *applet.Call) (*applet.Options, error) {
	var args []string
	for i, arg := range c.Args {
		if len(arg) > 1 && arg[0] == '-' && strings.ContainsRune("rwxXst", rune(arg[1])) {
			args = append(append(append([]string(nil), c.Args[:i]...), "--", arg), c.Args[i+1:]...)
			break
		}
	}
	call := *c
	if args != nil {
		call.Args = args
	}
	return call.Options("Rvfc", "recursive=R", "verbose=v", "silent=f", "quiet=f", "reference:")
}

func chown(c *applet.Call) error {
	o, err := c.Options("RhvfHLPc", "recursive=R", "no-dereference=h", "verbose=v", "reference:")
	if err != nil {
		return err
	}
	uid, gid := -1, -1
	switch {
	case o.Has("reference"):
		st, err := os.Stat(o.Value("reference", ""))
		if err != nil {
			return err
		}
		uid, gid = int(statOf(st).Uid), int(statOf(st).Gid)
	case len(o.Args) == 0:
		return applet.UsageError("no owner")
	default:
		spec := o.Args[0]
		if c.Name == "chgrp" {
			spec = ":" + spec
		}
		if uid, gid, err = parseOwner(spec); err != nil {
			return err
		}
		o.Args = o.Args[1:]
	}
	return each(c, o.Args, func(name string) error {
		return walk(c, name, o.Has("R"), func(path string, info fs.FileInfo, operand bool) error {
			change := os.Chown
			if o.Has("h") || info.Mode()&fs.ModeSymlink != 0 && (!operand || o.Has("R")) {
				change = os.Lchown
			}
			if err := change(path, uid, gid); err != nil && !o.Has("f") {
				return err
			}
			return nil
		})
	})
}

// parseOwner reads USER, USER:GROUP, USER: (the user's own group) and :GROUP; -1
// leaves as it is.
func parseOwner(spec string) (uid, gid int, err error) {
	uid, gid = -1, -1
	name, group, hasGroup := strings.Cut(spec, ":")
	if name != "" {
		u, lookErr := user.Lookup(name)
		if uid, err = strconv.Atoi(name); err != nil {
			if lookErr != nil {
				return 0, 0, fmt.Errorf("no user %q", name)
			}
			uid, err = strconv.Atoi(u.Uid)
		}
		if hasGroup && group == "" && lookErr == nil {
			group = u.Gid
		}
	}
	if err == nil && group != "" {
		if gid, err = strconv.Atoi(group); err != nil {
			g, lookErr := user.LookupGroup(group)
			if lookErr != nil {
				return 0, 0, fmt.Errorf("no group %q", group)
			}
			gid, err = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, err
}

func ln(c *applet.Call) error {
	o, err := c.Options("sfnvrTt:", "symbolic=s", "force=f", "no-dereference=n", "verbose=v", "relative=r", "no-target-directory=T")
	if err != nil {
		return err
	}
	if len(o.Args) == 1 && !o.Has("t") {
		o.Args = append(o.Args, filepath.Base(o.Args[0]))
	}
	k := &copier{c: c, verbose: o.Has("v")}
	if last := len(o.Args) - 1; o.Has("n") && last > 0 {
		if st, err := os.Lstat(o.Args[last]); err == nil && st.Mode()&fs.ModeSymlink != 0 {
			o.Given = append(o.Given, applet.Option{Name: "T"})
		}
	}
	return k.toDestination(o, func(target, link string) error {
		if o.Has("f") {
			if st, err := os.Lstat(link); err == nil && !st.IsDir() {
				if err := os.Remove(link); err != nil {
					return err
				}
			}
		}
		make := os.Link
		if o.Has("s") {
			make = os.Symlink
			if o.Has("r") {
				dir, err := filepath.Abs(filepath.Dir(link))
				if err != nil {
					return err
				}
				abs, err := filepath.Abs(target)
				if err != nil {
					return err
				}
				if target, err = filepath.Rel(dir, abs); err != nil {
					return err
				}
			}
		}
		err := make(target, link)
		k.tell(link, target, err)
		return err
	})
}
