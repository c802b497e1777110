package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// AddBridge makes a bridge: a switch inside the kernel, whose ports are the
// host ends of the containers' veths, and which is itself a link of the host
// that can have an address. A bridge of that name that is there already is
// used; any other link is an error.
//
// The hardware address is fixed. A bridge without one takes the lowest of its
// ports' addresses (br_stp_recalculate_bridge_id), and each container that
// comes or goes would change the gateway in the others' ARP caches. The MTU is
// left to the kernel, which keeps it at the smallest of the ports'.
type AddBridge struct {
	Name  string
	MAC   string // 02:42:ac:11:00:01
	Lease Lease  // whose launch this is: Undo leaves the bridge to others that use it

	at   *place
	made bool
}

// errNoBridge says that the name of our bridge is taken.
var errNoBridge = errors.New("a link of that name exists and is not a bridge")

// Apply makes the bridge, or finds that it is there.
func (s *AddBridge) Apply() error {
	err := s.at.do(Netns{}, func(c *conn) error {
		err := s.check(c)
		if !errors.Is(err, unix.ENODEV) {
			return err
		}
		mac, err := net.ParseMAC(s.MAC)
		if err != nil {
			return err
		}
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("bridge"))
		err = c.do(newLink(nl.NewIfInfomsg(unix.AF_UNSPEC), s.Name, nl.NewRtAttr(unix.IFLA_ADDRESS, mac), info), nil)
		if errors.Is(err, unix.EEXIST) { // another launch was faster
			return s.check(c)
		}
		s.made = err == nil
		return err
	})
	return explain("add bridge", s.Name, err)
}

func (s *AddBridge) check(c *conn) error {
	l, err := c.link(s.Name)
	if err == nil && l.kind != "bridge" {
		err = errNoBridge
	}
	return err
}

// Undo deletes the bridge if this step made it and no other container has a
// lease of its network.
func (s *AddBridge) Undo() error {
	err := s.at.undo(Netns{}, func(c *conn) error {
		if !s.made {
			return nil
		}
		s.made = false
		return s.Lease.unused(false, func() error { return c.deleteLink(s.Name) })
	})
	return explain("delete bridge", s.Name, err)
}

// Check wants a bridge of the name.
func (s *AddBridge) Check() error {
	return step.Fail("check bridge", s.Name, once(Netns{}, s.check))
}

// Words says the step in plain words.
func (s *AddBridge) Words() string {
	return "make the bridge " + s.Name + ", a switch inside the kernel, if it is not there"
}

func (s *AddBridge) String() string {
	return fmt.Sprintf("ip link show %s >/dev/null 2>&1 || ip link add %s address %s type bridge", s.Name, s.Name, s.MAC)
}

// newLink is the request for a link that must not be there yet.
func newLink(message *nl.IfInfomsg, name string, more ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	parts := append([]nl.NetlinkRequestData{message, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name))}, more...)
	return request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, parts...)
}

// deleteLink deletes the link of the name. A link that is gone is no error.
func (c *conn) deleteLink(name string) error {
	err := c.do(request(unix.RTM_DELLINK, unix.NLM_F_ACK, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name))), nil)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// AddVeth makes a pair of virtual Ethernet devices, a cable with two ends: what
// goes in at one comes out at the other. The host's end is born up and as a
// port of the bridge, the container's end inside the container's namespace
// with its final name, so that one request does what is often done in six
// (create, move, rename, set the address, enslave, up), and no half-made end is
// ever seen by anybody.
type AddVeth struct {
	Host   string // the host's end
	Bridge string
	Peer   string // the container's end: eth0
	MAC    string // of the container's end
	MTU    int    // of both, bytes
	Netns  Netns  // the container's

	at *place
}

// dyingTime is how long a pair of the same name is waited for.
const dyingTime = time.Second

// Apply makes both ends with one request. The name is the container's own, so a
// pair that has it is the one of the container's last run: the kernel takes it
// down in the background, with its namespace, and may not be done.
func (s *AddVeth) Apply() error {
	deadline := time.Now().Add(dyingTime)
	for {
		err := s.add()
		if !errors.Is(err, unix.EEXIST) || time.Now().After(deadline) {
			return explain("add veth", s.Host, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *AddVeth) add() error {
	return s.at.do(Netns{}, func(c *conn) error {
		bridge, err := c.index(s.Bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", s.Bridge, err)
		}
		netns, err := s.Netns.Open()
		if err != nil {
			return err
		}
		defer closeFile(netns)
		info, err := s.info(int(netns.Fd()))
		if err != nil {
			return err
		}
		host := nl.NewIfInfomsg(unix.AF_UNSPEC)
		host.Flags, host.Change = unix.IFF_UP, unix.IFF_UP
		return c.do(newLink(host, s.Host,
			nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(s.MTU))),
			nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))), info), nil)
	})
}

