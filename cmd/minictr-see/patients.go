package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/doctor"
	"github.com/minictr/minictr/runtime"
)

// A patient is somebody on our networks, with the id.
type patient struct {
	id string
	doctor.Patient
}

// patients are the running containers and the adopted namespaces. BPF programs are looked
// for at the container with the id, or at all for none.
func (d *doctoring) patients(id string) ([]patient, error) {
	containers, err := d.runtime().List()
	if err != nil {
		return nil, err
	}
	adopted, err := d.runtime().Adoptions()
	if err != nil {
		return nil, err
	}
	var list []patient
	inherited := selfSeccomp()
	for _, c := range containers {
		if c.Status == runtime.Running {
			p := patientOf(c, containers, adopted, inherited)
			if id == "" || id == c.Config.ID {
				p.filters()
			}
			list = append(list, p)
		}
	}
	for _, a := range adopted {
		list = append(list, patient{a.ID, doctor.Patient{Name: a.Network.Netns.Name, Network: a.Network}})
	}
	return list, nil
}

func patientOf(c *runtime.Container, all []*runtime.Container, adopted []*runtime.Adopted, inherited int) patient {
	p := patient{c.Config.ID, doctor.Patient{
		Name: c.Config.Name, Pid: c.State.Pid, Started: c.State.Started, Network: c.State.Network, Seccomp: inherited,
		Hostnames: []string{c.Config.Hostname, c.Config.Name},
	}}
	if c.Config.Seccomp != "unconfined" && !c.Config.Privileged {
		p.Seccomp++
	}
	for _, m := range c.Config.Mounts {
		p.Resolv = p.Resolv || m.Destination == "/etc/resolv.conf"
	}
	p.Cgroups = groups(c)
	p.join(c, all, adopted)
	return p
}

// filters looks for BPF programs on its cgroups.
func (p *patient) filters() {
	for _, dir := range p.Cgroups {
		programs, err := cgroups.NetworkPrograms(dir)
		if err != nil { // it has just ended, or the kernel has no such question
			continue
		}
		for _, x := range programs {
			p.Filters = append(p.Filters, doctor.Filter{Cgroup: dir, Attach: x.Attach, ID: x.ID})
		}
	}
}

// join gives a container that shares another's network that one's.
func (p *patient) join(c *runtime.Container, all []*runtime.Container, adopted []*runtime.Adopted) {
	switch {
	case p.Network == nil:
	case p.Network.Mode == network.Container:
		for _, other := range all {
			if other.Config.ID == c.Config.Network.Join && other.Status == runtime.Running && other.State.Network != nil {
				p.Network, p.NetnsOf = other.State.Network, other.Config.Name
				p.Hostnames = nil // its /etc/hosts has the other's names
			}
		}
	case p.Network.Mode == network.Namespace:
		for _, a := range adopted {
			if inode, err := network.Inode(fmt.Sprintf("/proc/%d/ns/net", p.Pid)); err == nil && a.Network.Netns.Inode == inode {
				p.Network, p.NetnsOf = a.Network, a.Network.Netns.Name
			}
		}
	}
}

// groups are the directories of the container's cgroups: those that minictr made, and
// that of cgroup v2 where there are both.
func groups(c *runtime.Container) (list []string) {
	seen := map[string]bool{}
	add := func(dir string) {
		if !seen[dir] && dir != "" {
			seen[dir] = true
			list = append(list, dir)
		}
	}
	for _, dir := range c.State.Cgroups {
		add(dir)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.State.Pid))
	if err != nil { // it has just ended
		return list
	}
	for line := range strings.Lines(string(text)) {
		words := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(words) < 3 || words[2] == "/" {
			continue
		}
		root := "/sys/fs/cgroup"
		switch {
		case words[1] == "freezer":
			root += "/freezer"
		case words[0] != "0":
			continue
		default:
			if _, err := os.Stat(root + "/unified"); err == nil {
				root += "/unified"
			}
		}
		add(filepath.Join(root, words[2]))
	}
	return list
}
