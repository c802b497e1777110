package runtime

import (
	"strconv"

	"github.com/minictr/minictr/runtime/program"
)

// A detached container has one small process beside it, its monitor: the
// parent that reaps it, keeps its exit code, copies its output into the log,
// and in the end becomes minictr once more to clean up. It is a program of its
// own (cmd/minictr-monitor) because it lives as long as the container: 1.8 MB
// of it, where minictr itself would be several times that.
//
//	minictr run -d ──clone3──► monitor-to-be ──clone3──► container
//	     │                          │ execve                │ execve
//	     │ prints the id, exits     ▼                       ▼
//	                          minictr-monitor ─ waits for ─ sh
//
// Its descriptors have fixed numbers:
const (
	monitorLock   = 3 // the container's directory, with its lock
	monitorPidfd  = 4 // the container's first process
	monitorOutput = 5 // read end of its standard output, or the terminal's master
	monitorError  = 6 // read end of its standard error, or /dev/null
	monitorStdin  = 7 // held open: the write end of its standard input, its terminal, or /dev/null
)

// monitor is what compile needs to make the program of a monitor.
type monitor struct {
	binary int      // the program, open
	null   int      // /dev/null
	fds    [5]int   // for the numbers above; [1] is not used
	argv   []string // see cmd/minictr-monitor
	child  program.Slot
}

// compile adds what the parent of the container does after the fork.
func (m *monitor) compile(p *program.Program) {
	p.Task("tell the container's pid", "")
	p.Add(program.Report(m.child))
	pidfd := p.Slot()
	p.Task("become the container's monitor", "minictr-monitor")
	p.Add(
		program.PidfdOpen(m.child).Into(pidfd),
		program.Setsid(),
		program.Chdir("/"),
		program.Dup3(pidfd, monitorPidfd, 0),
	)
	for i := range uint(3) {
		p.Add(program.Dup3(program.Number(m.null), i, 0))
	}
	for i, fd := range m.fds {
		if n := monitorLock + i; n != monitorPidfd {
			p.Add(program.Dup3(program.Number(fd), uint(n), 0))
		}
	}
	p.Add(
		program.CloseOnExecFrom(monitorStdin+1),
		program.UnblockSignals(),
		program.ExecveFd(program.Number(m.binary), m.argv, nil),
	)
}

// monitorArgv is how minictr-monitor is called.
func monitorArgv(r *Runtime, minictr string, c *Config) []string {
	return []string{"minictr-monitor", minictr, r.Root, r.Runroot, c.ID, strconv.FormatBool(c.Terminal)}
}
