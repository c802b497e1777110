package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/rootfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A ProcessStatus is a process of a container as the kernel has it now.
type ProcessStatus struct {
	Pid, PPid int    // in the PID namespace of the caller
	NSPid     int    // in the container's; 0 for one that is in another
	State     string // letter of proc_pid_stat(5): R, S, D, Z, …
	UID, GID  uint32 // effective, as the caller's user namespace numbers them
	User      string // the name that the container's /etc/passwd has for it, or the number
	Threads   int
	CPU       time.Duration // user and system time that it has used
	Started   time.Duration // since boot
	RSSBytes  int64         // memory that it has in RAM
	Name      string        // comm: at most 15 bytes
	Args      []string      // none for a zombie
}

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, 100 on every
// architecture that Go supports.
const clockTick = time.Second / 100

// Top returns the processes of the container, sorted by pid: those in its cgroup
// and those in its PID namespace, so that none is missed on a host without
// cgroups, nor one that has made a PID namespace of its own.
func (r *Runtime) Top(c *Container) ([]ProcessStatus, error) {
	if c.Status != Running {
		return nil, &NotRunningError{c.Config.Name}
	}
	pids, err := r.pids(c)
	if err != nil {
		return nil, err
	}
	depth, err := pidDepth(c.State.Pid)
	if err != nil {
		return nil, fmt.Errorf("read the processes of %s: %w", c.Config.Name, err)
	}
	names := userNames(c.State.Pid)
	var list []ProcessStatus
	for _, pid := range pids {
		p, err := readProcess(pid, depth)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, fmt.Errorf("read process %d: %w", pid, err)
		}
		inside := containerID(c.Config.UIDMappings, p.UID)
		if p.User = names[inside]; p.User == "" {
			p.User = strconv.FormatUint(uint64(inside), 10)
		}
		list = append(list, p)
	}
	if !c.State.alive() { // then the numbers may have become others'
		return nil, &NotRunningError{c.Config.Name}
	}
	return list, nil
}

// pids returns the container's processes, sorted.
func (r *Runtime) pids(c *Container) ([]int, error) {
	var pids []int
	host, err := cgroups.Detect()
	if err != nil {
		return nil, err
	}
	g, err := host.Open("/minictr/" + c.Config.ID)
	if err == nil {
		pids, err = g.Pids()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	inside, err := pidsInNamespace(fmt.Sprintf("/proc/%d/ns/pid", c.State.Pid))
	pids = append(pids, inside...)
	slices.Sort(pids)
	return slices.Compact(pids), err
}

// pidsInNamespace finds the processes whose PID namespace is the one of the
// path.
func pidsInNamespace(path string) ([]int, error) {
	want, err := namespaceInode(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if inode, err := namespaceInode("/proc/" + e.Name() + "/ns/pid"); err == nil && inode == want {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// pidDepth is how many PID namespaces deep the process is, counted from the one
// of the mounted /proc: the place of its own number in the line NSpid.
func pidDepth(pid int) (int, error) {
	status, err := readStatus(pid)
	return len(strings.Fields(status["NSpid"])), err
}

// readStatus reads /proc/PID/status, proc_pid_status(5).
func readStatus(pid int) (map[string]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return parseStatus(string(b)), err
}

func parseStatus(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(line, ":"); found {
			fields[key] = strings.TrimSpace(value)
		}
	}
	return fields
}

// readProcess reads what /proc has of one process. Depth is where in NSpid the
// container's number is.
func readProcess(pid, depth int) (ProcessStatus, error) {
	status, err := readStatus(pid)
	if err != nil {
		return ProcessStatus{}, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ProcessStatus{}, err
	}
	args, err := network.CommandLine(pid)
	if err != nil {
		return ProcessStatus{}, err
	}
	p := processFrom(status, depth)
	p.Pid = pid
	p.addTimes(string(stat))
	if args = bytes.TrimRight(args, "\x00"); len(args) > 0 {
		p.Args = strings.Split(string(args), "\x00")
	}
	return p, nil
}

// processFrom takes what /proc/PID/status says.
func processFrom(status map[string]string, depth int) ProcessStatus {
	number := func(key string, field int) int64 {
		words := strings.Fields(status[key])
		if len(words) <= field {
			return 0
		}
		n, _ := strconv.ParseInt(words[field], 10, 64) // the kernel writes numbers
		return n
	}
	state, _, _ := strings.Cut(status["State"], " ")
	return ProcessStatus{
		Name: status["Name"], State: state,
		PPid: int(number("PPid", 0)), NSPid: int(number("NSpid", depth-1)), Threads: int(number("Threads", 0)),
		UID: uint32(number("Uid", 1)), GID: uint32(number("Gid", 1)),
		RSSBytes: number("VmRSS", 0) << 10,
	}
}

// addTimes takes fields 14, 15 and 22 of /proc/PID/stat. The name, field 2, may
// hold anything, so counting starts behind its last parenthesis.
func (p *ProcessStatus) addTimes(stat string) {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 20 {
		return
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(f[i], 10, 64) // the kernel writes numbers
		return time.Duration(n) * clockTick
	}
	p.CPU, p.Started = ticks(11)+ticks(12), ticks(19)
}

// maxPasswdBytes is the longest /etc/passwd that is read for the sake of names.
const maxPasswdBytes = 1 << 20

// userNames reads the container's own /etc/passwd. Without one there are no
// names: it is for display only.
func userNames(pid int) map[uint32]string {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(root)
	b, err := rootfs.ReadFile(root, "/etc/passwd", maxPasswdBytes)
	if err != nil {
		return nil
	}
	return parsePasswd(string(b))
}

// parsePasswd reads passwd(5); the first name of a number is taken.
func parsePasswd(text string) map[uint32]string {
	names := map[uint32]string{}
	for line := range strings.Lines(text) {
		f := strings.Split(line, ":")
		if len(f) < 3 || f[0] == "" {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if _, taken := names[uint32(uid)]; err == nil && !taken {
			names[uint32(uid)] = f[0]
		}
	}
	return names
}

// containerID is the container's number of a user of the host; the overflow uid
// of user_namespaces(7) where it has none.
func containerID(mappings []specs.LinuxIDMapping, host uint32) uint32 {
	for _, m := range mappings {
		if host >= m.HostID && host-m.HostID < m.Size {
			return m.ContainerID + host - m.HostID
		}
	}
	if len(mappings) > 0 {
		return overflowID
	}
	return host
}

const overflowID = 65534 // /proc/sys/kernel/overflowuid, unless changed
