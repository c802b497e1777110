package runtime

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// OwnFile is a file that was made for the container and mounted into it, as it was
// left: whoever would change it can tell whether the container has.
type OwnFile struct {
	Device uint64 `json:"device"` // stat(2), st_dev
	Inode  uint64 `json:"inode"`
	Sum    uint64 `json:"sum"` // of its content, FNV-1a
}

func sumOf(content string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, content) // a hash takes everything
	return h.Sum64()
}

// rememberFile notes what was made.
func (l *launch) rememberFile(path string, file *os.File, content string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if l.files == nil {
		l.files = map[string]OwnFile{}
	}
	l.files[path] = OwnFile{Device: st.Dev, Inode: st.Ino, Sum: sumOf(content)}
	return nil
}

// refile writes the container's /etc/hosts and /etc/resolv.conf anew, for a network
// that has changed. A file that the container has put there, or has changed, is left
// to it: no path of the container's is trusted, the file is known by its inode.
func (r *Runtime) refile(c *Config, s *State, now *network.Config) error {
	l := &launch{Runtime: r, config: c, network: now}
	files := map[string]OwnFile{}
	var errs []error
	for path, make := range map[string]func() (string, error){"/etc/hosts": l.hostsFile, "/etc/resolv.conf": l.resolvFile} {
		file, ok := s.Files[path]
		if !ok {
			continue
		}
		content, err := make()
		if err == nil {
			err = file.rewrite(s, path, content)
		}
		files[path] = file
		errs = append(errs, step.Fail("write the container's", path, err))
	}
	s.Files = files
	return errors.Join(errs...)
}

// rewrite replaces the content, if the file is as it was left.
func (f *OwnFile) rewrite(s *State, path, content string) error {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", s.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil || !s.alive() {
		return err
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil //nolint:nilerr // the container has made something else of the path
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != f.Device || st.Ino != f.Inode {
		return err
	}
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	old, err := io.ReadAll(io.LimitReader(file, maxOwnFile))
	if err != nil || sumOf(string(old)) != f.Sum {
		return err
	}
	if _, err := file.WriteAt([]byte(content), 0); err != nil {
		return err
	}
	f.Sum = sumOf(content)
	return file.Truncate(int64(len(content)))
}

// maxOwnFile is more than what is ever written, in bytes.
const maxOwnFile = 1 << 20
