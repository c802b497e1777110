package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/minictr/minictr/runtime/logfile"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// prepareStreams decides what the container's descriptors 0, 1 and 2 are:
//
//	-t            a terminal; the launch keeps its master, or the monitor does
//	-d            pipes to the monitor, which writes the log
//	otherwise     the caller's own pipe or socket, where there is no log, or a pipe
//	              to this process, which copies
//
// A file or a terminal of the caller's is never handed on: through /proc/1/fd the
// container could open it again, for more than it was opened for, or change its
// mode. Without -i standard input is /dev/null.
func (l *launch) prepareStreams(io Standard) error {
	if l.config.Detach {
		if err := l.prepareMonitor(); err != nil {
			return err
		}
	}
	if l.config.Terminal {
		return l.prepareTerminal()
	}
	if l.plan.monitor != nil {
		return l.preparePipedStreams()
	}
	if !l.config.OpenStdin {
		io.Stdin = nil
	}
	if err := l.prepareInput(io.Stdin); err != nil {
		return err
	}
	return errors.Join(l.prepareOutput(1, io.Stdout, "stdout"), l.prepareOutput(2, io.Stderr, "stderr"))
}

// output is a stream of the container that Process.Wait copies.
type output struct {
	from, to *os.File
	name     string // stdout or stderr
}

// input is the caller's standard input on its way to the container.
type input struct{ from, to *os.File }

// prepareInput sets descriptor 0.
func (l *launch) prepareInput(from *os.File) (err error) {
	if from == nil || l.mayHandOn(from) {
		l.plan.stdio[0], err = l.stream(from)
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return step.Fail("make a pipe for", l.config.Name, err)
	}
	l.input = &input{from: from, to: write}
	l.plan.stdio[0], err = l.stream(read)
	return errors.Join(err, read.Close(), l.giveAway(l.plan.stdio[0]))
}

// prepareOutput sets descriptor 1 or 2.
func (l *launch) prepareOutput(i int, to *os.File, name string) (err error) {
	if to == nil || !l.logged && l.mayHandOn(to) {
		l.plan.stdio[i], err = l.stream(to)
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return step.Fail("make a pipe for", l.config.Name, err)
	}
	l.outputs = append(l.outputs, output{from: read, to: to, name: name})
	l.plan.stdio[i], err = l.stream(write)
	return errors.Join(err, write.Close(), l.giveAway(l.plan.stdio[i]))
}

// mayHandOn reports whether a stream gives the container no more than it should
// have: a pipe, a socket, or /dev/null. A user of the container other than root
// may open /dev/stdout only when it is theirs.
func (l *launch) mayHandOn(f *os.File) bool {
	var s unix.Stat_t
	if unix.Fstat(int(f.Fd()), &s) != nil {
		return false
	}
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		return l.config.hostUID(l.plan.user.uid) == s.Uid
	case unix.S_IFCHR:
		return s.Rdev == unix.Mkdev(1, 3)
	}
	return false
}

// giveAway makes a stream the container's user's, who may open /dev/stdout again.
func (l *launch) giveAway(fd int) error {
	u := l.plan.user
	err := unix.Fchown(fd, int(l.config.hostUID(u.uid)), int(l.config.hostGID(u.gid)))
	return step.Fail("give the output to user", strconv.Itoa(int(u.uid)), err)
}

// stream returns a high copy of the file's descriptor, or /dev/null.
func (l *launch) stream(f *os.File) (int, error) {
	if f == nil {
		fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, step.Fail("open", "/dev/null", err)
		}
		return l.own(fd)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, firstPrivate)
	if err != nil {
		return -1, step.Fail("use the stream", f.Name(), err)
	}
	l.fds = append(l.fds, fd)
	return fd, nil
}

// preparePipedStreams makes the pipes between the container and its monitor.
func (l *launch) preparePipedStreams() error {
	m := l.plan.monitor
	for i, monitorEnd := range []int{0, monitorOutput, monitorError} {
		if i == 0 && !l.config.OpenStdin {
			l.plan.stdio[0] = m.null
			continue
		}
		read, write, err := l.pipe()
		if err != nil {
			return step.Fail("make a pipe for", l.config.Name, err)
		}
		if i == 0 {
			l.plan.stdio[0], m.fds[monitorStdin-monitorLock] = read, write
			continue
		}
		l.plan.stdio[i], m.fds[monitorEnd-monitorLock] = write, read
		if err := l.giveAway(write); err != nil {
			return err
		}
	}
	return nil
}

