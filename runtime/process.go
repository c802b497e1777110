package runtime

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minictr/minictr/runtime/logfile"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Process is a process of a container that this one is the parent of: the first
// one of a container that is not detached, or one of Exec.
type Process struct {
	Pid    int
	pidfd  int
	master *os.File // of its terminal, or nil
	slave  *os.File // kept open beside it
	input  *input
	// outputs are copied by Wait, and with the terminal's go into the log when
	// that has a name.
	outputs []output
	log     string
	// outlived says that processes of the container may go on when this one has
	// ended, and keep its terminal open.
	outlived bool
	patience <-chan time.Time // never, but for an outlived process that has ended
	signals  *listener
	ended    func(code int) error
}

// process hands the running container over to the caller.
func (l *launch) process() *Process {
	// The write ends of the container's streams must not stay open here.
	pidfd, _ := unix.FcntlInt(uintptr(l.pidfd), unix.F_DUPFD_CLOEXEC, firstPrivate)
	l.close()
	r, id, lock := l.Runtime, l.config.ID, l.lock
	e := ending{id: id, config: l.config, state: l.state, group: l.group}
	p := &Process{Pid: l.pid, pidfd: pidfd, master: l.master, slave: l.slave, input: l.input, outputs: l.outputs, signals: l.signals, ended: func(code int) error {
		defer lock.release()
		e.result = Result{ExitCode: code, Finished: time.Now()}
		return r.giveBack(e)
	}}
	if l.logged {
		p.log = r.lasting(id, logfile.Name)
	}
	return p
}

// Wait forwards signals to the process, connects its terminal to the given
// streams, and returns its exit code when it has ended and everything it held
// has been given back.
func (p *Process) Wait(s Standard) (int, error) {
	log, err := p.openLog()
	if err != nil {
		return 0, err
	}
	signal.Ignore(unix.SIGPIPE) // a reader that is gone ends the copying, not this process
	drain := p.copyOutputs(log)
	restore := p.connectTerminal(s, log)
	stop := p.forwardSignals()
	code, err := p.reap()
	if p.outlived {
		p.patience = time.After(drainTime)
	}
	stop()
	restore()
	drain()
	log.Close()
	unix.Close(p.pidfd)
	if err != nil {
		return 0, err
	}
	return code, p.ended(code)
}

// openLog opens the log; nil when the process has none.
func (p *Process) openLog() (*os.File, error) {
	if p.log == "" {
		return nil, nil
	}
	return os.OpenFile(p.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// tee writes to the caller's stream and, where there is one, to the log.
func tee(to io.Writer, log *os.File, stream string) io.Writer {
	if log == nil {
		return to
	}
	return io.MultiWriter(to, &logfile.Writer{W: log, Stream: stream, Now: time.Now})
}

// copyOutputs copies the container's streams until they end. The returned
// function waits for that: it is when the last process of the container is gone.
func (p *Process) copyOutputs(log *os.File) (drain func()) {
	if in := p.input; in != nil {
		go func() { // ends with this process
			_, _ = io.Copy(in.to, in.from) // the container may not want it
			_ = in.to.Close()
		}()
	}
	var copies sync.WaitGroup
	for _, o := range p.outputs {
		copies.Go(func() {
			_, _ = io.Copy(tee(o.to, log, o.name), o.from) // a reader that is gone ends it
			o.from.Close()
		})
	}
	return copies.Wait
}

// drainTime is how long the last output on a terminal is waited for when another
// process of the container still has it open.
const drainTime = 500 * time.Millisecond

// reap returns the exit code as a shell would say it.
func (p *Process) reap() (int, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(p.Pid, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("wait4", err)
		}
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
}

// forwarded are the signals that people and service managers send to programs.
// To listen to all 64 would cost 5 ms: the Go runtime asks each of a thread of
// its own, one after the other.
var forwarded = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH}

// A listener holds the signals that reach this process until there is a process
// to forward them to.
type listener struct {
	signals chan os.Signal
	ready   chan struct{} // closed when no signal is lost any more
}

// listen starts to listen, beside what the caller does next.
func listen() *listener {
	l := &listener{signals: make(chan os.Signal, 64), ready: make(chan struct{})}
	go func() {
		signal.Notify(l.signals, forwarded...)
		close(l.ready)
	}()
	return l
}

// ending reports whether one of the signals that are held asks for the end.
func (l *listener) ending() (ends bool) {
	if l == nil {
		return false
	}
	for range len(l.signals) {
		s := <-l.signals
		ends = ends || slices.Contains([]os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP}, s)
		select {
		case l.signals <- s:
		default: // there are 64 others by now
		}
	}
	return ends
}

