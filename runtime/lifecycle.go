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

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
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
	c.RemoveVolumes = c.RemoveVolumes || c.Remove
	c.nameVolumes()
	return ValidateName(c.Name)
}

// create makes the container's directories and name. Until config.json is there
// (launch.keep), it is not a container that anybody else sees.
func (l *launch) create() error {
	c := l.config
	l.created = true
	steps := []step.Step{&makeContainer{launch: l, path: l.lasting(c.ID)}, &reserveName{l.Runtime, c.Name, c.ID}}
	if c.Image.Rootfs == "" {
		_, _, layer := rootfs.WritableLayer(l.lasting(c.ID))
		steps = append(steps, layer...)
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
	l.plan.private = map[int][]string{}
	l.logged = !l.config.Detach && !l.config.Remove
	if err := l.run(io); err != nil {
		return nil, err
	}
	l.letVolumesGo()
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
