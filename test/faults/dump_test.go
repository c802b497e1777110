package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What of a namespace is listed: everything that ip, bridge, tc, nft and sysctl know
// of it, but what has been learnt.
const listing = `printf 'link show\naddr show\nroute show table all\nrule show\nneigh show nud permanent\n' | ip -d -o -batch -
printf 'route show table all\nrule show\n' | ip -6 -batch -
[ "$2" = sysctls ] || exit 0 # of the others this says it
printf 'link show\nfdb show\nvlan show\n' | bridge -d -batch -
printf 'qdisc show\nfilter show dev %s ingress\n' "$1" | tc -force -batch - 2>/dev/null
nft list ruleset
grep -rs . /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/bridge
true
`

// changing are the lines, and the parts of lines, that change by themselves.
var (
	changingLine = regexp.MustCompile(`^anycast |^multicast |^# Warning: table |/(neigh|route)/.*(flush|base_reachable)|/flush:|/tcp_(mem|fastopen_key)|/udp_mem|stable_secret|/nf_conntrack_`)
	changingPart = regexp.MustCompile(`_timer +[0-9.]+| tentative| linkdown|counter packets \d+ bytes \d+|minictr-test-\d+|refcnt \d+| expires \S+`)
	learntEntry  = regexp.MustCompile(`^[0-9a-f:]{17} dev \S+ (vlan \d+ )?master \S+ *$|^33:33:|^01:00:5e:`)
)

// dump is all of the host and its containers that a fault may change.
func (l *lab) dump() string {
	places := []struct{ name, link, sysctls string }{
		{"host", "veth" + l.ids["web"][:8], "sysctls"}, {"web", "eth0", "sysctls"}, {"db", "eth0", ""}, {"six", "eth0", ""},
	}
	parts := make([]string, len(places))
	done := make(chan int)
	for i, p := range places {
		go func() {
			parts[i] = "## " + p.name + "\n" + l.dumpOf(p.name, p.link, p.sysctls)
			done <- i
		}()
	}
	for range places {
		<-done
	}
	return strings.Join(append(parts, l.files()), "")
}

func (l *lab) dumpOf(name, link, sysctls string) string {
	c := l.command("sh", "-c", listing, "sh", link, sysctls)
	if name != "host" {
		c = exec.Command("nsenter", "-t", fmt.Sprint(l.pids[name]), "-n", "sh", "-c", listing, "sh", link, sysctls)
	}
	out, _, err := output(c)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.SplitSeq(out, "\n") {
		if !changingLine.MatchString(line) && !learntEntry.MatchString(line) {
			lines = append(lines, strings.TrimRight(changingPart.ReplaceAllString(line, ""), " "))
		}
	}
	// The order of links, of routes of equal metric and of tables is that of their
	// making; rules of nftables keep theirs, since each is told with its chain.
	lines = withChains(lines)
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// withChains puts in front of each line of an nftables chain, and of a set, where it
// is, and how many come before it.
func withChains(lines []string) []string {
	out := make([]string, 0, len(lines))
	table, block, number := "", "", 0
	for _, line := range lines {
		switch {
		case strings.HasPrefix(line, "table "):
			table, block = line, ""
		case line == "}":
			table, block = "", ""
		case strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "\t\t") && table != "":
			block, number = line, 0
		case strings.HasPrefix(line, "\t\t") && table != "":
			number++
			line = fmt.Sprintf("%s %s %d %s", table, block, number, line)
		}
		out = append(out, line)
	}
	return out
}

// files are those that faults change, and what processes do.
func (l *lab) files() string {
	var b strings.Builder
	show := func(pattern string) {
		found, _ := filepath.Glob(pattern) // the pattern is well-formed
		for _, name := range found {
			text, _ := os.ReadFile(name) // gone: nothing
			fmt.Fprintf(&b, "%s: %s\n", filepath.Base(name), text)
		}
	}
	show(l.seen(runroot + "/names/*/*"))
	names, _ := filepath.Glob(l.seen("/run/netns/*"))
	for _, name := range names {
		target, _ := os.Readlink(name) // that of lan is none
		fmt.Fprintf(&b, "netns %s %s\n", filepath.Base(name), target)
	}
	for _, name := range []string{"web", "db", "six"} {
		fmt.Fprintf(&b, "# %s %s\n", name, state(l.pids[name]))
		show(fmt.Sprintf("/proc/%d/root/etc/resolv.conf", l.pids[name]))
		show(fmt.Sprintf("/proc/%d/root/etc/hosts", l.pids[name]))
	}
	show("/sys/fs/cgroup/*/minictr/" + l.ids["web"] + "/cgroup.freeze")
	show("/sys/fs/cgroup/minictr/" + l.ids["web"] + "/cgroup.freeze")
	return "## files\n" + b.String() + l.servers()
}

// servers are the name servers of the host.
func (l *lab) servers() (text string) {
	here, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", l.host))
	found, _ := filepath.Glob("/proc/[1-9]*/comm")
	for _, name := range found {
		dir := filepath.Dir(name)
		comm, _ := os.ReadFile(name)
		if there, _ := os.Readlink(dir + "/ns/net"); string(comm) != "minictr-dns\n" || there != here {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		text += "server " + state(pid) + "\n"
	}
	return text
}

// state is whether a process runs or stands still, proc_pid_stat(5).
func state(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, found := strings.Cut(string(text), ") ")
	if err != nil || !found {
		return "gone"
	}
	if rest[:1] == "T" {
		return "stopped"
	}
	return "running"
}

// same waits until the dump is as before: links get their carrier, and servers start,
// in the background. It returns what differs.
func (l *lab) same(before string) (diff string) { return l.sameBut(nothing, before) }

var (
	nothing = regexp.MustCompile(`^$`)
	// carrier is noticed some time after the cause, and a link gets its own address then.
	carrier = regexp.MustCompile(`NO-CARRIER,|,LOWER_UP| state [A-Z]+\b|(?m)^.*\bfe80::.*\n`)
)

// sameBut is same without what the expression matches.
func (l *lab) sameBut(but *regexp.Regexp, before string) (diff string) {
	before = but.ReplaceAllString(before, "")
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if diff = difference(before, but.ReplaceAllString(l.dump(), "")); diff == "" {
			return ""
		}
	}
	return diff
}

// difference lists the lines that only one of the texts has.
func difference(before, after string) string {
	var b strings.Builder
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count[line]++
	}
	for line := range strings.Lines(after) {
		count[line]--
	}
	for _, text := range []string{before, after} {
		for line := range strings.Lines(text) {
			if n := count[line]; n != 0 {
				count[line] = 0
				fmt.Fprintf(&b, "%+d %s", -n, line)
			}
		}
	}
	return b.String()
}
