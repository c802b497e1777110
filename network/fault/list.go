package fault

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The library's lists say when they were interrupted by a change
// (netlink.ErrDumpInterrupted); these read them again then.

// listed calls f until nothing has changed while it listed.
func listed[T any](f func() ([]T, error)) (list []T, err error) {
	for attempt := 1; ; attempt++ {
		if list, err = f(); !errors.Is(err, netlink.ErrDumpInterrupted) || attempt == dumpAttempts {
			return list, err
		}
	}
}

func links() ([]netlink.Link, error) {
	return listed(netlink.LinkList) //nolint:forbidigo // listed retries
}

// linkByName asks for one link; only kernels before 2.6.33 list all.
func linkByName(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name) //nolint:forbidigo // see above
	return l, missingLink(err)
}

func routes(family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	return listed(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, filter, mask) //nolint:forbidigo // listed retries
	})
}

func rules() ([]netlink.Rule, error) {
	return listed(func() ([]netlink.Rule, error) {
		return netlink.RuleList(unix.AF_INET) //nolint:forbidigo // listed retries
	})
}

// addressesOf are the IPv4 addresses of the host's link.
func addressesOf(index int) (list []netip.Prefix, err error) {
	all, err := listed(func() ([]netlink.Addr, error) {
		return netlink.AddrList(linkOf(index), unix.AF_INET) //nolint:forbidigo // listed retries
	})
	for _, a := range all {
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		if bits, _ := a.Mask.Size(); ok {
			list = append(list, netip.PrefixFrom(ip, bits))
		}
	}
	return list, err
}
