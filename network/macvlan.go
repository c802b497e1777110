package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// AddMacvlan gives a container a link that shares a link of the host, its parent:
// on the parent's network the container is a machine of its own, with a hardware
// address of its own. There is no bridge, no gateway of ours, and nothing of ours
// looks at what passes.
//
//	    container                    host
//	┌───────────────┐
//	│ eth0          │  ┌────────────────────────────┐
//	│ 192.0.2.7/24  ├──┤ eth0, 192.0.2.5/24: parent ├── the network, its router
//	└───────────────┘  └────────────────────────────┘
//
// Containers on one parent reach each other (mode bridge). The host and its
// containers do not: what the host sends leaves by the wire, and a switch does not
// send it back by the port that it came from (macvlan_queue_xmit looks for other
// macvlans only). Who needs that gives the host a macvlan too.
//
// Like a veth's end it is born in the container's namespace with its final name,
// and dies with the namespace.
type AddMacvlan struct {
	Parent string // the link of the host
	Name   string // in the container: eth0
	MAC    string
	MTU    int // bytes; at most the parent's
	Netns  Netns

	at *place
}

// macvlanModeBridge is MACVLAN_MODE_BRIDGE, linux/if_link.h.
const macvlanModeBridge = 4

func (s *AddMacvlan) object() string { return s.Name + " on " + s.Parent }

// Apply makes the link with one request.
func (s *AddMacvlan) Apply() error {
	return explain("add macvlan", s.object(), s.at.do(Netns{}, s.add))
}

func (s *AddMacvlan) add(c *conn) error {
	parent, err := s.parent(c)
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(s.MAC)
	if err != nil {
		return err
	}
	netns, err := s.Netns.Open()
	if err != nil {
		return err
	}
	defer closeFile(netns)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("macvlan"))
	info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(macvlanModeBridge))
	return c.do(newLink(nl.NewIfInfomsg(unix.AF_UNSPEC), s.Name,
		nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent.index))),
		nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(netns.Fd()))),
		nl.NewRtAttr(unix.IFLA_ADDRESS, mac),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(s.MTU))), info), nil)
}

// parent finds the parent and says what the kernel would not say, or only by
// EINVAL.
func (s *AddMacvlan) parent(c *conn) (*link, error) {
	parent, err := c.link(s.Parent)
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, &Cause{Text: "the host has no link " + s.Parent, Hint: "ip link", Err: unix.ENODEV}
	case err != nil:
		return nil, err
	case !parent.up:
		return nil, &Cause{Text: "the link " + s.Parent + " is down", Hint: "ip link set " + s.Parent + " up", Err: unix.ENETDOWN}
	case s.MTU > parent.mtu:
		return nil, &Cause{
			Text: fmt.Sprintf("an MTU of %d is more than the %d of %s", s.MTU, parent.mtu, s.Parent),
			Hint: "ip link set " + s.Parent + " mtu …, or a smaller one for the network", Err: unix.EINVAL,
		}
	case s.Parent == "lo":
		return nil, &Cause{Text: "lo is no network that a container could be on", Hint: "ip link", Err: unix.EINVAL}
	case isWireless("/sys/class/net", s.Parent):
		return nil, &Cause{
			Text: s.Parent + " is wireless: an access point takes packets from the one hardware address that has signed on",
			Hint: "a network of driver bridge", Err: unix.EOPNOTSUPP,
		}
	}
	return parent, nil
}

// isWireless tells whether the link has a radio. The directory is /sys/class/net,
// but in tests.
func isWireless(dir, link string) bool {
	_, err := os.Stat(filepath.Join(dir, link, "phy80211"))
	return !errors.Is(err, fs.ErrNotExist)
}

// Undo deletes the link.
func (s *AddMacvlan) Undo() error {
	s.at.close()
	err := (*place)(nil).undo(s.Netns, func(c *conn) error {
		l, err := c.link(s.Name)
		if err == nil && l.kind == "macvlan" {
			err = c.deleteLink(s.Name)
		}
		return missing(err)
	})
	return explain("delete macvlan", s.object(), err)
}

// Check wants the link, on its parent.
func (s *AddMacvlan) Check() error {
	var parent int
	err := once(Netns{}, func(c *conn) (err error) {
		if parent, err = c.index(s.Parent); err != nil {
			err = fmt.Errorf("%s: %w", s.Parent, err)
		}
		return err
	})
	if err == nil {
		err = once(s.Netns, func(c *conn) error {
			l, err := c.link(s.Name)
			if err != nil {
				return err
			}
			return s.compare(l, parent)
		})
	}
	return step.Fail("check macvlan", s.object(), err)
}

func (s *AddMacvlan) compare(l *link, parent int) error {
	switch {
	case l.kind != "macvlan":
		return errors.New("a link of that name is no macvlan")
	case l.peer != parent:
		return errors.New("it is on another link")
	case l.mac != s.MAC:
		return fmt.Errorf("it has hardware address %s, not %s", l.mac, s.MAC)
	case l.mtu != s.MTU:
		return fmt.Errorf("it has MTU %d, not %d", l.mtu, s.MTU)
	}
	return nil
}

// Words says the step in plain words.
func (s *AddMacvlan) Words() string {
	return fmt.Sprintf("let %s in the container share %s of the host, as a machine of its own on that network", s.Name, s.Parent)
}

func (s *AddMacvlan) String() string {
	return fmt.Sprintf("ip link add %s link %s address %s mtu %d netns %s type macvlan mode bridge",
		s.Name, s.Parent, s.MAC, s.MTU, s.Netns.Name)
}
