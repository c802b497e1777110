package survey

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// scopes are the values of rtm_scope and ifa_scope that have names.
var scopes = map[uint8]string{
	unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_SITE: "site", unix.RT_SCOPE_LINK: "link",
	unix.RT_SCOPE_HOST: "host", unix.RT_SCOPE_NOWHERE: "nowhere",
}

func named[K comparable](table map[K]string, key K) string {
	if name, ok := table[key]; ok {
		return name
	}
	return fmt.Sprint(key)
}

func (c *conn) addresses(n *Netns) error {
	empty := func() {
		for i := range n.Links {
			n.Links[i].Addresses = nil
		}
	}
	return c.dump(unix.RTM_GETADDR, empty, func(m []byte) error {
		if len(m) < unix.SizeofIfAddrmsg {
			return errShort
		}
		head := nl.DeserializeIfAddrmsg(m)
		l := n.Link(int(head.Index))
		if l == nil {
			return nil // it came after the links had been read
		}
		a, err := parseAddress(head, m)
		l.Addresses = append(l.Addresses, a)
		return err
	}, nl.NewIfAddrmsg(unix.AF_UNSPEC))
}

func parseAddress(head *nl.IfAddrmsg, m []byte) (Address, error) {
	a := Address{Scope: named(scopes, head.Scope)}
	var local, remote netip.Addr
	flags := uint32(head.Flags)
	err := attributes(m, unix.SizeofIfAddrmsg, func(kind uint16, b []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local = address(b)
		case unix.IFA_ADDRESS:
			remote = address(b)
		case unix.IFA_BROADCAST:
			a.Broadcast = address(b)
		case unix.IFA_LABEL:
			a.Label = text(b)
		case unix.IFA_FLAGS:
			flags = number32(b)
		}
	})
	if !local.IsValid() { // IPv6 has but one, unless there is a peer
		local = remote
	}
	if remote != local {
		a.Peer = remote
	}
	a.Prefix = netip.PrefixFrom(local, int(head.Prefixlen))
	a.Permanent, a.Tentative, a.Failed = flags&unix.IFA_F_PERMANENT != 0, flags&unix.IFA_F_TENTATIVE != 0, flags&unix.IFA_F_DADFAILED != 0
	return a, err
}

// address reads 4 or 16 bytes.
func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b) // the zero Addr for any other length
	return a
}

// neighbourStates are the values of ndm_state, linux/neighbour.h.
var neighbourStates = map[uint16]string{
	0: "none", unix.NUD_INCOMPLETE: "incomplete", unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale", unix.NUD_DELAY: "delay",
	unix.NUD_PROBE: "probe", unix.NUD_FAILED: "failed", unix.NUD_NOARP: "noarp", unix.NUD_PERMANENT: "permanent",
}
