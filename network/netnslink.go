package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// LinkNetns gives a container's network namespace a name that ip-netns(8) knows:
// a symbolic link to the namespace of its first process, in the directory where
// that program keeps its bind mounts. A mount would keep the namespace alive, and
// with it the container's links and addresses, should nobody be left to take it
// away; the link is nothing without the process.
type LinkNetns struct {
	Dir  string // NetnsDir of the runroot
	Name string // the container's
	Pid  int
	Path string // of another namespace than a process's
}

// NetnsDir is where the names of network namespaces are: /run/netns, as
// ip-netns(8) wants it, for the usual runroot /run/minictr; for another one
// beside it, so that containers of different runroots do not get in each other's
// way.
func NetnsDir(runroot string) string { return filepath.Join(filepath.Dir(runroot), "netns") }

func (s *LinkNetns) path() string { return filepath.Join(s.Dir, s.Name) }
func (s *LinkNetns) target() string {
	if s.Path != "" {
		return s.Path
	}
	return fmt.Sprintf("/proc/%d/ns/net", s.Pid)
}

// Apply makes the link. One of a process that is gone is replaced; any other name
// in use is an error (EEXIST).
func (s *LinkNetns) Apply() error {
	err := os.Symlink(s.target(), s.path())
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(s.Dir, 0o755); err == nil {
			err = os.Symlink(s.target(), s.path())
		}
	}
	if errors.Is(err, fs.ErrExist) && s.stale() {
		err = errors.Join(ignoreMissing(os.Remove(s.path())), os.Symlink(s.target(), s.path()))
	}
	if errors.Is(err, fs.ErrExist) {
		err = &Cause{Text: s.path() + " is another network namespace's", Hint: "ip netns delete " + s.Name + ", if it is not needed", Err: unix.EEXIST}
	}
	return step.Fail("name the network namespace", s.Name, err)
}

// stale reports whether the name is a link of a process that is gone. Such a link is
// nobody's but ours, or of who made it by hand for a container that is gone, too.
func (s *LinkNetns) stale() bool {
	target, err := os.Readlink(s.path())
	if err != nil || !strings.HasPrefix(target, "/proc/") || !strings.HasSuffix(target, "/ns/net") {
		return false
	}
	_, err = os.Stat(s.path())
	if errors.Is(err, fs.ErrNotExist) || target == s.target() {
		return true
	}
	// Its number is another process's by now, one of the host.
	own, err := Netns{Path: s.path()}.isOwn()
	return err == nil && own && target != "/proc/1/ns/net" // whoever made that meant the host
}

// Undo takes the name away, if it is still this container's.
func (s *LinkNetns) Undo() error {
	if target, err := os.Readlink(s.path()); err != nil || target != s.target() {
		return nil
	}
	return step.Fail("unname the network namespace", s.Name, ignoreMissing(os.Remove(s.path())))
}

// Rename gives the namespace another name.
func (s *LinkNetns) Rename(name string) error {
	other := *s
	other.Name = name
	return errors.Join(other.Apply(), s.Undo())
}

// Check wants the link.
func (s *LinkNetns) Check() error {
	target, err := os.Readlink(s.path())
	if err == nil && target != s.target() {
		err = fmt.Errorf("it is %s", target)
	}
	return step.Fail("check network namespace", s.Name, err)
}

// Words says the step in plain words.
func (s *LinkNetns) Words() string {
	if s.Path != "" {
		return "let ip netns know the network namespace as " + s.Name
	}
	return "let ip netns know the container's network as " + s.Name
}

func (s *LinkNetns) String() string {
	return "ln -s " + step.Quote(s.target()) + " " + step.Quote(s.path())
}