// prepareMonitor opens what the monitor is made from.
func (l *launch) prepareMonitor() error {
	binary, minictr, err := l.monitorBinary()
	if err != nil {
		return err
	}
	fd, err := unix.Open(binary, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return step.Fail("open the monitor", binary, err)
	}
	// The log is there from the start, for who follows it at once.
	log, err := os.OpenFile(l.lasting(l.config.ID, logfile.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	m := &monitor{argv: monitorArgv(l.Runtime, minictr, l.config)}
	if m.binary, err = l.own(fd); err != nil {
		return err
	}
	if m.null, err = l.stream(nil); err != nil {
		return err
	}
	for i := range m.fds {
		m.fds[i] = m.null
	}
	m.fds[0] = l.lock.fd
	l.plan.monitor = m
	return nil
}

// prepareTerminal makes the container's devpts here, so that the master of its
// terminal is in the right hands from the start: no descriptor has to be sent
// out of the container. pts(4), ioctl_tty(2).
func (l *launch) prepareTerminal() error {
	index := -1
	for i, m := range l.plan.spec.Mounts {
		if m.Destination == "/dev/pts" && m.Type == "devpts" {
			index = i
		}
	}
	if index < 0 {
		return step.Fail("make the terminal of", l.config.Name, fmt.Errorf("no devpts is mounted at /dev/pts"))
	}
	o := parseMountOptions(l.plan.spec.Mounts[index].Options)
	for i, d := range o.data {
		if d == "gid=5" { // of the container; but this process is not in its user namespace
			o.data[i] = "gid=" + strconv.Itoa(int(l.config.hostGID(5)))
		}
	}
	fd, err := mountDetached("devpts", o)
	if err != nil {
		return step.Fail("mount", "devpts", err)
	}
	if fd, err = l.own(fd); err != nil {
		return err
	}
	l.plan.prepared[index] = fd
	master, slave, number, err := openTerminal(fd)
	if err != nil {
		return step.Fail("make the terminal of", l.config.Name, err)
	}
	if slave, err = l.own(slave); err != nil {
		return err
	}
	if err := unix.Fchown(slave, int(l.config.hostUID(l.plan.user.uid)), int(l.config.hostGID(5))); err != nil {
		return step.Fail("give away the terminal of", l.config.Name, err)
	}
	l.plan.console, l.plan.consoleName = slave, strconv.Itoa(number)
	l.plan.stdio = [3]int{slave, slave, slave}
	if m := l.plan.monitor; m != nil {
		m.fds[monitorStdin-monitorLock] = slave // see keepSlave
		m.fds[monitorOutput-monitorLock], err = l.own(master)
		return err
	}
	if err := l.keepSlave(slave); err != nil {
		return err
	}
	l.master = os.NewFile(uintptr(master), "terminal")
	return nil
}

// keepSlave keeps a copy of the slave open as long as the container's process
// lives. Without, a moment in which nobody in the container has the terminal open
// would look like its end.
func (l *launch) keepSlave(slave int) error {
	fd, err := unix.FcntlInt(uintptr(slave), unix.F_DUPFD_CLOEXEC, firstPrivate)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	l.slave = os.NewFile(uintptr(fd), "terminal")
	return nil
}

// openTerminal opens a new terminal of the devpts mount.
func openTerminal(devpts int) (master, slave, number int, err error) {
	master, err = unix.Openat2(devpts, "ptmx", &unix.OpenHow{Flags: unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return -1, -1, 0, os.NewSyscallError("openat2", err)
	}
	if slave, number, err = terminalSlave(master); err != nil {
		unix.Close(master)
		return -1, -1, 0, err
	}
	return master, slave, number, nil
}

// terminalSlave unlocks and opens the slave of a master, ioctl_tty(2), and
// returns its number.
func terminalSlave(master int) (slave, number int, err error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, 0, os.NewSyscallError("ioctl TIOCSPTLCK", err)
	}
	if number, err = unix.IoctlGetInt(master, unix.TIOCGPTN); err != nil {
		return -1, 0, os.NewSyscallError("ioctl TIOCGPTN", err)
	}
	// TIOCGPTPEER, Linux 4.13: no path is involved.
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, 0, os.NewSyscallError("ioctl TIOCGPTPEER", errno)
	}
	return int(fd), number, nil
}

// mountDetached makes a file system whose mount is attached nowhere.
func mountDetached(fstype string, o mountOptions) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, d := range o.data {
		if key, value, found := strings.Cut(d, "="); found {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return -1, fmt.Errorf("option %s: %w", d, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(o.set))
	return fd, os.NewSyscallError("fsmount", err)
}
