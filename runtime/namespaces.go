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
	// Host is whether process 1 is in it too: the container shares the host's.
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
		host, err := namespaceInode("/proc/1/ns/" + kind)
		if err != nil {
			return nil, step.Fail("read", "/proc/1/ns/"+kind, err)
		}
		list = append(list, Namespace{Kind: kind, Path: path, Inode: inode, Host: inode == host})
	}
	return list, nil
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
