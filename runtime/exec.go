package runtime

import (
	"errors"
	"io"
	"os"
	"path"
	"strconv"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Command is a process to start in a running container.
type Command struct {
	Args       []string
	Env        []string // in addition to the container's
	Cwd        string   // empty: the container's
	User       string   // empty: the container's
	Terminal   bool
	OpenStdin  bool
	Detach     bool
	Privileged bool

	lent  *os.File // a terminal of the host's to be on
	early bool     // the container is not there in full, see Stop
}

// Exec starts a process in a running container: in its namespaces and cgroup,
// with its capabilities and seccomp filter. Unless it is detached, the caller
// waits for it with Process.Wait.
func (r *Runtime) Exec(c *Container, command Command, io Standard, w Watch) (*Process, error) {
	if err := r.healPaused(c.Config.ID); err != nil {
		return nil, err
	}
	pidfd, err := c.pidfd()
	if err != nil {
		return nil, err
	}
	config, err := execConfig(c.Config, command)
	if err != nil {
		return nil, errors.Join(err, unix.Close(pidfd))
	}
	l := &launch{Runtime: r, config: config, watch: w, lent: command.lent, early: command.early}
	defer l.close()
	if !command.Detach {
		l.signals = listen()
	}
	if pidfd, err = l.own(pidfd); err != nil {
		return nil, err
	}
	e := execPlan{pidfd: pidfd, pid: c.State.Pid, namespaces: c.execNamespaces()}
	if err := l.prepareExec(c, io); err != nil {
		return nil, err
	}
	e.plan = l.plan
	p, err := compileExec(e)
	if err != nil {
		return nil, err
	}
	return l.startExec(p, command)
}

// execConfig is the container's configuration with the command's changes.
func execConfig(c *Config, command Command) (*Config, error) {
	e := *c
	e.Args, e.Init, e.Detach = command.Args, false, false // no monitor, even when detached
	e.Env = append(append([]string(nil), c.Env...), command.Env...)
	e.Terminal, e.OpenStdin = command.Terminal, command.OpenStdin
	if command.User != "" {
		e.User, e.Groups = command.User, nil
	}
	if command.Cwd != "" {
		e.Cwd = command.Cwd
	}
	if command.Terminal {
		e.Env = withDefault(e.Env, "TERM=xterm")
	}
	if !command.Privileged {
		return &e, nil
	}
	e.Privileged = true
	var err error
	e.Capabilities, err = Capabilities(true, nil, nil)
	return &e, err
}

// withDefault adds a variable that is not there.
func withDefault(env []string, assignment string) []string {
	for i := range assignment {
		if assignment[i] == '=' {
			if _, ok := lookupEnv(env, assignment[:i]); ok {
				return env
			}
			break
		}
	}
	return append(env, assignment)
}

// execNamespaces are the namespaces to enter; the cgroup namespace comes later.
func (c *Container) execNamespaces() uint64 {
	flags := uint64(0)
	for _, n := range c.Config.namespaces() {
		if n.Type != specs.CgroupNamespace {
			flags |= namespaceFlags[n.Type]
		}
	}
	return flags
}

// prepareExec fills the plan from the running container.
func (l *launch) prepareExec(c *Container, io Standard) error {
	l.plan.spec = l.config.Spec()
	l.plan.spec.Process.Terminal = l.config.Terminal
	root, err := unix.Open("/proc/"+strconv.Itoa(c.State.Pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return step.Fail("open the root of", c.Config.Name, err)
	}
	if root, err = l.own(root); err != nil {
		return err
	}
	if !c.State.alive() { // then the number may have become another's
		return &NotRunningError{c.Config.Name}
	}
	if err := l.execUser(root); err != nil {
		return err
	}
	if err := l.execGroup(c); err != nil {
		return err
	}
	if err := l.prepareFilter(); err != nil {
		return err
	}
	if err := l.execStreams(root, io); err != nil {
		return err
	}
	return l.preparePipes()
}

func (l *launch) execUser(root int) error {
	u, err := rootfs.LookupUser(root, l.config.User)
	if err != nil {
		return err
	}
	if l.plan.user, err = l.identity(root, u); err != nil {
		return err
	}
	p := l.plan.spec.Process
	p.Env = l.config.usualEnv(p.Env, u.Home)
	if !path.IsAbs(p.Cwd) {
		return step.Fail("go to the working directory", p.Cwd, errors.New("not an absolute path"))
	}
	l.plan.candidates = candidates(p.Args[0], p.Env, p.Cwd)
	return nil
}

// execGroup opens the container's cgroup.
func (l *launch) execGroup(c *Container) error {
	if len(c.State.Cgroups) == 0 {
		return nil
	}
	host, err := cgroups.Detect()
	if err != nil {
		return err
	}
	if l.group, err = host.Open("/minictr/" + c.Config.ID); err != nil {
		return err
	}
	l.plan.cgroupNS = true
	if err := l.openGroup(); err != nil {
		return err
	}
	l.plan.cgroupNS = !l.early || !sameNamespace(c.State.Pid, "cgroup")
	return nil
}

// sameNamespace reports whether the process is in this one's namespace of the kind.
func sameNamespace(pid int, kind string) bool {
	here, err := os.Readlink("/proc/self/ns/" + kind)
	there, err2 := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/" + kind)
	return err == nil && err2 == nil && here == there
}

// execStreams sets descriptors 0 to 2; a terminal is one of the container's own
// devpts, so that its name is right inside.
func (l *launch) execStreams(root int, io Standard) error {
	if l.lent != nil {
		fd, err := l.stream(l.lent)
		l.plan.console, l.plan.stdio = fd, [3]int{fd, fd, fd}
		return err
	}
	if !l.config.Terminal {
		return l.prepareStreams(io)
	}
	master, err := openContainerPtmx(root)
	if err != nil {
		return step.Fail("make a terminal in", l.config.Name, err)
	}
	slave, number, err := terminalSlave(master)
	if err != nil {
		unix.Close(master)
		return step.Fail("make a terminal in", l.config.Name, err)
	}
	if slave, err = l.own(slave); err != nil {
		unix.Close(master)
		return err
	}
	if err := unix.Fchown(slave, int(l.config.hostUID(l.plan.user.uid)), int(l.config.hostGID(5))); err != nil {
		return step.Fail("give away the terminal of", l.config.Name, err)
	}
	l.plan.console, l.plan.consoleName = slave, strconv.Itoa(number)
	l.plan.stdio = [3]int{slave, slave, slave}
	l.master = os.NewFile(uintptr(master), "terminal")
	return l.keepSlave(slave)
}

// openContainerPtmx opens /dev/pts/ptmx of the container after having made sure
// that it is one: what lies at that path is the container's to choose.
func openContainerPtmx(root int) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: program.InRoot}
	node, err := unix.Openat2(root, "dev/pts/ptmx", how)
	if err != nil {
		return -1, os.NewSyscallError("openat2", err)
	}
	defer unix.Close(node)
	var fs unix.Statfs_t
	var stat unix.Stat_t
	if err := errors.Join(unix.Fstatfs(node, &fs), unix.Fstat(node, &stat)); err != nil {
		return -1, err
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC || stat.Rdev != unix.Mkdev(5, 2) {
		return -1, errors.New("/dev/pts/ptmx in the container is not a terminal multiplexer")
	}
	master, err := unix.Open("/proc/self/fd/"+strconv.Itoa(node), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	return master, os.NewSyscallError("open", err)
}

// startExec runs the program and learns the pid of the process.
func (l *launch) startExec(p *program.Program, command Command) (*Process, error) {
	if l.signals != nil {
		<-l.signals.ready // from now on there is somebody to forward them to
	}
	child, err := program.Start(p, program.Options{Observe: l.watch.Operation})
	if err != nil {
		return nil, step.Fail("clone", l.config.Name, err)
	}
	defer child.Close()
	unix.Close(child.Pidfd)
	pid, err := child.Receive()
	waitChild(child.Pid) // it is done, or it has failed
	if err != nil {
		return nil, l.explain(err)
	}
	l.pid = int(pid)
	if l.pidfd, err = unix.PidfdOpen(l.pid, 0); err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	l.fds = append(l.fds, l.pidfd)
	if _, err := child.Receive(); !errors.Is(err, io.EOF) {
		return nil, l.abandon(child, l.explain(err))
	}
	if command.Detach {
		return nil, nil
	}
	pidfd, err := unix.FcntlInt(uintptr(l.pidfd), unix.F_DUPFD_CLOEXEC, firstPrivate)
	return &Process{Pid: l.pid, pidfd: pidfd, outlived: true, master: l.master, slave: l.slave, input: l.input, outputs: l.outputs, signals: l.signals, ended: func(int) error { return nil }}, err
}

// abandon ends a process that could not be started in full.
func (l *launch) abandon(child *program.Process, err error) error {
	err = l.firstCause(child, err)
	waitChild(l.pid)
	return err
}
