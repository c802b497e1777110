package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// Shell runs a shell in what exists at this moment, until it ends, and returns. On a
// terminal it has one of its own; otherwise it is given lines of the input, up to the
// one that says exit, so that the next one is not its.
func (s *Stop) Shell(io Standard) error {
	var t shellStreams
	if err := t.open(io); err != nil {
		return err
	}
	defer t.close()
	start := s.shellInside
	if s.Host {
		start = s.shellOnHost
	}
	pidfd, wait, err := start(&t)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	t.started()
	if t.master != nil {
		relay(io, t.master, pidfd)
	} else {
		feed(io.Stdin, t.write, pidfd)
		_ = t.write.Close() // the end of the shell's input
		t.write = nil
	}
	return wait()
}

// shellOnHost starts the host's shell, in the container's network as soon as there is
// one.
func (s *Stop) shellOnHost(t *shellStreams) (pidfd int, wait func() error, err error) {
	c := exec.Command(cmp.Or(os.Getenv("SHELL"), "/bin/sh"))
	c.Stdin, c.Stdout, c.Stderr = t.stdin, t.stdout, t.stderr
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: t.master != nil, PidFD: &pidfd}
	start := c.Start
	switch l := s.launch; {
	case l.netns != nil:
		start = func() error { return network.Netns{Path: fmt.Sprintf("/proc/self/fd/%d", l.netns.Fd())}.Do(c.Start) }
	case l.pid > 0 && l.lateNetwork():
		start = func() error { return network.Netns{Path: fmt.Sprintf("/proc/%d/ns/net", l.pid)}.Do(c.Start) }
	}
	if err := start(); err != nil {
		return -1, nil, step.Fail("start a shell", "", err)
	}
	return pidfd, func() error {
		var exit *exec.ExitError
		if err := c.Wait(); err != nil && !errors.As(err, &exit) { // how it ends is its own affair
			return err
		}
		return nil
	}, nil
}

// shellInside starts a shell where the child is, as exec does: with the container's
// capabilities and its seccomp filter, for it may be a program of the image.
func (s *Stop) shellInside(t *shellStreams) (pidfd int, wait func() error, err error) {
	l := s.launch
	c := &Container{Config: l.config, Status: Running, State: l.state}
	command := Command{Args: []string{"sh"}, User: "0", Cwd: "/", OpenStdin: true, early: true}
	if t.master != nil {
		command.lent = t.stdin
	}
	p, err := l.Exec(c, command, Standard{Stdin: t.stdin, Stdout: t.stdout, Stderr: t.stderr}, Watch{Warn: l.watch.Warn})
	if err != nil {
		return -1, nil, err
	}
	if pidfd, err = unix.FcntlInt(uintptr(p.pidfd), unix.F_DUPFD_CLOEXEC, firstPrivate); err != nil {
		return -1, nil, os.NewSyscallError("fcntl", err)
	}
	ended := make(chan error, 1)
	go func() { // it copies, too, where the shell cannot be given the streams themselves
		_, err := p.Wait(Standard{})
		ended <- err
	}()
	return pidfd, func() error { return <-ended }, nil
}

// shellStreams are the streams of a shell: a terminal, or a pipe to it.
type shellStreams struct {
	stdin, stdout, stderr *os.File
	master                *os.File // of the terminal, or nil
	write                 *os.File // of the pipe
	restore               func()
}

func (t *shellStreams) open(io Standard) (err error) {
	t.restore = func() {}
	if io.Stdin == nil || !term.IsTerminal(int(io.Stdin.Fd())) {
		t.stdin, t.write, err = os.Pipe()
		t.stdout, t.stderr = io.Stdout, io.Stderr
		return err
	}
	devpts, err := unix.Open("/dev/pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return step.Fail("open", "/dev/pts", err)
	}
	defer unix.Close(devpts)
	master, slave, _, err := openTerminal(devpts)
	if err != nil {
		return step.Fail("make a terminal", "", err)
	}
	t.master, t.stdin = os.NewFile(uintptr(master), "terminal"), os.NewFile(uintptr(slave), "terminal")
	t.stdout, t.stderr = t.stdin, t.stdin
	if size, err := unix.IoctlGetWinsize(int(io.Stdin.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, size) // a terminal without a size works, too
	}
	old, err := term.MakeRaw(int(io.Stdin.Fd()))
	if err == nil {
		t.restore = func() { _ = term.Restore(int(io.Stdin.Fd()), old) } // it was possible before
	}
	return nil
}

// started closes the shell's end of its terminal here, so that its end is seen.
func (t *shellStreams) started() {
	if t.master != nil {
		_ = t.stdin.Close() // the shell has it
		t.stdin = nil
	}
}

func (t *shellStreams) close() {
	for _, f := range []*os.File{t.write, t.stdin, t.master} {
		if f != nil {
			_ = f.Close() // the shell has ended, or was not started
		}
	}
	t.stdin, t.master, t.write = nil, nil, nil
	t.restore()
	t.restore = func() {}
}

// relay copies between the caller's terminal and the shell's until the shell ends.
func relay(io Standard, master *os.File, pidfd int) {
	buf := make([]byte, 4096)
	fds := []unix.PollFd{{Fd: int32(io.Stdin.Fd()), Events: unix.POLLIN}, {Fd: int32(master.Fd()), Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents&unix.POLLIN != 0 {
			n, err := unix.Read(int(fds[1].Fd), buf)
			if err != nil || n == 0 {
				return
			}
			_, _ = io.Stdout.Write(buf[:n]) // the shell does not end because nobody looks
			continue                        // all of its output, before its end is looked at
		}
		if fds[2].Revents != 0 || fds[1].Revents != 0 {
			return
		}
		if fds[0].Revents != 0 {
			n, err := unix.Read(int(fds[0].Fd), buf)
			if err != nil || n == 0 {
				fds[0].Fd = -1
				continue
			}
			_, _ = master.Write(buf[:n]) // it may have ended
		}
	}
}

// feed gives the shell a line at a time, until it has ended, is told to exit, or there
// are no more.
func feed(in, to *os.File, pidfd int) {
	if in == nil {
		return
	}
	for {
		fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) || fds[1].Revents != 0 {
			return
		}
		line, err := ReadLine(in)
		if _, werr := to.WriteString(line); werr != nil || err != nil {
			return
		}
		if words := strings.Fields(line); len(words) > 0 && words[0] == "exit" {
			return
		}
	}
}

// ReadLine reads a line, and not a byte behind it.
func ReadLine(in *os.File) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := in.Read(b)
		if n == 1 {
			line = append(line, b[0])
			if b[0] == '\n' {
				return string(line), nil
			}
		}
		if err != nil {
			return string(line), err
		}
	}
}
