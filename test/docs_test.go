package test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

var update = flag.Bool("update", false, "put into the pages of docs what their commands print")

// The pages whose commands are typed.
var pages = []struct {
	file     string
	commands int // at least
	needs    []string
}{
	{"networking.md", 50, []string{"ip", "nft", "nsenter", "unshare", "sysctl", "bash"}},
	{"tutorials.md", 120, []string{"ip", "bridge", "nft", "nsenter", "lsns", "unshare", "sysctl", "bash", "ps", "brctl", "arp", "route", "iptables-nft", "conntrack"}},
}

// TestPages types what pages of docs show. The block of sh makes the machine; the lines
// of the console blocks that begin with "# " are the commands, in one order over the
// whole page, and what follows each is what it prints, on both outputs. See shown for
// what may differ. With -update the page gets what was printed; long output is then to
// be shortened by hand.
func TestPages(t *testing.T) {
	kernel.RequireRoot(t)
	programs := kernel.Programs(t)
	for _, p := range pages {
		t.Run(p.file, func(t *testing.T) {
			kernel.RequireCommand(t, p.needs...)
			testPage(t, programs, "../docs/"+p.file, p.commands)
		})
	}
}

func testPage(t *testing.T, programs, file string, atLeast int) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := readPage(string(text))
	if len(page.commands) < atLeast || page.script == "" {
		t.Fatalf("%s shows %d commands", file, len(page.commands))
	}
	m := newPageMachine(t, programs, page.script)
	changed := false
	for _, c := range page.commands {
		out := m.show(c)
		got := lines(out)
		if shown(c.output, got) {
			continue
		}
		if *update {
			c.output, changed = got, true
			continue
		}
		t.Errorf("%s:%d: # %s\nprints\n%s\nand not\n%s", file, c.at, c.line, out, strings.Join(c.output, "\n"))
	}
	if changed {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// A pageMachine is the machine of a page: namespaces of its own for networks, mounts and
// processes, so that what lists all of a machine lists what the page has made. Its
// minictr is this one's; wget and ping are those of minictr/base, iptables is the one
// that speaks nf_tables.
type pageMachine struct {
	t    *testing.T
	pid  int // of who keeps the namespaces, from outside
	path string
}

func newPageMachine(t *testing.T, programs, script string) *pageMachine {
	t.Helper()
	kernel.Snapshot(t)
	dir := t.TempDir()
	m := &pageMachine{t: t, path: dir + ":" + os.Getenv("PATH")}
	iptables, _ := exec.LookPath("iptables-nft") // a page that needs it has asked for it
	for _, err := range []error{
		kernel.WriteProgram(dir+"/minictr", fmt.Sprintf("#!/bin/sh\nexec %s/minictr --root %s/root \"$@\"\n", programs, dir)),
		os.Symlink(programs+"/minictr-base", dir+"/wget"),
		os.Symlink(programs+"/minictr-base", dir+"/ping"),
		os.Symlink(iptables, dir+"/iptables"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m.start()
	m.sh(newMachine + script)
	t.Cleanup(func() {
		m.sh("minictr ps -aq | xargs -r minictr rm -f; minictr network adopted -q | xargs -r -n 1 minictr network release; minictr network rm --all >/dev/null; ip -all netns delete")
	})
	return m
}

// newMachine makes the machine what a new one is. A network namespace begins with the
// sysctls for IPv4 of the real machine (devinet_init_net), which may forward packets.
// Process numbers of five digits are what shown takes for ones that differ.
const newMachine = `
for conf in all default lo; do
	sysctl -qw net.ipv4.conf.$conf.forwarding=0 net.ipv4.conf.$conf.rp_filter=0 net.ipv4.conf.$conf.arp_ignore=0 net.ipv4.conf.$conf.arp_announce=0 net.ipv4.conf.$conf.route_localnet=0
done
sysctl -qw net.ipv4.ip_forward=0 kernel.ns_last_pid=10000
`

// start makes the namespaces, and keeps them until the test's end. Their first process
// is a shell that waits for a child, and so reaps those of others.
func (m *pageMachine) start() {
	m.t.Helper()
	keeper := exec.Command("unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--propagation", "private", "sh")
	keeper.Stderr = os.Stderr
	in, err := keeper.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := keeper.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := in.Close(); err != nil {
			m.t.Error(err)
		}
		if err := keeper.Wait(); err != nil {
			m.t.Error(err)
		}
	})
	_, err = io.WriteString(in, "echo ready; cat\n")
	if _, rerr := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil || rerr != nil {
		m.t.Fatal(err, rerr)
	}
	m.pid = keeper.Process.Pid
}

// run runs a script of bash on the machine.
func (m *pageMachine) run(script string) (string, error) {
	c := exec.Command("nsenter", "-t", fmt.Sprint(m.pid), "-n", "-m", fmt.Sprintf("--pid=/proc/%d/ns/pid_for_children", m.pid), "bash", "-c", script)
	c.Env = append(os.Environ(), "PATH="+m.path)
	c.WaitDelay = time.Second / 2 // what it leaves in the background keeps the outputs
	out, err := c.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return string(out), err
}

func (m *pageMachine) sh(script string) {
	m.t.Helper()
	if out, err := m.run(script); err != nil {
		m.t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// show types the command. One that fetches something may do so before the server
// listens, one that asks for states before the kernel has set them (RFC 2863's, some
// moments after a link is up); these are tried again.
func (m *pageMachine) show(c *command) string {
	m.t.Helper()
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := m.run(c.line)
		if ended := new(exec.ExitError); err != nil && !errors.As(err, &ended) { // that it fails may be what it shows
			m.t.Fatalf("%s: %v", c.line, err)
		}
		if !early.MatchString(c.line) || shown(c.output, lines(out)) || time.Now().After(deadline) {
			return out
		}
	}
}

// A page is a page of the documentation.
type page struct {
	lines    []string   // those that are no output
	commands []*command // in their order
	script   string     // the block of sh
}

// A command is one that the page shows.
type command struct {
	at     int // the number of its line
	before int // how many of the page's lines come before its output
	line   string
	output []string
}

func readPage(text string) *page {
	p, block := &page{}, ""
	var last *command // whose output is being read
	for i, line := range lines(text) {
		fence, isFence := strings.CutPrefix(line, "```")
		typed, isCommand := strings.CutPrefix(line, "# ")
		more, isMore := strings.CutPrefix(line, "> ")
		switch {
		case isFence:
			block, last = fence, nil
		case block == "sh":
			p.script += line + "\n"
		case isMore && last != nil && len(last.output) == 0:
			last.line += "\n" + more
			last.before++
		case block == "console" && isCommand:
			last = &command{at: i + 1, before: len(p.lines) + 1, line: typed}
			p.commands = append(p.commands, last)
		case last != nil:
			last.output = append(last.output, line)
			continue
		}
		p.lines = append(p.lines, line)
	}
	return p
}

// String is the page with the commands' output.
func (p *page) String() string {
	var all []string
	from := 0
	for _, c := range p.commands {
		all = append(append(all, p.lines[from:c.before]...), c.output...)
		from = c.before
	}
	return strings.Join(append(all, p.lines[from:]...), "\n") + "\n"
}

// early are commands that may come too early, and change nothing.
var early = regexp.MustCompile(`wget |^(minictr .*-- )?ip [^;]*-br [^;]*$`)

func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// shown reports whether the page shows what was printed. "…" stands for anything,
// and on a line of its own for any lines. What differs from run to run differs in
// digits: 8 and more of hex (ids, inodes), 5 and more (ports, pids), hardware addresses
// that the kernel has made up, the number of a link behind @if, and numbers in front of
// ms, s, second and seconds. The width of columns follows from them, so spaces count as
// one.
func shown(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] == "…" {
		for i := range len(got) + 1 {
			if shown(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && pattern(want[0]).MatchString(plain(got[0])) && shown(want[1:], got[1:])
}

var varying = regexp.MustCompile(`([0-9a-f]{2}:){5}[0-9a-f]{2}|[0-9a-f]{8,}|[0-9]{5,}|@if[0-9]+|(Less than a second|[0-9.]+ ?(ms|seconds?)\b)|…`)

func plain(line string) string { return strings.Join(strings.Fields(line), " ") }

// pattern matches the lines that may stand for the page's.
func pattern(line string) *regexp.Regexp {
	line = plain(line)
	text, from := "", 0
	for _, at := range varying.FindAllStringIndex(line, -1) {
		text += regexp.QuoteMeta(line[from:at[0]])
		switch found := line[at[0]:at[1]]; {
		case found == "…":
			text += ".*"
		case strings.HasPrefix(found, "02:42:"):
			text += found
		case strings.Contains(found, ":"):
			text += "([0-9a-f]{2}:){5}[0-9a-f]{2}"
		case strings.HasPrefix(found, "@if"):
			text += "@if[0-9]+"
		case strings.HasSuffix(found, "ms"):
			text += "[0-9.]+ ?ms"
		case strings.Contains(found, "second"):
			text += "(Less than a second|[0-9]+ seconds?)"
		case len(found) >= 8:
			text += "[0-9a-f]{8,}"
		default:
			text += "[0-9]{4,}"
		}
		from = at[1]
	}
	return regexp.MustCompile("^" + text + regexp.QuoteMeta(line[from:]) + "$")
}
