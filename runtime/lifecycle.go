package runtime

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// lostExitCode is the exit code of a container whose end nobody saw, because its
// monitor was killed.
const lostExitCode = 255

func parent(path string) string { return filepath.Dir(path) }

// Run makes a container and starts it. For a detached container it returns when
// its process runs; otherwise the caller waits with Process.Wait. When it fails,
// nothing of the container is left.
func (r *Runtime) Run(c *Config, io Standard, w Watch) (*Process, error) {
	if err := r.fill(c); err != nil {
		return nil, err
	}
	return (&launch{Runtime: r, config: c, watch: w}).createAndStart(io)
}

func (l *launch) createAndStart(io Standard) (*Process, error) {
	if err := l.create(); err != nil {
		return nil, errors.Join(err, l.undo())
	}
	return l.finishStart(io)
}

// fill gives the container an id, a name and a hostname, where it has none.
func (r *Runtime) fill(c *Config) error {
	if c.ID == "" {
		c.ID = newID()
	}
	if c.Name == "" {
		c.Name = r.freshName()
	}
	if c.Created.IsZero() {
		c.Created = time.Now()
	}
	if c.Hostname == "" && c.Network.Mode != "host" {
		c.Hostname = c.ID[:12]
	}
	return ValidateName(c.Name)
}

// create makes the container's directories and name. Until config.json is there
// (launch.keep), it is not a container that anybody else sees.
func (l *launch) create() error {
	c := l.config
	steps := []step.Step{&makeContainer{launch: l, path: l.lasting(c.ID)}, &reserveName{l.Runtime, c.Name, c.ID}}
	if c.Image.Rootfs == "" {
		steps = append(steps,
			&makeDirectory{l.lasting(c.ID, "upper"), 0o755, "the container's own layer"},
			&makeDirectory{l.lasting(c.ID, "work"), 0o700, "the overlay's work"})
	}
	return l.apply(steps...)
}

// Start starts a container that has ended, or never ran, detached.
func (r *Runtime) Start(name string, w Watch) error {
	c, err := r.Container(name)
	if err != nil {
		return err
	}
	lock, err := r.lockToStart(c.Config.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{name}
	}
	if err != nil {
		return step.Fail("start", name, err)
	}
	if c, err = r.load(c.Config.ID); errors.Is(err, fs.ErrNotExist) {
		err = &NotFoundError{name}
	}
	if err != nil {
		lock.release()
		return err
	}
	c.Config.Detach = true
	l := &launch{Runtime: r, config: c.Config, watch: w, lock: lock}
	_, err = l.finishStart(Standard{})
	return err
}

// lockToStart takes the lock of a container that does not run, and deals with its
// last end where nobody has. That the lock is held says little: whoever looks at
// the container holds it for a moment.
func (r *Runtime) lockToStart(id string) (*lock, error) {
	const patience = 500 * time.Millisecond
	for deadline := time.Now().Add(patience); ; time.Sleep(lockPause) {
		lock, err := r.lock(id)
		if (err == nil || errors.Is(err, errLocked)) && r.state(id).alive() {
			lock.release()
			return nil, errors.New("it is running")
		}
		if err == nil {
			if err = r.healLocked(id); err != nil {
				lock.release()
			}
			return lock, err
		}
		if !errors.Is(err, errLocked) || time.Now().After(deadline) {
			return nil, err
		}
	}
}

// finishStart makes the directory of the running state and runs the launch.
func (l *launch) finishStart(io Standard) (*Process, error) {
	if err := l.apply(&makeDirectory{l.running(l.config.ID), 0o700, "what ends with the container's process"}); err != nil {
		return nil, errors.Join(err, l.undo())
	}
	l.plan.spec = l.config.Spec()
	l.plan.prepared, l.plan.names, l.plan.files = map[int]int{}, map[int]string{}, map[int]bool{}
	l.logged = !l.config.Detach && !l.config.Remove
	if err := l.run(io); err != nil {
		return nil, err
	}
	l.settleNetwork()
	if l.config.Detach {
		l.close()
		l.lock.release() // the monitor has a copy
		return nil, nil
	}
	return l.process(), nil
}

// Finish deals with the end of a container whose monitor has written its exit
// status. The monitor calls it by becoming minictr, and the lock that it held
// ends with this process.
func (r *Runtime) Finish(id string) error {
	code, at, err := r.exitStatus(id)
	if err != nil {
		return err
	}
	return r.end(id, Result{ExitCode: code, Finished: at})
}