// info is IFLA_LINKINFO: the kind, and in VETH_INFO_PEER a whole second link
// message for the peer.
func (s *AddVeth) info(netns int) (*nl.RtAttr, error) {
	mac, err := net.ParseMAC(s.MAC)
	if err != nil {
		return nil, err
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("veth"))
	peer := info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(s.Peer))
	peer.AddRtAttr(unix.IFLA_ADDRESS, mac)
	peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(s.MTU)))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(netns)))
	return info, nil
}

// Undo deletes the pair, which takes 10 to 35 ms (the kernel waits for RCU).
// After a container's end nobody needs to: the pair dies with the namespace.
func (s *AddVeth) Undo() error {
	err := s.at.undo(Netns{}, func(c *conn) error {
		l, err := c.link(s.Host)
		if errors.Is(err, unix.ENODEV) || err == nil && l.kind != "veth" {
			return nil
		}
		if err != nil {
			return err
		}
		return c.deleteLink(s.Host)
	})
	return explain("delete veth", s.Host, err)
}

// Check wants both ends, joined to each other, the host's on the bridge.
func (s *AddVeth) Check() error {
	var host, peer *link
	err := once(Netns{}, func(c *conn) (err error) {
		if host, err = c.link(s.Host); err != nil {
			return err
		}
		bridge, err := c.index(s.Bridge)
		if err == nil && host.master != bridge {
			err = fmt.Errorf("not a port of %s", s.Bridge)
		}
		return err
	})
	if err == nil {
		err = once(s.Netns, func(c *conn) (err error) { peer, err = c.link(s.Peer); return err })
	}
	if err == nil {
		err = s.compare(host, peer)
	}
	return step.Fail("check veth", s.Host, err)
}

func (s *AddVeth) compare(host, peer *link) error {
	switch {
	case host.peer != peer.index || peer.peer != host.index:
		return fmt.Errorf("%s%s is not its other end", s.Peer, s.Netns.where())
	case peer.mac != s.MAC:
		return fmt.Errorf("its peer %s has hardware address %s, not %s", s.Peer, peer.mac, s.MAC)
	case peer.mtu != s.MTU:
		return fmt.Errorf("its peer %s has MTU %d, not %d", s.Peer, peer.mtu, s.MTU)
	}
	return nil
}

// Words says the step in plain words.
func (s *AddVeth) Words() string {
	return fmt.Sprintf("lay a cable: one end %s on the bridge %s, the other %s%s", s.Host, s.Bridge, s.Peer, s.Netns.where())
}

func (s *AddVeth) String() string {
	return fmt.Sprintf("ip link add %s up mtu %d master %s type veth peer name %s address %s mtu %d netns %s",
		s.Host, s.MTU, s.Bridge, s.Peer, s.MAC, s.MTU, step.Quote(s.Netns.Name))
}

// SetLinkUp switches a link on. On the host, Undo switches it off again only if
// this step switched it on and no other container has a lease of the network.
type SetLinkUp struct {
	Link  string
	Netns Netns
	Lease Lease // on the host
	// KeepAddress says that lo had addresses while it was down; else the kernel
	// gives it one, which goes with Undo.
	KeepAddress bool

	at   *place
	made bool
}

// Apply switches the link on, unless it is.
func (s *SetLinkUp) Apply() error {
	err := s.at.do(s.Netns, func(c *conn) error {
		up, err := c.isUp(s.Link)
		if up || err != nil {
			return err
		}
		err = c.setFlags(s.Link, unix.IFF_UP)
		s.made = err == nil
		return err
	})
	return explain("set link up", s.Link+s.Netns.where(), err)
}

// setFlags sets IFF_UP of the link to what it is in flags.
func (c *conn) setFlags(name string, flags uint32) error {
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Flags, message.Change = flags, unix.IFF_UP
	return c.do(request(unix.RTM_NEWLINK, unix.NLM_F_ACK, message,
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name))), nil)
}

// Undo switches the link off.
func (s *SetLinkUp) Undo() error {
	err := s.at.undo(s.Netns, func(c *conn) error {
		if s.Netns.here() && !s.made {
			return nil
		}
		s.made = false
		return s.Lease.unused(false, func() error { return c.setDown(s.Link, s.KeepAddress) })
	})
	return explain("set link down", s.Link+s.Netns.where(), err)
}

func (c *conn) setDown(name string, keep bool) error {
	if err := c.setFlags(name, 0); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	if name != "lo" || keep {
		return nil
	}
	// Coming up, lo was given 127.0.0.1/8 (inetdev_event, NETDEV_UP); going
	// down it keeps it.
	return c.deleteAddress("lo", netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8))
}

// Check wants the link up.
func (s *SetLinkUp) Check() error {
	err := once(s.Netns, func(c *conn) error {
		up, err := c.isUp(s.Link)
		if err == nil && !up {
			err = errors.New("it is down")
		}
		return err
	})
	return step.Fail("check link", s.Link+s.Netns.where(), err)
}

// Words says the step in plain words.
func (s *SetLinkUp) Words() string { return "switch on " + s.Link + s.Netns.where() }

func (s *SetLinkUp) String() string {
	return s.Netns.ip() + " link set " + s.Link + " up"
}