// stop gives the signals their usual effect again.
func (l *listener) stop() {
	if l == nil {
		return
	}
	<-l.ready
	signal.Stop(l.signals)
	close(l.signals)
}

// forwardSignals sends the signals that have reached this process, and those that
// do, to the container.
func (p *Process) forwardSignals() (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range p.signals.signals {
			if s == unix.SIGWINCH && p.master != nil {
				p.resize()
				continue
			}
			_ = unix.PidfdSendSignal(p.pidfd, s.(unix.Signal), nil, 0) // it may just have ended
		}
	}()
	return func() {
		p.signals.stop()
		<-done
	}
}

// connectTerminal puts the caller's terminal into raw mode and copies between it
// and the container's. The returned function waits for the last output.
func (p *Process) connectTerminal(s Standard, log *os.File) (restore func()) {
	if p.master == nil {
		return func() {}
	}
	p.resize()
	var old *term.State
	if s.Stdin != nil && term.IsTerminal(int(s.Stdin.Fd())) {
		old, _ = term.MakeRaw(int(s.Stdin.Fd())) // without raw mode it still works, less well
	}
	if s.Stdin != nil {
		go func() { _, _ = io.Copy(p.master, s.Stdin) }() // ends with this process
	}
	drained := make(chan struct{})
	go func() {
		_, _ = io.Copy(tee(s.Stdout, log, "stdout"), p.master) // ends with EIO when the last writer is gone
		close(drained)
	}()
	return func() {
		p.slave.Close()
		select {
		case <-drained:
		case <-p.patience:
		}
		if old != nil {
			_ = term.Restore(int(s.Stdin.Fd()), old)
		}
		p.master.Close()
	}
}

// resize gives the container's terminal the size of the caller's.
func (p *Process) resize() {
	if p.master == nil {
		return
	}
	for _, fd := range []int{0, 1, 2} {
		if size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, size)
			return
		}
	}
}

// ParseSignal reads a signal's name, with or without SIG, or number. Empty is
// SIGTERM.
func ParseSignal(s string) (unix.Signal, error) {
	if s == "" {
		return unix.SIGTERM, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	if n := realtimeSignal(name); n != 0 {
		return n, nil
	}
	return 0, &SignalError{s}
}

// realtimeSignal reads SIGRTMIN+n and SIGRTMAX-n, signal(7); the C libraries keep
// the first two of the kernel's for themselves. systemd's stop signal is one.
func realtimeSignal(name string) unix.Signal {
	const first, last = 34, 64
	for prefix, base := range map[string]int{"SIGRTMIN": first, "SIGRTMAX": last} {
		rest, found := strings.CutPrefix(name, prefix)
		if !found {
			continue
		}
		offset, err := strconv.Atoi(rest)
		if rest == "" {
			offset, err = 0, nil
		}
		if n := base + offset; err == nil && n >= first && n <= last {
			return unix.Signal(n)
		}
	}
	return 0
}

// SignalError is a signal that does not exist.
type SignalError struct{ Name string }

func (e *SignalError) Error() string { return "unknown signal " + strconv.Quote(e.Name) }
