package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

var errNotFound = errors.New("not found")

// own are the commands that the shell itself has to be for. They go by another
// name through the interpreter, whose builtins of the first name know no
// processes.
var own = map[string]string{
	"kill": "&kill", "wait": "&wait", "jobs": "&jobs", "fg": "&fg", "bg": "&bg",
	"umask": "&umask", "ulimit": "&ulimit", "trap": "&trap", "printf": "&printf",
}

// beforeCall sees every command before the interpreter does.
func (s *shell) beforeCall(ctx context.Context, args []string) ([]string, error) {
	if action := s.traps.pending(); action != "" {
		return []string{"eval", s.rewriteText(action) + "\n" + quoteAll(args)}, nil
	}
	if args[0] == "command" && len(args) > 1 && own[args[1]] != "" {
		args = args[1:]
	}
	if _, isFunction := s.runner.Funcs[args[0]]; isFunction {
		return args, nil
	}
	switch name := args[0]; name {
	case "eval":
		return []string{"eval", s.rewriteText(strings.Join(args[1:], " "))}, nil
	case "exec":
		if len(args) > 1 {
			hc := interp.HandlerCtx(ctx)
			if _, ok := s.execs.Load(hc.Pos); ok {
				return append([]string{"&exec"}, args[1:]...), nil
			}
		}
	case "printf":
		if len(args) > 1 && args[1] == "-v" {
			return args, nil // bash's, which sets a variable
		}
		return append([]string{own[name]}, args[1:]...), nil
	default:
		if other := own[name]; other != "" {
			return append([]string{other}, args[1:]...), nil
		}
	}
	return args, nil
}

// quoteAll makes a text of words that a shell reads as these words.
func quoteAll(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quote(arg)
	}
	return strings.Join(words, " ")
}

func quote(word string) string {
	q, err := syntax.Quote(word, syntax.LangBash)
	if err != nil { // a zero byte, which no argument has
		return "''"
	}
	return q
}

// execute runs what is neither function nor builtin.
func (s *shell) execute(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	rest := args[1:]
	switch args[0] {
	case simpleJob:
		return s.startSimpleJob(hc, rest)
	case shellJob:
		return s.startShellJob(hc, s.jobText(rest[0]), rest[1], rest[2:])
	case "&exec":
		return s.become(hc, rest)
	case "&kill":
		return s.kill(hc, rest)
	case "&wait":
		return s.wait(ctx, rest)
	case "&jobs":
		return s.listJobs(hc)
	case "&fg":
		return s.foreground(hc, rest)
	case "&bg":
		return s.background(hc, rest)
	case "&umask":
		return s.inside(hc, "umask", rest, umask)
	case "&ulimit":
		return s.inside(hc, "ulimit", rest, ulimit)
	case "&trap":
		return s.trap(ctx, hc, rest)
	case "&printf":
		return s.applet(hc, "printf", rest)
	}
	return s.runProgram(hc, args)
}

// jobText is what the shell of a job runs.
func (s *shell) jobText(number string) string {
	job := s.statements.get(number)
	if _, function := s.runner.Funcs[job.command]; job.command == "" || function || isBuiltin(job.command) {
		return job.text
	}
	return job.become
}

// inside runs a builtin of ours.
func (s *shell) inside(hc interp.HandlerContext, name string, args []string, run func(c *applet.Call) error) error {
	a := applet.Applet{Name: name, Run: run, Literal: true}
	return status(a.Exec(&applet.Call{Name: name, Args: args, In: hc.Stdin, Out: hc.Stdout, Err: hc.Stderr}))
}

// applet runs an applet in the shell's own process.
func (s *shell) applet(hc interp.HandlerContext, name string, args []string) error {
	for _, a := range s.call.All {
		if a.Name == name {
			return s.inside(hc, name, args, a.Run)
		}
	}
	return s.runProgram(hc, append([]string{name}, args...))
}

func status(code int) error {
	if code == 0 {
		return nil
	}
	return interp.ExitStatus(code)
}

func (s *shell) complain(hc interp.HandlerContext, err error) error {
	fmt.Fprintf(hc.Stderr, "%s: %v\n", s.name, err)
	return status(notRunnable(err))
}

