package lab

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// HoldCommand is the command of minictr-see that is a lab's holder, which Start runs in
// new namespaces.
const HoldCommand = "hold"

// held is what the holder answers when the host is made; anything else is why it is not.
const held = "held"

// Hold makes the host of the lab whose directory is dir, with the programs of minictr in
// another directory, answers on descriptor 3, and reaps until it gets SIGTERM.
func Hold(dir, programs string) {
	answer := os.NewFile(3, "answer")
	unix.CloseOnExec(3)
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	if err := makeHost(dir, programs); err != nil {
		fmt.Fprint(answer, err)
		return
	}
	// Who is not there any more has not seen the lock either.
	if _, err := fmt.Fprint(answer, held); err != nil {
		return
	}
	answer.Close()
	children := make(chan os.Signal, 64)
	signal.Notify(children, unix.SIGCHLD)
	reap() // who ended before
	for {
		select {
		case <-children:
			reap()
		case s := <-signals:
			if s == unix.SIGTERM {
				return
			}
		}
	}
}

// reap takes notice of the end of every child: what runs in a lab becomes the holder's
// when its parent has ended.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != unix.EINTR && (err != nil || pid <= 0) {
			return
		}
	}
}

// makeHost makes what makes the namespaces a host of its own.
func makeHost(dir, programs string) error {
	if os.Getpid() != 1 {
		return step.Fail("hold", dir, fmt.Errorf("it is minictr lab start that does this"))
	}
	if err := mounts(dir, programs); err != nil {
		return err
	}
	if err := step.Fail("set host name to", "lab", unix.Sethostname([]byte("lab"))); err != nil {
		return err
	}
	return commands()
}

// lockForever takes the lock by which the holder is known. The kernel drops it with the
// process, or when any descriptor of the file is closed in it.
func lockForever(state int) error {
	fd, err := unix.Openat(state, "holder", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	return step.Fail("lock", "the file holder", err)
}

// mounts hides from the lab what of the machine could be changed or be in the way. What
// stays writable is taken hold of before all becomes read-only.
func mounts(dir, programs string) error {
	// Not private: what the machine unmounts, it shall be rid of.
	if err := step.Fail("keep to itself", "/", unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")); err != nil {
		return err
	}
	state, err := clone(dir)
	if err != nil {
		return err
	}
	if err := lockForever(state); err != nil {
		return err
	}
	minictr, err := clone(programs)
	if err != nil {
		return err
	}
	groups, err := clone("/sys/fs/cgroup")
	if err != nil {
		return err
	}
	if err := detachBelow("/run", "/tmp"); err != nil {
		return err
	}
	if err := readOnly(unix.AT_FDCWD, "/"); err != nil {
		return err
	}
	if err := readOnly(minictr, ""); err != nil {
		return err
	}
	if err := freshMounts(); err != nil {
		return err
	}
	for _, d := range []string{stateDir, programDir, homeDir, binDir, baseDir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		tree int
		at   string
	}{{state, stateDir}, {minictr, programDir}, {groups, "/sys/fs/cgroup"}} {
		if err := attach(m.tree, m.at); err != nil {
			return err
		}
	}
	return kernelSettings()
}

// freshMounts mounts what a host has anew.
func freshMounts() error {
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"tmpfs", "/run", "mode=755"},
		{"tmpfs", "/tmp", "mode=1777"},
		{"mqueue", "/dev/mqueue", ""},
		{"tmpfs", "/dev/shm", "mode=1777"},
	} {
		if _, err := os.Stat(m.at); err != nil {
			continue // not on this machine
		}
		if err := unix.Mount(m.kind, m.at, m.kind, unix.MS_NOSUID|unix.MS_NODEV, m.options); err != nil {
			return step.Fail("mount "+m.kind+" on", m.at, err)
		}
	}
	return nil
}

// kernelSettings leaves of the kernel's settings those of the network to the lab: they are
// each namespace's own, the others the machine's.
func kernelSettings() error {
	network, err := clone("/proc/sys/net")
	if err != nil {
		return err
	}
	for _, path := range []string{"/proc/sys", "/proc/sysrq-trigger"} {
		tree, err := clone(path)
		if tree < 0 && err == nil {
			continue // not in this kernel
		}
		if err != nil {
			return err
		}
		if err := readOnly(tree, ""); err != nil {
			return err
		}
		if err := attach(tree, path); err != nil {
			return err
		}
	}
	return attach(network, "/proc/sys/net")
}

// readOnly makes the mounts at a path from a descriptor, and below, read-only.
func readOnly(dir int, path string) error {
	attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	err := unix.MountSetattr(dir, path, unix.AT_RECURSIVE|unix.AT_EMPTY_PATH, &attributes)
	return step.Fail("make read-only", path, err)
}

// detachBelow takes away what is mounted at the directories and below. A named network
// namespace of the machine, in /run/netns, would be kept alive by the copy of its mount.
func detachBelow(dirs ...string) error {
	table, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	points := strings.Split(strings.TrimSpace(string(table)), "\n")
	slices.Reverse(points)
	for _, line := range points {
		point := unescape(strings.Fields(line)[4]) // proc_pid_mountinfo(5)
		if !slices.ContainsFunc(dirs, func(dir string) bool { return point == dir || strings.HasPrefix(point, dir+"/") }) {
			continue
		}
		// What lies below one that is gone already is gone, too.
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return step.Fail("detach", point, err)
		}
	}
	return nil
}

// unescape reverses what the kernel does to blanks in paths.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// clone takes hold of what is mounted at a path and below, as a tree of its own; -1 when
// nothing is there.
func clone(path string) (tree int, err error) {
	tree, err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err == unix.ENOENT {
		return -1, nil
	}
	return tree, step.Fail("take hold of", path, err)
}

// attach mounts a tree and forgets it.
func attach(tree int, at string) error {
	if tree < 0 {
		return nil
	}
	defer unix.Close(tree)
	return step.Fail("mount on", at, unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// commands makes minictr, and what its image has, commands of the lab: a machine may lack
// ping or wget.
func commands() error {
	wrapper := "#!/bin/sh\nexec " + programDir + "/minictr --root " + stateDir + "/root \"$@\"\n"
	if err := os.WriteFile(binDir+"/minictr", []byte(wrapper), 0o755); err != nil {
		return err
	}
	base := programDir + "/minictr-base"
	list, err := exec.Command(base, "--list").Output()
	if err != nil {
		return step.Fail("list the commands of", base, err)
	}
	for _, name := range strings.Fields(string(list)) {
		if err := os.Symlink(base, filepath.Join(baseDir, name)); err != nil {
			return err
		}
	}
	// Of these, machines have several kinds, that take other flags or say less.
	for _, name := range []string{"httpd", "nc", "wget"} {
		if err := os.Symlink(base, filepath.Join(binDir, name)); err != nil {
			return err
		}
	}
	return nil
}
