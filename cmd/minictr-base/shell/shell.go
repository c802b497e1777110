// Package shell is the shell of the base image: sh, and what only a shell can be
// asked for.
//
// mvdan.cc/sh/v3 reads and interprets the language. What an interpreter inside
// one process cannot know is here: processes, their groups and the terminal
// (process.go), background jobs (job.go), signals and trap (trap.go), umask and
// ulimit (limits.go), line editing (edit.go).
//
//	line ─► parser ─► rewrite ─► interp.Runner ─► builtins ─► fork and exec ─► wait
//	                  & $! $0                     kill wait     process.go
//	                                              trap …
//
// A subshell, a pipeline's part and $(…) are goroutines of the one process; a
// background job is a process of its own, so that $! is one that kill finds.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// Applets are the commands of this package.
func Applets() []applet.Applet {
	return []applet.Applet{
		{Name: "sh", Usage: "[-aefnuxils] [-o OPTION] [-c COMMAND [NAME [ARG…]] | FILE [ARG…]]", Short: "the shell", Run: Run},
	}
}

// A shell is one running shell.
type shell struct {
	call        *applet.Call
	runner      *interp.Runner
	name        string // $0
	interactive bool
	terminal    *terminal // nil without job control
	jobs        jobTable
	traps       trapTable
	statements  statementTable // what "&" puts into the background
	execs       sync.Map       // syntax.Pos of each exec that replaces the shell
	exitCode    atomic.Int32   // of the last whole command
}

// Run is the applet sh.
func Run(c *applet.Call) error {
	o, err := parseArgs(c.Args)
	if err != nil {
		return err
	}
	in, source, err := o.open(c)
	if err != nil {
		fmt.Fprintf(c.Err, "%s: %s\n", c.Name, err)
		return applet.ExitError(notRunnable(err))
	}
	s := &shell{call: c, name: o.name, interactive: o.interactive(in)}
	if err := s.start(in, o); err != nil {
		return err
	}
	ctx := context.Background()
	s.watchSignals()
	switch {
	case s.interactive:
		s.readProfile(ctx, o.login)
		return s.exit(s.converse(ctx, in))
	case source != nil:
		s.readProfile(ctx, o.login)
		return s.exit(s.runWhole(ctx, source))
	}
	s.readProfile(ctx, o.login)
	return s.exit(s.runLines(ctx, &plainLines{in: in}))
}

// exit turns the code of the last command into what the applet returns.
func (s *shell) exit(code int) error {
	s.terminal.takeBack()
	if code != 0 {
		return applet.ExitError(code)
	}
	return nil
}

// start makes the interpreter.
func (s *shell) start(in *os.File, o *arguments) error {
	if s.interactive {
		s.terminal = openTerminal(in)
	}
	env := &environment{Environ: expand.ListEnviron(os.Environ()...), shell: s}
	runner, err := interp.New(
		interp.Env(env),
		interp.StdIO(in, s.call.Out, s.call.Err),
		interp.Interactive(true), // aliases are expanded in scripts, too: POSIX has it so
		interp.Params(append(o.set, append([]string{"--"}, o.params...)...)...),
		interp.CallHandler(s.beforeCall),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.execute }),
	)
	if err != nil {
		return applet.UsageError(err.Error())
	}
	s.runner = runner
	s.jobs.shell = s
	return nil
}

// An environment adds what rewrite makes of $! and $0.
type environment struct {
	expand.Environ
	shell *shell
}

// Get returns a variable.
func (e *environment) Get(name string) expand.Variable {
	switch name {
	case lastJobVariable:
		if pid := e.shell.jobs.last.Load(); pid != 0 {
			return expand.Variable{Set: true, Kind: expand.String, Str: strconv.Itoa(int(pid))}
		}
		return expand.Variable{}
	case nameVariable:
		return expand.Variable{Set: true, Kind: expand.String, Str: e.shell.name}
	}
	return e.Environ.Get(name)
}

// runWhole runs a script that is at hand as a whole. A syntax error in it is
// found before anything of it runs.
func (s *shell) runWhole(ctx context.Context, source io.Reader) int {
	file, err := s.parse(source)
	if err != nil {
		fmt.Fprintln(s.call.Err, err)
		return 2
	}
	return s.run(ctx, file)
}

