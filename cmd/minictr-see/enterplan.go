package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
)

// An entry is everything that the program of a command in other namespaces depends
// on, resolved.
type entry struct {
	target string // for the words
	kinds  []namespaces.Kind
	pidfd  int // the process whose namespaces they are, or -1
	file   int // the one namespace, without a process

	root      int    // descriptor of the root directory to take, or 0
	newRoot   string // below it: another directory to take
	directory int    // descriptor of the working directory to take, or 0
	newWd     string // one to go to by its name there

	fork     bool // be born again, in the PID namespace
	preserve bool // keep user and group in another user namespace
	uid, gid int  // -1: 0 in another user namespace, else as they are

	argv, env  []string
	candidates []string // absolute paths, or with a slash, to try for the command
	stub       int
}

// resolve opens what of the target is needed and finds the command.
func (e *entry) resolve(t *target, flags enterFlags) (err error) {
	for _, d := range []struct {
		asked string
		link  string
		fd    *int
		name  *string
	}{{flags.root, "root", &e.root, &e.newRoot}, {flags.directory, "cwd", &e.directory, &e.newWd}} {
		if d.asked == "" {
			continue
		}
		if d.asked != targetsOwn {
			*d.name = d.asked
			continue
		}
		if t.pidfd < 0 {
			return &targetError{text: fmt.Sprintf("%s has no %s directory: it is no process", t, d.link), err: unix.EINVAL}
		}
		if *d.fd, err = openOf(t, d.link); err != nil {
			return err
		}
	}
	if e.stub, err = program.OpenStub(); err != nil {
		return err
	}
	return e.findCommand(t, flags.withCommand)
}

// openOf opens a directory of the target's process.
func openOf(t *target, link string) (int, error) {
	name := fmt.Sprintf("/proc/%d/%s", t.pid, link)
	fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, step.Fail("open", name, err)
	}
	if namespaces.Ended(t.pidfd) { // then it may be another's
		unix.Close(fd)
		return 0, step.Fail("open", name, unix.ESRCH)
	}
	return fd, nil
}

// findCommand chooses the command: what was asked for, as execvp(3) finds it where it
// will run, else a login shell as nsenter(1) starts one.
func (e *entry) findCommand(t *target, command []string) error {
	if len(command) > 0 {
		e.argv, e.candidates = command, candidates(command[0])
		return nil
	}
	shell := os.Getenv("SHELL")
	if !path.IsAbs(shell) || e.enters(namespaces.Mount) && !existsIn(t, shell) {
		shell = "/bin/sh"
	}
	e.argv, e.candidates = []string{"-" + path.Base(shell)}, []string{shell}
	return nil
}

