package program

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options say how a program is started.
type Options struct {
	// Flags are the namespaces of the first child: CLONE_NEWPID, ….
	Flags uint64
	// Cgroup is a descriptor of a cgroup v2 directory to be born in, or 0.
	Cgroup int
	// Observe, when not nil, is told of each operation as it is done, in the
	// order in which the kernel wrote them down; Close waits until it has been
	// told of all.
	Observe func(Event)
}

// An Event is an operation that has been done.
type Event struct {
	Index int
	Op    Op
	Errno syscall.Errno // 0, or one that the operation accepts, or the failure
	Took  time.Duration // since the operation before it in any process of the program
}

// A Process is a started program.
type Process struct {
	Pid   int // of the first child, in the caller's PID namespace
	Pidfd int // close-on-exec; the caller's to close

	program *Program
	report  int
	traced  chan struct{}
}

// leastDescriptor is the number from which the descriptors of a program's own
// pipes start, out of the way of the low numbers that the programs fill.
const leastDescriptor = 16

// Start clones a child that runs the program. The caller receives what it
// reports by Receive, reaps it, and closes Pidfd.
func Start(p *Program, o Options) (*Process, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	read, write, err := pipe()
	if err != nil {
		return nil, fmt.Errorf("make the report pipe: %w", err)
	}
	defer unix.Close(write)
	process := &Process{program: p, report: read}
	trace := 0
	if o.Observe != nil {
		var out int
		if out, trace, err = pipe(); err != nil {
			unix.Close(read)
			return nil, fmt.Errorf("make the trace pipe: %w", err)
		}
		defer unix.Close(trace)
		process.traced = make(chan struct{})
		go process.observe(out, monotonic(), o.Observe)
	}
	im := lower(p, write, trace)
	process.Pid, process.Pidfd, err = clone(o.Flags, o.Cgroup, &im.context)
	if err != nil {
		unix.Close(read)
		return nil, &os.SyscallError{Syscall: "clone3", Err: err}
	}
	return process, nil
}

// pipe makes a close-on-exec pipe with high descriptor numbers.
func pipe() (read, write int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if read, err = unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, leastDescriptor); err != nil {
		return -1, -1, err
	}
	if write, err = unix.FcntlInt(uintptr(fds[1]), unix.F_DUPFD_CLOEXEC, leastDescriptor); err != nil {
		unix.Close(read)
		return -1, -1, err
	}
	return read, write, nil
}

// Receive waits for the next report: the value of a slot, an *Error of the
// operation that failed, or io.EOF when every process of the program has become
// another program or is gone.
func (p *Process) Receive() (uint64, error) {
	var b [8]byte
	n, err := readFull(p.report, b[:])
	if err != nil {
		return 0, err
	}
	if n < len(b) {
		return 0, io.EOF
	}
	v := binary.NativeEndian.Uint64(b[:])
	if v&failed == 0 {
		return v, nil
	}
	index := int(v >> 32 & 0x7fffffff)
	if index == stubFailed {
		index = max(0, slices.IndexFunc(p.program.Ops, func(o Op) bool { return o.Stub }))
	}
	if index >= len(p.program.Ops) { // somebody else has written into the pipe
		return 0, fmt.Errorf("receive from the child: no operation %d", index)
	}
	return 0, &Error{Index: index, Op: p.program.Ops[index], Words: p.program.Words(index), Errno: syscall.Errno(uint32(v))}
}

// Close gives the report pipe back and waits for the last event. It does not
// touch the child.
func (p *Process) Close() {
	if p.traced != nil {
		<-p.traced
	}
	unix.Close(p.report)
}

// observe reads the trace pipe until all writers are gone.
func (p *Process) observe(fd int, last time.Duration, tell func(Event)) {
	defer close(p.traced)
	defer unix.Close(fd)
	var b [16]byte
	for {
		n, err := readFull(fd, b[:])
		if err != nil || n < len(b) {
			return
		}
		w, at := binary.NativeEndian.Uint64(b[:]), time.Duration(binary.NativeEndian.Uint64(b[8:]))
		i := int(w >> 32)
		if i >= len(p.program.Ops) {
			return
		}
		tell(Event{Index: i, Op: p.program.Ops[i], Errno: syscall.Errno(uint32(w)), Took: at - last})
		last = at
	}
}

func monotonic() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // cannot fail: the clock is there since Linux 2.6
	}
	return time.Duration(t.Nano())
}

// readFull reads until b is full or the writers are gone.
func readFull(fd int, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := unix.Read(fd, b[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, os.NewSyscallError("read", err)
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}
