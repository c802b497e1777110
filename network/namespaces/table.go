package namespaces

import (
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// mountTable reads the table of a mount namespace that nobody is in, which no file of
// /proc shows: a thread goes there, and never comes back.
func (n Namespace) mountTable() (string, error) {
	namespace, err := n.Open()
	if err != nil {
		return "", err
	}
	defer namespace.Close()
	proc, err := os.Open("/proc") // there may be none, over there
	if err != nil {
		return "", err
	}
	defer proc.Close()
	type answer struct {
		table []byte
		err   error
	}
	done := make(chan answer)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		table, err := tableFrom(int(namespace.Fd()), int(proc.Fd()))
		done <- answer{table, err}
	}()
	a := <-done
	return string(a.table), a.err
}

func tableFrom(namespace, proc int) ([]byte, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // setns(2): not with a shared root
		return nil, os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
		return nil, os.NewSyscallError("setns", err)
	}
	fd, err := unix.Openat(proc, "thread-self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("openat", err)
	}
	f := os.NewFile(uintptr(fd), "mountinfo")
	defer f.Close()
	return io.ReadAll(f)
}