func (e *entry) enters(kind namespaces.Kind) bool {
	for _, k := range e.kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// candidates are the paths to try, in the order of PATH.
func candidates(command string) []string {
	if strings.Contains(command, "/") {
		return []string{command}
	}
	search := os.Getenv("PATH")
	if search == "" {
		search = runtime.DefaultPath
	}
	var list []string
	for _, directory := range filepath.SplitList(search) {
		if directory == "" {
			directory = "."
		}
		list = append(list, directory+"/"+command)
	}
	return list
}

// existsIn tells whether there is a file of that path in the target's root. Nothing
// there can lead the look out of it.
func existsIn(t *target, name string) bool {
	if t.pidfd < 0 {
		return false
	}
	root, err := openOf(t, "root")
	if err != nil {
		return false
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: program.InRoot})
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func (e *entry) close() {
	for _, fd := range []int{e.root, e.directory, e.stub} {
		if fd != 0 {
			unix.Close(fd)
		}
	}
}

// reportDescriptor is where the stub finds the report pipe: the first number behind
// standard error.
const reportDescriptor = 3

// compile makes the program. It is pure.
//
//	minictr ──clone3──► child ── setns: all namespaces at once ──► execve
//	   │                  │ only with a PID namespace:
//	   │                  │ clone3(CLONE_PARENT): born in it, a child of minictr
//	   ▼ waits            ▼ exits
func (e *entry) compile() *program.Program {
	p := &program.Program{}
	p.Task("let nobody there look into this process, and hand on no file but 0, 1 and 2", "")
	p.Add(program.Prctl(program.Constant{Value: unix.PR_SET_DUMPABLE, Name: "PR_SET_DUMPABLE"}, 0), program.CloseOnExecFrom(reportDescriptor))
	e.enterNamespaces(p)
	e.changeDirectories(p)
	fork, pid := -1, program.Slot(0)
	if e.fork {
		fork, pid = len(p.Ops), p.Slot()
		p.Task("be born again in the PID namespace", "")
		p.Add(program.Clone3(unix.CLONE_PARENT, 0, 0, 1).Into(pid))
	}
	e.becomeUser(p)
	p.Task("run "+strings.Join(e.argv, " "), "exec "+strings.Join(e.argv, " "))
	p.Add(
		// The kernel forgets the request when ids or namespaces change, prctl(2).
		program.Prctl(program.Constant{Value: unix.PR_SET_PDEATHSIG, Name: "PR_SET_PDEATHSIG"}, uint64(unix.SIGKILL)),
		program.Dup3(program.ReportPipe{}, reportDescriptor, 0),
		program.UnblockSignals(),
		program.ExecveStub(program.Number(e.stub), program.StubArgv(reportDescriptor, 0, e.candidates, e.argv), e.env),
	)
	if fork >= 0 {
		p.Ops[fork].Parent = len(p.Ops)
		p.Task("tell the command's pid and be done", "")
		p.Add(program.Report(pid), program.ExitGroup(0))
	}
	return p
}

// enterNamespaces enters all in one call: the kernel asks for the caller's rights
// over each before it changes any, so that a user namespace neither comes too early
// nor too late, setns(2).
func (e *entry) enterNamespaces(p *program.Program) {
	if len(e.kinds) == 0 {
		return
	}
	var flags uint64
	var names []string
	for _, k := range e.kinds {
		flags |= k.Flag()
		names = append(names, string(k))
	}
	p.Task("enter "+strings.Join(names, ", ")+" of "+e.target, "nsenter …")
	fd := e.pidfd
	if fd < 0 {
		fd = e.file
	}
	p.Add(program.Setns(program.Number(fd), flags))
}

func (e *entry) changeDirectories(p *program.Program) {
	if e.root != 0 || e.newRoot != "" {
		p.Task("take another root directory", "chroot")
		if e.root != 0 {
			p.Add(program.Fchdir(program.Number(e.root)))
			p.Add(program.Chroot("."))
		} else {
			p.Add(program.Chroot(e.newRoot), program.Chdir("/"))
		}
	}
	switch {
	case e.directory != 0:
		p.Task("go to the target's working directory", "cd")
		p.Add(program.Fchdir(program.Number(e.directory)))
	case e.newWd != "":
		p.Task("go to "+e.newWd, "cd "+e.newWd)
		p.Add(program.Chdir(e.newWd))
	}
}

// becomeUser takes the asked ids or, in another user namespace, 0: who enters it has
// none that means anything there.
func (e *entry) becomeUser(p *program.Program) {
	uid, gid := e.uid, e.gid
	if e.enters(namespaces.User) && !e.preserve {
		uid, gid = max(uid, 0), max(gid, 0)
	}
	if uid < 0 && gid < 0 {
		return
	}
	p.Task(fmt.Sprintf("become user %d, group %d", uid, gid), "setpriv …")
	if gid >= 0 {
		// EPERM: the user namespace denies it, user_namespaces(7), /proc/PID/setgroups.
		p.Add(program.Setgroups(nil).Except(unix.EPERM), program.Setresgid(uint32(gid)))
	}
	if uid >= 0 {
		p.Add(program.Setresuid(uint32(uid)))
	}
}

// explain turns the failure of an operation into one that a user understands.
func (e *entry) explain(err error) error {
	var report *program.Error
	if !errors.As(err, &report) {
		return err
	}
	if report.Op.Stub && report.Errno != 0 {
		return &runtime.CommandError{Command: e.argv[0], Errno: report.Errno}
	}
	for _, row := range enterHints {
		if row.call == report.Op.Name && row.errno == report.Errno {
			return &targetError{text: report.Error(), hint: row.hint, err: err}
		}
	}
	return err
}

// enterHints are what may help, by the call that failed and its errno.
var enterHints = []struct {
	call  string
	errno unix.Errno
	hint  string
}{
	{"setns", unix.ESRCH, "the process has ended meanwhile"},
	{"setns", unix.EPERM, "only root may enter the namespaces of others: sudo minictr …"},
	{"setns", unix.EINVAL, "a PID namespace can be entered only from one above it"},
	{"setresgid", unix.EINVAL, "the user namespace has no such group: choose one with -G, or --preserve-credentials"},
	{"setresuid", unix.EINVAL, "the user namespace has no such user: choose one with -S, or --preserve-credentials"},
}

// Exit codes of a command that could not be run, as a shell and nsenter have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// failedCode is the exit code of a command that did not start.
func failedCode(err error) int {
	var c *runtime.CommandError
	switch {
	case !errors.As(err, &c):
		return 1
	case c.Errno == unix.ENOENT || c.Errno == unix.ENOTDIR:
		return exitNotFound
	}
	return exitNotExecutable
}
