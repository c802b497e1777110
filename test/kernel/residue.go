package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processes are those that bear the mark of this process, without itself. A
// zombie counts when it is ours to reap.
func processes() (things, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	found := things{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !marked(pid) {
			continue
		}
		stat, err := readStat(pid)
		if err != nil || stat.state == "Z" && stat.parent != os.Getpid() {
			continue
		}
		key := fmt.Sprintf("process %d %s", pid, stat.startTime)
		found[key] = thing{words: fmt.Sprintf("process %d in state %s, child of %d: %s", pid, stat.state, stat.parent, commandLine(pid))}
	}
	return found, nil
}

// marked tells whether the process has the limit that mark set. The file can be
// read without the CAP_SYS_RESOURCE that prlimit(2) asks for.
func marked(pid int) bool {
	limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid)) // an error: gone
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max realtime timeout"); ok {
			fields := strings.Fields(rest)
			return len(fields) > 0 && fields[0] == strconv.FormatUint(ownMark(), 10)
		}
	}
	return false
}

type processStat struct {
	state     string
	parent    int
	startTime string // in clock ticks since boot
}

// readStat reads the fields state, ppid and starttime of proc_pid_stat(5). The
// second field, the name, is in parentheses and may itself hold any character.
func readStat(pid int) (processStat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processStat{}, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return processStat{}, fmt.Errorf("parse /proc/%d/stat: %d fields", pid, len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	return processStat{state: fields[0], parent: parent, startTime: fields[19]}, err
}

func commandLine(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // an error: gone
	if len(text) == 0 {
		text, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // a zombie has no command line
	}
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
}

// A mount is one line of proc_pid_mountinfo(5).
type mount struct{ id, root, point, kind, source string }

func readMounts() ([]mount, error) {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []mount
	for line := range strings.Lines(string(text)) {
		left, right, ok := strings.Cut(line, " - ")
		before, after := strings.Fields(left), strings.Fields(right)
		if !ok || len(before) < 6 || len(after) < 2 {
			return nil, fmt.Errorf("parse mountinfo: %q", line)
		}
		list = append(list, mount{before[0], before[3], before[4], after[0], after[1]})
	}
	return list, nil
}

func mounts() (things, error) {
	list, err := readMounts()
	found := things{}
	for _, m := range list {
		found["mount "+m.id+m.point] = thing{words: fmt.Sprintf("mount of %s (%s) on %s", m.source, m.kind, m.point)}
	}
	return found, err
}

// ofModules are links that the kernel makes by itself, when the first link of their
// kind has a module loaded.
var ofModules = []string{"dummy0", "ifb0", "ifb1", "tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "bond0"}

// links are those of the network namespace of the calling thread.
func links() (things, error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return nil, err
	}
	found := things{}
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			name = strings.TrimSpace(name)
			if slices.Contains(ofModules, name) {
				continue
			}
			found["link "+name] = thing{words: "link " + name}
		}
	}
	return found, nil
}

// tables are the nftables tables of the network namespace, where nft is there to
// list them and may: without CAP_NET_ADMIN it may not.
func tables() (things, error) {
	nft, err := exec.LookPath("nft")
	if err != nil || os.Geteuid() != 0 {
		return nil, nil //nolint:nilerr // not there: nothing to list
	}
	text, err := exec.Command(nft, "list", "tables").Output()
	found := things{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		found["nft "+line] = thing{words: "nftables " + line}
	}
	return found, err
}

// cgroups are the directories of every hierarchy below, and including, the
// top-level ones named minictr*. The directory minictr itself stays by design:
// it is the parent of all containers.
func cgroups() (things, error) {
	list, err := readMounts()
	found := things{}
	for _, m := range list {
		if m.kind != "cgroup" && m.kind != "cgroup2" {
			continue
		}
		tops, err := filepath.Glob(m.point + "/minictr*")
		if err != nil {
			return nil, err
		}
		for _, top := range tops {
			if err := addCgroups(found, top); err != nil {
				return nil, err
			}
		}
	}
	return found, err
}

func addCgroups(found things, top string) error {
	return filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil // removed while we look
		}
		if err != nil || !entry.IsDir() || filepath.Base(path) == "minictr" {
			return err
		}
		found["cgroup "+path] = thing{words: "cgroup " + path, foreign: ofOthers(path)}
		return nil
	})
}

// testCgroup begins the names of the cgroups that tests make for themselves; the
// process id of the test follows.
const testCgroup = "minictr-test-"

// ofOthers tells whether the cgroup is named by another test that runs, or has
// processes of which none is of this test.
func ofOthers(cgroup string) bool {
	if _, name, ok := strings.Cut(cgroup, "/"+testCgroup); ok {
		number, _, _ := strings.Cut(name, "/")
		pid, err := strconv.Atoi(number)
		if _, missing := readStat(pid); err == nil && missing == nil && pid != os.Getpid() && !marked(pid) {
			return true
		}
	}
	text, _ := os.ReadFile(cgroup + "/cgroup.procs") // an error: gone
	pids := strings.Fields(string(text))
	for _, field := range pids {
		if pid, err := strconv.Atoi(field); err == nil && marked(pid) {
			return false
		}
	}
	return len(pids) > 0
}

// descriptors are the open files of this process. The Go runtime opens its
// poller (epoll and eventfd) with the first file that can be polled.
func descriptors() (things, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	found := things{}
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err != nil || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue // gone: the descriptor of /proc/self/fd itself; or the poller
		}
		found["descriptor "+entry.Name()+target] = thing{words: fmt.Sprintf("descriptor %s of %s", entry.Name(), target)}
	}
	return found, err
}
