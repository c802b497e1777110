// Package system holds the commands of the base image that show or steer the
// machine, its processes and its mounts.
package system

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// Applets are the commands of this package.
func Applets() []applet.Applet {
	return []applet.Applet{
		{Name: "true", Usage: "", Short: "succeed", Run: func(*applet.Call) error { return nil }, Literal: true},
		{Name: "false", Usage: "", Short: "fail", Run: func(*applet.Call) error { return applet.ExitError(1) }, Literal: true},
		{Name: "env", Usage: "[-i] [-u NAME] [NAME=VALUE…] [COMMAND [ARG…]]", Short: "show the environment, or run a command in another", Run: env},
		{Name: "printenv", Usage: "[NAME…]", Short: "show the environment", Run: printenv},
		{Name: "sleep", Usage: "TIME[smhd]…", Short: "wait", Run: sleep},
		{Name: "timeout", Usage: "[-s SIGNAL] [-k TIME] TIME COMMAND [ARG…]", Short: "run a command for a time at most", Run: timeout},
		{Name: "nohup", Usage: "COMMAND [ARG…]", Short: "run a command that survives the terminal", Run: nohup},
		{Name: "setsid", Usage: "COMMAND [ARG…]", Short: "run a command in a session of its own", Run: setsid},
		{Name: "date", Usage: "[-u] [-R] [-I] [-d TIME] [-r FILE] [-s TIME] [+FORMAT]", Short: "show the time", Run: date},
		{Name: "id", Usage: "[-gGnru] [USER]", Short: "show the user and the groups", Run: id},
		{Name: "whoami", Usage: "", Short: "show the user's name", Run: whoami},
		{Name: "hostname", Usage: "[-fis] [NAME]", Short: "show or set the machine's name", Run: hostname},
		{Name: "uname", Usage: "[-amnrsv]", Short: "show what kernel runs", Run: uname},
		{Name: "arch", Usage: "", Short: "show the kind of machine", Run: arch},
		{Name: "nproc", Usage: "[--all]", Short: "show how many processors may be used", Run: nproc},
		{Name: "uptime", Usage: "", Short: "show since when the machine runs", Run: uptime},
		{Name: "free", Usage: "[-bkmgh]", Short: "show the memory", Run: free},
		{Name: "ps", Usage: "[aux] [-ef] [-o COLUMN,…] [-p PID]", Short: "show processes", Run: ps},
		{Name: "top", Usage: "[-b] [-n N] [-d SECONDS]", Short: "show processes again and again", Run: top},
		{Name: "pidof", Usage: "[-s] NAME…", Short: "show the process ids of a program", Run: pidof},
		{Name: "pgrep", Usage: "[-afx] PATTERN", Short: "find processes by name", Run: pgrep},
		{Name: "kill", Usage: "[-SIGNAL | -s SIGNAL] PID… | -l", Short: "send a signal to processes", Run: kill},
		{Name: "mount", Usage: "[-o OPTIONS] [-t TYPE] [-rw] [SOURCE DIR]", Short: "show mounts, or mount", Run: mount},
		{Name: "umount", Usage: "[-flR] DIR…", Short: "unmount", Run: umount},
		{Name: "df", Usage: "[-hkmiTPa] [FILE…]", Short: "show how full file systems are", Run: df},
		{Name: "chroot", Usage: "DIR [COMMAND [ARG…]]", Short: "run a command with another root", Run: chroot},
		{Name: "which", Usage: "[-a] NAME…", Short: "show where a command is", Run: which},
		{Name: "clear", Usage: "", Short: "clear the terminal", Run: clearScreen},
		{Name: "reset", Usage: "", Short: "reset the terminal", Run: clearScreen},
		{Name: "tty", Usage: "[-s]", Short: "show the terminal", Run: tty},
		{Name: "watch", Usage: "[-n SECONDS] COMMAND [ARG…]", Short: "run a command again and again", Run: watch},
		{Name: "sysctl", Usage: "[-nw] NAME[=VALUE]…", Short: "show or set kernel parameters", Run: sysctl},
		{Name: "dmesg", Usage: "[-c]", Short: "show the kernel's messages", Run: dmesg},
		{Name: "logname", Usage: "", Short: "show the user's name", Run: whoami},
	}
}

