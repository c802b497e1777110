// Command minictr-monitor looks after one detached container: it is the parent
// of the container's first process, keeps its exit status and copies its output
// into the log. minictr starts it; see runtime/monitor.go for the picture.
//
// It lives as long as the container, so it is small: it imports nothing but the
// log's format, and it has one thread of work that waits in poll(2). When the
// container has ended it writes down how, and becomes minictr once more, which
// cleans up. Called as "init" it is the container's own first process instead.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/minictr/minictr/runtime/logfile"
	"golang.org/x/sys/unix"
)

// The descriptors that minictr leaves; see runtime/monitor.go.
const (
	pidfd  = 4
	output = 5
	errout = 6
	stdin  = 7
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "--" { // --init binds this program into the container
		os.Exit(initMain(os.Args[2:]))
	}
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "minictr-monitor: is started by minictr, not by hand")
		os.Exit(125)
	}
	m := monitor{minictr: os.Args[1], root: os.Args[2], runroot: os.Args[3], id: os.Args[4], terminal: os.Args[5] == "true"}
	debug.SetGCPercent(20) // little garbage, but for a long time
	if err := m.run(); err != nil {
		fmt.Fprintln(os.Stderr, "minictr-monitor:", err)
		os.Exit(125)
	}
}

type monitor struct {
	minictr, root, runroot, id string
	terminal                   bool
}

// run copies until the container has ended, and becomes minictr.
func (m *monitor) run() error {
	log, err := os.OpenFile(m.root+"/containers/"+m.id+"/"+logfile.Name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	streams := []*stream{
		{fd: output, log: logfile.Writer{W: log, Stream: "stdout", Now: time.Now}},
		{fd: errout, log: logfile.Writer{W: log, Stream: "stderr", Now: time.Now}},
	}
	copyUntilExit(streams)
	status, err := reap()
	if err != nil {
		return err
	}
	line := strconv.Itoa(status) + " " + time.Now().UTC().Format(time.RFC3339Nano) + "\n"
	if err := os.WriteFile(m.runroot+"/containers/"+m.id+"/exit", []byte(line), 0o600); err != nil {
		return err
	}
	argv := []string{"minictr", "--root", m.root, "--runroot", m.runroot, "finish", m.id}
	return os.NewSyscallError("execve", unix.Exec(m.minictr, argv, []string{"PATH=" + os.Getenv("PATH")}))
}

// A stream is one output of the container.
type stream struct {
	fd   int32
	log  logfile.Writer
	done bool
}

// copyUntilExit copies the streams into the log until the container's process
// has ended and they are drained. When the last process that could write is gone
// they end by themselves; a descriptor that was passed out of the container does
// not keep the monitor.
func copyUntilExit(streams []*stream) {
	buffer := make([]byte, 32<<10)
	exited := false
	for {
		set := []unix.PollFd{{Fd: pidfd, Events: unix.POLLIN}}
		timeout := -1
		if exited {
			set[0].Fd, timeout = -1, 0
		}
		for _, s := range streams {
			fd := s.fd
			if s.done {
				fd = -1
			}
			set = append(set, unix.PollFd{Fd: fd, Events: unix.POLLIN})
		}
		n, err := unix.Poll(set, timeout)
		if err == unix.EINTR {
			continue
		}
		if err != nil || exited && n == 0 {
			return
		}
		if !exited && set[0].Revents != 0 {
			exited = true
			_ = unix.Close(stdin) // the slave of a terminal: without it, its end shows
		}
		for i, s := range streams {
			if set[i+1].Revents != 0 {
				s.copy(buffer)
			}
		}
	}
}

// copy moves what is there into the log. EIO is how a terminal's master ends.
func (s *stream) copy(buffer []byte) {
	n, err := unix.Read(int(s.fd), buffer)
	if err == unix.EINTR || err == unix.EAGAIN {
		return
	}
	if n <= 0 {
		s.done = true
		return
	}
	if _, err := s.log.Write(buffer[:n]); err != nil {
		s.done = false // a full disk loses output, not the container
	}
}

// reap returns the exit code as a shell would say it.
func reap() (int, error) {
	var info unix.WaitStatus
	for {
		_, err := unix.Wait4(-1, &info, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("wait4", err)
		}
		if info.Signaled() {
			return 128 + int(info.Signal()), nil
		}
		return info.ExitStatus(), nil
	}
}
