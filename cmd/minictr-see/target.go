package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/step"
)

// A target is whose namespaces a command is about: a process with all of its own (a
// container's first, the host's, any other), or one namespace that has a path.
type target struct {
	word      string             // as it was typed
	kind      string             // which of the forms it is: container, netns, pid, path, host, self, or another runtime
	container *runtime.Container // of minictr, running; else nil
	name      string             // a container's, or that in the directory of ip-netns(8)
	pid       int                // the process; 0 when it is a path's
	path      string             // of one namespace; empty when it is a process
	// set are the namespaces, by their inodes, when the word was understood.
	set namespaces.Set

	pidfd int      // of the process: it is the same as long as this is not Ended; else -1
	file  *os.File // of the path; else nil
}

// targetForms explains what may be typed, for the help of all commands that take it.
const targetForms = `A TARGET is, whichever fits first:
  host, self           the machine's first process; the one that minictr is
  container:WORD       a container's name, its id, or the beginning of that
  netns:NAME           a name that ip netns gave (/run/netns)
  pid:NUMBER           a process
  docker:ID, …         a container of Docker, podman, containerd, Kubernetes, LXC, libvirt or nspawn
  a path               with a slash in it, of one namespace: /run/netns/blue, /proc/12/ns/net
  a word without these is a container's name, else that of ip netns, else a process's
  number, else the beginning of an id of a container, minictr's first`

// targetError is a word that means nothing, or not what the command needs.
type targetError struct {
	text, hint string
	err        error
}

func (e *targetError) Error() string { return e.text }
func (e *targetError) Hint() string  { return e.hint }
func (e *targetError) Unwrap() error { return e.err }

// target understands a word. The caller closes what it returns.
func (a *app) target(word string) (*target, error) {
	t := &target{word: word, pidfd: -1}
	if err := a.findTarget(t); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (a *app) findTarget(t *target) error {
	form, rest, explicit := strings.Cut(t.word, ":")
	switch {
	case t.word == "":
		return &targetError{text: "an empty name is no target", hint: targetHint}
	case t.word == "host":
		return a.hostTarget(t)
	case t.word == "self":
		t.kind = "self"
		return a.processTarget(t, os.Getpid())
	case explicit && form == "container":
		c, err := a.runtime().Container(rest)
		if err != nil {
			return err
		}
		return a.containerTarget(t, c)
	case explicit && form == "netns":
		return a.netnsTarget(t, rest)
	case explicit && form == "pid":
		return a.pidTarget(t, rest)
	case explicit && slices.Contains(runtimes, form):
		found, err := a.foreignTarget(t, t.word)
		if err == nil && !found {
			err = &targetError{text: fmt.Sprintf("no container of %s runs whose id begins with %q", form, rest), hint: "minictr ns lists whose namespaces there are", err: fs.ErrNotExist}
		}
		return err
	case strings.Contains(t.word, "/"):
		t.kind = "path"
		return pathTarget(t, t.word)
	}
	return a.wordTarget(t)
}

// wordTarget understands a word that does not say what it is. A number is a process
// before it is the beginning of an id, for ids begin with any number.
func (a *app) wordTarget(t *target) error {
	c, missing := a.runtime().Container(t.word)
	if missing == nil && c.Config.Name == t.word {
		return a.containerTarget(t, c)
	}
	if _, ok := a.netnsPath(t.word); ok {
		return a.netnsTarget(t, t.word)
	}
	if _, err := strconv.Atoi(t.word); err == nil {
		if err := a.pidTarget(t, t.word); err == nil || missing != nil {
			return err
		}
	}
	if missing == nil {
		return a.containerTarget(t, c)
	}
	if is[*runtime.NotFoundError](missing) {
		if found, err := a.foreignTarget(t, t.word); found || err != nil {
			return err
		}
		return &targetError{text: fmt.Sprintf("no such target: %s is no container's name or id, no name in %s and no process", t.word, network.NetnsDir(a.runroot)), hint: targetHint, err: fs.ErrNotExist}
	}
	return missing
}

const targetHint = "minictr ps lists containers, ip netns list names, minictr ns all namespaces; a path, pid:NUMBER and host are targets, too"

// containerTarget is the first process of a container.
func (a *app) containerTarget(t *target, c *runtime.Container) error {
	t.kind, t.name = "container", c.Config.Name
	if c.Status != runtime.Running {
		return &runtime.NotRunningError{Name: c.Config.Name}
	}
	if err := t.hold(c.State.Pid); err != nil {
		return &runtime.NotRunningError{Name: c.Config.Name}
	}
	// The number could have become another's until it was held: what is read now is
	// true of the process that is held, or it is not.
	again, err := a.runtime().Container(c.Config.ID)
	if err != nil {
		return err
	}
	if again.Pid() != t.pid {
		return &runtime.NotRunningError{Name: c.Config.Name}
	}
	t.container = again
	if err := t.readSet(); err != nil {
		return &runtime.NotRunningError{Name: c.Config.Name}
	}
	return nil
}

// hostTarget is what stands for the host's own processes.
func (a *app) hostTarget(t *target) error {
	t.kind = "host"
	if pid := namespaces.HostPid(); pid != 0 {
		return a.processTarget(t, pid)
	}
	return a.processTarget(t, os.Getpid())
}

func (a *app) pidTarget(t *target, number string) error {
	t.kind = "pid"
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 0 {
		return &targetError{text: fmt.Sprintf("%q is no number of a process", number), hint: targetHint, err: unix.EINVAL}
	}
	return a.processTarget(t, pid)
}

func (a *app) processTarget(t *target, pid int) error {
	err := t.hold(pid)
	if err == nil {
		err = t.readSet()
	}
	if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return &targetError{text: fmt.Sprintf("there is no process %d", pid), hint: targetHint, err: err}
	}
	return step.Fail("read the namespaces of process", strconv.Itoa(pid), err)
}