func run(c *applet.Call, args ...string) error {
	cmd := c.Command(args...)
	err := cmd.Run()
	if err == nil {
		return nil
	}
	code := applet.ExitCode(err)
	if cmd.ProcessState == nil {
		c.Warn(fmt.Errorf("%s: %s", args[0], map[int]string{127: "not found", 126: "cannot be run"}[code]))
	}
	return applet.ExitError(code)
}

// become replaces the process by the command, as env and nohup do.
func become(c *applet.Call, environment []string, args ...string) error {
	cmd := c.Command(args...)
	if cmd.Err != nil {
		c.Warn(fmt.Errorf("%s: not found", args[0]))
		return applet.ExitError(127)
	}
	err := unix.Exec(cmd.Path, args, environment)
	c.Warn(fmt.Errorf("%s: %w", args[0], err))
	if errors.Is(err, unix.ENOENT) {
		return applet.ExitError(127)
	}
	return applet.ExitError(126)
}

func env(c *applet.Call) error {
	o, err := c.Options("+i0u:C:", "ignore-environment=i", "unset=u", "null=0", "chdir=C")
	if err != nil {
		return err
	}
	list := os.Environ()
	if o.Has("i") || len(o.Args) > 0 && o.Args[0] == "-" {
		list = nil
	}
	set := func(name, assignment string) {
		list = slices.DeleteFunc(list, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if assignment != "" {
			list = append(list, assignment)
		}
	}
	for _, name := range o.All("u") {
		set(name, "")
	}
	args := o.Args
	if len(args) > 0 && args[0] == "-" {
		args = args[1:]
	}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, _, _ := strings.Cut(args[0], "=")
		set(name, args[0])
		args = args[1:]
	}
	if len(args) == 0 {
		end := "\n"
		if o.Has("0") {
			end = "\x00"
		}
		for _, e := range list {
			fmt.Fprint(c.Out, e, end)
		}
		return nil
	}
	if dir := o.Value("C", ""); dir != "" {
		if err := os.Chdir(dir); err != nil {
			return err
		}
	}
	for _, e := range list {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil { // where the command is looked for
				return err
			}
		}
	}
	return become(c, list, args...)
}

func printenv(c *applet.Call) error {
	if len(c.Args) == 0 {
		for _, e := range os.Environ() {
			fmt.Fprintln(c.Out, e)
		}
		return nil
	}
	missing := false
	for _, name := range c.Args {
		value, ok := os.LookupEnv(name)
		if !ok {
			missing = true
			continue
		}
		fmt.Fprintln(c.Out, value)
	}
	if missing {
		return applet.ExitError(1)
	}
	return nil
}

