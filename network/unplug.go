package network

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Unplug pulls out the cables of a container that has ended while somebody else
// still is in its network namespace, as one with --network container:NAME. They
// would keep addresses that are about to be given to others, and the names that
// the next run of the container wants. Where nobody is left the kernel takes the
// pair down with the namespace, and waiting for that (10 to 35 ms) is spared.
func Unplug(cfg *Config) error {
	var errs []error
	for _, e := range cfg.Endpoints {
		if e.Network.Driver == MacvlanDriver {
			continue // it has no end on the host
		}
		alive := false
		err := once(Netns{}, func(c *conn) (err error) {
			alive, err = c.peerLives(e.Interface.Host)
			return missing(err)
		})
		if err == nil && alive {
			err = (&AddVeth{Host: e.Interface.Host}).Undo()
		}
		errs = append(errs, explain("pull out", e.Interface.Host, err))
	}
	return errors.Join(errs...)
}

// peerLives reports whether the namespace in which the other end of the pair is
// still is somebody's. One that the kernel is taking down has lost its number, or
// cannot be asked by it (rtnl_get_net_ns_capable, net/core/rtnetlink.c).
func (c *conn) peerLives(name string) (bool, error) {
	id := int32(-1) // NETNSA_NSID_NOT_ASSIGNED
	ask := request(unix.RTM_GETLINK, unix.NLM_F_ACK, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	err := c.do(ask, func(m syscall.NetlinkMessage) error {
		if len(m.Data) < unix.SizeofIfInfomsg {
			return errShort
		}
		return attributes(m.Data[unix.SizeofIfInfomsg:], map[uint16]func([]byte) error{
			unix.IFLA_LINK_NETNSID: func(b []byte) error {
				if len(b) < 4 {
					return errShort
				}
				id = int32(binary.NativeEndian.Uint32(b))
				return nil
			},
		})
	})
	if err != nil || id < 0 {
		return false, err
	}
	lo := nl.NewIfInfomsg(unix.AF_UNSPEC)
	lo.Index = 1
	err = c.do(request(unix.RTM_GETLINK, unix.NLM_F_ACK, lo,
		nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(id)))), nil)
	if errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return err == nil, err
}
