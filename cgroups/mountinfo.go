package cgroups

import (
	"bytes"
	"slices"
	"strings"
)

// controllersV1 are the controllers that a v1 hierarchy may carry, by which
// they are told from mount options in /proc/self/mountinfo.
var controllersV1 = []string{
	"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
	"hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc",
}

// parseMountinfo returns the cgroup hierarchies of a /proc/PID/mountinfo, in
// the order of the file. A hierarchy that is mounted more than once comes back
// once: the first mount that may be written. The controllers of a v2 hierarchy
// are not in this file and stay empty. Lines of other file systems, and lines
// that are malformed, are passed over: the file is the kernel's, and there may
// be thousands of them.
//
//	36 31 0:33 / /sys/fs/cgroup/devices rw,relatime shared:9 - cgroup cgroup rw,devices
//	(1)(2)(3)(4)  (5)                   (6)         (7)     (8) (9)   (10)   (11)
//
// Numbers as in proc_pid_mountinfo(5).
func parseMountinfo(content []byte) []Hierarchy {
	var found []Hierarchy
	for line := range bytes.Lines(content) {
		if !bytes.Contains(line, []byte(" - cgroup")) {
			continue
		}
		if h, ok := parseMount(string(line)); ok {
			found = addHierarchy(found, h)
		}
	}
	return found
}

func parseMount(line string) (Hierarchy, bool) {
	mount, super, ok := strings.Cut(line, " - ")
	if !ok {
		return Hierarchy{}, false
	}
	fields, superFields := strings.Fields(mount), strings.Fields(super)
	if len(fields) < 6 || len(superFields) < 3 || !strings.HasPrefix(fields[4], "/") {
		return Hierarchy{}, false
	}
	h := Hierarchy{
		Mountpoint: unescapeMount(fields[4]),
		ReadOnly:   hasOption(fields[5], "ro") || hasOption(superFields[2], "ro"),
	}
	switch superFields[0] {
	case "cgroup2":
		h.V2 = true
		return h, true
	case "cgroup":
		return h, h.addOptions(superFields[2])
	}
	return Hierarchy{}, false
}

// addOptions takes controllers and name out of a v1 super block's options and
// tells whether there was either.
func (h *Hierarchy) addOptions(options string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if name, ok := strings.CutPrefix(option, "name="); ok {
			h.Name = name
		}
		if slices.Contains(controllersV1, option) && !slices.Contains(h.Controllers, option) {
			h.Controllers = append(h.Controllers, option)
		}
	}
	return h.Name != "" || len(h.Controllers) > 0
}

func addHierarchy(found []Hierarchy, h Hierarchy) []Hierarchy {
	for i, old := range found {
		same := old.V2 == h.V2 && old.Name == h.Name && slices.Equal(old.Controllers, h.Controllers)
		if same && old.ReadOnly && !h.ReadOnly {
			found[i] = h
		}
		if same {
			return found
		}
	}
	return append(found, h)
}

func hasOption(options, option string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == option {
			return true
		}
	}
	return false
}

// unescapeMount undoes the octal escapes that the kernel writes for space, tab,
// newline and backslash in a path of mountinfo.
func unescapeMount(path string) string {
	if !strings.Contains(path, `\`) {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if c, ok := octal(path[i:]); ok {
			b.WriteByte(c)
			i += 3
			continue
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// octal reads an escape such as \040.
func octal(s string) (byte, bool) {
	if len(s) < 4 || s[0] != '\\' {
		return 0, false
	}
	value := 0
	for _, digit := range []byte(s[1:4]) {
		if digit < '0' || digit > '7' {
			return 0, false
		}
		value = value*8 + int(digit-'0')
	}
	return byte(value), value < 256
}

// parseMembership returns the groups of a process out of its /proc/PID/cgroup:
// controller -> path within that controller's hierarchy. A named v1 hierarchy
// has the key "name=systemd", the v2 hierarchy the key "unified".
//
//	4:memory:/minictr/0123…
//	0::/minictr/0123…
func parseMembership(content string) map[string]string {
	groups := make(map[string]string)
	for line := range strings.Lines(content) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		if id == "0" && controllers == "" {
			groups[Unified] = path
			continue
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			groups[controller] = path
		}
	}
	return groups
}
