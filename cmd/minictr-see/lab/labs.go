package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Where things lie in a lab. The directory is there in no other place, so that its
// presence tells who is asked from within.
const (
	inside     = "/run/minictr-lab"
	stateDir   = inside + "/state"
	programDir = inside + "/programs"
	homeDir    = inside + "/home"
	binDir     = inside + "/bin"
	baseDir    = inside + "/base"
)

// Labs are the labs of one RUNROOT, or, seen from within a lab, that lab alone.
type Labs struct {
	Dir string // RUNROOT/labs
	// Inside is the name of the lab in which the caller is, or empty.
	Inside string
}

// Open returns the labs of a RUNROOT.
func Open(runroot string) *Labs {
	l := &Labs{Dir: filepath.Join(runroot, "labs")}
	if name, err := os.ReadFile(filepath.Join(stateDir, "name")); err == nil {
		l.Inside = string(name)
	}
	return l
}

// A Lab is one exercise's host, running or not.
type Lab struct {
	Exercise
	dir string
}

// Lab returns the lab of an exercise.
func (l *Labs) Lab(e Exercise) *Lab {
	if l.Inside == e.Name {
		return &Lab{Exercise: e, dir: stateDir}
	}
	return &Lab{Exercise: e, dir: filepath.Join(l.Dir, e.Name)}
}

// Running returns the labs that run and are set up, in the order of the exercises.
func (l *Labs) Running() ([]*Lab, error) {
	var running []*Lab
	for _, e := range Exercises() {
		if l.Inside != "" && l.Inside != e.Name {
			continue // they cannot be seen from here
		}
		lab := l.Lab(e)
		up, err := lab.Running()
		if err != nil {
			return nil, err
		}
		if up {
			running = append(running, lab)
		}
	}
	return running, nil
}

// Heal removes what is left of labs whose holder was killed, or whose start was.
func (l *Labs) Heal() error {
	if l.Inside != "" {
		return nil
	}
	entries, err := os.ReadDir(l.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		errs = append(errs, (&Lab{Exercise{Name: entry.Name()}, filepath.Join(l.Dir, entry.Name())}).heal())
	}
	return errors.Join(errs...)
}

func (l *Lab) heal() error {
	lock, err := l.tryLock()
	if lock == nil || err != nil {
		return err // somebody is at it
	}
	defer lock.Close()
	if up, err := l.Running(); up || err != nil {
		return err
	}
	return l.remove()
}

// Running reports whether the lab runs and is set up.
func (l *Lab) Running() (bool, error) {
	pid, err := l.holder()
	return pid != 0 && l.has("ready"), err
}

// holder asks the kernel which process holds the lab, by its number in the caller's
// pid namespace; 0 when none does.
func (l *Lab) holder() (pid int, err error) {
	f, err := os.OpenFile(l.file("holder"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, step.Fail("ask for the holder of", l.Name, err)
	}
	switch {
	case lock.Type == unix.F_UNLCK:
		return 0, nil
	case lock.Pid <= 0: // fcntl(2) of who is in another pid namespace
		return 0, step.Fail("find the holder of", l.Name, errors.New("it runs where this process cannot see it"))
	}
	return int(lock.Pid), nil
}

// open returns a descriptor of the holder, nil when there is none.
func (l *Lab) open() (*os.File, error) {
	pid, err := l.holder()
	if pid == 0 || err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil // it has just ended
	}
	if err != nil {
		return nil, step.Fail("open the holder of", l.Name, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	// The number may have become another's before it was opened; the lock is the holder's alone.
	if again, err := l.holder(); again != pid || err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lock waits until nobody else starts or stops the lab. The directory is made.
func (l *Lab) lock() (*os.File, error) {
	for {
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return nil, err
		}
		lock, err := l.flock(unix.LOCK_EX)
		if lock != nil || err != nil {
			return lock, err
		}
	}
}

// tryLock is lock, but for what is not there or is somebody else's: then it returns nil.
func (l *Lab) tryLock() (*os.File, error) { return l.flock(unix.LOCK_EX | unix.LOCK_NB) }

// flock locks the directory, and returns nil when it was removed meanwhile or, with
// LOCK_NB, when somebody else has it.
func (l *Lab) flock(how int) (*os.File, error) {
	f, err := os.Open(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), how)
	}
	var locked, named unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &locked)
	}
	if err == nil {
		err = unix.Stat(l.dir, &named)
	}
	switch {
	case err == nil && locked.Ino == named.Ino && locked.Dev == named.Dev:
		return f, nil
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.EWOULDBLOCK):
		err = nil
	}
	f.Close()
	return nil, step.Fail("lock", l.dir, err)
}

func (l *Lab) file(name string) string { return filepath.Join(l.dir, name) }

func (l *Lab) has(name string) bool {
	_, err := os.Stat(l.file(name))
	return err == nil
}

func (l *Lab) write(name, content string) error {
	return os.WriteFile(l.file(name), []byte(content), 0o600)
}

// read returns what is in a file of the lab, and nothing when it is not there.
func (l *Lab) read(name string) string {
	b, _ := os.ReadFile(l.file(name))
	return string(b)
}
