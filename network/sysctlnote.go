package network

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// sysctlsDir is where the notes are, below the directory for what dies with the
// machine, as the sysctls do: one file for each sysctl of the host that a step has
// changed, with the value that it had at first and the one that it was given.
//
//	sysctls/net:ipv4:ip_forward        0
//	                                   1
//
// The name is the key with colons for slashes; neither a key nor a link's name
// (dev_valid_name) has a colon. The note is made before the sysctl is changed: a
// crash in between leaves one that says what is so anyway. A later change does
// not touch it.
const sysctlsDir = "sysctls"

// A SysctlNote is what is known of a sysctl of the host that was changed.
type SysctlNote struct {
	Key string // net/ipv4/ip_forward
	Was string // before the first change
	Set string // by minictr
	Now string // what RestoreSysctls found; empty: the key is gone, with its link
}

// Foreign reports whether somebody else has changed the sysctl since. It is left.
func (n SysctlNote) Foreign() bool { return n.Now != "" && n.Now != n.Set && n.Now != n.Was }

// noteFile is where the step's change is noted; "" when it is not to be.
func (s *SetSysctl) noteFile() string {
	if s.Own || !s.Netns.here() || s.Lease.File == "" {
		return ""
	}
	runroot := filepath.Dir(filepath.Dir(s.Lease.File))
	return filepath.Join(runroot, sysctlsDir, strings.ReplaceAll(s.Key, "/", ":"))
}

// note notes what the value was, unless there is a note. It is written under
// another name and linked to its own, so that it is never there by halves.
func (s *SetSysctl) note() error {
	file := s.noteFile()
	if file == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".note-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(s.was + "\n" + s.Value + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), file)
		s.noted = err == nil
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(f.Name()))
}

// forget takes the note away if this step made it.
func (s *SetSysctl) forget() error {
	if !s.noted {
		return nil
	}
	s.noted = false
	err := unix.Unlink(s.noteFile())
	if err == unix.ENOENT {
		return nil
	}
	return step.Fail("remove", s.noteFile(), err)
}

// RestoreSysctls gives every sysctl of the host that a step has changed the value
// that it had before, and forgets it. One that is not what the step made it is
// left, for somebody else has changed it since: its note says so (Foreign). No
// container may be left that needs them; runroot is the directory for what dies
// with the machine.
func RestoreSysctls(runroot string) (notes []SysctlNote, err error) {
	dir := filepath.Join(runroot, sysctlsDir)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, step.Fail("restore", "sysctls", ignoreMissing(err))
	}
	err = withLock(filepath.Join(runroot, leasesDir), func() error {
		var errs []error
		for _, f := range files {
			file := filepath.Join(dir, f.Name())
			if strings.HasPrefix(f.Name(), ".") { // of a step that was killed
				errs = append(errs, os.Remove(file))
				continue
			}
			n, err := restoreSysctl(file)
			if err == nil {
				notes = append(notes, n)
				err = os.Remove(file)
			}
			errs = append(errs, step.Fail("restore sysctl", n.Key, err))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return os.Remove(dir)
	})
	slices.SortFunc(notes, func(a, b SysctlNote) int { return strings.Compare(a.Key, b.Key) })
	return notes, err
}

// errGarbled says that a note is not one.
var errGarbled = errors.New("its note is garbled; it says not what the value was")

func restoreSysctl(file string) (SysctlNote, error) {
	n := SysctlNote{Key: strings.ReplaceAll(filepath.Base(file), ":", "/")}
	text, err := os.ReadFile(file)
	if err != nil {
		return n, err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 3 || !filepath.IsLocal(n.Key) || lines[0] == "" || lines[1] == "" {
		return n, errGarbled
	}
	n.Was, n.Set = lines[0], lines[1]
	path := "/proc/sys/" + n.Key
	n.Now, err = readSysctl(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err == nil && n.Now == n.Set {
		err = writeSysctl(path, n.Was)
	}
	return n, err
}
