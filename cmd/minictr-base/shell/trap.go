package shell

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// A trapTable is what the shell does on signals.
//
// A signal arrives on a channel at any time; its action runs before the next
// command, which beforeCall sees to, or ends a wait.
type trapTable struct {
	mu          sync.Mutex
	actions     map[syscall.Signal]string // "" ignores
	waiting     []syscall.Signal
	arrived     chan syscall.Signal // of those that a wait has to see
	interrupted atomic.Bool
	cancel      context.CancelFunc // of the line that runs
}

// watchSignals begins to react to signals. An interactive shell survives them;
// but as the first process of a container it ends on SIGTERM, which can only
// mean that the container is to end. As any first process it reaps orphans.
func (s *shell) watchSignals() {
	s.traps.arrived = make(chan syscall.Signal, 1)
	if s.interactive {
		signal.Ignore(unix.SIGQUIT)
		watch(s.interrupt, unix.SIGINT)
		watch(func(syscall.Signal) { s.endShell(unix.SIGHUP) }, unix.SIGHUP)
	}
	switch {
	case os.Getpid() == 1:
		watch(func(sig syscall.Signal) { s.endShell(sig) }, unix.SIGTERM)
		if !s.interactive {
			watch(s.endShell, unix.SIGINT, unix.SIGHUP)
		}
		watch(func(syscall.Signal) { s.reap() }, unix.SIGCHLD)
	case s.interactive:
		watch(func(syscall.Signal) {}, unix.SIGTERM)
	}
}

// watch calls f for each of the signals, on a goroutine of its own.
func watch(f func(syscall.Signal), signals ...syscall.Signal) {
	c := make(chan os.Signal, 8)
	for _, sig := range signals {
		signal.Notify(c, sig)
	}
	go func() {
		for sig := range c {
			if sig, ok := sig.(syscall.Signal); ok {
				f(sig)
			}
		}
	}()
}

// endShell ends the shell as the signal's default action would, unless it is
// trapped.
func (s *shell) endShell(sig syscall.Signal) {
	s.traps.mu.Lock()
	_, trapped := s.traps.actions[sig]
	s.traps.mu.Unlock()
	if trapped {
		return
	}
	for _, j := range s.jobs.all() {
		if s.terminal != nil && !j.ended() {
			_ = unix.Kill(-j.pid, unix.SIGHUP) // it may end just now
		}
	}
	os.Exit(128 + int(sig)) //nolint:forbidigo // the default action of a signal ends a process where it is
}

// interrupt is ^C for the shell itself: it ends the line that runs.
func (s *shell) interrupt(syscall.Signal) {
	s.traps.mu.Lock()
	defer s.traps.mu.Unlock()
	if _, trapped := s.traps.actions[unix.SIGINT]; !trapped && s.traps.cancel != nil {
		s.traps.interrupted.Store(true)
		s.traps.cancel()
	}
}

// interruptible returns a context that ^C ends.
func (s *shell) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	if !s.interactive {
		return ctx, cancel
	}
	s.traps.interrupted.Store(false)
	s.traps.mu.Lock()
	s.traps.cancel = cancel
	s.traps.mu.Unlock()
	return ctx, func() {
		s.traps.mu.Lock()
		s.traps.cancel = nil
		s.traps.mu.Unlock()
		cancel()
	}
}

func (t *trapTable) noteInterrupt()       { t.interrupted.Store(true) }
func (t *trapTable) wasInterrupted() bool { return t.interrupted.Load() }

// reap takes what orphans left behind: they became children of process 1, of
// whichever thread. The shell's own children are waited for elsewhere.
func (s *shell) reap() {
	s.jobs.starting.Lock()
	defer s.jobs.starting.Unlock()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // that thread has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(word)
			if _, own := s.jobs.children.Load(pid); err == nil && !own {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // one that still runs is left alone
			}
		}
	}
}

// put notes a signal whose action has to run.
func (t *trapTable) put(sig syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, sig)
}

// arrive is put, and it wakes a wait.
func (t *trapTable) arrive(sig syscall.Signal) {
	select {
	case t.arrived <- sig: // a wait takes it, or pending does
	default:
		t.put(sig)
	}
}

// pending returns the actions of the signals that have arrived, once.
func (t *trapTable) pending() string {
	select {
	case sig := <-t.arrived:
		t.put(sig)
	default:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var actions []string
	for _, sig := range t.waiting {
		if action := t.actions[sig]; action != "" {
			actions = append(actions, action)
		}
	}
	t.waiting = nil
	return strings.Join(actions, "\n")
}

// trap is the builtin. EXIT and ERR are the interpreter's.
func (s *shell) trap(ctx context.Context, hc interp.HandlerContext, args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 || args[0] == "-p" {
		s.printTraps(hc)
		return hc.Builtin(ctx, []string{"trap"})
	}
	action, names := args[0], args[1:]
	if _, err := strconv.Atoi(action); err == nil || len(names) == 0 {
		action, names = "-", args
	}
	for _, name := range names {
		if err := s.setTrap(ctx, hc, action, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *shell) setTrap(ctx context.Context, hc interp.HandlerContext, action, name string) error {
	switch name {
	case "0", "EXIT", "ERR":
		if name == "0" {
			name = "EXIT"
		}
		return hc.Builtin(ctx, []string{"trap", "--", s.rewriteText(action), name})
	}
	sig, ok := signalNamed(name)
	if !ok {
		fmt.Fprintf(hc.Stderr, "trap: %s: no such signal\n", name)
		return interp.ExitStatus(1)
	}
	s.traps.mu.Lock()
	defer s.traps.mu.Unlock()
	if s.traps.actions == nil {
		s.traps.actions = map[syscall.Signal]string{}
	}
	switch action {
	case "-":
		delete(s.traps.actions, sig)
		if !s.interactive && os.Getpid() != 1 {
			signal.Reset(sig)
		}
	case "":
		s.traps.actions[sig] = ""
		signal.Ignore(sig)
	default:
		if s.traps.actions[sig] == "" {
			watch(s.traps.arrive, sig)
		}
		s.traps.actions[sig] = action
	}
	return nil
}

func (s *shell) printTraps(hc interp.HandlerContext) {
	s.traps.mu.Lock()
	defer s.traps.mu.Unlock()
	for _, sig := range slices.Sorted(maps.Keys(s.traps.actions)) {
		fmt.Fprintf(hc.Stdout, "trap -- %s %s\n", quote(s.traps.actions[sig]), strings.TrimPrefix(unix.SignalName(sig), "SIG"))
	}
}

// signalNamed reads "TERM", "SIGTERM" or "15".
func signalNamed(name string) (syscall.Signal, bool) {
	if n, err := strconv.Atoi(name); err == nil {
		return syscall.Signal(n), n > 0 && n < 65
	}
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	return sig, sig != 0
}
