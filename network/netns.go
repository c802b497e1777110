package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// errNotNetns says that a path leads to something else than a network namespace.
var errNotNetns = errors.New("not a network namespace")

// errOtherNetns says that a namespace is not the one that was meant.
var errOtherNetns = errors.New("another network namespace than expected; its process is gone")

// Open opens the namespace for setns(2) and IFLA_NET_NS_FD. It fails when the
// path does not lead to a network namespace, or not to the one with the inode
// of n.
func (n Netns) Open() (*os.File, error) {
	f, err := openNamespace(n.path())
	if err == nil {
		if err = n.verify(f); err == nil {
			return f, nil
		}
		_ = f.Close() // it was only looked at
	}
	return nil, &os.PathError{Op: "open", Path: n.path(), Err: err}
}

// openNamespace opens what is a namespace, of whatever kind. To open anything else
// could have effects, and what lies at the path may be another's to choose: a FIFO
// waits, a watchdog begins to count. O_PATH looks without opening.
func openNamespace(path string) (*os.File, error) {
	node, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer closeFD(node)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(node, &fs); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return nil, errNotNetns
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", node), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (n Netns) verify(f *os.File) error {
	// ioctl_ns(2), NS_GET_NSTYPE, Linux 4.11. ENOTTY: no namespace at all.
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return errNotNetns
	}
	if n.Inode == 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Ino != n.Inode {
		return errOtherNetns
	}
	return nil
}

// Inode returns the number that names a namespace as long as it lives, as in
// "net:[4026531840]"; see namespaces(7).
func Inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}

// self is the namespace of the calling thread. Other threads of a Go program
// may be elsewhere, so /proc/self would not do.
const self = "/proc/thread-self/ns/net"

// Do calls f in the namespace and returns its error. f runs in a goroutine of
// its own on a thread of its own; should the thread not find its way back, it
// ends with the goroutine. What f opens there, a socket, stays in the namespace.
func (n Netns) Do(f func() error) error {
	target, err := n.Open()
	if err != nil {
		return err
	}
	defer closeFile(target)
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		back, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread() // it has not gone anywhere
			done <- &os.PathError{Op: "open", Path: self, Err: err}
			return
		}
		defer closeFD(int(back))
		if err := netns.Set(netns.NsHandle(target.Fd())); err != nil {
			runtime.UnlockOSThread()
			done <- os.NewSyscallError("setns", err)
			return
		}
		err = f()
		if netns.Set(back) == nil {
			runtime.UnlockOSThread() // otherwise the thread dies with this goroutine
		}
		done <- err
	}()
	return <-done
}

// NewNetns makes a network namespace that nobody is in, unshare(2), and returns
// it open. It lives as long as it is open or somebody is in it.
func NewNetns() (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread()
		back, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread() // it has not gone anywhere
			done <- made{err: &os.PathError{Op: "open", Path: self, Err: err}}
			return
		}
		defer closeFD(int(back))
		fresh, err := netns.New()
		if err == nil && netns.Set(back) == nil {
			runtime.UnlockOSThread() // otherwise the thread dies with this goroutine
		}
		if err != nil {
			done <- made{err: os.NewSyscallError("unshare", err)}
			return
		}
		done <- made{file: os.NewFile(uintptr(fresh), "netns")}
	}()
	m := <-done
	return m.file, m.err
}

// closeFD closes a descriptor after whose use close(2) has nothing to tell: it
// was read, or every write to it was checked.
func closeFD(fd int) { _ = unix.Close(fd) }

// closeFile is closeFD for a file.
func closeFile(f *os.File) { _ = f.Close() }

// isOwn tells whether the namespace is the one of the calling thread.
func (n Netns) isOwn() (bool, error) {
	there, err := Inode(n.path())
	if err != nil {
		return false, err
	}
	here, err := Inode(self)
	return here == there, err
}

// isGone tells whether the error of opening a namespace means that there is
// nothing left to undo in it.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) ||
		errors.Is(err, errOtherNetns) || errors.Is(err, errNotNetns)
}

// IsGone tells of an error of Netns.Open or Netns.Do whether the namespace is gone, so
// that nothing is left in it to be taken back.
func IsGone(err error) bool { return isGone(err) }

// AddNetns makes a named network namespace, as ip-netns(8) does: a new
// namespace, kept alive by a bind mount of its file at /run/netns/NAME. minictr
// itself does not need it, since a container's processes keep theirs alive; it
// is the first line of the script that builds a container's network by hand.
type AddNetns struct{ Name string }

func (s *AddNetns) path() string { return filepath.Join(netnsDir, s.Name) }

// Apply makes the namespace; a name in use is an error (EEXIST).
func (s *AddNetns) Apply() error { return explain("add netns", s.Name, s.apply()) }

func (s *AddNetns) apply() error {
	if s.Name == "" || s.Name == "." || s.Name == ".." || strings.Contains(s.Name, "/") {
		return fmt.Errorf("%q is no name: %w", s.Name, unix.EINVAL)
	}
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(), os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	_ = f.Close() // an empty file, there to be mounted on
	made, err := newNetns()
	if err == nil {
		defer closeFile(made)
		// The mount must be made by this thread: it may have a mount
		// namespace of its own.
		from := fmt.Sprintf("/proc/thread-self/fd/%d", made.Fd())
		err = os.NewSyscallError("mount", unix.Mount(from, s.path(), "", unix.MS_BIND, ""))
	}
	if err != nil {
		return errors.Join(err, os.Remove(s.path()))
	}
	return nil
}

// newNetns makes a network namespace and returns a descriptor that keeps it alive.
func newNetns() (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends in the new namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{nil, os.NewSyscallError("unshare(CLONE_NEWNET)", err)}
			return
		}
		f, err := os.Open(self)
		done <- result{f, err}
	}()
	r := <-done
	return r.f, r.err
}

// Undo takes the name away. The namespace lives on while a process is in it.
func (s *AddNetns) Undo() error {
	err := unix.Unmount(s.path(), unix.MNT_DETACH)
	if err == nil || err == unix.EINVAL { // EINVAL: the file is there, nothing is mounted on it
		err = unix.Unlink(s.path())
	}
	if err == unix.ENOENT {
		return nil
	}
	return explain("delete netns", s.Name, err)
}

// Check wants a network namespace of the name.
func (s *AddNetns) Check() error {
	f, err := Netns{Name: s.Name}.Open()
	if err != nil {
		return step.Fail("check netns", s.Name, err)
	}
	return f.Close()
}

// Words says the step in plain words.
func (s *AddNetns) Words() string {
	return "make the network namespace " + s.Name + ", as empty as a new machine's"
}

func (s *AddNetns) String() string { return "ip netns add " + s.Name }

// IsOtherNetns reports whether the error is that a path led to another namespace
// than was meant, or to none: the one that was is gone.
func IsOtherNetns(err error) bool {
	return errors.Is(err, errOtherNetns) || errors.Is(err, errNotNetns)
}