// runProgram runs a program as a process and waits for it.
func (s *shell) runProgram(hc interp.HandlerContext, args []string) error {
	cmd, err := s.command(hc, args)
	if err != nil {
		return s.complain(hc, err)
	}
	if err := s.startProcess(cmd, foreground); err != nil {
		return s.complain(hc, fmt.Errorf("%s: %w", args[0], cause(err)))
	}
	err = s.waitProcess(cmd, foreground)
	code := applet.ExitCode(err)
	if s.interactive && signalOf(err) == syscall.SIGINT {
		s.traps.noteInterrupt()
		return errInterrupted
	}
	s.tellEnd(hc.Stderr, signalOf(err))
	return status(code)
}

// errInterrupted ends the commands of a line on which ^C was typed.
var errInterrupted = errors.New("interrupted")

func signalOf(err error) syscall.Signal {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			return w.Signal()
		}
	}
	return 0
}

// tellEnd says that a signal ended a command, as far as nobody meant it to.
func (s *shell) tellEnd(w io.Writer, signal syscall.Signal) {
	if s.interactive && signal != 0 && signal != syscall.SIGPIPE && signal != syscall.SIGINT {
		fmt.Fprintln(w, signalWords(signal))
	}
}

func signalWords(signal syscall.Signal) string {
	words := signal.String()
	return strings.ToUpper(words[:1]) + words[1:]
}

// command prepares a process: where the program is, and what it is given.
func (s *shell) command(hc interp.HandlerContext, args []string) (*exec.Cmd, error) {
	path, err := s.find(hc, args[0])
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: args, Dir: hc.Dir, Env: exported(hc.Env)}
	if hc.Stdin != nil {
		cmd.Stdin = hc.Stdin
	}
	cmd.Stdout, cmd.Stderr = hc.Stdout, hc.Stderr
	return cmd, nil
}

// find returns the path of a command: the file itself, one in PATH, or this
// program for an applet that PATH has not.
func (s *shell) find(hc interp.HandlerContext, name string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(hc.Dir, path)
		}
		st, err := os.Stat(path)
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", name, cause(err))
		case st.IsDir():
			return "", fmt.Errorf("%s: is a directory", name)
		}
		return path, nil
	}
	path, err := interp.LookPathDir(hc.Dir, hc.Env, name)
	if err == nil && name != "" {
		return path, nil
	}
	if s.call.Knows(name) {
		return applet.Self, nil
	}
	for _, dir := range filepath.SplitList(hc.Env.Get("PATH").String()) {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode().IsRegular() {
			return "", fmt.Errorf("%s: %w", name, unix.EACCES)
		}
	}
	return "", fmt.Errorf("%s: %w", name, errNotFound)
}

// cause is an error without the names of files and system calls around it.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// exported is the environment of a process.
func exported(env expand.Environ) []string {
	var list []string
	for name, v := range env.Each {
		if v.Exported && v.Kind == expand.String && v.IsSet() {
			list = append(list, name+"="+v.String())
		}
	}
	return list
}

// become makes the shell's process the program's.
func (s *shell) become(hc interp.HandlerContext, args []string) error {
	cmd, err := s.command(hc, args)
	if err != nil {
		return s.fatal(hc, err)
	}
	for fd, stream := range []any{hc.Stdin, hc.Stdout, hc.Stderr} {
		if file, ok := stream.(*os.File); ok && file != nil {
			if int(file.Fd()) != fd {
				err = unix.Dup3(int(file.Fd()), fd, 0)
			}
		} else {
			err = openNull(fd)
		}
		if err != nil {
			return s.fatal(hc, err)
		}
	}
	if err := os.Chdir(hc.Dir); err != nil {
		return s.fatal(hc, err)
	}
	s.terminal.forget()
	err = unix.Exec(cmd.Path, args, cmd.Env)
	if errors.Is(err, unix.ENOEXEC) {
		err = unix.Exec(applet.Self, append([]string{"sh", cmd.Path}, args[1:]...), cmd.Env)
	}
	return s.fatal(hc, fmt.Errorf("%s: %w", args[0], err))
}

func openNull(fd int) error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	return unix.Dup3(null, fd, 0)
}

// fatal ends the shell, since exec did not replace it; an interactive one goes on.
func (s *shell) fatal(hc interp.HandlerContext, err error) error {
	failed := s.complain(hc, err)
	if s.interactive {
		return failed
	}
	return hc.Builtin(context.Background(), []string{"exit", fmt.Sprint(notRunnable(err))})
}
