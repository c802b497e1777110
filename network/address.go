package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// AddAddress gives a link an IPv4 or IPv6 address. With the address comes the
// route to its subnet. An address that the link has already is used; on the
// host, Undo then leaves it.
//
// An IPv6 address is not looked for on the link first (RFC 4862, duplicate address
// detection): that takes a second in which it cannot be used, and on a bridge
// without ports it never ends. The lease says already that nobody else has it.
type AddAddress struct {
	Link    string
	Address netip.Prefix // 172.17.0.2/16: the address and the length of its subnet
	Netns   Netns
	Lease   Lease // on the host

	at   *place
	made bool
}

func (s *AddAddress) object() string {
	return s.Address.String() + " to " + s.Link + s.Netns.where()
}

// Apply adds the address, or finds that the link has it.
func (s *AddAddress) Apply() error {
	err := s.at.do(s.Netns, func(c *conn) error {
		var more []nl.NetlinkRequestData
		if s.Address.Addr().Is4() {
			// The broadcast address must be told; ip(8) wants "brd +" for it.
			more = append(more, nl.NewRtAttr(unix.IFA_BROADCAST, broadcast(s.Address).AsSlice()))
		}
		err := c.changeAddress(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, s.Link, s.Address, more...)
		if errors.Is(err, unix.EEXIST) {
			return s.check(c)
		}
		s.made = err == nil
		if s.made && s.Address.Addr().Is6() {
			err = c.awaitLocal(s.Address.Addr())
		}
		return c.belowIPv6(s.Link, s.Address.Addr(), err)
	})
	return explain("add address", s.object(), err)
}

func (c *conn) changeAddress(kind, flags int, link string, a netip.Prefix, more ...nl.NetlinkRequestData) error {
	index, err := c.index(link)
	if err != nil {
		return err
	}
	message := nl.NewIfAddrmsg(addressFamily(a.Addr()))
	if a.Addr().Is6() {
		message.Flags = unix.IFA_F_NODAD
	}
	message.Index, message.Prefixlen = uint32(index), uint8(a.Bits())
	parts := []nl.NetlinkRequestData{
		message,
		nl.NewRtAttr(unix.IFA_LOCAL, a.Addr().AsSlice()),
		nl.NewRtAttr(unix.IFA_ADDRESS, a.Addr().AsSlice()),
	}
	return c.do(request(kind, flags|unix.NLM_F_ACK, append(parts, more...)...), nil)
}

// minMTU6 is IPV6_MIN_MTU: a link below it has no IPv6 (ipv6_add_dev), and to give
// it an address is EINVAL, or before Linux 5.18 ENOBUFS.
const minMTU6 = 1280

// belowIPv6 puts that into words where it is the cause.
func (c *conn) belowIPv6(name string, a netip.Addr, err error) error {
	if a.Is4() || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOBUFS) {
		return err
	}
	l, lookup := c.link(name)
	if lookup != nil || l.mtu >= minMTU6 {
		return err
	}
	return &Cause{
		Text: fmt.Sprintf("the MTU of the link is %d; IPv6 needs %d (RFC 8200)", l.mtu, minMTU6),
		Hint: "a network with a larger --mtu, or without --ipv6", Err: err,
	}
}

// localTime is how long an IPv6 address may take to be one of the host's.
const localTime = time.Second

