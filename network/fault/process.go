package fault

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/names"
)

// process is one that is known by more than its number, which may be another's later.
type process struct {
	Pid   int
	Start string // proc_pid_stat(5), field 22
}

// stat is the state letter and the start time of a process.
func stat(pid int) (state, start string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return "", "", fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields[0], fields[19], nil
}

// signal sends a signal to the process, if it still is that one. A descriptor of it
// keeps its number from becoming another's in between.
func (p process) signal(number unix.Signal) error {
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, start, err := stat(p.Pid); err != nil || start != p.Start {
		return errors.Join(err, unix.ESRCH)
	}
	return unix.PidfdSendSignal(fd, number, nil, 0)
}

// stopped is a process that stands still.
type stopped struct {
	Process process
	Name    string
}

func (s *stopped) has() (bool, error) {
	state, start, err := stat(s.Process.Pid)
	if err == nil && start != s.Process.Start {
		err = unix.ESRCH
	}
	return state == "T", err
}

// put waits until all threads stand still: those that run now come to it later.
func (s *stopped) put() error {
	if err := s.Process.signal(unix.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if has, err := s.has(); has || err != nil {
			return err
		}
	}
	return nil // it will
}

func (s *stopped) take() error  { return s.Process.signal(unix.SIGCONT) }
func (s *stopped) what() string { return "process " + strconv.Itoa(s.Process.Pid) + ", " + s.Name }

func (s *stopped) command(put bool) string {
	return "kill -" + word(put, "STOP ", "CONT ") + strconv.Itoa(s.Process.Pid)
}

// nameServer is the name server of a network.
type nameServer struct {
	Process         process
	Runroot         string
	Network, Bridge string
	Addresses       []netip.Addr
}

func (s *nameServer) has() (bool, error) { return names.Alive(s.Runroot, s.Network) }

func (s *nameServer) put() error {
	return names.Start(s.Runroot, s.Network, s.Addresses, s.Bridge)
}

// take waits until it is gone: the kernel closes its sockets a moment after.
func (s *nameServer) take() error {
	if err := s.Process.signal(unix.SIGKILL); err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(s.Process.Pid, 0)
	if err != nil {
		return ignoreMissing(err)
	}
	defer unix.Close(fd)
	const milliseconds = 1000
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, milliseconds)
	return err
}

func (s *nameServer) what() string { return "name server of network " + s.Network }

func (s *nameServer) command(put bool) string {
	if put {
		return "minictr network reload"
	}
	return "kill -KILL " + strconv.Itoa(s.Process.Pid)
}
