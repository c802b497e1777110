package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/rootfs/volume"
	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// Watch is told what a launch does, as it does it. The zero value is told
// nothing.
type Watch struct {
	Step      step.Observer       // a change to the host
	Operation func(program.Event) // a system call of the child
	Warn      func(text string)   // what works less well than was asked

	// Ask is asked before each change to the host and each task of the child, and
	// its error ends the launch. It is not for detached containers.
	Ask func(*Stop) error
}

// Standard is where the container's standard streams go when it is not
// detached. Without Terminal the descriptors are handed on as they are.
type Standard struct {
	Stdin, Stdout, Stderr *os.File
}

// launch is one container being started: what has been done so far, in the order
// in which it has to be undone, and the descriptors that it holds.
type launch struct {
	*Runtime
	config *Config
	watch  Watch
	hooks  hooks
	mu     sync.Mutex // guards done, fds and nameless: the network is made beside the rest
	done   []step.Step
	fds    []int

	lock    *lock
	plan    plan
	cgroups *cgroups.Host
	group   *cgroups.Group
	release pipes
	master  *os.File  // of the terminal
	slave   *os.File  // kept open beside it
	input   *input    // what Process.Wait copies into the container
	logged  bool      // its output goes into the log, beside the caller's streams
	outputs []output  // what Process.Wait copies
	signals *listener // not for a detached container
	pid     int       // of the container
	child   int       // of this process: the container, or its monitor
	pidfd   int
	state   *State
	created bool           // the container is a new one
	userns  int            // a user namespace with the container's mappings, once it is needed
	asked   map[int]*Mount // index of plan.spec.Mounts -> what was asked for there
	held    []*volume.Hold // until the container's files name the volumes

	network     *network.Config
	netns       *os.File // its namespace
	files       map[string]OwnFile
	nameless    []string   // of its networks, those that have no name server
	host        *Container // whose network this one shares
	resolved    chan error // see launchnetwork.go
	networkDone chan outcome
	pauses      pauses
	lent        *os.File    // a terminal of the host's, for a shell of Stop
	early       bool        // it is such a shell
	advice      chan func() // gives what there is to tell of other firewalls; nil when nobody asks
}

// pipes are the write ends that let the child go on.
type pipes struct{ mapped, start int }

// hooks let a test change what a launch is about to do, so as to fail it.
type hooks struct {
	steps   func([]step.Step) []step.Step
	program func(*program.Program) *program.Program
}

// apply applies steps, and remembers them for undo.
func (l *launch) apply(steps ...step.Step) error {
	if err := l.applyOnly(steps); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, steps...)
	return nil
}

// applyOnly applies steps that need no undo once all of them are applied.
func (l *launch) applyOnly(steps []step.Step) error {
	if l.hooks.steps != nil {
		steps = l.hooks.steps(steps)
	}
	if l.watch.Ask != nil {
		return l.runAsking(steps)
	}
	return step.Run(steps, l.watch.Step)
}

// own makes the launch the owner of a descriptor, and moves it out of the way of
// the low numbers.
func (l *launch) own(fd int) (int, error) {
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstPrivate)
	unix.Close(fd)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	l.fds = append(l.fds, high)
	return high, nil
}

// pipe makes a close-on-exec pipe of high descriptors that the launch owns.
func (l *launch) pipe() (read, write int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, os.NewSyscallError("pipe2", err)
	}
	read, err = l.own(p[0])
	write, err2 := l.own(p[1])
	return read, write, errors.Join(err, err2)
}

// close closes what the launch owns.
func (l *launch) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	l.fds = nil
}

// closeStreams closes this process's ends of the container's streams.
func (l *launch) closeStreams() {
	files := []*os.File{l.master, l.slave}
	if l.input != nil {
		files = append(files, l.input.to)
	}
	for _, o := range l.outputs {
		files = append(files, o.from)
	}
	for _, f := range files {
		if f != nil {
			_ = f.Close() // the launch has failed for another reason
		}
	}
}

// undo takes everything back, after a failure.
func (l *launch) undo() error {
	if l.pidfd > 0 {
		_ = unix.PidfdSendSignal(l.pidfd, unix.SIGKILL, nil, 0) // it may be gone already
		waitChild(l.child)
	}
	l.settleNetwork()
	l.signals.stop()
	l.closeStreams()
	l.close()
	l.letVolumesGo()
	err := errors.Join(l.releaseLease(), step.Undo(l.done))
	l.lock.release()
	return err
}

// run brings the container to life: everything up to the moment at which its
// process has become the command. On an error nothing of it is left.
func (l *launch) run(io Standard) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, l.undo())
		}
	}()
	if !l.config.Detach {
		l.signals = listen()
	}
	for _, stage := range []func() error{
		l.networkBegin, // beside the next ones
		l.prepareDevices,
		l.prepareGroup,
		l.prepareRoot,
		l.placeMounts,
		l.prepareFilter,
		l.awaitAddress,
		l.prepareNamespaces,
		l.prepareFiles,
		l.prepareMounts,
		l.preparePaths,
		l.prepareUser,
		func() error { return l.prepareStreams(io) },
		l.preparePipes,
		l.preparePauses,
		l.start,
	} {
		if err := stage(); err != nil {
			return err
		}
	}
	return nil
}

