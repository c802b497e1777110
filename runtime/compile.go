package runtime

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/minictr/minictr/runtime/program"
	"golang.org/x/sys/unix"
)

// compiler holds what the stages of a compilation share.
type compiler struct {
	plan
	program.Program
	err    error
	mounts []program.Slot // spec.Mounts[i] -> its mount
	procfs program.Slot   // the container's procfs, in a mount of its own, or 0
	dev    program.Slot   // the tmpfs at /dev, or 0
	devpts program.Slot   // the devpts at /dev/pts, or 0
	fork   int            // index of the monitor's clone3, or -1
}

// compile makes the program of a new container's first process. This table is
// the order of a launch.
func compile(p plan) (*program.Program, error) {
	c := &compiler{plan: p, fork: -1}
	for _, stage := range []func(){
		c.closeParentEnds,
		c.forkContainer,
		c.dieWithParent,
		c.awaitMappings,
		c.joinNamespaces,
		c.newSession,
		c.privateMounts,
		c.attachRoot,
		c.mountAll,
		c.populateDev,
		c.hostnames,
		c.earlySysctls,
		c.oomScore,
		c.maskPaths,
		c.protectPaths,
		c.enterCgroup,
		c.mountCgroup,
		c.protectRoot,
		c.pivotRoot,
		c.stdioAndTerminal,
		c.limits,
		c.awaitInterfaces,
		c.seccompEarly,
		c.becomeUser,
		c.workingDirectory,
		c.seccompLate,
		c.execute,
		c.becomeMonitor,
	} {
		stage()
	}
	if c.err != nil {
		return nil, c.err
	}
	return &c.Program, nil
}

func (c *compiler) fail(err error) { c.err = errors.Join(c.err, err) }

// closeParentEnds closes the write ends of the pipes that the child waits on, so
// that the parent's death ends the wait.
func (c *compiler) closeParentEnds() {
	for i, fd := range c.parentEnds {
		if i == 0 {
			c.Task("close the parent's ends of the pipes", "")
		}
		c.Add(program.Close(program.Number(fd)))
	}
}

// forkContainer, for a detached container, makes the container's process a child
// of the process that becomes its monitor.
func (c *compiler) forkContainer() {
	if c.monitor == nil {
		return
	}
	pid := c.Slot()
	c.Task("fork the container's first process from its monitor", "unshare --fork "+unshareFlags(c.cloneFlags))
	c.fork = len(c.Ops)
	flags := c.cloneFlags
	if c.cgroupFD > 0 {
		flags |= unix.CLONE_INTO_CGROUP
	}
	c.Add(program.Clone3(flags, unix.SIGCHLD, c.cgroupFD, 1).Into(pid)) // becomeMonitor sets where the parent goes on
	c.monitor.child = pid
}

// becomeMonitor is the parent's part of forkContainer.
func (c *compiler) becomeMonitor() {
	if c.monitor == nil {
		return
	}
	c.Ops[c.fork].Parent = len(c.Ops)
	c.monitor.compile(&c.Program)
}

func (c *compiler) dieWithParent() {
	if !c.deathSignal {
		return
	}
	c.Task("die when the monitor dies", "")
	c.Add(program.Prctl(program.Constant{Value: unix.PR_SET_PDEATHSIG, Name: "PR_SET_PDEATHSIG"}, uint64(unix.SIGKILL)))
}

// awaitMappings waits until the parent has written uid_map and gid_map, and
// becomes root of the new user namespace; see user_namespaces(7).
func (c *compiler) awaitMappings() {
	if c.mapped == 0 {
		return
	}
	c.Task("wait for the id mappings and become root of the user namespace", "")
	c.Add(
		program.Await(program.Number(c.mapped), c.Slot()),
		program.Setresgid(0),
		program.Setresuid(0),
	)
	c.dieWithParent() // changing the ids has cleared it, prctl(2)
}

func (c *compiler) joinNamespaces() {
	for _, j := range c.joins {
		c.Task("enter the "+string(j.kind)+" namespace "+j.path, "nsenter --net="+j.path)
		c.Add(program.Setns(program.Number(j.fd), namespaceFlags[j.kind]))
	}
}

