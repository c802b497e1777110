package runtime

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A mountLine is a line of /proc/self/mountinfo, proc_pid_mountinfo(5).
type mountLine struct {
	id            uint64
	point         string // absolute
	fstype        string
	shared, slave bool
}

func readMountinfo() ([]mountLine, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMountinfo(string(b))
}

// parseMountinfo reads the lines: fields of a fixed number, optional ones, a
// hyphen, and again a fixed number.
func parseMountinfo(text string) ([]mountLine, error) {
	var list []mountLine
	for line := range strings.Lines(text) {
		before, after, found := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !found || len(f) < 6 || len(g) < 1 {
			return nil, fmt.Errorf("parse mountinfo: %q", line)
		}
		id, err := strconv.ParseUint(f[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parse mountinfo: %q: %w", line, err)
		}
		m := mountLine{id: id, point: unescapeMount(f[4]), fstype: g[0]}
		for _, optional := range f[6:] {
			m.shared = m.shared || strings.HasPrefix(optional, "shared:")
			m.slave = m.slave || strings.HasPrefix(optional, "master:")
		}
		list = append(list, m)
	}
	return list, nil
}

func unescapeMount(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// fileSystemOf names the file system of a detached mount: by another mount of
// the same device, for it is in no mount table itself.
func fileSystemOf(fd int) string {
	var st unix.Statfs_t
	var file unix.Stat_t
	if unix.Fstat(fd, &file) != nil || unix.Fstatfs(fd, &st) != nil {
		return "of the source"
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Sprintf("%#x", st.Type)
	}
	device := fmt.Sprintf("%d:%d", unix.Major(file.Dev), unix.Minor(file.Dev))
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(line, " - ")
		if f, g := strings.Fields(before), strings.Fields(after); len(f) > 2 && len(g) > 0 && f[2] == device {
			return g[0]
		}
	}
	return fmt.Sprintf("%#x", st.Type)
}
