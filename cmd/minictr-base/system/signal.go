package system

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func pidof(c *applet.Call) error {
	o, err := c.Options("so:x")
	if err != nil {
		return err
	}
	list, err := processes()
	if err != nil {
		return err
	}
	var found []string
	for _, p := range slices.Backward(list) {
		program, _, _ := strings.Cut(p.command, " ")
		if p.pid == os.Getpid() || !slices.ContainsFunc(o.Args, func(name string) bool { return p.name == name || filepath.Base(program) == name || program == name }) {
			continue
		}
		found = append(found, strconv.Itoa(p.pid))
		if o.Has("s") {
			break
		}
	}
	if len(found) == 0 {
		return applet.ExitError(1)
	}
	fmt.Fprintln(c.Out, strings.Join(found, " "))
	return nil
}

func pgrep(c *applet.Call) error {
	o, err := c.Options("aflx")
	if err != nil {
		return err
	}
	if len(o.Args) != 1 {
		return applet.UsageError("needs one pattern")
	}
	expression := o.Args[0]
	if o.Has("x") {
		expression = "^(?:" + expression + ")$"
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return err
	}
	list, err := processes()
	if err != nil {
		return err
	}
	found := false
	for _, p := range list {
		text := p.name
		if o.Has("f") {
			text = p.command
		}
		program, _, _ := strings.Cut(p.command, " ")
		if p.pid == os.Getpid() || !re.MatchString(text) && (o.Has("f") || !re.MatchString(filepath.Base(program))) {
			continue
		}
		found = true
		switch {
		case o.Has("a"):
			fmt.Fprintln(c.Out, p.pid, p.command)
		case o.Has("l"):
			fmt.Fprintln(c.Out, p.pid, p.name)
		default:
			fmt.Fprintln(c.Out, p.pid)
		}
	}
	if !found {
		return applet.ExitError(1)
	}
	return nil
}

// parseSignal reads TERM, SIGTERM, 15 and 0.
func parseSignal(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
		return syscall.Signal(n), nil
	}
	s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	if s == 0 {
		return 0, applet.UsageError(fmt.Sprintf("no signal %q", name))
	}
	return s, nil
}

func kill(c *applet.Call) error {
	args := c.Args
	signal := syscall.SIGTERM
	var err error
	switch {
	case len(args) == 0:
		return applet.UsageError("no process")
	case args[0] == "-l" || args[0] == "-L":
		return listSignals(c, args[1:])
	case args[0] == "-s" || args[0] == "-n":
		if len(args) < 2 {
			return applet.UsageError("option -s needs a signal")
		}
		signal, err = parseSignal(args[1])
		args = args[2:]
	case args[0] != "--" && args[0][0] == '-' && len(args[0]) > 1:
		signal, err = parseSignal(args[0][1:])
		args = args[1:]
	}
	if err != nil {
		return err
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	bad := len(args) == 0
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			err = errors.New("not a process id")
		} else {
			err = send(pid, signal)
		}
		if err != nil {
			c.Warn(&fs.PathError{Path: arg, Err: err})
			bad = true
		}
	}
	if bad {
		return applet.ExitError(1)
	}
	return nil
}

// send is kill(2). One that the shell sends itself must have its effect before the
// next command: it goes to this very thread, which takes it on the way back from
// the kernel, and one that is trapped gets the time to reach the trap.
func send(pid int, signal syscall.Signal) error {
	if pid != os.Getpid() {
		return unix.Kill(pid, signal)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := unix.Tgkill(pid, unix.Gettid(), signal)
	time.Sleep(time.Millisecond)
	return err
}

func listSignals(c *applet.Call, args []string) error {
	for _, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil {
			s, err := parseSignal(arg)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.Out, int(s))
			continue
		}
		fmt.Fprintln(c.Out, strings.TrimPrefix(unix.SignalName(syscall.Signal(n&0x7f)), "SIG"))
	}
	if len(args) == 0 {
		for n := syscall.Signal(1); n < 32; n++ {
			fmt.Fprintf(c.Out, "%2d) %s\n", int(n), strings.TrimPrefix(unix.SignalName(n), "SIG"))
		}
	}
	return nil
}
