package ip

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// request makes the message of an address that shall be there, or not.
func (s *addrSpec) request(c *command, index int) (rtnl.Request, error) {
	local, err := prefix(s.word, c.family)
	if err != nil {
		return rtnl.Request{}, err
	}
	family := familyOf(local.Addr())
	peer := local
	if s.peer != "" {
		if peer, err = prefix(s.peer, family); err != nil {
			return rtnl.Request{}, err
		}
	}
	attrs := netlink.NewAttributeEncoder()
	attrs.Bytes(unix.IFA_LOCAL, local.Addr().AsSlice())
	attrs.Bytes(unix.IFA_ADDRESS, peer.Addr().AsSlice())
	if err := s.broadcastOf(attrs, local); err != nil {
		return rtnl.Request{}, err
	}
	scope, err := s.scopeOf(local.Addr())
	if err != nil {
		return rtnl.Request{}, err
	}
	if s.label != "" {
		attrs.String(unix.IFA_LABEL, s.label)
	}
	if s.metric != 0 {
		attrs.Uint32(unix.IFA_RT_PRIORITY, s.metric)
	}
	if s.flags != 0 {
		attrs.Uint32(unix.IFA_FLAGS, s.flags)
	}
	if err := s.lifetimes(attrs); err != nil {
		return rtnl.Request{}, err
	}
	body, err := attrs.Encode()
	return rtnl.Request{Kind: unix.RTM_NEWADDR, Header: rtnl.AddrHeader(family, uint8(peer.Bits()), scope, index), Attrs: body}, err
}

// broadcastOf fills "brd +", the last address of the subnet, or "brd -", the first.
func (s *addrSpec) broadcastOf(attrs *netlink.AttributeEncoder, local netip.Prefix) error {
	if s.broadcast == "" {
		return nil
	}
	if s.broadcast != "+" && s.broadcast != "-" {
		a, err := address(s.broadcast, familyOf(local.Addr()))
		attrs.Bytes(unix.IFA_BROADCAST, a.AsSlice())
		return err
	}
	if !local.Addr().Is4() {
		return fail(255, "Broadcast can be set only for IPv4 addresses")
	}
	if local.Bits() > 30 {
		return nil
	}
	b := local.Masked().Addr().As4()
	if s.broadcast == "+" {
		n := binary.BigEndian.Uint32(b[:]) | ^uint32(0)>>local.Bits()
		binary.BigEndian.PutUint32(b[:], n)
	}
	attrs.Bytes(unix.IFA_BROADCAST, b[:])
	return nil
}

// scopeOf is the scope that was asked for, or the address's own: 127/8 is the host's.
func (s *addrSpec) scopeOf(local netip.Addr) (uint8, error) {
	if s.scope == "" {
		if local.Is4() && local.IsLoopback() {
			return unix.RT_SCOPE_HOST, nil
		}
		return unix.RT_SCOPE_UNIVERSE, nil
	}
	n, ok := scopes.number(s.scope)
	if !ok || n > 255 {
		return 0, invalid("scope", s.scope)
	}
	return uint8(n), nil
}

// lifetimes adds a struct ifa_cacheinfo.
func (s *addrSpec) lifetimes(attrs *netlink.AttributeEncoder) error {
	if s.valid == "" && s.preferred == "" {
		return nil
	}
	info := make([]byte, 16)
	for i, word := range []string{s.preferred, s.valid} {
		n := rtnl.Forever
		if word != "" && word != "forever" {
			if err := number(&n, "lifetime")(strings.TrimSuffix(word, "sec")); err != nil {
				return err
			}
		}
		binary.NativeEndian.PutUint32(info[4*i:], n)
	}
	attrs.Bytes(unix.IFA_CACHEINFO, info)
	return nil
}

// gone tells that what was to be deleted is not there any more.
func gone(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT)
}