func (s *shell) parse(source io.Reader) (*syntax.File, error) {
	file, err := syntax.NewParser().Parse(source, s.name)
	if err == nil {
		s.rewrite(file, true)
	}
	return file, err
}

// run runs a piece of a program and returns its exit code.
func (s *shell) run(ctx context.Context, node syntax.Node) int {
	err := s.runner.Run(ctx, node)
	code := 0
	var status interp.ExitStatus
	switch {
	case err == nil:
	case errors.As(err, &status):
		code = int(status)
	case errors.Is(err, errInterrupted), ctx.Err() != nil:
		code = 130
	default:
		fmt.Fprintf(s.call.Err, "%s: %v\n", s.name, err)
		code = 2
	}
	s.exitCode.Store(int32(code))
	return code
}

// A lineReader gives the lines of a program that comes bit by bit.
type lineReader interface {
	// line returns the next line with its newline; more says that it goes on a
	// command that is not complete. io.EOF is the end.
	line(more bool) (string, error)
}

// runLines runs what comes line by line: each command runs before the next is
// read, so that it may read the same input. That is how a person types, too.
func (s *shell) runLines(ctx context.Context, lines lineReader) int {
	var text strings.Builder
	for {
		line, err := lines.line(text.Len() > 0)
		if errors.Is(err, errInterrupted) {
			text.Reset()
			continue
		}
		text.WriteString(line)
		if err != nil && (!errors.Is(err, io.EOF) || text.Len() == 0) {
			return s.leave(ctx)
		}
		file, parseErr := s.parse(strings.NewReader(text.String()))
		if parseErr != nil && syntax.IsIncomplete(parseErr) && err == nil {
			continue
		}
		text.Reset()
		if parseErr != nil {
			fmt.Fprintln(s.call.Err, parseErr)
			s.exitCode.Store(2)
			if !s.interactive {
				return 2
			}
			continue
		}
		if code, exited := s.runStatements(ctx, file); exited {
			return code
		}
	}
}

// runStatements runs the statements of one line, and says whether the shell is
// to end.
func (s *shell) runStatements(ctx context.Context, file *syntax.File) (code int, exited bool) {
	ctx, done := s.interruptible(ctx)
	defer done()
	for _, statement := range file.Stmts {
		code = s.run(ctx, statement)
		if ctx.Err() != nil || code == 130 && s.interactive && s.traps.wasInterrupted() {
			fmt.Fprintln(s.call.Err) // behind the ^C
			s.setStatus(130)
			return 130, false
		}
		if s.runner.Exited() {
			return code, true
		}
	}
	return code, false
}

// setStatus sets $?.
func (s *shell) setStatus(code int) {
	file, err := syntax.NewParser().Parse(strings.NewReader(fmt.Sprintf("(exit %d)", code)), "")
	if err == nil {
		s.run(context.Background(), file.Stmts[0])
	}
}

// leave runs the EXIT trap at the end of the input; $? in it is the last code.
func (s *shell) leave(ctx context.Context) int {
	code := int(s.exitCode.Load())
	file, err := syntax.NewParser().Parse(strings.NewReader(fmt.Sprintf("(exit %d)", code)), s.name)
	if err != nil {
		return code
	}
	s.run(ctx, file)
	return int(s.exitCode.Load())
}

// readProfile runs what a login shell runs first.
func (s *shell) readProfile(ctx context.Context, login bool) {
	files := []string{}
	if login {
		files = append(files, "/etc/profile", filepath.Join(os.Getenv("HOME"), ".profile"))
	}
	if env := os.Getenv("ENV"); s.interactive && env != "" {
		files = append(files, env)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // they need not be there
		}
		program, err := s.parse(strings.NewReader(string(text)))
		if err != nil {
			fmt.Fprintln(s.call.Err, err)
			continue
		}
		for _, statement := range program.Stmts {
			s.run(ctx, statement)
		}
	}
}

// plainLines reads lines byte by byte, since what follows a line may be for the
// command in it.
type plainLines struct{ in *os.File }

func (p *plainLines) line(bool) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for {
		n, err := p.in.Read(one)
		if n == 1 {
			line = append(line, one[0])
			if one[0] == '\n' {
				return string(line), nil
			}
		}
		if err != nil {
			return string(line), err
		}
	}
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
