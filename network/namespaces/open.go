package namespaces

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNone says that a path leads to something else than a namespace.
var ErrNone = errors.New("not a namespace")

// ErrOther says that a namespace is not the one that was meant: what had it is gone.
var ErrOther = errors.New("another namespace than expected")

// Open opens the namespace of a kind that a process is in. A pidfd held meanwhile
// makes sure that it is the process's that had the number at the beginning; when it
// has ended, the error is unix.ESRCH.
func Open(pid int, kind Kind) (*os.File, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if Ended(pidfd) {
		if err == nil {
			f.Close()
		}
		return nil, unix.ESRCH
	}
	return f, err
}

// Ended tells whether the process of a pidfd is gone, reaped too: its number may
// then be another's.
func Ended(pidfd int) bool {
	return errors.Is(unix.PidfdSendSignal(pidfd, 0, nil, 0), unix.ESRCH)
}

// OpenPath opens a namespace by a path: a bind mount, or a link in /proc.
func OpenPath(path string) (*os.File, Kind, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not make it wait
	if err != nil {
		return nil, "", err
	}
	kind, err := KindOf(f)
	if err != nil {
		f.Close()
		return nil, "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	return f, kind, nil
}

// KindOf asks which kind of namespace an open file is; ErrNone: it is none.
func KindOf(f *os.File) (Kind, error) {
	// ioctl_ns(2), NS_GET_NSTYPE, Linux 4.11. ENOTTY: no namespace at all.
	flag, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil {
		return "", ErrNone
	}
	kind, ok := kindOf(flag)
	if !ok {
		return "", fmt.Errorf("a namespace of an unknown kind, %#x: %w", flag, errors.ErrUnsupported)
	}
	return kind, nil
}

// Inode is the number of an open namespace.
func Inode(f *os.File) (uint64, error) { return inodeOf(int(f.Fd())) }

func inodeOf(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Ino, os.NewSyscallError("fstat", err)
}

// Open opens the namespace by whatever has it: a process, a bind mount, a
// descriptor. It is the one that was read or, when all those are gone, ErrOther.
func (n Namespace) Open() (*os.File, error) {
	for _, path := range n.places() {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		kind, err := KindOf(f)
		if inode, failed := Inode(f); err == nil && failed == nil && kind == n.Kind && inode == n.Inode {
			return f, nil
		}
		f.Close()
	}
	return nil, &os.PathError{Op: "open", Path: n.String(), Err: ErrOther}
}

// places are files that were the namespace when it was read, at most a few of each.
func (n Namespace) places() (list []string) {
	const most = 4
	for _, p := range n.Processes[:min(most, len(n.Processes))] {
		list = append(list, fmt.Sprintf("/proc/%d/ns/%s", p.Pid, n.Kind))
	}
	list = append(list, n.Paths[:min(most, len(n.Paths))]...)
	for _, h := range n.Held[:min(most, len(n.Held))] {
		list = append(list, fmt.Sprintf("/proc/%d/fd/%d", h.Pid, h.FD))
	}
	return list
}

// A Set is where one process is: the inode of its namespace of each kind. A kind that
// the kernel does not have is not in it.
type Set map[Kind]uint64

// Of reads where a process is. The error is fs.ErrNotExist when there is none of
// that number.
func Of(pid int) (Set, error) { return setOf("/proc/" + strconv.Itoa(pid)) }

// Self reads where the calling thread is.
func Self() (Set, error) { return setOf("/proc/thread-self") }

// Host reads where the host's own processes are: process 1 or, where that has a
// capability that the caller lacks and so may not be looked at, the kernel's thread
// 2, kthreadd. Where neither can be read, the host is what the caller is in.
func Host() (Set, error) {
	for _, pid := range hostPids() {
		if set, err := Of(pid); err == nil {
			return set, nil
		}
	}
	return Self()
}

// HostPid is the process that stands for the host; see Host. It is 0 for the caller.
func HostPid() int {
	for _, pid := range hostPids() {
		if _, err := Of(pid); err == nil {
			return pid
		}
	}
	return 0
}

// hostPids are the processes that may stand for the host. Process 2 does so only as
// the kernel's: in a PID namespace of its own it may be anything.
func hostPids() []int {
	if p, err := Describe(2); err == nil && p.PPid == 0 && p.Command == "kthreadd" {
		return []int{1, 2}
	}
	return []int{1}
}

func setOf(directory string) (Set, error) {
	set := Set{}
	for _, k := range Kinds() {
		target, err := os.Readlink(directory + "/ns/" + string(k))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if key, ok := parseLink(target); ok {
			set[k] = key.inode
		}
	}
	if len(set) == 0 {
		return nil, &os.PathError{Op: "read", Path: directory + "/ns", Err: fs.ErrNotExist}
	}
	return set, nil
}
