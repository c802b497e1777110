package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openIn opens a regular file of the container's, and of nobody else's: no symbolic link
// that somebody in it has made leads out of its root, as it would where the host writes
// to /proc/PID/root/….
func openIn(pid int, path string, flags uint64) (*os.File, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.Join(&os.PathError{Op: "open", Path: path, Err: errors.Join(err, errors.New("not a regular file"))}, file.Close())
	}
	return file, nil
}

// readSome reads no more of a file of a container than such a file has.
func readSome(file io.ReadCloser) ([]byte, error) {
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(file, most))
	return text, errors.Join(err, file.Close())
}

// A rewriting changes a small file of a container.
type rewriting struct {
	pid    int
	path   string // without the leading slash
	change func(old string) string
}

func (r *rewriting) do() error {
	file, err := openIn(r.pid, r.path, unix.O_RDONLY)
	if err != nil {
		return err
	}
	old, err := readSome(file)
	if err != nil {
		return err
	}
	// In place: the file is mounted into the container, and another one would not be it.
	if file, err = openIn(r.pid, r.path, unix.O_WRONLY|unix.O_TRUNC); err != nil {
		return err
	}
	_, err = file.WriteString(r.change(string(old)))
	return errors.Join(err, file.Close())
}