// hold opens the process.
func (t *target) hold(pid int) (err error) {
	t.pid = pid
	t.pidfd, err = unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.EINVAL) { // the number is of a thread that is no process's first
		err = unix.ESRCH
	}
	return err
}

// readSet reads where the process that is held is.
func (t *target) readSet() (err error) {
	if t.kind == "self" {
		t.set, err = namespaces.Self()
		return err
	}
	if t.set, err = namespaces.Of(t.pid); err != nil {
		return err
	}
	// A zombie still is in a PID namespace, but in no network.
	if _, alive := t.set[namespaces.Network]; !alive || namespaces.Ended(t.pidfd) {
		return unix.ESRCH
	}
	return nil
}

// netnsPath finds a name of ip-netns(8): in the directory where the containers of the
// runroot have theirs, which usually is the same.
func (a *app) netnsPath(name string) (string, bool) {
	for _, directory := range []string{network.NetnsDir(a.runroot), "/run/netns"} {
		path := filepath.Join(directory, name)
		if _, err := os.Lstat(path); err == nil && filepath.Dir(path) == directory {
			return path, true
		}
	}
	return "", false
}

func (a *app) netnsTarget(t *target, name string) error {
	path, ok := a.netnsPath(name)
	if !ok {
		return &targetError{text: fmt.Sprintf("no network namespace is named %q in %s", name, network.NetnsDir(a.runroot)), hint: "ip netns list lists the names", err: fs.ErrNotExist}
	}
	t.kind, t.name = "netns", name
	return pathTarget(t, path)
}

// pathTarget opens a namespace that has a path.
func pathTarget(t *target, path string) error {
	t.path = path
	f, kind, err := namespaces.OpenPath(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.kind == "netns":
		return &targetError{text: fmt.Sprintf("%s leads nowhere: its process has ended", path), hint: "ip netns delete " + t.name + " takes the name away", err: err}
	case errors.Is(err, namespaces.ErrNone) && t.kind == "netns":
		return &targetError{text: fmt.Sprintf("%s is a file on which no namespace is mounted", path), hint: "ip netns delete " + t.name + " takes it away; the mount may be in another mount namespace", err: err}
	case errors.Is(err, namespaces.ErrNone):
		return &targetError{text: fmt.Sprintf("%s is not a namespace", path), hint: "namespaces are the links in /proc/PID/ns, and what is bind mounted from there", err: err}
	case err != nil:
		return err
	}
	t.file = f
	inode, err := namespaces.Inode(f)
	t.set = namespaces.Set{kind: inode}
	return err
}

// String says what it is: container web, process 12.
func (t *target) String() string {
	switch t.kind {
	case "container":
		return "container " + t.name
	case "netns":
		return "netns " + terminal.Visible(t.name)
	case "pid":
		return fmt.Sprintf("process %d", t.pid)
	case "path":
		return terminal.Visible(t.path)
	}
	if t.name != "" {
		return nsOwner{Kind: t.kind, Name: t.name, ID: t.name}.String()
	}
	return t.kind
}

// netns is the target's network namespace. Opening it fails when it has become
// another one.
func (t *target) netns() (network.Netns, error) {
	inode, ok := t.set[namespaces.Network]
	if !ok {
		return network.Netns{}, &targetError{text: t.String() + " is not a network namespace", err: unix.EINVAL}
	}
	path := t.path
	if path == "" {
		path = fmt.Sprintf("/proc/%d/ns/net", t.pid)
	}
	return network.Netns{Name: t.netnsName(), Path: path, Inode: inode}, nil
}

// netnsName is what printed commands call it: ip -n NAME.
func (t *target) netnsName() string {
	switch {
	case t.name != "":
		return t.name
	case t.pid != 0:
		return fmt.Sprintf("pid%d", t.pid)
	}
	return filepath.Base(t.path)
}

// close gives back what keeps the target the same.
func (t *target) close() {
	if t.pidfd >= 0 {
		unix.Close(t.pidfd)
		t.pidfd = -1
	}
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}
