package namespaces

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// An Ending is what End did about one process.
type Ending struct {
	Process Process
	Signal  unix.Signal // the last one that was sent to it
	Spared  string      // why it was left alone; empty when it was not
	Err     error       // why it lives on in spite of the signal
}

// killTime is how long a process may take to go after a SIGKILL.
const killTime = 5 * time.Second

// rounds is how often End looks for processes that were forked meanwhile.
const rounds = 20

// End ends the processes that are in a namespace with all their threads: with SIGTERM
// and, where one has not gone within the time, SIGKILL. Each is signalled by a pidfd that
// was opened before it was seen in the namespace, so that no other process can be
// meant. It spares process 1, the caller, what the caller was started by, and kernel
// threads; of a process with only some threads in the namespace it cannot be said
// whether it belongs there, so it is spared, too.
func End(kind Kind, inode uint64, grace time.Duration) ([]Ending, error) {
	e := &ender{wanted: key{kind.index(), inode}, callers: callers(), known: map[int]bool{}}
	for round := range rounds {
		list, err := e.find()
		if err != nil || len(list) == 0 {
			return e.report, err
		}
		if round > 0 {
			grace = 0 // it was forked by one that was told to go
		}
		e.end(list, grace)
	}
	return e.report, errors.New("processes are forked in it faster than they can be ended")
}

type ender struct {
	wanted  key
	callers map[int]bool
	known   map[int]bool // what is in the report
	report  []Ending
}

// A target is a process that is to be ended.
type target struct {
	Ending
	pidfd int
}

// callers are this process and those above it, but not process 1, which all are below.
func callers() map[int]bool {
	list := map[int]bool{}
	for pid := os.Getpid(); pid > 1 && !list[pid]; {
		list[pid] = true
		p, err := Describe(pid)
		if err != nil {
			break
		}
		pid = p.PPid
	}
	return list
}

// find opens the processes that are to be ended, and reports those that are spared.
func (e *ender) find() (list []*target, err error) {
	f := &finder{wanted: e.wanted}
	for pid := range everyProcess() {
		if e.known[pid] {
			continue
		}
		pidfd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			continue // it has ended
		}
		if err != nil {
			return list, fmt.Errorf("pidfd_open %d: %w", pid, err)
		}
		inside, threads := f.threads("/proc/" + strconv.Itoa(pid))
		if len(inside) == 0 || Ended(pidfd) {
			unix.Close(pidfd)
			continue
		}
		e.known[pid] = true
		t := &target{Ending{Process: described(pid)}, pidfd}
		if t.Spared = e.spared(t.Process, len(inside) < threads); t.Spared == "" {
			list = append(list, t)
			continue
		}
		unix.Close(pidfd)
		e.report = append(e.report, t.Ending)
	}
	return list, nil
}

// spared says why a process is not to be ended; empty: nothing speaks against it.
func (e *ender) spared(p Process, partly bool) string {
	switch {
	case p.Pid == 1:
		return "it is process 1"
	case e.callers[p.Pid]:
		return "this command was started from it"
	case p.Pid == kthreadd || p.PPid == kthreadd:
		return "it is the kernel's"
	case partly:
		return "only some of its threads are in the namespace"
	}
	return ""
}

// end ends processes, and reports them.
func (e *ender) end(list []*target, grace time.Duration) {
	left := list
	if grace > 0 {
		left = signalled(left, unix.SIGTERM, grace)
	}
	for _, t := range signalled(left, unix.SIGKILL, killTime) {
		t.Err = errors.Join(t.Err, errors.New("it does not end: it waits in the kernel, or is frozen"))
	}
	for _, t := range list {
		unix.Close(t.pidfd)
		e.report = append(e.report, t.Ending)
	}
}

// signalled sends all a signal, waits until they are gone, and returns who is not.
func signalled(list []*target, signal unix.Signal, wait time.Duration) []*target {
	for _, t := range list {
		t.Signal = signal
		if err := unix.PidfdSendSignal(t.pidfd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Err = fmt.Errorf("send %s: %w", unix.SignalName(signal), err)
		}
	}
	for deadline := time.Now().Add(wait); ; {
		list = slices.DeleteFunc(slices.Clone(list), func(t *target) bool { return readable(t.pidfd, 0) })
		left := time.Until(deadline)
		if len(list) == 0 || left <= 0 {
			return list
		}
		readable(list[0].pidfd, left)
	}
}

// readable waits until a pidfd can be read: its process has ended, pidfd_open(2).
func readable(pidfd int, wait time.Duration) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
	return err == nil && n == 1
}
