package namespaces

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

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
	node, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(node)
	f, kind, err := reopen(node, path)
	if err != nil {
		return nil, "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	return f, kind, nil
}

// reopen opens what O_PATH has found, if it is a namespace. To open anything else
// could have effects: a FIFO waits, a watchdog begins to count.
func reopen(node int, path string) (*os.File, Kind, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(node, &fs); err != nil {
		return nil, "", os.NewSyscallError("fstatfs", err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return nil, "", ErrNone
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(node), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	f := os.NewFile(uintptr(fd), path)
	kind, err := KindOf(f)
	if err != nil {
		f.Close()
		return nil, "", err
	}
	return f, kind, nil
}

// openIn opens a namespace by its path in the mount namespace of another process. What
// lies at that path is that one's to choose; nothing there leads out of its root.
func openIn(root, path string) (*os.File, Kind, error) {
	directory, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	defer unix.Close(directory)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	node, err := unix.Openat2(directory, path, how)
	if err != nil {
		return nil, "", err
	}
	defer unix.Close(node)
	return reopen(node, root+path)
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

// Open opens the namespace by whatever has it: a process, a descriptor, a bind mount.
// It is the one that was read or, when all those are gone, ErrOther.
func (n Namespace) Open() (*os.File, error) {
	if f := n.openNear(); f != nil {
		return f, nil
	}
	for _, path := range n.Paths[:min(fewPlaces, len(n.Paths))] {
		if root, rest, ok := foreignPath(path); ok {
			if f, kind, err := openIn(root, rest); err == nil && n.is(f, kind) {
				return f, nil
			}
		}
	}
	return nil, &os.PathError{Op: "open", Path: n.String(), Err: ErrOther}
}

// openNear opens it by what needs no look into the mount namespaces of others, in
// which a file system may never answer. Nil: there is nothing of the kind.
func (n Namespace) openNear() *os.File {
	for _, path := range n.places() {
		if f, kind, err := OpenPath(path); err == nil && n.is(f, kind) {
			return f
		}
	}
	return nil
}

// is tells whether the open namespace is this one, and closes it when it is not.
func (n Namespace) is(f *os.File, kind Kind) bool {
	inode, err := Inode(f)
	if err == nil && kind == n.Kind && inode == n.Inode {
		return true
	}
	f.Close()
	return false
}

// fewPlaces is how many of each kind are tried.
const fewPlaces = 4

// places are files that were the namespace when it was read, but for bind mounts in
// the mount namespaces of others.
func (n Namespace) places() (list []string) {
	for _, p := range n.Processes[:min(fewPlaces, len(n.Processes))] {
		list = append(list, fmt.Sprintf("/proc/%d/ns/%s", p.Pid, n.Kind))
	}
	for _, h := range n.Held[:min(fewPlaces, len(n.Held))] {
		list = append(list, fmt.Sprintf("/proc/%d/fd/%d", h.Pid, h.FD))
	}
	for _, path := range n.Paths[:min(fewPlaces, len(n.Paths))] {
		if _, _, foreign := foreignPath(path); !foreign {
			list = append(list, path)
		}
	}
	return list
}

// foreignPath takes /proc/PID/root from a path in another mount namespace.
func foreignPath(path string) (root, rest string, ok bool) {
	parts := strings.SplitN(path, "/", 5)
	if len(parts) < 5 || parts[1] != "proc" || parts[3] != "root" {
		return "", "", false
	}
	root = strings.Join(parts[:4], "/")
	return root, path[len(root):], true
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