// parseDuration reads 1.5, 10s, 2m, 1h, 1d, infinity.
func parseDuration(text string) (time.Duration, error) {
	if text == "infinity" || text == "inf" {
		return 1<<63 - 1, nil
	}
	unit := time.Second
	digits := text
	if text != "" {
		if u, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[len(text)-1]]; ok {
			unit, digits = u, text[:len(text)-1]
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || f < 0 {
		return 0, applet.UsageError(fmt.Sprintf("%q is no time", text))
	}
	return time.Duration(min(f*float64(unit), 1<<62)), nil
}

func sleep(c *applet.Call) error {
	if len(c.Args) == 0 {
		return applet.UsageError("no time")
	}
	var total time.Duration
	for _, arg := range c.Args {
		d, err := parseDuration(arg)
		if err != nil {
			return err
		}
		if total += d; total < 0 {
			total = 1<<63 - 1
		}
	}
	time.Sleep(total)
	return nil
}

func timeout(c *applet.Call) error {
	o, err := c.Options("+s:k:fpv", "signal=s", "kill-after=k", "foreground=f", "preserve-status=p")
	if err != nil {
		return err
	}
	if len(o.Args) < 2 {
		return applet.UsageError("needs a time and a command")
	}
	limit, err := parseDuration(o.Args[0])
	if err != nil {
		return err
	}
	signal, err := parseSignal(o.Value("s", "TERM"))
	if err != nil {
		return err
	}
	cmd := c.Command(o.Args[1:]...)
	if err := cmd.Start(); err != nil {
		c.Warn(fmt.Errorf("%s: %s", o.Args[1], map[int]string{127: "not found", 126: "cannot be run"}[applet.ExitCode(err)]))
		return applet.ExitError(applet.ExitCode(err))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	over := false
	var timer <-chan time.Time
	if limit > 0 {
		timer = time.After(limit)
	}
	for {
		select {
		case err := <-ended:
			code := applet.ExitCode(err)
			if over && !o.Has("p") && code != 137 {
				code = 124
			}
			if code == 0 {
				return nil
			}
			return applet.ExitError(code)
		case <-timer:
			if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			timer = nil
			if !over && o.Has("k") {
				after, err := parseDuration(o.Value("k", ""))
				if err != nil {
					return err
				}
				timer, signal = time.After(after), unix.SIGKILL
			}
			over = true
		}
	}
}

func id(c *applet.Call) error {
	o, err := c.Options("gGnrua", "user=u", "group=g", "groups=G", "name=n", "real=r")
	if err != nil {
		return err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	if o.Has("r") {
		uid, gid = os.Getuid(), os.Getgid()
	}
	if len(o.Args) > 0 {
		u, err := user.Lookup(o.Args[0])
		if err != nil {
			return fmt.Errorf("no user %q", o.Args[0])
		}
		uid, gid, groups = atoi(u.Uid), atoi(u.Gid), nil
		ids, err := u.GroupIds()
		if err != nil {
			return err
		}
		for _, g := range ids {
			groups = append(groups, atoi(g))
		}
	}
	groups = slices.DeleteFunc(groups, func(g int) bool { return g == gid })
	groups = append([]int{gid}, groups...)
	show := func(id int, name string) string {
		if o.Has("n") {
			return name
		}
		return strconv.Itoa(id)
	}
	switch {
	case o.Has("u"):
		fmt.Fprintln(c.Out, show(uid, userName(uid)))
	case o.Has("g"):
		fmt.Fprintln(c.Out, show(gid, groupName(gid)))
	case o.Has("G"):
		var list []string
		for _, g := range groups {
			list = append(list, show(g, groupName(g)))
		}
		fmt.Fprintln(c.Out, strings.Join(list, " "))
	default:
		var list []string
		for _, g := range groups {
			list = append(list, withName(g, groupName(g)))
		}
		fmt.Fprintf(c.Out, "uid=%s gid=%s groups=%s\n", withName(uid, userName(uid)), withName(gid, groupName(gid)), strings.Join(list, ","))
	}
	return nil
}

func withName(id int, name string) string {
	if name == strconv.Itoa(id) {
		return name
	}
	return fmt.Sprintf("%d(%s)", id, name)
}

// atoi reads a number of the user database; what is none there counts as 0.
func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// userName returns a user's name, or the number where there is none.
func userName(uid int) string {
	number := strconv.Itoa(uid)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

func groupName(gid int) string {
	number := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(number); err == nil {
		return g.Name
	}
	return number
}

func whoami(c *applet.Call) error {
	fmt.Fprintln(c.Out, userName(os.Geteuid()))
	return nil
}

func which(c *applet.Call) error {
	o, err := c.Options("as")
	if err != nil {
		return err
	}
	missing := false
	for _, name := range o.Args {
		found := false
		dirs := filepath.SplitList(os.Getenv("PATH"))
		if strings.Contains(name, "/") {
			dirs = []string{""}
		}
		for _, dir := range dirs {
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err != nil || st.IsDir() || unix.Access(path, unix.X_OK) != nil {
				continue
			}
			if !found || o.Has("a") {
				fmt.Fprintln(c.Out, path)
			}
			found = true
		}
		missing = missing || !found
	}
	if missing {
		return applet.ExitError(1)
	}
	return nil
}