// newSession detaches the container from the terminal it was started on, so that
// it can neither be signalled from its keyboard nor push characters into it.
func (c *compiler) newSession() {
	c.Task("leave the terminal's session", "setsid")
	c.Add(program.Setsid())
	// Nor may it hold the caller's session keyring, keyrings(7). Not every kernel
	// has keys, and a user may have used up theirs.
	c.Task("take a session keyring of its own", "keyctl session")
	c.Add(program.JoinSessionKeyring().Except(unix.ENOSYS, unix.EDQUOT))
}

// privateMounts stops mounts from leaking to the host, mount_namespaces(7).
func (c *compiler) privateMounts() {
	c.Task("stop mounts from reaching the host", "mount --make-rprivate /")
	c.Add(program.Mount(program.Null{}, program.Text("/"), program.Null{}, unix.MS_REC|unix.MS_PRIVATE, program.Null{}))
}

func (c *compiler) attachRoot() {
	if len(c.names) > 0 {
		// Before Linux 6.15 files can be bound only from a mount that is attached.
		// The root hides it at once, and it goes with the host's root.
		c.Task("attach the container's own files at "+c.attach, "mount -t tmpfs … "+c.attach)
		c.Add(program.MoveMount(program.Number(c.filesystem), program.CurrentDirectory(), c.attach))
	}
	c.Task("attach the root file system at "+c.attach, "mount -t overlay … "+c.attach)
	root := program.Number(c.root)
	c.Add(
		program.MoveMount(root, program.CurrentDirectory(), c.attach),
		program.Fchdir(root),
	)
}

func (c *compiler) hostnames() {
	if h := c.spec.Hostname; h != "" {
		c.Task("set the hostname "+h, "hostname "+h)
		c.Add(program.Sethostname(h))
	}
	if d := c.spec.Domainname; d != "" {
		c.Task("set the domain name "+d, "domainname "+d)
		c.Add(program.Setdomainname(d))
	}
}

// perInterface reports whether a sysctl belongs to one network interface, which
// is there only when the parent has made it.
func perInterface(key string) bool {
	f := strings.SplitN(key, ".", 5)
	return len(f) == 5 && f[0] == "net" && (f[2] == "conf" || f[2] == "neigh") && f[3] != "all" && f[3] != "default" && f[3] != "lo"
}

func (c *compiler) earlySysctls() { c.sysctls(false) }

func (c *compiler) sysctls(late bool) {
	for _, key := range slices.Sorted(maps.Keys(c.spec.Linux.Sysctl)) {
		if perInterface(key) != late {
			continue
		}
		value := c.spec.Linux.Sysctl[key]
		c.Task("set the sysctl "+key+" to "+value, fmt.Sprintf("sysctl -w %s=%q", key, value))
		c.writeProc("sys/"+sysctlPath(key), value)
	}
}

// sysctlPath is the path below /proc/sys. A dot in an interface name is written
// as a slash, and the other way round, as sysctl(8) does.
func sysctlPath(key string) string {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
		return key
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(key)
}

// writeProc writes to a file of the container's procfs through the descriptor of
// a mount of its own: nothing in the root file system can stand in the way, and
// nothing that was mounted at /proc since.
func (c *compiler) writeProc(path, value string) {
	if c.procfs == 0 {
		c.fail(fmt.Errorf("write /proc/%s: the container has no /proc", path))
		return
	}
	fd := c.Slot()
	c.Add(
		program.Openat2(c.procfs, path, unix.O_WRONLY, 0, unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV).Into(fd),
		program.Write(fd, value),
		program.Close(fd),
	)
	c.Free(fd)
}

func (c *compiler) oomScore() {
	if s := c.spec.Process.OOMScoreAdj; s != nil {
		c.Task(fmt.Sprintf("set the OOM score adjustment %d", *s), fmt.Sprintf("echo %d > /proc/self/oom_score_adj", *s))
		c.writeProc("self/oom_score_adj", fmt.Sprint(*s))
	}
}

// enterCgroup moves the process into its cgroup: on v2 it was born there, and in
// the hierarchies of v1 it enters by itself. A process of one thread that writes
// "0" to tasks is moved at once; for a write to cgroup.procs from outside the
// kernel waits for an RCU grace period, some 10 ms. Then the group becomes the
// root of what the container sees.
func (c *compiler) enterCgroup() {
	c.enterTasks()
	if c.cgroupNS {
		c.Task("make a cgroup namespace", "unshare --cgroup")
		c.Add(program.Unshare(unix.CLONE_NEWCGROUP))
	}
}

func (c *compiler) enterTasks() {
	for _, t := range c.tasks {
		c.Task("enter the cgroup "+path.Dir(t.path), "echo 0 > "+t.path)
		c.Add(program.Write(program.Number(t.fd), "0"))
	}
}

