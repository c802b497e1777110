package names

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// insist calls f until its directory stays there while it works: ENOENT means that
// somebody has removed it meanwhile. A directory that is just being removed can still
// be opened, and cannot be made anew, until whoever removes it goes on.
func insist(f func() error) error {
	var err error
	for i := range 100 {
		if err = f(); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		time.Sleep(time.Duration(i) * 100 * time.Microsecond) // half a second in all
	}
	return err
}

// makeDirectory makes the directory of a network if it is missing.
func makeDirectory(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(filepath.Dir(dir), 0o700)
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// claim locks the network's directory for a server to come, and makes it if it is
// missing. It returns nil without an error when there is a server.
func claim(dir string) (lock *os.File, err error) {
	err = insist(func() error {
		if err := makeDirectory(dir); err != nil {
			return err
		}
		f, err := openDirectory(dir)
		if err != nil {
			return err
		}
		locked, err := lockForServer(int(f.Fd()))
		if err == nil && locked {
			err = named(f)
		}
		if err != nil || !locked {
			return errors.Join(err, f.Close())
		}
		lock = f
		return nil
	})
	return lock, err
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
	return unserved(Directory(runroot, network), func() error { return nil })
}

// sweep removes the network's directory when it is empty and there is no server,
// which would do it itself.
func sweep(dir string) error {
	_, err := unserved(dir, func() error {
		err := unix.Rmdir(dir)
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOENT) { // another one swept
			return nil
		}
		return os.NewSyscallError("rmdir", err)
	})
	return err
}

// unserved calls f when the directory is there and has no server, and keeps one from
// starting meanwhile: its starter waits, see lockForServer. It reports whether there
// is a server.
func unserved(dir string, f func() error) (served bool, err error) {
	err = insist(func() error {
		d, err := openDirectory(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		err = flock(int(d.Fd()), unix.LOCK_SH)
		if served = errors.Is(err, unix.EWOULDBLOCK); served {
			return d.Close()
		}
		if err == nil {
			err = named(d)
		}
		if err == nil { // what is locked is what dir names
			err = f()
		}
		return errors.Join(err, d.Close())
	})
	return served, err
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

// named returns ENOENT when the open directory has lost its name.
func named(f *os.File) error {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	if err == nil && st.Nlink == 0 {
		err = unix.ENOENT
	}
	if err != nil {
		return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return nil
}
