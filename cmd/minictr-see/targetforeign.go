package main

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/namespaces"
)

// runtimes are the kinds of owners that are containers or machines of others.
var runtimes = []string{"docker", "podman", "containerd", "kubernetes", "lxc", "libvirt", "nspawn"}

// foreignTarget is the first process of another runtime's container, by the name or
// the beginning of the id that its cgroup has. Without one, found is false.
func (a *app) foreignTarget(t *target, word string) (found bool, err error) {
	kind, name, explicit := strings.Cut(word, ":")
	if !explicit || !slices.Contains(runtimes, kind) {
		kind, name = "", word
	}
	list, err := namespaces.Read(namespaces.Mount)
	if err != nil {
		return false, err
	}
	owned := ownedBy(list, kind, name)
	switch owners := distinct(owned); {
	case len(owners) == 0:
		return false, nil
	case len(owners) > 1:
		return false, &targetError{
			text: fmt.Sprintf("%s is the beginning of %d containers' ids: %s", word, len(owners), strings.Join(owners, ", ")),
			hint: "give more digits of the id, or RUNTIME:ID", err: unix.EINVAL,
		}
	}
	first := slices.MinFunc(owned, func(a, b namespaces.Namespace) int { return a.Leader().Pid - b.Leader().Pid })
	owner := first.Owner()
	t.kind, t.name = owner.Kind, owner.Name
	if err := a.processTarget(t, first.Leader().Pid); err != nil {
		return false, err
	}
	if t.set[namespaces.Mount] != first.Inode { // the number is another's by now
		return false, &targetError{text: t.String() + " has ended", err: unix.ESRCH}
	}
	return true, nil
}

// ownedBy are the namespaces of the containers whose name is the one, or whose id
// begins with it.
func ownedBy(list []namespaces.Namespace, kind, name string) (owned []namespaces.Namespace) {
	const leastDigits = 4 // fewer would be too many containers'
	for _, n := range list {
		o := n.Owner()
		if n.Leader().Pid == 0 || !slices.Contains(runtimes, o.Kind) || kind != "" && o.Kind != kind {
			continue
		}
		if o.Name == name || len(name) >= leastDigits && len(o.Name) == 64 && strings.HasPrefix(o.Name, name) {
			owned = append(owned, n)
		}
	}
	return owned
}

// distinct are the owners, each once.
func distinct(list []namespaces.Namespace) (owners []string) {
	for _, n := range list {
		if o := ownerNamed(n.Owner(), nil).String(); !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	return owners
}