// exitStatus reads what the monitor wrote.
func (r *Runtime) exitStatus(id string) (int, time.Time, error) {
	b, err := os.ReadFile(r.running(id, "exit"))
	if err != nil {
		return 0, time.Time{}, err
	}
	code, stamp, _ := strings.Cut(string(bytes.TrimSpace(b)), " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		return 0, time.Time{}, step.Fail("read", r.running(id, "exit"), err)
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	return n, at, step.Fail("read", r.running(id, "exit"), err)
}

// end gives back what the container held while it ran, and keeps the result or,
// with --rm, removes the container. The caller holds the lock. It can be called
// again after having been interrupted anywhere. A container that lives is left
// as it is, and so is one of which it cannot be known.
func (r *Runtime) end(id string, result Result) error {
	e := ending{id: id, result: result}
	var err error
	if e.state, err = r.readState(id); err != nil {
		return err
	}
	if e.state.alive() {
		return &RunningError{id[:12]}
	}
	if e.config, err = r.config(id); err != nil {
		return err
	}
	h, err := cgroups.Detect()
	if err == nil && h.Mode != cgroups.None {
		e.group, err = h.Open("/minictr/" + id)
	}
	return errors.Join(ignoreMissing(err), r.releaseAll(e))
}

// ending is what is known of a container that has ended.
type ending struct {
	id     string
	config *Config // nil when it was never written down
	state  *State  // nil when it never ran
	group  *cgroups.Group
	result Result
}

// CleanupError is that a container has ended, and how is known, but not all that
// it held could be given back. Heal tries again.
type CleanupError struct{ Err error }

func (e *CleanupError) Error() string { return "clean up: " + e.Err.Error() }

// Unwrap returns the cause, which may be several, joined.
func (e *CleanupError) Unwrap() error { return e.Err }

// giveBack is end for who was the container's parent. Its error is a
// *CleanupError.
func (r *Runtime) giveBack(e ending) error {
	if err := r.releaseAll(e); err != nil {
		return &CleanupError{err}
	}
	return nil
}

// releaseAll does what end says, with what is known.
func (r *Runtime) releaseAll(e ending) error {
	oom, err := e.endGroup()
	errs := []error{err}
	switch {
	case e.state == nil:
		errs = append(errs, network.ReleaseOwner(r.Runroot, e.id))
	case e.state.Network != nil:
		errs = append(errs, network.Release(e.state.Network))
	}
	keep := e.config != nil && !e.config.Remove
	if keep {
		e.result.OOMKilled = oom
		if e.state != nil {
			e.result.Started = e.state.Started
		}
		errs = append(errs, replace(r.lasting(e.id, "result.json"), &e.result))
	}
	errs = append(errs, os.RemoveAll(r.running(e.id)))
	if keep {
		return errors.Join(errs...)
	}
	name := ""
	if e.config != nil {
		name = e.config.Name
	}
	return errors.Join(append(errs, r.erase(e.id, name))...)
}

// endGroup removes the cgroup and says whether a process in it was killed for
// want of memory.
func (e *ending) endGroup() (oom bool, err error) {
	if e.group == nil {
		return false, nil
	}
	if n, err := e.group.OOMKills(); err == nil && n > 0 {
		oom = true
	}
	return oom, e.group.Remove()
}

// erase removes the container's directory and name. config.json goes first: a
// directory without it is no container.
func (r *Runtime) erase(id, name string) error {
	err := ignoreMissing(os.Remove(r.lasting(id, "config.json")))
	names := []string{name}
	if !r.named(name, id) { // it never had one, or another since
		names = r.namesOf(id)
	}
	for _, name := range names {
		err = errors.Join(err, r.freeName(name, id))
	}
	return errors.Join(err, os.RemoveAll(r.lasting(id)))
}

// Remove removes a container. One that runs is refused with a *RunningError,
// or, with force, killed first.
func (r *Runtime) Remove(name string, force bool) error {
	c, err := r.Container(name)
	if err != nil {
		return err
	}
	id := c.Config.ID
	lock, err := r.lockToRemove(c, force)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // --rm has done it
	}
	if errors.Is(err, errLocked) {
		return step.Fail("remove", name, err)
	}
	if err != nil {
		return err
	}
	defer lock.release()
	config, err := r.config(id) // it may have another name by now
	if err != nil {
		return err
	}
	if config != nil {
		config.Remove = true
		if err := replace(r.lasting(id, "config.json"), config); err != nil {
			return err
		}
	}
	return r.end(id, Result{})
}

