package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Heal deals with everything that a killed command or monitor has left behind:
// containers whose process is gone and that nobody looks after, directories of
// containers that were never finished, and containers that were stopped for a
// moment.
func (r *Runtime) Heal() error {
	var errs []error
	seen := map[string]bool{}
	for _, dir := range []string{r.Root, r.Runroot} {
		entries, err := os.ReadDir(filepath.Join(dir, "containers"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			switch {
			case len(e.Name()) == 64 && !seen[e.Name()]:
				seen[e.Name()] = true
				errs = append(errs, r.heal(e.Name()))
			case strings.HasPrefix(e.Name(), unnamed):
				errs = append(errs, healUnnamed(filepath.Join(dir, "containers", e.Name())))
			}
		}
	}
	errs = append(errs, r.healAdopted(), r.healNetworks(), r.Volumes().Heal())
	return errors.Join(errs...)
}

// healUnnamed removes the directory of a container that never got its name. Who
// makes it takes its lock at once and holds it when it gets the name, so seconds
// are the time to be sure.
func healUnnamed(path string) error {
	s, err := os.Stat(path)
	if err != nil || time.Since(s.ModTime()) < 2*time.Second {
		return ignoreMissing(err)
	}
	lock, err := openLock(path)
	if err != nil {
		return ignoreMissing(err)
	}
	defer lock.release()
	if err := lock.take(unix.LOCK_EX | unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	return ignoreMissing(os.Remove(path))
}

// heal looks at one container. While somebody holds its lock, it is at most let go
// on.
func (r *Runtime) heal(id string) error {
	lock, err := r.lock(id)
	if errors.Is(err, errLocked) {
		return errors.Join(r.healPaused(id), r.healRewiring(id))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return r.healOrphan(id)
	}
	if err != nil {
		return err
	}
	defer lock.release()
	return r.healLocked(id)
}

// healOrphan deals with a running state to which there is nothing lasting. Most
// likely the container is one of another --root, and then there is a lock that
// this one cannot see: who starts or ends it is done within the minute. Only when
// it was dead a minute ago, and is, somebody has removed --root from under it.
func (r *Runtime) healOrphan(id string) error {
	if _, err := os.Lstat(r.running(id)); errors.Is(err, fs.ErrNotExist) {
		return nil // gone since it was listed
	}
	mark := r.running(id, "dead")
	state, err := r.readState(id)
	if err != nil {
		return err
	}
	if state.alive() {
		return ignoreMissing(os.Remove(mark))
	}
	s, err := os.Lstat(mark)
	if errors.Is(err, fs.ErrNotExist) {
		return ignoreMissing(os.WriteFile(mark, nil, 0o600))
	}
	if err != nil || time.Since(s.ModTime()) < time.Minute {
		return err
	}
	return r.end(id, Result{})
}

// healLocked does what end says for a container that nobody looks after and that
// has not ended in order. The caller holds the lock.
func (r *Runtime) healLocked(id string) error {
	s, err := r.readState(id)
	if err != nil {
		return err
	}
	if s.alive() {
		return r.healRewiring(id) // it goes on without a monitor
	}
	c, err := r.config(id)
	if err != nil {
		return err
	}
	_, err = os.Lstat(r.running(id))
	if err := ignoreMissing(err); err != nil {
		return err
	}
	if c != nil && !c.Remove && err != nil {
		return nil // a container that has ended in order
	}
	result := Result{ExitCode: lostExitCode, Finished: time.Now(), Error: "its end was not seen: the process that looked after it was killed"}
	if code, at, err := r.exitStatus(id); err == nil {
		result = Result{ExitCode: code, Finished: at}
	}
	return r.end(id, result)
}
