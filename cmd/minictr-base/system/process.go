package system

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// ticks is USER_HZ, in which the kernel gives times to programs: 100 on all
// machines that Go knows.
const ticks = 100

// A process is what /proc says of one.
type process struct {
	pid, ppid, pgid, sid     int
	tty, nice, threads       int
	uid, gid                 int
	state, name, command     string
	cpu                      time.Duration
	virtual, resident, start int64 // bytes; ticks since boot
}

// processes reads all processes that /proc shows, in the order of their ids.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil { // it may have ended
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("/proc is not mounted")
	}
	slices.SortFunc(list, func(a, b process) int { return a.pid - b.pid })
	return list, nil
}

// readProcess reads proc_pid_stat(5); the name in it may hold anything.
func readProcess(pid int) (process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	data, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return process{}, err
	}
	text := string(data)
	open, closed := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || closed < open {
		return process{}, fmt.Errorf("%s/stat: not as expected", dir)
	}
	f := strings.Fields(text[closed+1:])
	if len(f) < 22 {
		return process{}, fmt.Errorf("%s/stat: not as expected", dir)
	}
	p := process{
		pid: pid, name: text[open+1 : closed], state: f[0], ppid: atoi(f[1]), pgid: atoi(f[2]), sid: atoi(f[3]), tty: atoi(f[4]),
		cpu:  time.Duration(atoi(f[11])+atoi(f[12])) * time.Second / ticks,
		nice: atoi(f[16]), threads: atoi(f[17]), start: int64(atoi(f[19])), virtual: int64(atoi(f[20])), resident: int64(atoi(f[21])) * int64(os.Getpagesize()),
	}
	if st, err := os.Stat(dir); err == nil {
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			p.uid, p.gid = int(sys.Uid), int(sys.Gid)
		}
	}
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil && len(line) > 0 {
		p.command = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
	} else {
		p.command = "[" + p.name + "]"
	}
	return p, nil
}

// terminal is the name of the process's terminal.
func (p process) terminal() string {
	if p.tty == 0 {
		return "?"
	}
	device := uint64(p.tty)
	if major := unix.Major(device); major >= 136 && major <= 143 {
		return fmt.Sprintf("pts/%d", unix.Minor(device)+(major-136)*256)
	}
	return fmt.Sprintf("tty%d", unix.Minor(device))
}

func (p process) started() time.Time {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info) // it cannot fail
	return time.Now().Add(-time.Duration(info.Uptime)*time.Second + time.Duration(p.start)*time.Second/ticks)
}

// A column of ps.
type column struct {
	name, title string
	right       bool
	text        func(p process) string
}

