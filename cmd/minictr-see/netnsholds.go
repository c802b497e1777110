package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/runtime"
)

// containersNetns refuses a namespace that is a container's.
type containersNetns struct{ what, container string }

func (e *containersNetns) Error() string {
	return fmt.Sprintf("%s is the network namespace of container %s", e.what, e.container)
}

// Hint says how it is ended.
func (e *containersNetns) Hint() string {
	return fmt.Sprintf("minictr stop %s ends it, and the name goes with it; minictr rm -f %s removes the container", e.container, e.container)
}

// ofOthers are the owners of containers and machines whose processes are ended by what
// made them, and how.
var ofOthers = map[string]string{
	"docker": "docker stop %s", "podman": "podman stop %s", "containerd": "ctr task kill %s", "kubernetes": "crictl stop %s",
	"libvirt": "virsh shutdown %s", "lxc": "lxc-stop %s", "nspawn": "machinectl poweroff %s",
}

// mayDelete refuses what is not for netns delete to end. A name that somebody has given
// to a container's namespace beside its own may go, but not the processes.
func (a *app) mayDelete(d *doomed, kill bool) error {
	what := fmt.Sprintf("net:[%d]", d.inode)
	if d.name != "" {
		what = terminal.Visible(d.name)
	}
	container, err := a.containerIn(d.inode)
	if err != nil {
		return err
	}
	if container != nil && (kill || d.stays && container.Config.Name == d.name) {
		return &containersNetns{what, container.Config.Name}
	}
	if !kill {
		return nil
	}
	self, err := namespaces.Self()
	if err != nil {
		return err
	}
	if self[namespaces.Network] == d.inode {
		return hinted{fmt.Errorf("%s is the network namespace that this command is in", what), "call it from outside"}
	}
	n, err := findNetns(d.inode)
	if err != nil {
		return err
	}
	if n.Host {
		return fmt.Errorf("%s is the network namespace of the host", what)
	}
	if owner := n.Owner(); ofOthers[owner.Kind] != "" {
		stop := ""
		if owner.Name != "" {
			stop = fmt.Sprintf(ofOthers[owner.Kind], terminal.Visible(owner.Name))
		}
		return hinted{fmt.Errorf("%s is the network namespace of %s", what, ownerNamed(owner, nil)), stop}
	}
	return nil
}

// containerIn finds a running container that is in the network namespace. Nobody calls
// the host's a container's.
func (a *app) containerIn(inode uint64) (*runtime.Container, error) {
	if host, err := namespaces.Host(); err != nil || host[namespaces.Network] == inode {
		return nil, err
	}
	list, err := a.runtime().List()
	for _, c := range list {
		if c.Status != runtime.Running {
			continue
		}
		if set, err := namespaces.Of(c.State.Pid); err == nil && set[namespaces.Network] == inode {
			return c, nil
		}
	}
	return nil, err
}

// sayHolds tells what keeps the namespace alive, and what may help.
func (a *app) sayHolds(d *doomed, h *namespaces.Holds, closing []string) {
	name := "the network namespace"
	if d.name != "" {
		name = fmt.Sprintf("network namespace %s has lost its name, but", terminal.Visible(d.name))
	}
	fmt.Fprintf(a.err, "minictr: warning: %s lives on as net:[%d], kept by\n", name, d.inode)
	names, err := a.containerNames()
	if err != nil {
		a.warn(err)
	}
	for _, line := range holdLines(h, closing, names) {
		fmt.Fprintln(a.err, "  "+line)
	}
	if h := holdsHint(d, h); h != "" {
		fmt.Fprintln(a.err, "hint: "+h)
	}
}

// holdLines are what keeps a namespace alive, a line each.
func holdLines(h *namespaces.Holds, closing []string, containers map[string]string) (lines []string) {
	for _, m := range h.Members {
		line := processWords(m.Process)
		if len(m.Threads) > 0 {
			line += fmt.Sprintf(", of which only %s %s in it", counted(m.Threads, "thread"), isOrAre(len(m.Threads)))
		}
		lines = append(lines, line+ownerWords(m.Process, containers))
	}
	for _, f := range h.Files {
		line := fmt.Sprintf("descriptor %d of %s", f.FD, processWords(f.Process))
		if f.What != namespaces.Itself {
			line += ": " + string(f.What) + " that was made in it"
		}
		lines = append(lines, line+ownerWords(f.Process, containers))
	}
	for _, m := range h.Mounts {
		line := "the mount on " + terminal.Visible(m.Path)
		switch {
		case m.Process.Pid != 0:
			line += ", as " + processWords(m.Process) + " sees it" + ownerWords(m.Process, containers)
		case m.Namespace != 0:
			line += fmt.Sprintf(" in mnt:[%d], which no process is in", m.Namespace)
		}
		lines = append(lines, line)
	}
	for _, c := range closing {
		lines = append(lines, "a TCP connection that is still closing: "+c)
	}
	if len(lines) == 0 {
		lines = []string{"something that /proc does not show: a descriptor in a message under way, or the kernel itself (a network file system)"}
	}
	return lines
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// counted is "thread 12" or "threads 12, 13", at most a few.
func counted(numbers []int, word string) string {
	const most = 8
	if len(numbers) > 1 {
		word += "s"
	}
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers[:min(most, len(numbers))]), " ", ", "), "[]")
	if len(numbers) > most {
		text += fmt.Sprintf(" and %d more", len(numbers)-most)
	}
	return word + " " + text
}

// processWords names a process. Its command line is its own choice.
func processWords(p namespaces.Process) string {
	if p.Command == "" {
		return fmt.Sprintf("process %d", p.Pid)
	}
	const width = 60
	return fmt.Sprintf("process %d (%s)", p.Pid, terminal.Ellipsis(terminal.Visible(p.Command), width))
}

// ownerWords says which container a process belongs to.
func ownerWords(p namespaces.Process, containers map[string]string) string {
	owner := namespaces.Namespace{Kind: namespaces.Network, Processes: []namespaces.Process{p}}.Owner()
	if owner.Kind != "minictr" && ofOthers[owner.Kind] == "" {
		return ""
	}
	return ", of " + ownerNamed(owner, containers).String()
}

// holdsHint is what may help against the first that keeps a namespace.
func holdsHint(d *doomed, h *namespaces.Holds) string {
	whole := slices.ContainsFunc(h.Members, func(m namespaces.Member) bool { return len(m.Threads) == 0 })
	switch {
	case whole:
		return fmt.Sprintf("minictr netns delete --kill 'net:[%d]' ends the processes", d.inode)
	case len(h.Members) > 0 || len(h.Files) > 0:
		return "it goes when those processes have ended, or have let it go"
	case len(h.Mounts) > 0 && h.Mounts[0].Process.Pid != 0:
		return fmt.Sprintf("nsenter -t %d -m umount %s takes the mount away", h.Mounts[0].Process.Pid, terminal.Visible(h.Mounts[0].Path))
	case len(h.Mounts) > 0 && h.Mounts[0].Namespace == 0:
		return fmt.Sprintf("umount %s takes the mount away", terminal.Visible(h.Mounts[0].Path))
	}
	return ""
}
