package fault

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// address is an IP address of a link.
type address struct {
	Netns  network.Netns
	Index  int
	Link   string
	Prefix netip.Prefix
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (s *address) has() (has bool, err error) {
	err = in(s.Netns, func() error {
		list, err := dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, nl.NewIfAddrmsg(family(s.Prefix.Addr())))
		for _, b := range list {
			m := nl.DeserializeIfAddrmsg(b)
			local := attributeOf(b, unix.SizeofIfAddrmsg, unix.IFA_LOCAL)
			if local == nil {
				local = attributeOf(b, unix.SizeofIfAddrmsg, unix.IFA_ADDRESS)
			}
			a, ok := netip.AddrFromSlice(local)
			has = has || ok && int(m.Index) == s.Index && a == s.Prefix.Addr() && int(m.Prefixlen) == s.Prefix.Bits()
		}
		return err
	})
	return has, err
}

// put gives the address as minictr does, with the subnet's broadcast address.
func (s *address) put() error {
	return in(s.Netns, func() error {
		a := &netlink.Addr{IPNet: ipNet(s.Prefix), Label: ""}
		if s.Prefix.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrAdd(linkOf(s.Index), a)
	})
}

func (s *address) take() error {
	return in(s.Netns, func() error { return netlink.AddrDel(linkOf(s.Index), &netlink.Addr{IPNet: ipNet(s.Prefix)}) })
}

func (s *address) what() string {
	return fmt.Sprintf("address %s of %s%s", s.Prefix, s.Link, where(s.Netns))
}

func (s *address) command(put bool) string {
	broadcast := ""
	if put && s.Prefix.Bits() < 31 && s.Prefix.Addr().Is4() {
		broadcast = " brd +"
	}
	return fmt.Sprintf("%s addr %s %s%s dev %s", ip(s.Netns), word(put, "add", "del"), s.Prefix, broadcast, s.Link)
}

// linkOf is the link with the index, for requests that need no more of it.
func linkOf(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func ipNet(p netip.Prefix) *net.IPNet {
	if !p.IsValid() {
		return nil
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// neighbour is an entry of the neighbour table that somebody has written by hand.
type neighbour struct {
	Netns   network.Netns
	Index   int
	Link    string
	Address netip.Addr
	MAC     string
}

func (s *neighbour) has() (has bool, err error) {
	err = in(s.Netns, func() error {
		list, err := netlink.NeighList(s.Index, family(s.Address))
		for _, n := range list {
			a, _ := netip.AddrFromSlice(n.IP)
			has = has || a.Unmap() == s.Address && n.State == netlink.NUD_PERMANENT && n.HardwareAddr.String() == s.MAC
		}
		return err
	})
	return has, err
}

func (s *neighbour) put() error {
	mac, err := net.ParseMAC(s.MAC)
	if err != nil {
		return err
	}
	return in(s.Netns, func() error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: s.Index, Family: family(s.Address), State: netlink.NUD_PERMANENT, IP: s.Address.AsSlice(), HardwareAddr: mac})
	})
}

func (s *neighbour) take() error {
	return in(s.Netns, func() error {
		return netlink.NeighDel(&netlink.Neigh{LinkIndex: s.Index, Family: family(s.Address), IP: s.Address.AsSlice()})
	})
}

func (s *neighbour) what() string {
	return fmt.Sprintf("neighbour entry of %s on %s%s", s.Address, s.Link, where(s.Netns))
}

func (s *neighbour) command(put bool) string {
	if !put {
		return fmt.Sprintf("%s neigh del %s dev %s", ip(s.Netns), s.Address, s.Link)
	}
	return fmt.Sprintf("%s neigh replace %s lladdr %s dev %s nud permanent", ip(s.Netns), s.Address, s.MAC, s.Link)
}

// fdbEntry is an entry of a bridge's forwarding database that somebody has written by
// hand: frames for the hardware address are the bridge's own.
type fdbEntry struct {
	Index  int // of the bridge
	Bridge string
	MAC    string
}

func (s *fdbEntry) entry() (*netlink.Neigh, error) {
	mac, err := net.ParseMAC(s.MAC)
	return &netlink.Neigh{
		LinkIndex: s.Index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF, HardwareAddr: mac,
	}, err
}

func (s *fdbEntry) has() (bool, error) {
	list, err := netlink.NeighList(s.Index, unix.AF_BRIDGE)
	for _, n := range list {
		if n.LinkIndex == s.Index && n.HardwareAddr.String() == s.MAC && n.State == netlink.NUD_PERMANENT && n.Vlan == 0 {
			return true, nil
		}
	}
	return false, err
}

func (s *fdbEntry) put() error {
	n, err := s.entry()
	if err != nil {
		return err
	}
	return netlink.NeighSet(n)
}

func (s *fdbEntry) take() error {
	n, err := s.entry()
	if err != nil {
		return err
	}
	return netlink.NeighDel(n)
}

func (s *fdbEntry) what() string { return fmt.Sprintf("entry of %s in the FDB of %s", s.MAC, s.Bridge) }

func (s *fdbEntry) command(put bool) string {
	return fmt.Sprintf("bridge fdb %s %s dev %s self permanent", word(put, "replace", "del"), s.MAC, s.Bridge)
}

// vlan is the membership of a bridge's port in a VLAN, untagged; PVID says that what
// comes in untagged belongs to it.
type vlan struct {
	Index int
	Link  string
	ID    uint16
	PVID  bool
}

func (s *vlan) has() (bool, error) {
	if _, err := linkMessage(s.Index); err != nil {
		return false, err
	}
	all, err := netlink.BridgeVlanList()
	for _, v := range all[int32(s.Index)] {
		if v.Vid == s.ID && v.PortVID() == s.PVID {
			return true, err
		}
	}
	return false, err
}

func (s *vlan) put() error {
	return netlink.BridgeVlanAdd(linkOf(s.Index), s.ID, s.PVID, true, false, true)
}

func (s *vlan) take() error {
	return netlink.BridgeVlanDel(linkOf(s.Index), s.ID, false, false, false, true)
}

func (s *vlan) what() string { return fmt.Sprintf("VLAN %d of the port %s", s.ID, s.Link) }

func (s *vlan) command(put bool) string {
	if !put {
		return fmt.Sprintf("bridge vlan del dev %s vid %d", s.Link, s.ID)
	}
	return fmt.Sprintf("bridge vlan add dev %s vid %d%s untagged", s.Link, s.ID, word(s.PVID, " pvid", ""))
}

// ignoreMissing passes over what is gone already.
func ignoreMissing(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