func columns() []column {
	number := func(of func(process) int) func(process) string {
		return func(p process) string { return strconv.Itoa(of(p)) }
	}
	clock := func(p process) string {
		s := int(p.cpu.Seconds())
		return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	start := func(p process) string {
		if t := p.started(); time.Since(t) < 24*time.Hour {
			return t.Format("15:04")
		}
		return p.started().Format("Jan02")
	}
	percent := func(p process) string {
		return fmt.Sprintf("%.1f", 100*p.cpu.Seconds()/max(time.Since(p.started()).Seconds(), 1))
	}
	return []column{
		{"user", "USER", false, func(p process) string { return userName(p.uid) }},
		{"uid", "UID", true, number(func(p process) int { return p.uid })},
		{"group", "GROUP", false, func(p process) string { return groupName(p.gid) }},
		{"pid", "PID", true, number(func(p process) int { return p.pid })},
		{"ppid", "PPID", true, number(func(p process) int { return p.ppid })},
		{"pgid", "PGID", true, number(func(p process) int { return p.pgid })},
		{"sid", "SID", true, number(func(p process) int { return p.sid })},
		{"nlwp", "NLWP", true, number(func(p process) int { return p.threads })},
		{"nice", "NI", true, number(func(p process) int { return p.nice })},
		{"c", "C", true, func(p process) string { return strings.TrimSuffix(percent(p)[:len(percent(p))-2], ".") }},
		{"pcpu", "%CPU", true, percent},
		{"pmem", "%MEM", true, func(p process) string { return p.memoryShare() }},
		{"vsz", "VSZ", true, func(p process) string { return strconv.FormatInt(p.virtual>>10, 10) }},
		{"rss", "RSS", true, func(p process) string { return strconv.FormatInt(p.resident>>10, 10) }},
		{"tty", "TTY", false, process.terminal},
		{"stat", "STAT", false, func(p process) string { return p.state }},
		{"start", "START", false, start},
		{"stime", "STIME", false, start},
		{"time", "TIME", true, clock},
		{"etime", "ELAPSED", true, func(p process) string { return time.Since(p.started()).Round(time.Second).String() }},
		{"comm", "COMMAND", false, func(p process) string { return p.name }},
		{"args", "COMMAND", false, func(p process) string { return p.command }},
	}
}

func (p process) memoryShare() string {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil || info.Totalram == 0 {
		return "0.0"
	}
	return fmt.Sprintf("%.1f", 100*float64(p.resident)/float64(info.Totalram*uint64(info.Unit)))
}

// aliases of columns.
var columnAliases = map[string]string{
	"command": "args", "cmd": "args", "ucmd": "comm", "ruser": "user", "euser": "user", "%cpu": "pcpu", "%mem": "pmem", "tt": "tty", "s": "stat", "state": "stat", "ni": "nice", "cputime": "time", "vsize": "vsz", "pgrp": "pgid", "thcount": "nlwp", "start_time": "start",
}

func ps(c *applet.Call) error {
	call := *c
	bsd := ""
	if len(call.Args) > 0 && call.Args[0] != "" && call.Args[0][0] != '-' && strings.Trim(call.Args[0], "auxwefljTh") == "" { // ps aux
		bsd, call.Args = call.Args[0], call.Args[1:]
	}
	o, err := call.Options("eAfaulxwo:p:C:Tj", "pid=p", "format=o", "no-headers")
	if err != nil {
		return err
	}
	names := "pid,tty,time,comm"
	switch {
	case o.Has("o"):
		names = strings.Join(o.All("o"), ",")
	case strings.Contains(bsd, "u") || o.Has("u"):
		names = "user,pid,pcpu,pmem,vsz,rss,tty,stat,start,time,args"
	case o.Has("f"):
		names = "user,pid,ppid,c,stime,tty,time,args"
	case bsd != "":
		names = "pid,tty,stat,time,args"
	case !o.Has("e", "A"):
		// As BusyBox has it: who types ps in a container wants to see what runs there.
		names = "pid,user,time,args"
	}
	wanted, err := parseColumns(names)
	if err != nil {
		return err
	}
	list, err := processes()
	if err != nil {
		return err
	}
	if pids := strings.Join(o.All("p"), ","); pids != "" {
		keep := strings.FieldsFunc(pids, func(r rune) bool { return r == ',' || r == ' ' })
		list = slices.DeleteFunc(list, func(p process) bool { return !slices.Contains(keep, strconv.Itoa(p.pid)) })
	}
	printTable(c, wanted, list, !o.Has("no-headers"))
	if len(list) == 0 {
		return applet.ExitError(1)
	}
	return nil
}

// parseColumns reads pid,args=NAME.
func parseColumns(names string) ([]column, error) {
	var wanted []column
	for name := range strings.SplitSeq(names, ",") {
		name, title, renamed := strings.Cut(strings.TrimSpace(name), "=")
		if full, ok := columnAliases[name]; ok {
			name = full
		}
		all := columns()
		i := slices.IndexFunc(all, func(c column) bool { return c.name == name })
		if i < 0 {
			return nil, applet.UsageError(fmt.Sprintf("no column %q", name))
		}
		if renamed {
			all[i].title = title
		}
		wanted = append(wanted, all[i])
	}
	return wanted, nil
}

func printTable(c *applet.Call, wanted []column, list []process, header bool) {
	header = header && slices.ContainsFunc(wanted, func(c column) bool { return c.title != "" })
	rows := make([][]string, 0, len(list)+1)
	if header {
		var titles []string
		for _, col := range wanted {
			titles = append(titles, col.title)
		}
		rows = append(rows, titles)
	}
	for _, p := range list {
		var row []string
		for _, col := range wanted {
			row = append(row, printable(col.text(p)))
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(wanted))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], len(text))
		}
	}
	width := 0
	if f, ok := c.Out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	w := bufio.NewWriter(c.Out)
	for _, row := range rows {
		line := ""
		for i, text := range row {
			switch {
			case wanted[i].right:
				line += fmt.Sprintf("%*s ", widths[i], text)
			case i == len(row)-1:
				line += text
			default:
				line += fmt.Sprintf("%-*s ", widths[i], text)
			}
		}
		line = strings.TrimRight(line, " ")
		if width > 0 && len(line) > width {
			line = line[:width]
		}
		fmt.Fprintln(w, line)
	}
	_ = w.Flush() // whoever cannot be written to cannot be told of it either
}

// printable hides what would move the terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}

func top(c *applet.Call) error {
	o, err := c.Options("bn:d:")
	if err != nil {
		return err
	}
	rounds, err := o.Int("n", -1)
	if err != nil {
		return err
	}
	interval, err := parseDuration(o.Value("d", "3"))
	if err != nil {
		return err
	}
	wanted, err := parseColumns("pid,ppid,user,stat,vsz,rss,pmem,pcpu,time,args")
	if err != nil {
		return err
	}
	for n := 0; rounds < 0 || n < rounds; n++ {
		if n > 0 {
			time.Sleep(interval)
		}
		list, err := processes()
		if err != nil {
			return err
		}
		slices.SortStableFunc(list, func(a, b process) int { return int(b.cpu/time.Millisecond - a.cpu/time.Millisecond) })
		if !o.Has("b") {
			fmt.Fprint(c.Out, "\x1b[H\x1b[J")
			if _, height, err := term.GetSize(1); err == nil && height > 3 {
				list = list[:min(len(list), height-3)]
			}
		}
		_ = uptime(c) // the head line is no more than that
		printTable(c, wanted, list, true)
	}
	return nil
}
