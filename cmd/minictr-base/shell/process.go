package shell

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A place is where a process runs: before the user's eyes or not.
type place bool

const (
	foreground place = true
	background place = false
)

// A terminal is the one that the interactive shell lends to what it runs. A nil
// terminal lends nothing.
//
//	^C ─► the terminal's foreground process group ─► the command, not the shell
type terminal struct {
	fd    int
	shell int // its process group

	mu      sync.Mutex
	group   int // of the running foreground commands; 0: none
	members int
}

// openTerminal makes the shell the terminal's foreground group, and returns nil
// where there is no controlling terminal.
func openTerminal(in *os.File) *terminal {
	fd := int(in.Fd())
	if _, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil {
		return nil
	}
	// Taking the terminal back from the background would stop the shell by
	// SIGTTOU, and nobody could wake a command that ^Z stopped: there is no job
	// control beyond "&" and fg.
	signal.Ignore(unix.SIGTTOU, unix.SIGTTIN, unix.SIGTSTP)
	_ = unix.Setpgid(0, 0) // the leader of a session has its own group already
	t := &terminal{fd: fd, shell: unix.Getpgrp()}
	t.takeBack()
	return t
}

func (t *terminal) give(group int) {
	// ESRCH of a group that has ended meanwhile is no loss.
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group)
}

// takeBack makes the shell the foreground group.
func (t *terminal) takeBack() {
	if t != nil {
		t.give(t.shell)
	}
}

// forget gives up what a program in the shell's place must not inherit.
func (t *terminal) forget() {
	if t != nil {
		signal.Reset(unix.SIGTTOU, unix.SIGTTIN, unix.SIGTSTP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM)
	}
}

// startProcess starts a process. With job control it is put into a process group:
// all parts of a pipeline into one, which has the terminal.
func (s *shell) startProcess(cmd *exec.Cmd, where place) error {
	t := s.terminal
	if t == nil {
		return s.spawn(cmd)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if where == foreground && t.members > 0 {
		cmd.SysProcAttr.Pgid = t.group
	}
	err := s.spawn(cmd)
	if errors.Is(err, unix.EPERM) && cmd.SysProcAttr.Pgid != 0 { // that group has ended just now
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		*cmd = copyOf(cmd)
		err = s.spawn(cmd)
	}
	if err != nil || where == background {
		return err
	}
	if cmd.SysProcAttr.Pgid == 0 {
		t.group = cmd.Process.Pid
		t.give(t.group)
	}
	t.members++
	return nil
}

// spawn starts the process, and starts it as a script of the shell where the
// kernel does not know its format. Others may write to a program that was just
// copied: that passes.
func (s *shell) spawn(cmd *exec.Cmd) error {
	s.jobs.starting.Lock()
	defer s.jobs.starting.Unlock()
	err := cmd.Start()
	for wait := time.Millisecond; errors.Is(err, unix.ETXTBSY) && wait < 200*time.Millisecond; wait *= 2 {
		time.Sleep(wait)
		*cmd = copyOf(cmd)
		err = cmd.Start()
	}
	if errors.Is(err, unix.ENOEXEC) {
		if _, binary := openScript(cmd.Path); binary != nil {
			return binary
		}
		*cmd = copyOf(cmd)
		cmd.Path, cmd.Args = applet.Self, append([]string{"sh", cmd.Path}, cmd.Args[1:]...)
		err = cmd.Start()
	}
	if err == nil {
		s.jobs.children.Store(cmd.Process.Pid, true)
	}
	return err
}

// copyOf is a command that was not started yet.
func copyOf(c *exec.Cmd) exec.Cmd {
	return exec.Cmd{
		Path: c.Path, Args: c.Args, Dir: c.Dir, Env: c.Env, SysProcAttr: c.SysProcAttr,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, ExtraFiles: c.ExtraFiles,
	}
}

// waitProcess waits for a process; the last one in the foreground gives the
// terminal back.
func (s *shell) waitProcess(cmd *exec.Cmd, where place) error {
	err := cmd.Wait()
	s.jobs.children.Delete(cmd.Process.Pid)
	if t := s.terminal; t != nil && where == foreground {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.members--; t.members == 0 {
			t.group = 0
			t.takeBack()
		}
	}
	return err
}
