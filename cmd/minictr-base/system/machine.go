package system

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func hostname(c *applet.Call) error {
	o, err := c.Options("fisdI")
	if err != nil {
		return err
	}
	if len(o.Args) > 0 {
		return os.NewSyscallError("sethostname", unix.Sethostname([]byte(o.Args[0])))
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	short, domain, _ := strings.Cut(name, ".")
	switch {
	case o.Has("s"):
		name = short
	case o.Has("d"):
		name = domain
	case o.Has("i"):
		addresses, err := net.LookupHost(name)
		if err != nil {
			return err
		}
		name = strings.Join(addresses, " ")
	case o.Has("I"):
		name = ownAddresses()
	}
	fmt.Fprintln(c.Out, name)
	return nil
}

// ownAddresses are those of all links but the loopback.
func ownAddresses() string {
	var list []string
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			list = append(list, n.IP.String())
		}
	}
	return strings.Join(list, " ")
}

func text(b [65]byte) string {
	head, _, _ := bytes.Cut(b[:], []byte{0})
	return string(head)
}

func uname(c *applet.Call) error {
	o, err := c.Options("amnrsvpio", "all=a", "machine=m", "nodename=n", "kernel-release=r", "kernel-name=s", "kernel-version=v", "operating-system=o")
	if err != nil {
		return err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	if len(o.Given) == 0 {
		o.Given = []applet.Option{{Name: "s"}}
	}
	var list []string
	for _, f := range []struct{ letter, text string }{
		{"s", text(u.Sysname)}, {"n", text(u.Nodename)}, {"r", text(u.Release)}, {"v", text(u.Version)}, {"m", text(u.Machine)}, {"o", "GNU/Linux"},
	} {
		if o.Has(f.letter, "a") || f.letter == "m" && o.Has("p", "i") {
			list = append(list, f.text)
		}
	}
	fmt.Fprintln(c.Out, strings.Join(list, " "))
	return nil
}

func arch(c *applet.Call) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	fmt.Fprintln(c.Out, text(u.Machine))
	return nil
}

func nproc(c *applet.Call) error {
	o, err := c.Options("", "all", "ignore:")
	if err != nil {
		return err
	}
	n := runtime.NumCPU()
	if o.Has("all") {
		if list, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*"); err == nil && len(list) > 0 {
			n = len(list)
		}
	}
	fmt.Fprintln(c.Out, n)
	return nil
}

func uptime(c *applet.Call) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	up := time.Duration(info.Uptime) * time.Second
	days := ""
	if d := int(up.Hours()) / 24; d == 1 {
		days = "1 day, "
	} else if d > 1 {
		days = fmt.Sprintf("%d days, ", d)
	}
	load := func(i int) float64 { return float64(info.Loads[i]) / 65536 }
	fmt.Fprintf(c.Out, " %s up %s%2d:%02d, load average: %.2f, %.2f, %.2f\n", time.Now().Format("15:04:05"), days,
		int(up.Hours())%24, int(up.Minutes())%60, load(0), load(1), load(2))
	return nil
}

// memory reads /proc/meminfo, in bytes.
func memory() (map[string]int64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	values := map[string]int64{}
	for line := range strings.SplitSeq(string(data), "\n") {
		name, rest, ok := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if !ok || len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err == nil {
			values[name] = n << 10
		}
	}
	return values, nil
}

func free(c *applet.Call) error {
	o, err := c.Options("bkmghtwL", "bytes=b", "kibi=k", "mebi=m", "gibi=g", "human=h")
	if err != nil {
		return err
	}
	m, err := memory()
	if err != nil {
		return err
	}
	show := sizer(o.Last("b", "k", "m", "g", "h"))
	cache := m["Buffers"] + m["Cached"] + m["SReclaimable"]
	used := m["MemTotal"] - m["MemAvailable"]
	fmt.Fprintf(c.Out, "%7s%15s%12s%12s%12s%12s%12s\n", "", "total", "used", "free", "shared", "buff/cache", "available")
	fmt.Fprintf(c.Out, "%-7s%15s%12s%12s%12s%12s%12s\n", "Mem:", show(m["MemTotal"]), show(used), show(m["MemFree"]), show(m["Shmem"]), show(cache), show(m["MemAvailable"]))
	fmt.Fprintf(c.Out, "%-7s%15s%12s%12s\n", "Swap:", show(m["SwapTotal"]), show(m["SwapTotal"]-m["SwapFree"]), show(m["SwapFree"]))
	return nil
}

// sizer shows bytes in the unit of a flag.
func sizer(flag string) func(int64) string {
	shift := map[string]uint{"b": 0, "": 10, "k": 10, "m": 20, "g": 30}[flag]
	return func(n int64) string {
		if flag == "h" {
			return human(n)
		}
		return strconv.FormatInt(n>>shift, 10)
	}
}

