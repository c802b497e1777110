package network

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// AddVLAN makes a link of the host that carries one VLAN (IEEE 802.1Q) of another,
// for a macvlan's parent of the form eth0.100. A VLAN of the name that is there
// already is used. One that we made is marked by its alias, so that whoever removes
// the network knows it.
type AddVLAN struct {
	Name   string // eth0.100
	Parent string // eth0
	ID     uint16 // 1 to 4094
	Lease  Lease

	made bool
}

// vlanAlias marks VLANs that we made, as ip link shows it.
const vlanAlias = "minictr"

// ParseVLAN reads a parent of the form eth0.100. A name whose last part is no VLAN's
// number is an ordinary link's.
func ParseVLAN(name string) (parent string, id uint16, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[i+1:], 10, 16)
	if err != nil || n < 1 || n > 4094 || name[i+1] == '0' {
		return "", 0, false
	}
	return name[:i], uint16(n), true
}

// Apply makes the VLAN and switches it on, or finds that it is there.
func (s *AddVLAN) Apply() error {
	err := once(Netns{}, func(c *conn) error {
		err := s.check(c)
		if !errors.Is(err, unix.ENODEV) {
			return err
		}
		parent, err := c.index(s.Parent)
		if errors.Is(err, unix.ENODEV) {
			return &Cause{Text: "the host has no link " + s.Parent, Hint: "ip link", Err: unix.ENODEV}
		}
		if err != nil {
			return err
		}
		if err = s.add(c, parent); errors.Is(err, unix.EEXIST) { // another launch was faster
			return s.check(c)
		}
		return err
	})
	return explain("add VLAN", s.Name, err)
}

func (s *AddVLAN) add(c *conn, parent int) error {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("vlan"))
	info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(s.ID))
	err := c.do(newLink(nl.NewIfInfomsg(unix.AF_UNSPEC), s.Name, nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent))), info), nil)
	if err != nil {
		return err
	}
	s.made = true
	// The alias cannot be given at birth (rtnl_create_link does not look at it).
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Flags, message.Change = unix.IFF_UP, unix.IFF_UP
	err = c.do(request(unix.RTM_NEWLINK, unix.NLM_F_ACK, message,
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(s.Name)), nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(vlanAlias))), nil)
	if err != nil {
		s.made = false
		return errors.Join(err, c.deleteLink(s.Name))
	}
	return nil
}

func (s *AddVLAN) check(c *conn) error {
	l, err := c.link(s.Name)
	if err == nil && l.kind != "vlan" {
		err = errors.New("a link of that name exists and is no VLAN")
	}
	return err
}

// Undo deletes the VLAN if this step made it and no other container has a lease of
// its network.
func (s *AddVLAN) Undo() error {
	if !s.made {
		return nil
	}
	s.made = false
	err := s.Lease.unused(false, func() error {
		return once(Netns{}, func(c *conn) error { return c.deleteVLAN(s.Name) })
	})
	return explain("delete VLAN", s.Name, err)
}

// deleteVLAN deletes the link if it is a VLAN that we made.
func (c *conn) deleteVLAN(name string) error {
	l, err := c.link(name)
	if err == nil && l.kind == "vlan" && l.alias == vlanAlias {
		err = c.deleteLink(name)
	}
	return missing(err)
}

// Check wants a VLAN of the name.
func (s *AddVLAN) Check() error {
	return step.Fail("check VLAN", s.Name, once(Netns{}, s.check))
}

// Words says the step in plain words.
func (s *AddVLAN) Words() string {
	return fmt.Sprintf("make %s, the VLAN %d on %s, if it is not there", s.Name, s.ID, s.Parent)
}

func (s *AddVLAN) String() string {
	return fmt.Sprintf("ip link show %s >/dev/null 2>&1 || { ip link add %s link %s type vlan id %d && ip link set %s up alias %s; }",
		s.Name, s.Name, s.Parent, s.ID, s.Name, vlanAlias)
}
