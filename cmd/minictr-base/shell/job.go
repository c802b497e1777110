package shell

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// jobFlag makes a shell run the program that it finds on jobDescriptor.
const (
	jobFlag       = "--background-job"
	jobDescriptor = 3
)

// A jobTable holds the background jobs of the shell.
type jobTable struct {
	shell    *shell
	mu       sync.Mutex
	list     []*job
	last     atomic.Int64 // $!
	children sync.Map     // pid of each process that somebody waits for
	starting sync.Mutex   // held while a child is not in children yet
}

// A job is one background process.
type job struct {
	number, pid int
	words       string
	done        chan struct{}
	code        int // once done is closed
	signal      syscall.Signal
}

func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// startSimpleJob starts one command in the background.
func (s *shell) startSimpleJob(hc interp.HandlerContext, args []string) error {
	if _, function := s.runner.Funcs[args[0]]; function || isBuiltin(args[0]) {
		return s.startShellJob(hc, quoteAll(args), "", s.runner.Params)
	}
	cmd, err := s.command(hc, args)
	if err != nil {
		return s.complain(hc, err)
	}
	return s.startJob(hc, cmd, strings.Join(args, " "))
}

// isBuiltin reports whether the shell runs a command itself.
func isBuiltin(name string) bool { return interp.IsBuiltin(name) || own[name] != "" }

// startShellJob starts a shell that has what this one has, and runs the text.
func (s *shell) startShellJob(hc interp.HandlerContext, text, flags string, params []string) error {
	fd, err := unix.MemfdCreate("job", unix.MFD_CLOEXEC)
	if err != nil {
		return s.complain(hc, err)
	}
	program := os.NewFile(uintptr(fd), "job")
	defer program.Close()
	if _, err = program.WriteString(s.state(hc.Env, flags, params) + text + "\n"); err == nil {
		_, err = program.Seek(0, 0)
	}
	if err != nil {
		return s.complain(hc, err)
	}
	cmd := &exec.Cmd{
		Path: applet.Self, Args: []string{"sh", jobFlag}, Dir: hc.Dir, Env: exported(hc.Env),
		Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr, ExtraFiles: []*os.File{program},
	}
	words, _, _ := strings.Cut(text, "\n")
	return s.startJob(hc, cmd, words)
}

// state is a program that makes a shell like this one.
func (s *shell) state(env expand.Environ, flags string, params []string) string {
	var b strings.Builder
	for name, v := range env.Each {
		switch {
		case v.ReadOnly || !v.IsSet() || v.Exported || !syntax.ValidName(name):
		case v.Kind == expand.String:
			fmt.Fprintf(&b, "%s=%s\n", name, quote(v.Str))
		case v.Kind == expand.Indexed:
			fmt.Fprintf(&b, "%s=(%s)\n", name, quoteAll(v.List))
		}
	}
	for name, body := range s.runner.Funcs {
		fmt.Fprintf(&b, "%s() %s\n", name, printed(body))
	}
	fmt.Fprintf(&b, "%s=%s\n", nameVariable, quote(s.name))
	fmt.Fprintf(&b, "set -- %s\n", quoteAll(params))
	for _, flag := range flags {
		if strings.ContainsRune("aefux", flag) {
			fmt.Fprintf(&b, "set -%c\n", flag)
		}
	}
	return b.String()
}

// startJob starts a process and does not wait. POSIX, "Asynchronous Lists": without
// job control it reads nothing, and ignores ^C.
func (s *shell) startJob(hc interp.HandlerContext, cmd *exec.Cmd, words string) error {
	if s.terminal == nil && cmd.Stdin == s.call.In {
		cmd.Stdin = nil
	}
	if err := s.startProcess(cmd, background); err != nil {
		return s.complain(hc, fmt.Errorf("%s: %w", cmd.Args[0], cause(err)))
	}
	j := &job{pid: cmd.Process.Pid, words: words, done: make(chan struct{})}
	s.jobs.add(j)
	if s.interactive {
		fmt.Fprintf(hc.Stderr, "[%d] %d\n", j.number, j.pid)
	}
	go func() {
		err := s.waitProcess(cmd, background)
		j.code, j.signal = applet.ExitCode(err), signalOf(err)
		close(j.done)
	}()
	return nil
}

func (t *jobTable) add(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.list {
		j.number = max(j.number, other.number)
	}
	j.number++
	t.list = append(t.list, j)
	t.last.Store(int64(j.pid))
}

