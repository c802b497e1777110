package network

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// SetSysctl sets a sysctl(8) of a network namespace, unless it has the value.
// It remembers what the value was; on the host, Undo restores it only if this
// step changed it and no other container has a lease of any network. There the
// old value is also noted in a file, for RestoreSysctls.
type SetSysctl struct {
	Key   string // with slashes, for names of links may hold dots: net/ipv4/ip_forward
	Value string
	Why   string // the words
	// Optional says that a kernel without the key needs no such setting.
	Optional bool
	// Own says that the key is of a link that we made, and goes with it: there is
	// nothing to note.
	Own   bool
	Netns Netns
	Lease Lease // on the host

	at    *place
	was   string
	made  bool
	noted bool // this step made the note
}

// Changed reports whether Apply changed the value, and what it was before.
func (s *SetSysctl) Changed() (was string, changed bool) { return s.was, s.made }

// path of a sysctl. The kernel shows below /proc/sys/net the values of the
// network namespace of the thread that opens it.
func (s *SetSysctl) path() string { return "/proc/sys/" + s.Key }

// Apply reads the value and writes it when it is another.
func (s *SetSysctl) Apply() error {
	err := s.at.visit(s.Netns, func() error {
		value, err := readSysctl(s.path())
		if s.Optional && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.Key, ipv6Conf) {
			if missing := HasIPv6(); missing != nil {
				return missing
			}
		}
		if err != nil || value == s.Value {
			return err
		}
		s.was = value
		if err := s.note(); err != nil {
			return err
		}
		err = writeSysctl(s.path(), s.Value)
		s.made = err == nil
		if err != nil {
			return errors.Join(err, s.forget())
		}
		return nil
	})
	return explain("set sysctl", s.Key+"="+s.Value+s.Netns.where(), err)
}

// readSysctl reads a value, with three system calls instead of os.ReadFile's
// nine: every launch reads two.
func readSysctl(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer closeFD(fd)
	value := make([]byte, 128)
	n, err := unix.Read(fd, value)
	if err != nil {
		return "", &os.PathError{Op: "read", Path: path, Err: err}
	}
	return string(bytes.TrimSpace(value[:n])), nil
}

func writeSysctl(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer closeFD(fd)
	if _, err = unix.Write(fd, []byte(value)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// Undo writes back what was there. It knows that only in the process that
// applied the step: elsewhere it changes nothing.
func (s *SetSysctl) Undo() error {
	s.at.close()
	if !s.made {
		return nil
	}
	s.made = false
	err := s.Lease.unused(true, func() error {
		err := (*place)(nil).visit(s.Netns, func() error { return writeSysctl(s.path(), s.was) })
		if isGone(err) { // the link of the key, or the namespace
			err = nil
		}
		if err == nil {
			err = s.forget()
		}
		return err
	})
	return explain("restore sysctl", s.Key+"="+s.was+s.Netns.where(), err)
}

// Check wants the value.
func (s *SetSysctl) Check() error {
	err := (*place)(nil).visit(s.Netns, func() error {
		value, err := readSysctl(s.path())
		if s.Optional && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && value != s.Value {
			err = fmt.Errorf("it is %s", value)
		}
		return err
	})
	return step.Fail("check sysctl", s.Key+"="+s.Value+s.Netns.where(), err)
}

// Words says the step in plain words.
func (s *SetSysctl) Words() string { return s.Why }

func (s *SetSysctl) String() string {
	var b strings.Builder
	if !s.Netns.here() {
		b.WriteString("ip netns exec " + step.Quote(s.Netns.Name) + " ")
	}
	b.WriteString("sysctl -q ")
	if s.Optional {
		b.WriteString("-e ") // no error when there is no such key
	}
	b.WriteString("-w " + s.Key + "=" + s.Value)
	return b.String()
}
