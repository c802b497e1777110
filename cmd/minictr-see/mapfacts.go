package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-see/diagram"
	"github.com/minictr/minictr/network/firewall"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime"
)

// facts reads all that the map shows.
func (a *app) facts() (diagram.Facts, error) {
	f := diagram.Facts{Owners: map[uint64]diagram.Owner{}, NAT: map[uint64][]firewall.NAT{}, Forwarding: map[uint64]bool{}, Forwarding6: map[uint64]bool{}}
	found, err := namespaces.Read(namespaces.Network)
	if err != nil {
		return f, err
	}
	var sources []survey.Source
	for _, n := range found {
		f.Owners[n.Inode] = ownerOf(n)
		if path := pathOf(n); path != "" {
			sources = append(sources, survey.Source{Path: path, Inode: n.Inode})
		}
	}
	if err := a.nameContainers(f.Owners); err != nil {
		return f, err
	}
	f.Host, err = survey.Read(sources)
	switch {
	case err != nil && unix.Geteuid() != 0: // the library's error has lost the kernel's
		return f, fmt.Errorf("read network namespaces: %w", unix.EPERM)
	case err != nil:
		return f, err
	}
	here := f.Host.Namespaces[0]
	f.Everything = f.Owners[here.Inode].Kind == diagram.KindHost
	for _, n := range f.Host.Namespaces {
		if err := readFirewall(n, &f); err != nil {
			return f, err
		}
	}
	f.Taps = taps(here)
	return f, nil
}

// ownerOf says what a namespace was made for, as far as the kernel tells.
func ownerOf(n namespaces.Namespace) diagram.Owner {
	of, leader := n.Owner(), n.Leader()
	owner := diagram.Owner{Kind: of.Kind, Name: of.Name, Pid: leader.Pid}
	program, _, _ := strings.Cut(leader.Command, " ")
	owner.Command = filepath.Base(program)
	if program == "" {
		owner.Command = ""
	}
	switch {
	case owner.Kind == diagram.KindNetns:
		owner.Here = len(n.Paths) > 0 && !strings.HasPrefix(n.Paths[0], "/proc/") // the caller sees the name
	case len(owner.Name) == 64: // the id of a container
		owner.Name = owner.Name[:12]
	case owner.Kind == diagram.KindHost:
		owner.Name = ""
	case owner.Name == "" && leader.Pid != 0:
		owner.Name = fmt.Sprintf("%s (pid %d)", owner.Command, leader.Pid)
	case owner.Name == "":
		owner.Name = fmt.Sprintf("net:[%d]", n.Inode)
	}
	return owner
}

// pathOf is a way to open the namespace; empty where there is none.
func pathOf(n namespaces.Namespace) string {
	switch {
	case n.Leader().Pid != 0:
		return fmt.Sprintf("/proc/%d/ns/net", n.Leader().Pid)
	case len(n.Paths) > 0:
		return n.Paths[0]
	case len(n.Held) > 0:
		return fmt.Sprintf("/proc/%d/fd/%d", n.Held[0].Pid, n.Held[0].FD)
	}
	return ""
}

// inodeOf is the network namespace that the container is in; 0 when it has ended.
func inodeOf(c *runtime.Container) uint64 {
	if c.Pid() == 0 {
		return 0
	}
	return inodeAt(fmt.Sprintf("/proc/%d/ns/net", c.Pid()))
}

// inodeAt is the number of the namespace at a path; 0 when it is gone.
func inodeAt(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// nameContainers gives the namespaces of our containers their names. Those that share
// one are named together.
func (a *app) nameContainers(owners map[uint64]diagram.Owner) error {
	list, err := a.runtime().List()
	if err != nil {
		return err
	}
	here, names := inodeAt("/proc/thread-self/ns/net"), map[uint64][]string{}
	for _, c := range list {
		inode := inodeOf(c)
		owner, known := owners[inode]
		if !known || inode == here || owner.Kind == diagram.KindHost || c.State.Network != nil && c.State.Network.Guest != nil {
			continue // it is on the host, or in a namespace that somebody else has made
		}
		names[inode] = append(names[inode], c.Config.Name)
		owner.Kind, owner.Name, owner.Here = "minictr", strings.Join(names[inode], ", "), true
		owners[inode] = owner
	}
	return nil
}

// readFirewall reads what a namespace does to addresses, and whether it forwards. One
// that has vanished does neither.
func readFirewall(n *survey.Netns, f *diagram.Facts) error {
	err := n.Do(func() error {
		rules, err := firewall.Read()
		if err != nil {
			return err
		}
		f.NAT[n.Inode] = rules.NAT()
		f.Forwarding[n.Inode] = isOn("/proc/sys/net/ipv4/ip_forward")
		f.Forwarding6[n.Inode] = isOn("/proc/sys/net/ipv6/conf/all/forwarding")
		return nil
	})
	if survey.Gone(err) {
		return nil
	}
	return err
}

// isOn reads a parameter of the thread's namespace. One that is not there, as those
// of a kernel without IPv6, is off.
func isOn(path string) bool {
	value, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(value)) != "0"
}

// taps finds who holds the taps of a namespace: /proc/PID/fdinfo of /dev/net/tun names
// the link. Where there is no tap nothing is looked for.
func taps(n *survey.Netns) map[string]diagram.Owner {
	wanted := map[string]bool{}
	for _, l := range n.Links {
		if l.Kind == "tun" {
			wanted[l.Name] = true
		}
	}
	found := map[string]diagram.Owner{}
	if len(wanted) == 0 {
		return found
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is a good one
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || target != "/dev/net/tun" {
			continue
		}
		text, err := os.ReadFile(strings.Replace(file, "/fd/", "/fdinfo/", 1))
		if err != nil {
			continue // it was closed
		}
		_, rest, _ := strings.Cut(string(text), "iff:\t")
		name, _, _ := strings.Cut(rest, "\n")
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil && wanted[name] {
			found[name] = holderOf(pid)
		}
	}
	return found
}

// holderOf names a virtual machine: as libvirt and people name it on QEMU's command
// line, "-name guest=web,…", or after the program.
func holderOf(pid int) diagram.Owner {
	p, err := namespaces.Describe(pid)
	if errors.Is(err, os.ErrNotExist) {
		return diagram.Owner{Kind: diagram.KindVM, Name: fmt.Sprintf("pid %d", pid), Pid: pid}
	}
	args := strings.Fields(p.Command)
	name := fmt.Sprintf("pid %d", pid)
	if len(args) > 0 {
		name = filepath.Base(args[0])
	}
	for i, arg := range args[:max(0, len(args)-1)] {
		if arg == "-name" {
			name, _, _ = strings.Cut(strings.TrimPrefix(args[i+1], "guest="), ",")
		}
	}
	return diagram.Owner{Kind: diagram.KindVM, Name: name, Pid: pid}
}
