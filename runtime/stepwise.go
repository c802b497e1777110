package runtime

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
)

// A launch that is asked before each step does in order what else goes on at the same
// time, and its child stops before each of its tasks:
//
//	launch                                   child
//	------                                   -----
//	changes to the host, one by one
//	clone3 ───────────────────────────────► "I am here"     pauses.announced
//	state.json, one by one                   waits           pauses.resume
//	   ◄── asked: the task that comes           │
//	a byte ────────────────────────────────────►│ its calls, up to the next task
//	   ◄── asked …                           "I am here"
//	the end of announced                     execve
//
// The child, without a Go runtime, knows nothing of this: its program has a write and a
// read more before each task.

// A Stop is a moment of a launch at which it waits to be told to go on.
type Stop struct {
	Host    bool     // what comes is a change to the host; otherwise it is calls of the child
	Words   string   // what comes
	Command string   // what an administrator would type for it
	Calls   []string // the system calls of the child that are it

	launch *launch
}

// pauses are the parent's ends of the pipes, and the child's, which the parent closes.
type pauses struct{ announced, resume, announce, resumed int }

// runAsking applies steps, each after it was asked about. How long that took is not the
// step's time.
func (l *launch) runAsking(steps []step.Step) error {
	var asked time.Duration
	steps = step.Asking(steps, func(s step.Step) error {
		begin := time.Now()
		defer func() { asked = time.Since(begin) }()
		return l.watch.Ask(&Stop{Host: true, Words: s.Words(), Command: s.String(), launch: l})
	})
	var observe step.Observer
	if l.watch.Step != nil {
		observe = func(s step.Step, took time.Duration, err error) { l.watch.Step(s, took-asked, err) }
	}
	return step.Run(steps, observe)
}

// preparePauses makes the pipes.
func (l *launch) preparePauses() (err error) {
	if l.watch.Ask == nil {
		return nil
	}
	p := &l.pauses
	if p.announced, p.announce, err = l.pipe(); err == nil {
		p.resumed, p.resume, err = l.pipe()
	}
	l.plan.parentEnds = append(l.plan.parentEnds, p.announced, p.resume)
	return step.Fail("make a pipe for", l.config.Name, err)
}

// pausing is the program with its stops.
func (l *launch) pausing(p *program.Program) *program.Program {
	if l.watch.Ask == nil {
		return p
	}
	return p.Pausing(l.pauses.announce, l.pauses.resumed)
}

// closePauses closes the child's ends, so that the child's end is seen.
func (l *launch) closePauses() {
	for _, fd := range []int{l.pauses.announce, l.pauses.resumed} {
		if fd > 0 {
			l.disown(fd)
		}
	}
}

// disown closes a descriptor that the launch owns.
func (l *launch) disown(fd int) {
	for i, own := range l.fds {
		if own == fd {
			l.fds = append(l.fds[:i:i], l.fds[i+1:]...)
			unix.Close(fd)
			return
		}
	}
}

// tasks lists what the program does, task by task.
func (l *launch) tasks(p *program.Program) (list []*Stop) {
	if l.watch.Ask == nil {
		return nil
	}
	for _, o := range p.Ops {
		if o.Words != "" {
			list = append(list, &Stop{Words: o.Words, Command: o.Command, launch: l})
		}
		if n := len(list); n > 0 {
			list[n-1].Calls = append(list[n-1].Calls, o.String())
		}
	}
	return list
}

// askTasks asks before each task of the child. That the child has ended is no error
// here: it has reported its own.
func (l *launch) askTasks(tasks []*Stop) error {
	for _, t := range tasks {
		var b [1]byte
		n, err := unix.Read(l.pauses.announced, b[:])
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Read(l.pauses.announced, b[:])
		}
		if err != nil || n == 0 {
			return step.Fail("wait for", l.config.Name, err)
		}
		if err := l.watch.Ask(t); err != nil {
			return err
		}
		if _, err := unix.Write(l.pauses.resume, b[:]); err != nil && !errors.Is(err, unix.EPIPE) {
			return step.Fail("release", l.config.Name, err)
		}
	}
	return nil
}

// Place says in words where a shell of this moment is.
func (s *Stop) Place() string {
	l := s.launch
	switch {
	case !s.Host && l.rootIsHosts():
		return fmt.Sprintf("in the namespaces of the container's first process, %d; its root is the host's still, the container's comes to %s", l.pid, l.plan.attach)
	case !s.Host:
		return fmt.Sprintf("in the namespaces of the container's first process, %d, in the container's root", l.pid)
	case l.netns != nil || l.pid > 0 && l.lateNetwork():
		return "on the host, in the container's network namespace"
	}
	return "on the host: there is no namespace of the container yet"
}

// rootIsHosts reports whether the child has not made the container's root its own.
func (l *launch) rootIsHosts() bool {
	here, err := os.Stat("/")
	there, err2 := os.Stat(fmt.Sprintf("/proc/%d/root", l.pid))
	return err == nil && err2 == nil && os.SameFile(here, there)
}
