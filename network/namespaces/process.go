package namespaces

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Process is one that is in a namespace.
type Process struct {
	Pid  int
	PPid int    // its parent; 0: none, or none in the caller's PID namespace
	UID  uint32 // the effective user
	// Command is its command line, of one that is longer the first 4096 bytes, or, where it has none, its name as a kernel thread
	// or a zombie is called: kthreadd. It is the process's own choice.
	Command string
	// Cgroup is the path of its cgroup: with several hierarchies, version 1, the one
	// that says most of whose it is.
	Cgroup string
}

// Describe reads a process. The error is fs.ErrNotExist when it has ended.
func Describe(pid int) (Process, error) {
	directory := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(directory + "/status")
	if err != nil {
		return Process{}, err
	}
	p := Process{Pid: pid}
	var name string
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case key == "Name":
			name = strings.TrimSpace(value)
		case key == "PPid" && len(fields) == 1:
			p.PPid, _ = strconv.Atoi(fields[0]) // the kernel prints numbers
		case key == "Uid" && len(fields) > 1:
			uid, _ := strconv.ParseUint(fields[1], 10, 32) // the same
			p.UID = uint32(uid)
		}
	}
	p.Command = name
	if line := command(pid); line != "" {
		p.Command = line
	}
	if groups, err := os.ReadFile(directory + "/cgroup"); err == nil {
		p.Cgroup = cgroupOf(string(groups))
	}
	return p, nil
}

// command reads a process's command line; empty when it has none, or is gone.
func command(pid int) string {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if pid == 0 || err != nil {
		return ""
	}
	defer f.Close()
	const most = 4 << 10 // it may be megabytes
	line, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return commandLine(line)
}

// commandLine joins what NUL separates.
func commandLine(raw []byte) string {
	return string(bytes.ReplaceAll(bytes.TrimRight(raw, "\x00"), []byte{0}, []byte{' '}))
}

// cgroupOf chooses from /proc/PID/cgroup, cgroups(7), lines of
// hierarchy:controllers:path, the path that tells whose the process is, else the
// longest.
func cgroupOf(text string) string {
	var paths []string
	for line := range strings.Lines(text) {
		if fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(fields) == 3 {
			paths = append(paths, fields[2])
		}
	}
	if len(paths) == 0 {
		return ""
	}
	return slices.MaxFunc(paths, func(a, b string) int { return weight(a) - weight(b) })
}

// weight is how much a cgroup's path says.
func weight(path string) int {
	rank := cgroupRank(path)
	return rank<<16 + len(path)
}
