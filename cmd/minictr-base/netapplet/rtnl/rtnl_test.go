package rtnl

import (
	"bytes"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The kernel is trusted, a cut message is not decoded nevertheless.
func FuzzParse(f *testing.F) {
	attrs := netlink.NewAttributeEncoder()
	attrs.String(unix.IFLA_IFNAME, "eth0")
	attrs.Bytes(unix.IFLA_STATS64, make([]byte, 64))
	attrs.Bytes(unix.RTA_MULTIPATH, bytes.Repeat([]byte{8, 0, 0, 0}, 4))
	body, err := attrs.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(LinkHeader(1, 0, 0), body...))
	f.Add(append(RouteHeader(unix.AF_INET, 24, 0, 0, 1, 0), body...))
	f.Fuzz(func(_ *testing.T, b []byte) {
		m := netlink.Message{Data: b}
		_, _ = ParseLink(m)
		_, _ = ParseAddr(m)
		_, _ = ParseRoute(m)
		_, _ = ParseNeigh(m)
		_, _ = ParseRule(m)
	})
}