// awaitLocal waits until the kernel takes packets to the IPv6 address as its own.
// When it acknowledges the address it has not yet: a work queue does the rest
// (addrconf_dad_work, also without detection), joins the multicast group to which
// neighbours send their "who has it?", and then makes the local route. What comes
// before is lost, and asked again after a second.
func (c *conn) awaitLocal(a netip.Addr) error {
	begin := time.Now()
	for {
		local, err := c.isLocal(a)
		if local || err != nil || time.Since(begin) > localTime {
			return err
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// addressFamily is AF_INET or AF_INET6.
func addressFamily(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// deleteAddress takes an address away. One that is gone is no error.
func (c *conn) deleteAddress(link string, a netip.Prefix) error {
	err := c.changeAddress(unix.RTM_DELADDR, 0, link, a)
	// ENXIO: IPv6 is not there on the link (inet6_addr_del).
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	return err
}

// Undo takes the address away, and with it the route to its subnet.
func (s *AddAddress) Undo() error {
	err := s.at.undo(s.Netns, func(c *conn) error {
		if s.Netns.here() && !s.made {
			return nil
		}
		s.made = false
		return s.Lease.unused(false, func() error { return c.deleteAddress(s.Link, s.Address) })
	})
	return explain("delete address", s.object(), err)
}

// Check wants the link to have the address.
func (s *AddAddress) Check() error {
	return step.Fail("check address", s.object(), once(s.Netns, s.check))
}

// check also decides what EEXIST means. Of IPv4 the kernel says it only of the
// same address with the same length (__inet_insert_ifa), of IPv6 also of another
// length (ipv6_chk_same_addr).
func (s *AddAddress) check(c *conn) error {
	index, err := c.index(s.Link)
	if err != nil {
		return err
	}
	list, err := c.addresses(addressFamily(s.Address.Addr()), index)
	if err != nil || slices.Contains(list, address{index, s.Address}) {
		return err
	}
	for _, a := range list {
		if a.prefix.Addr() == s.Address.Addr() {
			return fmt.Errorf("the link has it with length %d", a.prefix.Bits())
		}
	}
	return errors.New("the link does not have it")
}

// Words says the step in plain words.
func (s *AddAddress) Words() string {
	return fmt.Sprintf("give %s%s the address %s, and with it the route to %s",
		s.Link, s.Netns.where(), s.Address.Addr(), s.Address.Masked())
}

func (s *AddAddress) String() string {
	verb := "add"
	if s.Netns.here() {
		verb = "replace" // which is no error where the address is there
	}
	if s.Address.Addr().Is6() {
		return fmt.Sprintf("%s addr %s %s dev %s nodad", s.Netns.ip(), verb, s.Address, s.Link)
	}
	return fmt.Sprintf("%s addr %s %s brd + dev %s", s.Netns.ip(), verb, s.Address, s.Link)
}

// AddRoute adds a default route: what has no better route, of the gateway's
// family, IPv4 or IPv6, goes to the gateway.
type AddRoute struct {
	Gateway netip.Addr
	Link    string
	Netns   Netns

	at *place
}

func (s *AddRoute) object() string {
	return "default via " + s.Gateway.String() + s.Netns.where()
}

// Apply adds the route; one that is there is an error (EEXIST).
func (s *AddRoute) Apply() error {
	err := s.at.do(s.Netns, func(c *conn) error {
		return s.change(c, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, nl.NewRtMsg())
	})
	return explain("add route", s.object(), err)
}

func (s *AddRoute) change(c *conn, kind, flags int, message *nl.RtMsg) error {
	index, err := c.index(s.Link)
	if err != nil {
		return err
	}
	message.Family = uint8(addressFamily(s.Gateway))
	return c.do(request(kind, flags|unix.NLM_F_ACK, message,
		nl.NewRtAttr(unix.RTA_GATEWAY, s.Gateway.AsSlice()),
		nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index)))), nil)
}

// Undo deletes the route.
func (s *AddRoute) Undo() error {
	err := s.at.undo(s.Netns, func(c *conn) error {
		err := s.change(c, unix.RTM_DELROUTE, 0, nl.NewRtDelMsg())
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		return err
	})
	return explain("delete route", s.object(), err)
}

// Check wants a default route by the gateway.
func (s *AddRoute) Check() error {
	err := once(s.Netns, func(c *conn) error {
		routes, err := c.routes(addressFamily(s.Gateway), unix.RT_TABLE_MAIN)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.to.Bits() == 0 && r.gateway == s.Gateway {
				return nil
			}
		}
		return errors.New("there is no such route")
	})
	return step.Fail("check route", s.object(), err)
}

// Words says the step in plain words.
func (s *AddRoute) Words() string {
	return fmt.Sprintf("send everything else from %s to the gateway %s", s.Netns.whose(), s.Gateway)
}

func (s *AddRoute) String() string {
	if s.Gateway.Is6() {
		return fmt.Sprintf("%s -6 route add default via %s dev %s", s.Netns.ip(), s.Gateway, s.Link)
	}
	return fmt.Sprintf("%s route add default via %s dev %s", s.Netns.ip(), s.Gateway, s.Link)
}

// broadcast is the last address of the IPv4 subnet.
func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := range a {
		host := 8*(i+1) - p.Bits() // bits of this byte that are the host's
		a[i] |= byte(1<<min(max(host, 0), 8) - 1)
	}
	return netip.AddrFrom4(a)
}
