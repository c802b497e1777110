package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-see/lab"
)

func labStartCommand(a *app) *cobra.Command {
	var noShell bool
	c := &cobra.Command{Use: "start NAME", Short: "make an exercise's host, and open a shell in it", Args: cobra.ExactArgs(1), ValidArgsFunction: labNames}
	c.Flags().BoolVar(&noShell, "no-shell", false, "do not open a shell")
	c.RunE = func(_ *cobra.Command, args []string) error {
		l, err := a.lab(args)
		if err != nil {
			return err
		}
		started, err := l.Start()
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, l.Text())
		if !started {
			fmt.Fprintf(a.err, "(It runs already. minictr lab reset %s makes it anew.)\n", l.Name)
		}
		if noShell || !isTerminal(a.in) || !isTerminal(a.out) {
			fmt.Fprintf(a.err, "Lab %s runs. minictr lab enter %[1]s opens a shell in it.\n", l.Name)
			return nil
		}
		return a.labShell(l)
	}
	return c
}

func labEnterCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "enter [NAME] [-- COMMAND…]", Short: "open a shell in a lab, or run a command in it", ValidArgsFunction: labNames,
		Args: func(c *cobra.Command, args []string) error {
			if i := c.ArgsLenAtDash(); i >= 0 {
				args = args[:i]
			}
			return cobra.MaximumNArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			var command []string
			if i := c.ArgsLenAtDash(); i >= 0 {
				args, command = args[:i], args[i:]
			}
			l, err := a.lab(args)
			if err != nil {
				return err
			}
			if len(command) == 0 {
				return a.labShell(l)
			}
			return a.labRun(l, command)
		},
	}
}

// labRun runs a command in the lab, with this one's streams; its exit code becomes this
// one's.
func (a *app) labRun(l *lab.Lab, command []string) error {
	c := exec.Command("/bin/sh", append([]string{"-c", `exec "$@"`, "sh"}, command...)...)
	c.Env = l.Environment(os.Environ())
	c.Stdin, c.Stdout, c.Stderr = a.in, a.out, a.err
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT) // what is typed reaches the command, too
	if err := l.Enter(c); err != nil {
		return err
	}
	a.code = exitCode(c.Wait())
	if l.WantsAgain() {
		_, err := l.Start()
		return err
	}
	return nil
}

// labShell opens a shell in the lab, and once more when the lab was reset from within.
func (a *app) labShell(l *lab.Lab) error {
	if lab.Open(a.runroot).Inside != "" {
		return fmt.Errorf("this is lab %s already", l.Name)
	}
	if up, err := l.Running(); !up {
		return errors.Join(err, &lab.NotRunningError{Name: l.Name})
	}
	fmt.Fprintln(a.err, "minictr lab check says how far you are, minictr lab hint helps, exit leaves the lab.")
	for {
		if err := a.labShellOnce(l); err != nil {
			return err
		}
		if !l.WantsAgain() {
			break
		}
		if _, err := l.Start(); err != nil {
			return err
		}
		fmt.Fprintf(a.err, "\nLab %s is as it was at the beginning.\n", l.Name)
	}
	if up, err := l.Running(); up || err != nil {
		fmt.Fprintf(a.err, "Lab %s still runs: minictr lab enter %[1]s goes back in, minictr lab stop %[1]s takes it away.\n", l.Name)
		return err
	}
	fmt.Fprintf(a.err, "Lab %s is stopped.\n", l.Name)
	_, err := a.labs() // removes what it has left
	return err
}

func (a *app) labShellOnce(l *lab.Lab) error {
	c, err := l.Shell(os.Environ())
	if err != nil {
		return err
	}
	c.Stdin, c.Stdout, c.Stderr = a.in, a.out, a.err
	terminal := isTerminal(a.in)
	if terminal {
		// A process group of its own, of which the shell in its pid namespace knows the number.
		c.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: int(a.in.Fd())}
	}
	if err := l.Enter(c); err != nil {
		return err
	}
	_ = c.Wait() // how a shell ends tells nothing
	if terminal {
		return takeBack(a.in)
	}
	return nil
}

// takeBack makes this process group that of the terminal again: the shell was, and from
// its pid namespace it cannot name ours.
func takeBack(terminal *os.File) error {
	signal.Ignore(unix.SIGTTOU)
	defer signal.Reset(unix.SIGTTOU)
	err := unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOTTY) {
		return nil // it is gone
	}
	return os.NewSyscallError("take the terminal back", err)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// exitCode is that of a command that has ended, as a shell tells it.
func exitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
