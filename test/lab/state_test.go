package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// state describes all of the host that minictr may change: links, addresses,
// routes, rules, neighbours that are set, nftables, and sysctls; and the files
// that it keeps about networks and containers.
func (l *lab) state() string {
	l.t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"ip -o link", "ip -o address", "ip route show table all", "ip -6 route show table all",
		"ip rule", "ip -6 rule", "nft list ruleset",
	} {
		words := strings.Fields(command)
		out := l.host.must(l.t, "", words[0], words[1:]...)
		fmt.Fprintf(&b, "# %s\n%s", command, steady(command, out))
	}
	b.WriteString("# sysctl\n" + l.host.sysctls(l.t))
	return b.String()
}

// sysctls lists those of the network.
func (p place) sysctls(t testing.TB) string {
	t.Helper()
	var lines []string
	err := p.do(func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() || changesByItself(path) {
				return nil // gone, of a link that is
			}
			text, _ := os.ReadFile(path) // some can be written only
			line := strings.TrimPrefix(path, "/proc/sys/") + " = " + strings.TrimSpace(string(text)) + "\n"
			lines = append(lines, veth.ReplaceAllString(line, "veth…"))
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// steady takes away what changes by itself: clocks, counters of the kernel, the
// numbers of links, and the random names and addresses of veth pairs.
func steady(command, out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(command, "ip -o") {
			line = linkNumber.ReplaceAllString(line, "")
		}
		line = carrier.ReplaceAllString(counter.ReplaceAllString(line, "counter"), "")
		if veth.MatchString(line) {
			line = etherAddress.ReplaceAllString(veth.ReplaceAllString(line, "veth…"), "link/ether …")
		}
		if !byItself.MatchString(line) {
			lines = append(lines, line)
		}
	}
	if !strings.HasPrefix(command, "nft") {
		slices.Sort(lines)
	}
	return strings.Join(lines, "")
}

var (
	counter      = regexp.MustCompile(`counter packets \d+ bytes \d+`)
	linkNumber   = regexp.MustCompile(`^\d+: |@if\d+|@NONE`)
	veth         = regexp.MustCompile(`\bveth[0-9a-f]{8}(_\d+|-\d+|\.\d+)?\b`)
	etherAddress = regexp.MustCompile(`link/ether \S+|link-netnsid \d+`)
	carrier      = regexp.MustCompile(` linkdown| tentative|NO-CARRIER,|,LOWER_UP| state (UP|DOWN|UNKNOWN|LOWERLAYERDOWN)`)
	byItself     = regexp.MustCompile(`fe80:.*veth…|veth….*fe80:|^anycast |^multicast ff00::|^# Warning: table `) // come when a link is up, or an address
)

// changesByItself tells of a sysctl whether it is the machine's, or a clock.
func changesByItself(path string) bool {
	for _, part := range []string{"netfilter/nf_conntrack_", "stable_secret", "net/core/", "net/unix/", "_mem", "fastopen_key", "flush"} {
		if strings.Contains(path, part) {
			return true
		}
	}
	return false
}

// files are what is below the state directories that speaks of a container or
// a network that is not there any more.
func (l *lab) files() (left []string) {
	for _, pattern := range []string{
		l.root + "/containers/*", l.root + "/names/*", l.root + "/networks/*.json",
		l.runroot + "/containers/*", l.runroot + "/names/*/*", l.runroot + "/leases/*",
		filepath.Dir(l.runroot) + "/netns/*",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, file := range found {
			if info, err := os.Lstat(file); err == nil && !isLock(file) && (info.Size() > 0 || !strings.Contains(file, "/leases/")) {
				left = append(left, file)
			}
		}
	}
	return left
}

func isLock(file string) bool {
	name := filepath.Base(file)
	return name == "lock" || strings.HasSuffix(name, ".lock") || name == "adding"
}

// sameAsBefore waits until the host is as it was: namespaces die in the
// background, and name servers linger for a moment.
func (l *lab) sameAsBefore() {
	l.t.Helper()
	limit := 10 * time.Second
	if l.t.Failed() {
		limit = 100 * time.Millisecond
	}
	var diff string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		diff = difference(l.before, l.state())
		if left := l.files(); len(left) > 0 {
			diff += "left behind: " + strings.Join(left, "\nleft behind: ")
		}
		if diff == "" {
			return
		}
		// What a killed run never gave a name to goes with a command two seconds later.
		if _, _, err := l.try("ps", "-q"); err != nil {
			l.t.Error(err)
		}
	}
	l.t.Errorf("before (-) and after (+) differ:\n%s", diff)
}

// difference lists the lines that only one of the texts has.
func difference(before, after string) string {
	count := map[string]int{}
	for line := range strings.SplitSeq(before, "\n") {
		count[line]--
	}
	for line := range strings.SplitSeq(after, "\n") {
		count[line]++
	}
	var list []string
	for line, n := range count {
		if n != 0 {
			list = append(list, map[bool]string{true: "+ ", false: "- "}[n > 0]+line+"\n")
		}
	}
	slices.SortFunc(list, func(a, b string) int { return strings.Compare(a[2:]+a, b[2:]+b) })
	return strings.Join(list, "")
}
