package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// A Namespace is one that a process is in, namespaces(7).
type Namespace struct {
	Kind  string // as in /proc/PID/ns: cgroup, ipc, mnt, net, pid, time, user or uts
	Path  string // /proc/PID/ns/KIND, while the process lives
	Inode uint64 // equal inodes are one namespace: net:[4026531840]
	// Host is whether the host's processes are in it too: it is shared.
	Host bool
}

// namespaceKinds are the links in /proc/PID/ns that say where a process is. The
// others there (pid_for_children, time_for_children) say where its children will
// be. The time namespace came with Linux 5.6.
func namespaceKinds() []string {
	return []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}
}

// Namespaces reads the namespaces of a process. A kind that the kernel does not
// have is left out. The error is fs.ErrNotExist when there is no such process.
func Namespaces(pid int) ([]Namespace, error) {
	var list []Namespace
	host := hostProcess()
	for _, kind := range namespaceKinds() {
		path := fmt.Sprintf("/proc/%d/ns/%s", pid, kind)
		inode, err := namespaceInode(path)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
				return nil, step.Fail("read the namespaces of", fmt.Sprint(pid), fs.ErrNotExist)
			}
			continue
		}
		if err != nil {
			return nil, step.Fail("read", path, err)
		}
		shared, err := namespaceInode(host + "/ns/" + kind)
		if err != nil {
			return nil, step.Fail("read", host+"/ns/"+kind, err)
		}
		list = append(list, Namespace{Kind: kind, Path: path, Inode: inode, Host: inode == shared})
	}
	return list, nil
}

// hostProcess is the directory in /proc of a process whose namespaces are the
// host's: process 1 or, where that has a capability that the caller lacks and
// so may not be looked at, the kernel's thread 2, kthreadd. Where neither can be
// read, the host is what the caller is in.
func hostProcess() string {
	if _, err := namespaceInode("/proc/1/ns/net"); err == nil {
		return "/proc/1"
	}
	status, err := readStatus(2)
	if err == nil && status["PPid"] == "0" && status["Name"] == "kthreadd" {
		if _, err := namespaceInode("/proc/2/ns/net"); err == nil {
			return "/proc/2"
		}
	}
	return "/proc/self"
}

// namespaceInode follows a link such as /proc/PID/ns/net. It needs
// PTRACE_MODE_READ_FSCREDS on the process, ptrace(2), which root has.
func namespaceInode(path string) (uint64, error) {
	var stat unix.Stat_t
	for {
		err := unix.Stat(path, &stat)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return stat.Ino, err
	}
}

// String is what the link in /proc/PID/ns says: net:[4026531840].
func (n Namespace) String() string { return fmt.Sprintf("%s:[%d]", n.Kind, n.Inode) }