// find returns the job that "%1", "%%" or a process id names.
func (t *jobTable) find(word string) *job {
	t.mu.Lock()
	defer t.mu.Unlock()
	if word == "%%" || word == "%+" || word == "%" {
		if len(t.list) == 0 {
			return nil
		}
		return t.list[len(t.list)-1]
	}
	text, byNumber := strings.CutPrefix(word, "%")
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(t.list, func(j *job) bool { return byNumber && j.number == n || !byNumber && j.pid == n })
	if i < 0 {
		return nil
	}
	return t.list[i]
}

func (t *jobTable) all() []*job {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}

func (t *jobTable) remove(gone *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, func(j *job) bool { return j == gone })
}

// wait is the builtin: without operands for all jobs, else for each, and the
// code is the last one's. A signal that is trapped ends it.
func (s *shell) wait(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	var jobs []*job
	for _, arg := range args {
		j := s.jobs.find(arg)
		if j == nil {
			fmt.Fprintf(hc.Stderr, "wait: %s is not a child of this shell\n", arg)
			return interp.ExitStatus(127)
		}
		jobs = append(jobs, j)
	}
	if len(args) == 0 {
		jobs = s.jobs.all()
	}
	code := 0
	for _, j := range jobs {
		select {
		case <-j.done:
			code = j.code
			s.jobs.remove(j)
		case <-ctx.Done():
			return ctx.Err()
		case signal := <-s.traps.arrived:
			s.traps.put(signal)
			return status(128 + int(signal))
		}
	}
	if len(args) == 0 {
		code = 0
	}
	return status(code)
}

func (s *shell) listJobs(hc interp.HandlerContext) error {
	for _, j := range s.jobs.all() {
		fmt.Fprintf(hc.Stdout, "[%d] %-10s %s\n", j.number, j.state(), j.words)
	}
	return nil
}

func (j *job) state() string {
	switch {
	case !j.ended():
		return "Running"
	case j.signal != 0:
		return signalWords(j.signal)
	case j.code != 0:
		return fmt.Sprintf("Exit %d", j.code)
	}
	return "Done"
}

// tellJobs says which jobs have ended since it was last asked.
func (s *shell) tellJobs() {
	for _, j := range s.jobs.all() {
		if j.ended() {
			fmt.Fprintf(s.call.Err, "[%d] %-10s %s\n", j.number, j.state(), j.words)
			s.jobs.remove(j)
		}
	}
}

// foreground is the builtin fg: it lends the terminal to a job and waits for it.
func (s *shell) foreground(hc interp.HandlerContext, args []string) error {
	j := s.oneJob(hc, "fg", args)
	if j == nil {
		return interp.ExitStatus(1)
	}
	fmt.Fprintln(hc.Stdout, j.words)
	s.terminal.give(j.pid)
	_ = unix.Kill(-j.pid, unix.SIGCONT) // it may have ended
	<-j.done
	s.terminal.takeBack()
	s.jobs.remove(j)
	if j.signal == syscall.SIGINT {
		s.traps.noteInterrupt()
		return errInterrupted
	}
	return status(j.code)
}

// background is the builtin bg: it wakes a job that was stopped.
func (s *shell) background(hc interp.HandlerContext, args []string) error {
	j := s.oneJob(hc, "bg", args)
	if j == nil {
		return interp.ExitStatus(1)
	}
	_ = unix.Kill(-j.pid, unix.SIGCONT) // it may have ended
	return nil
}

func (s *shell) oneJob(hc interp.HandlerContext, name string, args []string) *job {
	word := "%%"
	if len(args) > 0 {
		word = args[0]
	}
	j := s.jobs.find(word)
	switch {
	case s.terminal == nil:
		fmt.Fprintf(hc.Stderr, "%s: no job control\n", name)
		return nil
	case j == nil:
		fmt.Fprintf(hc.Stderr, "%s: no job %s\n", name, word)
	}
	return j
}

// kill is the builtin: kill(1), and it knows jobs.
func (s *shell) kill(hc interp.HandlerContext, args []string) error {
	args = slices.Clone(args)
	for i, arg := range args {
		if strings.HasPrefix(arg, "%") {
			if j := s.jobs.find(arg); j != nil {
				args[i] = strconv.Itoa(j.pid)
			}
		}
	}
	return s.applet(hc, "kill", args)
}
