package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/runtime"
)

// A stepper asks before each step of a launch what is to be done. It reads no byte
// behind its answers: what follows on the input is the container's.
type stepper struct {
	*app
	count   int
	running bool           // to the end, without asking
	stopped chan os.Signal // ends it as q does
}

// errGivenUp says that somebody has given the launch up.
var errGivenUp = errors.New("given up: the container is not started, and what was made for it is taken back")

// stepping lets the launch ask before each step; the end of it is the caller's to call.
func (a *app) stepping(w *runtime.Watch) (end func()) {
	s := &stepper{app: a, stopped: make(chan os.Signal, 1)}
	signal.Notify(s.stopped, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	w.Ask = s.ask
	fmt.Fprintln(a.err, "Before each step: n or Enter goes on, c to the end, s opens a shell, q gives up.")
	return func() { signal.Stop(s.stopped) }
}

// ask shows what comes, and returns when it may go on.
func (s *stepper) ask(stop *runtime.Stop) error {
	if s.running {
		return nil
	}
	s.count++
	s.show(stop)
	for {
		fmt.Fprint(s.err, "(n)ext, (c)ontinue, (s)hell, (q)uit? ")
		answer, err := s.answer()
		if err != nil || !term.IsTerminal(int(s.in.Fd())) {
			fmt.Fprintln(s.err, terminal.Visible(answer)) // nobody has typed it there
		}
		if err != nil {
			return errGivenUp
		}
		switch answer {
		case "", "n", "next":
			return nil
		case "c", "continue":
			s.running = true
			signal.Stop(s.stopped)
			return nil
		case "q", "quit":
			return errGivenUp
		case "s", "shell":
			fmt.Fprintf(s.err, "A shell %s; exit comes back.\n", stop.Place())
			if err := stop.Shell(runtime.Standard{Stdin: s.in, Stdout: s.out, Stderr: s.err}); err != nil {
				s.warn(err)
			}
		default:
			fmt.Fprintf(s.err, "%q is none of them.\n", answer)
		}
	}
}

// show prints the words of what comes, the command that does the same, and the calls.
func (s *stepper) show(stop *runtime.Stop) {
	who := "child"
	if stop.Host {
		who = "host"
	}
	fmt.Fprintf(s.err, "\n%3d %-5s  %s\n", s.count, who, terminal.Visible(stop.Words))
	for line := range strings.Lines(stop.Command) {
		fmt.Fprintf(s.err, "%11s$ %s\n", "", terminal.Visible(strings.TrimRight(line, "\n")))
	}
	for _, call := range stop.Calls {
		fmt.Fprintf(s.err, "%13s%s\n", "", terminal.Visible(call))
	}
}

// answer reads a line. The end of the input, and an interrupt, are errors.
func (s *stepper) answer() (string, error) {
	const pace = 100 // ms
	for {
		select {
		case <-s.stopped:
			return "", io.EOF
		default:
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}}, pace)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return "", os.NewSyscallError("poll", err)
		}
		if n <= 0 {
			continue
		}
		line, err := runtime.ReadLine(s.in)
		if err != nil && strings.TrimSpace(line) == "" {
			return "", err
		}
		return strings.TrimSpace(line), nil
	}
}