func (c *compiler) protectRoot() {
	if c.spec.Root.Readonly {
		c.Task("make the root file system read-only", "mount -o remount,bind,ro /")
		c.Add(program.MountSetattr(program.Number(c.root), unix.MOUNT_ATTR_RDONLY, 0, 0, false))
	}
}

// pivotRoot swaps the root for the new one, pivot_root(2), NOTES: with both
// arguments "." the old root ends up mounted over the new one, and is taken away.
func (c *compiler) pivotRoot() {
	c.Task("make it the root, and let the host's go", "pivot_root . . && umount -l .")
	c.Add(
		program.Fchdir(program.Number(c.root)),
		program.PivotRoot(".", "."),
		program.Umount2(".", unix.MNT_DETACH),
		program.Chdir("/"),
	)
}

// stdioAndTerminal gives the process its three descriptors, and with -t the
// terminal as the one that controls its session.
func (c *compiler) stdioAndTerminal() {
	if c.closeForeign {
		c.Task("let no other descriptor through", "")
		c.Add(program.CloseOnExecFrom(3))
	}
	c.Task("set standard input, output and error", "")
	for i, fd := range c.stdio {
		if fd != i {
			c.Add(program.Dup3(program.Number(fd), uint(i), 0))
		}
	}
	if c.console != 0 {
		c.Task("make the terminal the controlling one", "setsid --ctty")
		c.Add(program.ControllingTerminal(program.Number(0)))
	}
	c.Task("", "")
}

// limits sets the resource limits of getrlimit(2). RLIMIT_NOFILE is always among
// them, because the Go runtime has raised it in the parent.
func (c *compiler) limits() {
	for _, r := range c.spec.Process.Rlimits {
		resource, known := rlimits[r.Type]
		if !known {
			c.fail(fmt.Errorf("process.rlimits: unknown limit %q", r.Type))
			continue
		}
		c.Task(fmt.Sprintf("limit %s to %d, at most %d", r.Type, r.Soft, r.Hard), fmt.Sprintf("prlimit --%s=%d:%d", strings.ToLower(strings.TrimPrefix(r.Type, "RLIMIT_")), r.Soft, r.Hard))
		c.Add(program.Setrlimit(program.Constant{Value: resource, Name: r.Type}, r.Soft, r.Hard))
	}
}

func (c *compiler) workingDirectory() {
	cwd, fd := c.spec.Process.Cwd, c.Slot()
	c.Task("go to the working directory "+cwd, "cd "+cwd)
	c.Add(
		program.Openat2(program.CurrentDirectory(), cwd, unix.O_PATH|unix.O_DIRECTORY, 0, program.InRoot).Into(fd),
		program.Fchdir(fd),
	)
}

// awaitInterfaces waits for the network early when a sysctl of an interface is to
// be set: that takes the privileges which the next stages give up.
func (c *compiler) awaitInterfaces() {
	for key := range c.spec.Linux.Sysctl {
		if perInterface(key) {
			c.awaitStart()
			c.sysctls(true)
			return
		}
	}
}

// awaitStart waits for the parent.
func (c *compiler) awaitStart() {
	if c.start != 0 {
		c.Task("wait until the network is ready", "")
		c.Add(program.Await(program.Number(c.start), c.Slot()))
		c.start = 0
	}
}

// execute runs the command through the launch stub (program.OpenStub), which also
// waits for the parent: by then everything else is done.
func (c *compiler) execute() {
	args := c.spec.Process.Args
	c.Task("run "+strings.Join(args, " "), "exec "+strings.Join(args, " "))
	if m := c.spec.Process.User.Umask; m != nil {
		c.Add(program.Umask(*m))
	} else {
		c.Add(program.Umask(0o022))
	}
	c.Add(program.Dup3(program.ReportPipe{}, reportDescriptor, 0))
	wait := uint8(0)
	if c.start != 0 {
		wait = startDescriptor
		c.Add(program.Dup3(program.Number(c.start), startDescriptor, 0))
	}
	c.Add(
		program.UnblockSignals(),
		program.ExecveStub(program.Number(c.stub), program.StubArgv(reportDescriptor, wait, c.candidates, args), c.spec.Process.Env),
	)
}

// The stub's descriptors are the first numbers behind standard error.
const (
	reportDescriptor = 3
	startDescriptor  = 4
)