func human(n int64) string {
	f := float64(n)
	for _, unit := range []string{"", "K", "M", "G", "T"} {
		if f < 1024 || unit == "T" {
			if unit == "" || f >= 10 {
				return fmt.Sprintf("%.0f%s", f, unit)
			}
			return fmt.Sprintf("%.1f%s", f, unit)
		}
		f /= 1024
	}
	return ""
}

func chroot(c *applet.Call) error {
	o, err := c.Options("+", "userspec:")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 {
		return applet.UsageError("no directory")
	}
	if err := unix.Chroot(o.Args[0]); err != nil {
		return &os.PathError{Op: "chroot", Path: o.Args[0], Err: err}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	args := o.Args[1:]
	if len(args) == 0 {
		args = []string{"/bin/sh", "-i"}
		if shell := os.Getenv("SHELL"); shell != "" {
			args[0] = shell
		}
	}
	return become(c, os.Environ(), args...)
}

func nohup(c *applet.Call) error {
	if len(c.Args) == 0 {
		return applet.UsageError("no command")
	}
	signal.Ignore(unix.SIGHUP)
	if term.IsTerminal(1) {
		f, err := os.OpenFile("nohup.out", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.Err, "nohup: output goes to nohup.out")
		if err := errors.Join(unix.Dup3(int(f.Fd()), 1, 0), unix.Dup3(int(f.Fd()), 2, 0)); err != nil {
			return err
		}
	}
	return become(c, os.Environ(), c.Args...)
}

func setsid(c *applet.Call) error {
	o, err := c.Options("+cfw")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 {
		return applet.UsageError("no command")
	}
	cmd := c.Command(o.Args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: o.Has("c")}
	if err := cmd.Start(); err != nil {
		return err
	}
	if o.Has("f") {
		return nil
	}
	if code := applet.ExitCode(cmd.Wait()); code != 0 {
		return applet.ExitError(code)
	}
	return nil
}

func clearScreen(c *applet.Call) error {
	sequence := "\x1b[H\x1b[2J\x1b[3J"
	if c.Name == "reset" {
		sequence = "\x1bc"
	}
	_, err := fmt.Fprint(c.Out, sequence)
	return err
}

func tty(c *applet.Call) error {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil || !term.IsTerminal(0) {
		fmt.Fprintln(c.Out, "not a tty")
		return applet.ExitError(1)
	}
	fmt.Fprintln(c.Out, name)
	return nil
}

func watch(c *applet.Call) error {
	o, err := c.Options("+n:td", "interval=n", "no-title=t")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 {
		return applet.UsageError("no command")
	}
	interval, err := parseDuration(o.Value("n", "2"))
	if err != nil {
		return err
	}
	for {
		fmt.Fprint(c.Out, "\x1b[H\x1b[J")
		if !o.Has("t") {
			fmt.Fprintf(c.Out, "Every %s: %s\n\n", interval, strings.Join(o.Args, " "))
		}
		_ = run(c, "sh", "-c", strings.Join(o.Args, " ")) // it has said what is wrong, and may go well next time
		time.Sleep(interval)
	}
}

func sysctl(c *applet.Call) error {
	o, err := c.Options("nwaeq", "values=n", "write=w")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 {
		return applet.UsageError("no name")
	}
	bad := false
	for _, arg := range o.Args {
		name, value, set := strings.Cut(arg, "=")
		name = strings.TrimSpace(name)
		path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		if strings.Contains(name, "/") {
			path = filepath.Join("/proc/sys", name)
		}
		if set {
			err = os.WriteFile(path, []byte(strings.TrimSpace(value)), 0o644)
		}
		var data []byte
		if err == nil {
			data, err = os.ReadFile(path)
		}
		if err != nil {
			c.Warn(err)
			bad, err = true, nil
			continue
		}
		if !o.Has("n") {
			fmt.Fprintf(c.Out, "%s = ", strings.ReplaceAll(name, "/", "."))
		}
		fmt.Fprint(c.Out, string(data))
	}
	if bad {
		return applet.ExitError(1)
	}
	return nil
}

func dmesg(c *applet.Call) error {
	buffer := make([]byte, 1<<20)
	n, err := unix.Klogctl(3, buffer) // SYSLOG_ACTION_READ_ALL
	if err != nil {
		return fmt.Errorf("read the kernel's messages: %w", err)
	}
	for line := range strings.Lines(string(buffer[:n])) {
		if end := strings.IndexByte(line, '>'); end > 0 && line[0] == '<' {
			line = line[end+1:]
		}
		fmt.Fprint(c.Out, line)
	}
	return nil
}
