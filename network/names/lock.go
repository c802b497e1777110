package names

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// claim locks the network's directory for a server to come, and makes it if it is
// missing. It returns nil without an error when there is a server.
func claim(dir string) (*os.File, error) {
	for range attempts {
		f, err := openDirectory(dir)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		locked, err := lockForServer(int(f.Fd()))
		if err != nil || !locked {
			return nil, errors.Join(err, f.Close())
		}
		if gone, err := removed(f); err != nil || !gone {
			return f, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return nil, &os.PathError{Op: "lock", Path: dir, Err: unix.ESTALE}
}

// lockForServer takes the lock exclusively, unless a server has it. A lock that can
// be had shared is another's who looks, and will be free in a moment.
func lockForServer(fd int) (locked bool, err error) {
	for {
		err := flock(fd, unix.LOCK_EX)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err == nil, err
		}
		err = flock(fd, unix.LOCK_SH)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		if err == nil {
			err = flock(fd, unix.LOCK_UN)
		}
		if err != nil {
			return false, err
		}
		time.Sleep(10 * time.Microsecond)
	}
}

// Alive reports whether the network has a name server, or one that is just being
// started.
func Alive(runroot, network string) (bool, error) {
	if err := valid(network); err != nil {
		return false, err
	}
	alive := true
	err := withoutServer(Directory(runroot, network), func() error { alive = false; return nil })
	return alive && err == nil, err
}

// sweep removes the network's directory when it is empty and there is no server,
// which would do it itself.
func sweep(dir string) error {
	return withoutServer(dir, func() error {
		if err := unix.Rmdir(dir); err != unix.ENOTEMPTY && err != unix.ENOENT {
			return os.NewSyscallError("rmdir", err)
		}
		return nil
	})
}

// withoutServer calls f when there is no server, and keeps one from starting
// meanwhile. A starter waits: see lockForServer.
func withoutServer(dir string, f func() error) error {
	d, err := openDirectory(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return f()
	}
	if err != nil {
		return err
	}
	defer d.Close() // it was only looked at; the lock goes with it
	err = flock(int(d.Fd()), unix.LOCK_SH)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil
	case err != nil:
		return &os.PathError{Op: "flock", Path: dir, Err: err}
	}
	return f()
}

func openDirectory(dir string) (*os.File, error) {
	for {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: dir, Err: err}
		}
		return os.NewFile(uintptr(fd), dir), nil
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

// removed reports whether the open directory has no name any more.
func removed(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Nlink == 0, nil
}
