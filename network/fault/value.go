package fault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/runtime/step"
)

// sysctl is a sysctl of a namespace that has another value than before.
type sysctl struct {
	Netns      network.Netns
	Key        string // with slashes
	Was, Value string
	// Also are other keys that the kernel changes with it, and their old values.
	Also map[string]string
}

func sysctlPath(key string) string { return "/proc/sys/" + key }

func readSysctl(ns network.Netns, key string) (value string, err error) {
	err = in(ns, func() error {
		b, err := os.ReadFile(sysctlPath(key))
		value = string(bytes.TrimSpace(b))
		return err
	})
	return value, err
}

func (s *sysctl) has() (bool, error) {
	now, err := readSysctl(s.Netns, s.Key)
	return strings.Join(strings.Fields(now), " ") == s.Value, err
}

func (s *sysctl) put() error { return s.write(map[string]string{s.Key: s.Value}) }

func (s *sysctl) take() error {
	if err := s.write(map[string]string{s.Key: s.Was}); err != nil {
		return err
	}
	return s.write(s.Also)
}

func (s *sysctl) write(values map[string]string) error {
	return in(s.Netns, func() error {
		var errs []error
		for _, key := range slices.Sorted(maps.Keys(values)) {
			err := os.WriteFile(sysctlPath(key), []byte(values[key]), 0)
			if errors.Is(err, fs.ErrNotExist) && key != s.Key {
				err = nil // of a link that is gone
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

func (s *sysctl) what() string { return "sysctl " + s.Key + where(s.Netns) }

func (s *sysctl) command(put bool) string {
	return run(s.Netns) + "sysctl -w " + step.Quote(s.Key+"="+word(put, s.Value, s.Was))
}

// file is a file that says something else than before. With a Pid it is a file of the
// container with that first process.
type file struct {
	Netns      network.Netns // of the container: it tells whether it is still the same one
	Pid        int
	Path       string
	Was, Value string
}

func (s *file) open(flags uint64) (*os.File, error) {
	if s.Pid == 0 {
		return os.OpenFile(s.Path, int(flags), 0)
	}
	ns, err := s.Netns.Open() // fails when the process is another one by now
	if err != nil {
		return nil, err
	}
	defer ns.Close() // nothing was written
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", s.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	// The container may have swapped the file for a link: it leads nowhere else.
	fd, err := unix.Openat2(root, s.Path, &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: s.Path, Err: err}
	}
	return os.NewFile(uintptr(fd), s.Path), nil
}

// largestFile is the most that is read of a file: those of /etc are small.
const largestFile = 1 << 20

func (s *file) read() (string, error) {
	f, err := s.open(unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close() // nothing was written
	b := make([]byte, largestFile)
	n, err := f.Read(b)
	if n == 0 && err != nil && err.Error() == "EOF" {
		return "", nil
	}
	return string(b[:n]), err
}

func (s *file) has() (bool, error) {
	now, err := s.read()
	return strings.TrimSpace(now) == strings.TrimSpace(s.Value), err
}

func (s *file) put() error  { return s.write(s.Value) }
func (s *file) take() error { return s.write(s.Was) }

func (s *file) write(text string) error {
	f, err := s.open(unix.O_WRONLY | unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (s *file) what() string {
	if s.Pid == 0 {
		return s.Path
	}
	return s.Path + " in " + s.Netns.Name
}

func (s *file) command(put bool) string {
	text, shell := word(put, s.Value, s.Was), ""
	shell = fmt.Sprintf("printf %s > %s", step.Quote(strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(text)), s.Path)
	if text == "" {
		shell = "> " + s.Path
	}
	if s.Pid == 0 {
		return shell
	}
	return fmt.Sprintf("minictr exec %s sh -c %s", s.Netns.Name, step.Quote(shell))
}

// symlink is a symbolic link.
type symlink struct{ Path, Target string }

func (s *symlink) has() (bool, error) {
	target, err := os.Readlink(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return target == s.Target, err
}

func (s *symlink) put() error   { return os.Symlink(s.Target, s.Path) }
func (s *symlink) take() error  { return os.Remove(s.Path) }
func (s *symlink) what() string { return s.Path }

func (s *symlink) command(put bool) string {
	if put {
		return "ln -s " + s.Target + " " + s.Path
	}
	return "rm " + s.Path
}

// nameRecord is what the name server of a network knows of a container.
type nameRecord struct {
	Runroot, Network string
	Record           names.Record
	// Instead is the record that was there before; nil for none.
	Instead *names.Record
}

func (s *nameRecord) add() names.AddName {
	return names.AddName{Runroot: s.Runroot, Network: s.Network, Record: s.Record}
}

func (s *nameRecord) file() string {
	return filepath.Join(names.Directory(s.Runroot, s.Network), s.Record.Container)
}

func (s *nameRecord) has() (bool, error) {
	err := s.add().Check()
	if err != nil {
		return false, nil //nolint:nilerr // gone, or it says something else
	}
	return true, nil
}

func (s *nameRecord) put() error { return s.add().Apply() }

// take does not sweep the directory: the name server, which lives as long as it has
// names, must not take the last one's absence for the end of the network.
func (s *nameRecord) take() error {
	if s.Instead == nil {
		return os.Remove(s.file())
	}
	return names.AddName{Runroot: s.Runroot, Network: s.Network, Record: *s.Instead}.Apply()
}

func (s *nameRecord) what() string {
	return "record of " + s.Record.Name + " for the name server of network " + s.Network
}

func (s *nameRecord) command(put bool) string {
	if !put && s.Instead == nil {
		return "rm " + s.file()
	}
	if !put {
		return "minictr network reload"
	}
	for _, server := range s.Record.Servers {
		return fmt.Sprintf("sed -i '$ a server %s' %s", server, s.file())
	}
	return fmt.Sprintf("sed -i 's/^address .*/address %s/' %s", s.Record.Address, s.file())
}

// writable tells whether a file may be written, without writing it.
func writable(path string) error {
	if err := unix.Access(path, unix.W_OK); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode()&0o200 == 0 {
		err = &fs.PathError{Op: "write", Path: path, Err: unix.EPERM}
	}
	return err
}