// lockToRemove takes the lock of a container that does not run. One that is being
// started, or whose end is being dealt with, is waited for; one that runs then is
// killed with force. SIGKILL may have to be repeated: another run can have begun.
func (r *Runtime) lockToRemove(c *Container, force bool) (*lock, error) {
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(lockPause) {
		lock, err := r.lock(c.Config.ID)
		if err != nil && !errors.Is(err, errLocked) {
			return nil, err
		}
		now := Container{Config: c.Config, State: r.state(c.Config.ID), Status: Running}
		if !now.State.alive() {
			if err == nil || time.Now().After(deadline) {
				return lock, err
			}
			continue
		}
		lock.release()
		if !force || time.Now().After(deadline) {
			return nil, &RunningError{c.Config.Name}
		}
		if err := r.Signal(&now, unix.SIGKILL); err != nil && !isNotRunning(err) {
			return nil, err
		}
	}
}

// RunningError is a container that would have to be stopped.
type RunningError struct{ Name string }

func (e *RunningError) Error() string { return "container " + e.Name + " is running" }

func isNotRunning(err error) bool {
	var n *NotRunningError
	return errors.As(err, &n)
}

// Heal deals with everything that a killed command or monitor has left behind:
// containers whose process is gone and that nobody looks after, and directories
// of containers that were never finished.
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

// heal looks at one container. Nothing is done while somebody holds its lock.
func (r *Runtime) heal(id string) error {
	lock, err := r.lock(id)
	if errors.Is(err, errLocked) {
		return nil
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
		return nil // it goes on without a monitor
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

// Stop asks the container to end with its stop signal, and kills it when it has
// not ended in time. It returns when all is cleaned up. A negative timeout waits
// for ever.
func (r *Runtime) Stop(c *Container, timeout time.Duration) error {
	fd, err := c.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	signal, err := ParseSignal(c.Config.StopSignal)
	if err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return step.Fail("stop", c.Config.Name, err)
	}
	if !waitPidfd(fd, timeout) {
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return step.Fail("kill", c.Config.Name, err)
		}
		waitPidfd(fd, -1)
	}
	return r.settle(c)
}

// settle waits until the end of the container's run has been dealt with, and
// deals with it where nobody does.
func (r *Runtime) settle(c *Container) error {
	lock, err := r.lockAfter(c.Config.ID, c.State)
	if err != nil || lock == nil {
		return err
	}
	defer lock.release()
	return r.healLocked(c.Config.ID)
}

// Wait waits until the container has ended and returns how. Of one with --rm the
// kernel tells no more than the exit code, and before Linux 6.15 nothing: then the
// error is a *NotFoundError.
func (r *Runtime) Wait(c *Container) (*Result, error) {
	fd, err := c.pidfd()
	if err == nil {
		defer unix.Close(fd)
		waitPidfd(fd, -1)
	}
	if err := r.settle(c); err != nil {
		return nil, err
	}
	if result := r.result(c.Config.ID); result != nil {
		return result, nil
	}
	if again, err := r.load(c.Config.ID); err == nil && c.State == nil && again.State != nil {
		return r.Wait(again) // it was about to run
	}
	if code, ok := exitCode(fd); ok {
		return &Result{ExitCode: code, Started: c.State.Started, Finished: time.Now()}, nil
	}
	return nil, &NotFoundError{c.Config.Name}
}

// exitCode is how the process ended that a descriptor was opened for while it
// lived: ioctl PIDFD_GET_INFO tells it once somebody has reaped the process
// (PIDFD_INFO_EXIT, Linux 6.15).
func exitCode(pidfd int) (code int, ok bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	status := unix.WaitStatus(info.Exit_code)
	if status.Signaled() {
		return 128 + int(status.Signal()), true
	}
	return status.ExitStatus(), true
}

// waitPidfd waits until the process has ended, and reports whether it has.
func waitPidfd(fd int, timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		ms := -1
		if timeout >= 0 {
			ms = int(max(0, time.Until(deadline).Milliseconds()))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}
