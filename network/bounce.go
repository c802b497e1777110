package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// AddBounce makes the way by which answers of containers come back to ::1 of the
// host. IPv6 has no route_localnet: a packet to or from ::1 that comes by another
// link than lo is dropped as soon as the IP layer sees it (ip6_rcv_core). What the
// host sends from ::1 to a published port gets a source of its own, and the answer
// to that must be translated back where it is not dropped: behind that check and
// on a link that has a route to ::1. On the bridge that fails where br_netfilter
// is on, which translates before the check. So the answer bounces: the bridge hands
// it on untouched by conntrack, a route leads it into one end of a pair of links,
// and at the other end it is translated.
//
//	process at ::1 ── dnat, snat to fd6d:…::1 ──► bridge ──► container
//	      ▲                                                     │
//	      └─ minictr-lo1 ◄══ minictr-lo0 ◄── route ◄── bridge ◄─┘  to fd6d:…::1
//	         translated                       untracked
//
// One pair serves all networks. It is taken away with the table ip6 minictr.
type AddBounce struct {
	Lease Lease // whose launch this is

	made bool
}

const (
	bounceIn        = "minictr-lo0"
	bounceOut       = "minictr-lo1"
	bounceMAC       = "02:42:00:00:00:01" // of both: what leaves one is for the other
	addrGenModeNone = 1                   // IN6_ADDR_GEN_MODE_NONE, linux/if_link.h
	// bounceMetric makes the route to ::1 one that nothing but the strict look-up
	// for a packet from bounceOut takes.
	bounceMetric = 4096
)

// bounceAddress is the source of what comes from ::1; its bytes say "minictr".
func bounceAddress() netip.Addr { return netip.MustParseAddr("fd6d:696e:6963:7472::1") }

// Apply makes the pair and the routes that are missing.
func (s *AddBounce) Apply() error {
	err := once(Netns{}, func(c *conn) error {
		err := c.do(bounceLinks(), nil)
		s.made = err == nil
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
		if err == nil {
			err = s.up(c)
		}
		if err == nil {
			err = s.routes(c, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
		}
		return err
	})
	return explain("add links", bounceIn+" and "+bounceOut, err)
}

// bounceLinks makes both ends, down. They resolve no addresses.
func bounceLinks() *nl.NetlinkRequest {
	mac := []byte{0x02, 0x42, 0, 0, 0, 1}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("veth"))
	peer := info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	end := nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	end.Flags, end.Change = unix.IFF_NOARP, unix.IFF_NOARP
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(bounceOut))
	peer.AddRtAttr(unix.IFLA_ADDRESS, mac)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Flags, message.Change = unix.IFF_NOARP, unix.IFF_NOARP
	return newLink(message, bounceIn, nl.NewRtAttr(unix.IFLA_ADDRESS, mac), info)
}

// up switches both ends on, after it has seen to it that they give themselves no
// addresses: both would give themselves the same.
func (s *AddBounce) up(c *conn) error {
	for _, name := range []string{bounceIn, bounceOut} {
		index, err := c.index(name)
		if err != nil {
			return err
		}
		set := func(message *nl.IfInfomsg, more ...nl.NetlinkRequestData) error {
			message.Index = int32(index)
			parts := append([]nl.NetlinkRequestData{message}, more...)
			return c.do(request(unix.RTM_SETLINK, unix.NLM_F_ACK, parts...), nil)
		}
		spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
		spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, nl.Uint8Attr(addrGenModeNone))
		if err := set(nl.NewIfInfomsg(unix.AF_UNSPEC), spec); err != nil {
			return fmt.Errorf("%s addrgenmode none: %w", name, err)
		}
		message := nl.NewIfInfomsg(unix.AF_UNSPEC)
		message.Flags, message.Change = unix.IFF_UP, unix.IFF_UP
		if err := set(message); err != nil {
			return fmt.Errorf("%s up: %w", name, err)
		}
	}
	return nil
}

// routes adds or deletes both routes.
func (s *AddBounce) routes(c *conn, kind, flags int) error {
	for _, r := range []struct {
		link   string
		to     netip.Addr
		kind   uint8
		table  uint8
		metric uint32
	}{
		{bounceIn, bounceAddress(), unix.RTN_UNICAST, unix.RT_TABLE_MAIN, 1024},
		{bounceOut, netip.IPv6Loopback(), unix.RTN_LOCAL, unix.RT_TABLE_LOCAL, bounceMetric},
	} {
		index, err := c.index(r.link)
		if err != nil {
			return err
		}
		message := &nl.RtMsg{RtMsg: unix.RtMsg{
			Family: unix.AF_INET6, Dst_len: 128, Table: r.table, Protocol: unix.RTPROT_BOOT, Type: r.kind,
		}}
		err = c.do(request(kind, flags|unix.NLM_F_ACK, message,
			nl.NewRtAttr(unix.RTA_DST, r.to.AsSlice()),
			nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))),
			nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.metric))), nil)
		if err != nil {
			return fmt.Errorf("route to %s: %w", r.to, err)
		}
	}
	return nil
}

// Undo deletes the pair, if this step made it and no other container has a lease.
func (s *AddBounce) Undo() error {
	if !s.made {
		return nil
	}
	s.made = false
	return explain("delete links", bounceIn+" and "+bounceOut, s.Lease.unused(true, deleteBounce))
}

// deleteBounce takes the pair away, and with it the routes.
func deleteBounce() error {
	return once(Netns{}, func(c *conn) error { return c.deleteLink(bounceIn) })
}

// Check wants the answer's two routes.
func (s *AddBounce) Check() error {
	err := once(Netns{}, func(c *conn) error {
		for _, name := range []string{bounceIn, bounceOut} {
			if up, err := c.isUp(name); err != nil || !up {
				return fmt.Errorf("%s is not up: %w", name, cmp.Or(err, error(unix.ENETDOWN)))
			}
		}
		index, err := c.index(bounceIn)
		if err != nil {
			return err
		}
		by, err := c.outLink(bounceAddress())
		if err == nil && by != index {
			err = fmt.Errorf("%s does not lead to %s", bounceIn, bounceAddress())
		}
		return err
	})
	return step.Fail("check links", bounceIn+" and "+bounceOut, err)
}

// outLink is the index of the link by which the host would send to the address.
func (c *conn) outLink(a netip.Addr) (index int, err error) {
	message := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET6, Dst_len: 128}}
	r := request(unix.RTM_GETROUTE, unix.NLM_F_ACK, message, nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
	err = c.do(r, func(m syscall.NetlinkMessage) error {
		if len(m.Data) < unix.SizeofRtMsg {
			return errShort
		}
		return attributes(m.Data[unix.SizeofRtMsg:], map[uint16]func([]byte) error{
			unix.RTA_OIF: func(b []byte) error { index = number(b); return nil },
		})
	})
	return index, err
}

// Words says the step in plain words.
func (s *AddBounce) Words() string {
	return "let what is published answer at ::1 of the host, by a pair of links on which answers come back"
}

func (s *AddBounce) String() string {
	end := "address " + bounceMAC + " arp off"
	return fmt.Sprintf(`ip link show %[1]s >/dev/null 2>&1 || ip link add %[1]s %[3]s type veth peer name %[2]s %[3]s
ip link set %[1]s addrgenmode none && ip link set %[1]s up
ip link set %[2]s addrgenmode none && ip link set %[2]s up
ip -6 route replace %[4]s dev %[1]s proto boot metric 1024
ip -6 route replace local ::1 dev %[2]s table local proto boot metric %[5]d`, bounceIn, bounceOut, end, bounceAddress(), bounceMetric)
}
