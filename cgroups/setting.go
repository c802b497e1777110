package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// SetLimit writes settings that depend on each other to the files of a group.
// Undo has nothing to do: limits go with the group.
type SetLimit struct {
	Dir      string // "/sys/fs/cgroup/memory/minictr/ID"
	Purpose  string // "limit memory and swap"
	Settings []Setting
}

// Apply writes the settings in order. One that the kernel finds invalid beside
// the present value of another is tried again after the others: memory may not
// pass memsw, a cpu period and its quota together may not pass the parent's.
// So the same list serves for raising a limit and for lowering it.
func (s SetLimit) Apply() error {
	pending := s.Settings
	for len(pending) > 0 {
		var rejected []Setting
		var reason error
		for _, setting := range pending {
			err := setting.write(s.Dir)
			if errors.Is(err, unix.EINVAL) {
				rejected, reason = append(rejected, setting), err
				continue
			}
			if err != nil {
				return err
			}
		}
		if len(rejected) == len(pending) {
			return reason
		}
		pending = rejected
	}
	return nil
}

// write writes one setting. A file that is absent is dealt with as the setting
// says.
func (s Setting) write(dir string) error {
	file := filepath.Join(dir, s.File)
	err := writeFile(file, s.Value)
	if absent(file, err) {
		switch s.Absent {
		case Skip:
			return nil
		case SkipNoSwap:
			if !hasSwap() {
				return nil
			}
			err = fmt.Errorf("%w: the kernel does not account for swap (swapaccount=1)", errors.ErrUnsupported)
		case WriteOther:
			return s.Instead.write(dir)
		case Fail:
			err = fmt.Errorf("%w: the kernel has no such file", errors.ErrUnsupported)
		}
	}
	return step.Fail("write "+s.Value, "to "+file, err)
}

// absent tells a file that the kernel does not have from a group that is not
// there.
func absent(file string, err error) bool {
	if !errors.Is(err, unix.ENOENT) {
		return false
	}
	_, dirErr := os.Stat(filepath.Dir(file))
	return dirErr == nil
}

// hasSwap tells whether the machine has swap space. What cannot be found out
// counts as having it.
func hasSwap() bool {
	content, err := readFile("/proc/swaps")
	return err != nil && !errors.Is(err, unix.ENOENT) || strings.Count(string(content), "\n") > 1
}

// Undo does nothing; see the type.
func (s SetLimit) Undo() error { return nil }

// Check reads the settings back.
func (s SetLimit) Check() error {
	var errs []error
	for _, setting := range s.Settings {
		errs = append(errs, setting.check(s.Dir))
	}
	return errors.Join(errs...)
}

func (s Setting) check(dir string) error {
	file := filepath.Join(dir, s.File)
	content, err := readFile(file)
	if errors.Is(err, unix.ENOENT) {
		switch s.Absent {
		case Skip:
			return nil
		case SkipNoSwap:
			if !hasSwap() {
				return nil
			}
		case WriteOther:
			return s.Instead.check(dir)
		case Fail:
		}
	}
	if err != nil {
		return step.Fail("read", file, err)
	}
	if have := strings.TrimSpace(string(content)); !s.holds(have) {
		return step.Fail("check", file, fmt.Errorf("is %q, not %q", have, s.Value))
	}
	return nil
}

// holds tells whether a control file with this content has the setting. The
// kernel does not give every value back as it was written: it rounds bytes down
// to pages, writes lists of cpus shortest, and shows keyed files ("8:0 rbps=…")
// whole.
func (s Setting) holds(have string) bool {
	if have == s.Value || have == "default "+s.Value {
		return true
	}
	want, wantErr := strconv.ParseInt(s.Value, 10, 64)
	got, gotErr := strconv.ParseUint(have, 10, 64)
	if wantErr == nil && gotErr == nil {
		if want < 0 {
			return got >= unlimitedV1
		}
		page := uint64(os.Getpagesize())
		return uint64(want)/page*page == got
	}
	if strings.HasPrefix(s.File, "cpuset.") {
		a, errA := ParseList(s.Value)
		b, errB := ParseList(have)
		return errA == nil && errB == nil && a.String() == b.String()
	}
	if s.File == "memory.oom_control" {
		return strings.Contains(have+"\n", "oom_kill_disable "+s.Value+"\n")
	}
	return s.holdsKey(have)
}

// holdsKey looks for the words of the setting in the line of its key.
func (s Setting) holdsKey(have string) bool {
	key, rest, _ := strings.Cut(s.Value, " ")
	for line := range strings.Lines(have) {
		lineKey, lineRest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if lineKey != key {
			continue
		}
		words := strings.Fields(lineRest)
		for word := range strings.FieldsSeq(rest) {
			if !slices.Contains(words, word) {
				return false
			}
		}
		return true
	}
	return false
}

// Words implements step.Step.
func (s SetLimit) Words() string {
	var values []string
	for _, setting := range s.Settings {
		values = append(values, setting.File+" = "+setting.Value)
	}
	return s.Purpose + ": " + strings.Join(values, ", ")
}

func (s SetLimit) String() string {
	var lines []string
	for _, setting := range s.Settings {
		lines = append(lines, setting.command(s.Dir))
	}
	return strings.Join(lines, "\n")
}

// command is the shell's way to write a setting.
func (s Setting) command(dir string) string {
	file := quote(filepath.Join(dir, s.File))
	echo := fmt.Sprintf("echo %s > %s", quote(s.Value), file)
	switch s.Absent {
	case WriteOther:
		return fmt.Sprintf("if test -e %s; then %s; else %s; fi", file, echo, s.Instead.command(dir))
	case Skip, SkipNoSwap:
		return fmt.Sprintf("if test -e %s; then %s; fi", file, echo)
	case Fail:
	}
	return echo
}
