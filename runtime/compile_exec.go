package runtime

import (
	"github.com/minictr/minictr/runtime/program"
	"golang.org/x/sys/unix"
)

// execPlan is what the program of Exec depends on beside the plan of the process
// that it starts.
type execPlan struct {
	plan
	pidfd      int    // the container's first process
	pid        int    // the same, for the words
	namespaces uint64 // which of its namespaces to enter, without pid's child and cgroup
}

// compileExec makes the program that starts a process in a running container:
//
//	minictr ──clone3──► first child ── setns: all namespaces at once
//	   │                     │ clone3(CLONE_PARENT): born in the PID namespace
//	   │                     ├──────────► the process, a child of minictr
//	   │ ◄── its pid ────────┤               │ cgroup, user, seccomp …
//	   ▼                     ▼ exits         ▼ execve
func compileExec(p execPlan) (*program.Program, error) {
	c := &compiler{plan: p.plan, fork: -1}
	pidfd, pid := program.Number(p.pidfd), c.Slot()
	c.closeParentEnds()
	c.Task("let nobody in the container look into this process", "")
	c.Add(program.Prctl(program.Constant{Value: unix.PR_SET_DUMPABLE, Name: "PR_SET_DUMPABLE"}, 0))
	c.Task("enter the container's namespaces", "nsenter -t "+program.Number(p.pid).String()+" -a")
	c.Add(program.Setns(pidfd, p.namespaces))
	flags := uint64(unix.CLONE_PARENT)
	if p.cgroupFD > 0 {
		flags |= unix.CLONE_INTO_CGROUP
	}
	c.Task("be born again in its PID namespace", "")
	fork := len(c.Ops)
	c.Add(program.Clone3(flags, 0, p.cgroupFD, 1).Into(pid))
	for _, stage := range []func(){
		c.newSession,
		c.enterTasks,
		func() { c.enterCgroupNamespace(pidfd) },
		c.stdioAndTerminal,
		c.limits,
		c.seccompEarly,
		c.becomeUser,
		c.workingDirectory,
		c.seccompLate,
		c.execute,
	} {
		stage()
	}
	c.Ops[fork].Parent = len(c.Ops)
	c.Task("tell the process's pid and be done", "")
	c.Add(program.Report(pid), program.ExitGroup(0))
	if c.err != nil {
		return nil, c.err
	}
	return &c.Program, nil
}

// enterCgroupNamespace enters the container's cgroup namespace, now that the
// process is in the container's cgroup: the kernel refuses to move a process
// into a cgroup from a namespace that cannot see where it comes from.
func (c *compiler) enterCgroupNamespace(pidfd program.Arg) {
	if !c.cgroupNS {
		return
	}
	c.Task("enter the container's cgroup namespace", "nsenter --cgroup")
	c.Add(program.Setns(pidfd, unix.CLONE_NEWCGROUP))
}
