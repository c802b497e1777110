package survey

import (
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sizeofNdMsg is struct ndmsg.
const sizeofNdMsg = 12

// An entry is a message about a neighbour: family, link, state, flags.
type entry struct {
	family byte
	link   int
	state  uint16
	flags  byte
}

func parseEntry(m []byte) (entry, error) {
	if len(m) < sizeofNdMsg {
		return entry{}, errShort
	}
	return entry{family: m[0], link: int(int32(number32(m[4:]))), state: number16(m[8:]), flags: m[10]}, nil
}

func (c *conn) neighbours(n *Netns) error {
	return c.dump(unix.RTM_GETNEIGH, func() { n.Neighbours = nil }, func(m []byte) error {
		e, err := parseEntry(m)
		if err != nil {
			return err
		}
		if e.family != unix.AF_INET && e.family != unix.AF_INET6 || e.state == unix.NUD_NOARP {
			return nil // what the kernel makes up for multicast, ip neigh does not show either
		}
		v := Neighbour{Link: e.link, State: named(neighbourStates, e.state), Proxy: e.flags&netlink.NTF_PROXY != 0, Router: e.flags&netlink.NTF_ROUTER != 0}
		err = attributes(m, sizeofNdMsg, func(kind uint16, b []byte) {
			switch kind {
			case unix.NDA_DST:
				v.Address = address(b)
			case unix.NDA_LLADDR:
				v.MAC = net.HardwareAddr(b).String()
			}
		})
		n.Neighbours = append(n.Neighbours, v)
		return err
	}, &netlink.Ndmsg{Family: unix.AF_UNSPEC})
}

// fdb reads the forwarding entries of all bridges, where there is one. The kernel
// takes a struct ifinfomsg for this dump, too.
func (c *conn) fdb(n *Netns) error {
	if !hasBridge(n) {
		return nil
	}
	return c.dump(unix.RTM_GETNEIGH, func() { n.FDB = nil }, func(m []byte) error {
		e, err := parseEntry(m)
		if err != nil || e.family != unix.AF_BRIDGE {
			return err
		}
		v := FDBEntry{Link: e.link, State: named(neighbourStates, e.state), Local: e.state&unix.NUD_PERMANENT != 0}
		if e.state == unix.NUD_NOARP {
			v.State = "static" // as bridge(8) says
		}
		err = attributes(m, sizeofNdMsg, v.attribute)
		n.FDB = append(n.FDB, v)
		return err
	}, nl.NewIfInfomsg(unix.AF_BRIDGE))
}

func hasBridge(n *Netns) bool {
	for i := range n.Links {
		if n.Links[i].Kind == "bridge" {
			return true
		}
	}
	return false
}

func (e *FDBEntry) attribute(kind uint16, b []byte) {
	switch kind {
	case unix.NDA_LLADDR:
		e.MAC = net.HardwareAddr(b).String()
	case unix.NDA_MASTER:
		e.Master = int(number32(b))
	case unix.NDA_VLAN:
		e.VLAN = number16(b)
	case unix.NDA_CACHEINFO: // confirmed, used, updated, references
		if len(b) >= 12 {
			e.Used, e.Updated = time.Duration(number32(b[4:]))*centiseconds, time.Duration(number32(b[8:]))*centiseconds
		}
	}
}