// start clones the child and, while it makes its mounts, writes down what it is
// and waits for its network.
func (l *launch) start() error {
	p, err := compile(l.plan)
	if err != nil {
		return err
	}
	if l.hooks.program != nil {
		p = l.hooks.program(p)
	}
	tasks := l.tasks(p)
	p = l.pausing(p)
	options := program.Options{Flags: l.plan.cloneFlags, Cgroup: l.plan.cgroupFD, Observe: l.watch.Operation}
	if l.plan.monitor != nil {
		options.Flags, options.Cgroup = 0, 0
	}
	child, err := program.Start(p, options)
	if err != nil {
		return step.Fail("clone", l.config.Name, err)
	}
	defer child.Close()
	l.pid, l.child, l.pidfd = child.Pid, child.Pid, child.Pidfd
	l.fds = append(l.fds, child.Pidfd)
	l.closePauses()
	if err := l.findContainer(child); err != nil {
		return err
	}
	if err := errors.Join(l.mapIDs(), l.keep(), l.connect()); err != nil {
		return l.firstCause(child, err)
	}
	if l.signals != nil {
		<-l.signals.ready // from now on there is somebody to forward them to
	}
	if err := errors.Join(l.let(l.release.start), l.askTasks(tasks)); err != nil {
		return l.firstCause(child, err)
	}
	if _, err := child.Receive(); !errors.Is(err, io.EOF) {
		return l.explain(err)
	}
	return nil
}

// findContainer, for a detached container, learns its pid from the monitor.
func (l *launch) findContainer(child *program.Process) error {
	if l.plan.monitor == nil {
		return nil
	}
	pid, err := child.Receive()
	if err != nil {
		return l.explain(err)
	}
	l.pid = int(pid)
	return nil
}

// firstCause prefers what the child reported: when it fails, what the parent
// tries with it fails too.
func (l *launch) firstCause(child *program.Process, err error) error {
	_ = unix.PidfdSendSignal(l.pidfd, unix.SIGKILL, nil, 0) // ends the wait for a report
	for _, fd := range []*int{&l.release.mapped, &l.release.start} {
		if *fd != 0 {
			unix.Close(*fd)
			*fd = 0
		}
	}
	var report *program.Error
	if _, e := child.Receive(); errors.As(e, &report) && report.Errno != 0 {
		return l.explain(report)
	}
	return err
}

// let writes the byte that a read of the child waits for.
func (l *launch) let(fd int) error {
	if fd == 0 {
		return nil
	}
	_, err := unix.Write(fd, []byte{1})
	return step.Fail("release", l.config.Name, err)
}

// keep writes config.json, where it is not there yet, and state.json: from then
// on other commands see the container run.
func (l *launch) keep() error {
	if _, err := os.Lstat(l.lasting(l.config.ID, "config.json")); err != nil {
		if err := l.apply(&writeFile{path: l.lasting(l.config.ID, "config.json"), value: l.config, whole: true, words: "write down what was asked"}); err != nil {
			return err
		}
	}
	ticks, _, err := processStart(l.pid)
	if err != nil {
		return step.Fail("read the start time of", fmt.Sprint(l.pid), err)
	}
	s := &State{Pid: l.pid, StartTime: ticks, BootID: bootID(), Started: time.Now()}
	if s.Network, err = l.lastingNetwork(); err != nil {
		return err
	}
	if l.group != nil {
		s.Cgroups = l.group.Paths()
	}
	s.Files = l.files
	l.state = s
	if err := l.keepState(false); err != nil {
		return err
	}
	return l.linkNetns()
}

// keepState writes state.json; again, when somebody may be reading it.
func (l *launch) keepState(again bool) error {
	return l.apply(&writeFile{path: l.running(l.config.ID, "state.json"), value: l.state, whole: again, words: "write down that it runs"})
}

// explain turns the failure of an operation into one that a user understands.
func (l *launch) explain(err error) error {
	var report *program.Error
	if !errors.As(err, &report) {
		return err
	}
	if report.Op.Stub && report.Errno != 0 {
		return &CommandError{Command: l.config.Args[0], Errno: report.Errno}
	}
	return err
}

// CommandError is a command that could not be run in the container.
type CommandError struct {
	Command string
	Errno   unix.Errno
}

func (e *CommandError) Error() string {
	cause := e.Errno.Error()
	switch e.Errno {
	case unix.ENOENT:
		cause = "not found"
		if filepath.Base(e.Command) == e.Command {
			cause = "not found in PATH"
		}
	case unix.ENOEXEC:
		cause = "not a program this machine can run (exec format error)"
	}
	return "run " + e.Command + ": " + cause
}

// Unwrap returns the errno.
func (e *CommandError) Unwrap() error { return e.Errno }

// waitChild reaps a child that has been killed.
func waitChild(pid int) {
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
