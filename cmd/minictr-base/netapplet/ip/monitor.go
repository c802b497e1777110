package ip

import (
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// watched are what ip monitor can be asked for, with the kernel's groups.
var watched = []struct {
	name   string
	groups uint32
}{
	{"link", unix.RTMGRP_LINK},
	{"address", unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR},
	{"route", unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE},
	{"neigh", unix.RTMGRP_NEIGH},
}

// monitor prints what changes until it is killed.
func monitor(c *command) error {
	var groups uint32
	word, all := c.words.next()
	all = !all || word == "all"
	for _, w := range watched {
		if all || strings.HasPrefix(w.name, word) {
			groups |= w.groups
		}
	}
	if groups == 0 {
		return fail(255, "Argument %q is unknown, try \"ip monitor help\".", word)
	}
	events, err := rtnl.Watch(groups)
	if err != nil {
		return err
	}
	defer events.Close()
	if err := c.readLinks(); err != nil {
		return err
	}
	for {
		messages, err := events.Receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			line, err := c.event(m)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprint(c.Out, line); err != nil {
				return err
			}
		}
	}
}

// event is one change in the words of show. The tables of links is kept up to date.
func (c *command) event(m netlink.Message) (string, error) {
	deleted := ""
	switch m.Header.Type {
	case unix.RTM_DELLINK, unix.RTM_DELADDR, unix.RTM_DELROUTE, unix.RTM_DELNEIGH:
		deleted = "Deleted "
	}
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, err := rtnl.ParseLink(m)
		if err != nil {
			return "", err
		}
		if known := c.links.at(l.Index); known != nil {
			*known = l
		} else {
			c.links = append(c.links, l)
		}
		v := c.view(&l)
		return deleted + c.linkText(&v, false), nil
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, err := rtnl.ParseAddr(m)
		v := viewAddr(&a)
		return fmt.Sprintf("%s%d: %s    %s\n", deleted, a.Index, c.links.name(a.Index), v.line()), err
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, err := rtnl.ParseRoute(m)
		v := c.viewRoute(&r, &routeFilter{table: "all"})
		return deleted + routeText(&v), err
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		n, err := rtnl.ParseNeigh(m)
		v := c.viewNeigh(&n)
		return deleted + neighText(&v), err
	}
	return "", nil
}
