package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// A table collects the rows and prints them, each with a second line that
// relates the first subject to the others.
type table struct {
	subjects []*subject
	lines    []string // with tabs between the cells
	failures []string
}

func (t *table) add(name, unit string, samples map[*subject]*sample) {
	values, ratios := []string{name + ", " + unit}, []string{""}
	first := samples[t.subjects[0]]
	for i, s := range t.subjects {
		this, value, ratio := samples[s], "–", ""
		switch {
		case this == nil:
		case this.err != nil:
			value = "failed"
			t.failures = append(t.failures, fmt.Sprintf("%s of %s: %v", name, s.name, this.err))
		default:
			value = this.String()
			if i == 0 {
				ratio = fmt.Sprintf("n = %d", len(this.values))
			} else if first != nil && first.err == nil {
				ratio = fmt.Sprintf("× %.2f", first.median()/this.median())
			}
		}
		values, ratios = append(values, value), append(ratios, ratio)
	}
	t.lines = append(t.lines, strings.Join(values, "\t"), strings.Join(ratios, "\t"))
}

func (t *table) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	head := []string{""}
	for _, s := range t.subjects {
		head = append(head, s.name)
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, line := range t.lines {
		fmt.Fprintln(w, line)
	}
	_ = w.Flush() // a strings.Builder takes everything
	fmt.Fprintf(&b, "\nMedian (least–most); × is %s's median divided by that of the column.\n", t.subjects[0].name)
	for _, failure := range t.failures {
		fmt.Fprintf(&b, "failed: %s\n", failure)
	}
	return b.String()
}

// facts is what a number means nothing without.
func facts(a *arena, all []*subject) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d × %s, %s, Linux %s\n", runtime.GOARCH, runtime.NumCPU(), cpuModel(), cgroupMode(), kernelRelease())
	fmt.Fprintf(&b, "%d rounds, %d of the loop: %d containers, %d at a time; lasting state on %s, run-time state on tmpfs\n\n",
		a.rounds, a.loops, a.containers, a.workers, fileSystem(a.work))
	return b.String() + subjectWords(all) + "\n"
}

// subjectWords says what is measured of each subject, and which version.
func subjectWords(all []*subject) string {
	var b strings.Builder
	for _, s := range all {
		state := s.version
		if s.skipped != nil {
			state = "skipped: " + s.skipped.Error()
		}
		fmt.Fprintf(&b, "%-12s %s; %s\n", s.name, s.words, state)
	}
	return b.String()
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(name.Release[:])
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // an error: unknown
	for line := range strings.Lines(string(text)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "CPU of an unknown model"
}

func cgroupMode() string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "cgroup v2"
	}
	return "cgroup v1"
}

func fileSystem(path string) string {
	names := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.XFS_SUPER_MAGIC: "xfs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay"}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err.Error()
	}
	if name, ok := names[st.Type]; ok {
		return name
	}
	return fmt.Sprintf("file system %#x", st.Type)
}
