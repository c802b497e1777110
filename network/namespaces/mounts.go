package namespaces

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// addMounts enters the bind mounts of namespaces in all mount namespaces: first the
// caller's, then of each other the one that its first process sees.
func (r *register) addMounts(s *snapshot) {
	mount := Mount.index()
	r.addTable("/proc/thread-self/mountinfo", "")
	seen := map[uint64]bool{s.self: true, 0: true}
	for i := range s.processes {
		p := &s.processes[i]
		if inode := p.inodes[mount]; !seen[inode] {
			directory := "/proc/" + strconv.Itoa(p.pid)
			// A process that has ended meanwhile leaves the table to the next one.
			seen[inode] = r.addTable(directory+"/mountinfo", directory+"/root")
		}
	}
}

// addTable enters the bind mounts of one table and tells whether it could be read.
func (r *register) addTable(file, root string) bool {
	table, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for _, b := range bindMounts(string(table)) {
		if r.wanted[b.kind] {
			n := r.get(b.key)
			if path := root + b.path; !slices.Contains(n.Paths, path) {
				n.Paths = append(n.Paths, path)
			}
		}
	}
	return true
}

// A bindMount is a namespace that is mounted on a file.
type bindMount struct {
	key
	path string
}

// bindMounts finds the namespaces in a table of mounts, proc_pid_mountinfo(5):
//
//	36 35 0:4 net:[4026532471] /run/netns/blue rw shared:1 - nsfs nsfs rw
func bindMounts(table string) (list []bindMount) {
	for line := range strings.Lines(table) {
		if !strings.Contains(line, " - nsfs ") {
			continue
		}
		fields := strings.SplitN(line, " ", 6)
		if len(fields) < 6 {
			continue
		}
		if k, ok := parseLink(fields[3]); ok {
			list = append(list, bindMount{k, unescape(fields[4])})
		}
	}
	return list
}

// unescape turns the octal escapes of a table of mounts back: \040 is a space.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
