package capture

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/survey"
)

// Places finds where to look at a container's packets: at its links, at the other ends
// of their cables and, with uplink, where the host's default routes leave. The host is
// surveyed with the container's namespace in it. only, if not empty, names the links of
// the container. The notes say, in words, what is not seen.
func Places(host *survey.Host, inside *survey.Netns, only []string, uplink bool) (places []Place, notes []string, err error) {
	here := host.Namespaces[0]
	f := finder{host: host, inside: inside}
	if len(only) == 0 {
		only = f.usual()
	}
	for _, name := range only {
		l := inside.LinkNamed(name)
		if l == nil {
			return nil, nil, fmt.Errorf("%s: no such interface in the container; it has %s", name, strings.Join(f.names(), ", "))
		}
		f.add(l)
	}
	if inside.Inode == here.Inode {
		f.note("the container shares the host's network: what is shown is all that the host sends and receives")
		uplink = false
	}
	if uplink {
		f.uplinks(here)
	}
	if len(f.places) == 0 {
		return nil, nil, fmt.Errorf("the container has no interface with frames of Ethernet: %s", strings.Join(f.names(), ", "))
	}
	return f.places, f.notes, nil
}

type finder struct {
	host   *survey.Host
	inside *survey.Netns
	places []Place
	notes  []string
}

func (f *finder) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

func (f *finder) names() (list []string) {
	for i := range f.inside.Links {
		list = append(list, f.inside.Links[i].Name)
	}
	return list
}

// usual are the links that are looked at when none is named: those with addresses, but
// lo only where there is nothing else, and ports of a bridge not.
func (f *finder) usual() (list []string) {
	shared := f.inside.Inode == f.host.Namespaces[0].Inode
	for i := range f.inside.Links {
		l := &f.inside.Links[i]
		if l.Type == unix.ARPHRD_ETHER && l.Master == 0 && (!shared || len(l.Addresses) > 0) || shared && l.Loopback() {
			list = append(list, l.Name)
		}
	}
	if len(list) == 0 {
		f.note("the container has no network but its own lo")
		list = []string{"lo"}
	}
	return list
}

func (f *finder) place(n *survey.Netns, l *survey.Link, role Role) int {
	f.places = append(f.places, Place{Name: l.Name, Role: role, Index: l.Index, Namespace: n.Path, Inode: n.Inode, Other: -1})
	return len(f.places) - 1
}

// add adds a link of the container, and the other end of its cable.
func (f *finder) add(l *survey.Link) {
	if l.Type != unix.ARPHRD_ETHER && !l.Loopback() {
		f.note("%s has no frames of Ethernet and is left out", l.Name)
		return
	}
	if f.inside.Inode == f.host.Namespaces[0].Inode {
		f.place(f.inside, l, Shared)
		return
	}
	here := f.place(f.inside, l, Inside)
	if l.Kind != "veth" {
		if l.Kind != "" { // the parent of a macvlan has the packets of others, too
			f.note("%s is a %s and has no cable: its packets are seen at one place", l.Name, l.Kind)
		}
		return
	}
	there, peer := f.host.Peer(f.inside, l)
	if peer == nil {
		f.note("the other end of %s is in a network namespace that is neither the host's nor the container's: only one end is seen", l.Name)
		return
	}
	other := f.place(there, peer, Outside)
	f.places[here].Other, f.places[other].Other = other, here
}

// uplinks adds the links by which the host's default routes leave.
func (f *finder) uplinks(here *survey.Netns) {
	found := false
	for i := range here.Routes {
		r := &here.Routes[i]
		if !r.Default() {
			continue
		}
		links := []int{r.Link}
		for _, h := range r.Hops {
			links = append(links, h.Link)
		}
		for _, index := range links {
			l := here.Link(index)
			known := slices.ContainsFunc(f.places, func(p Place) bool { return p.Inode == here.Inode && p.Index == index })
			if l == nil || known {
				continue
			}
			if l.Type != unix.ARPHRD_ETHER {
				f.note("%s has no frames of Ethernet and is left out", l.Name)
				continue
			}
			f.place(here, l, Uplink)
			found = true
		}
	}
	if !found {
		f.note("the host has no uplink: no default route")
	}
}
