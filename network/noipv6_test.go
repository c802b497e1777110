package network

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// withoutIPv6 gives the calling thread a /proc without sysctls of IPv6, which is
// how a kernel looks that was started with ipv6.disable=1.
func withoutIPv6(t testing.TB) {
	t.Helper()
	for _, err := range []error{
		unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/proc/sys/net/ipv6", "tmpfs", 0, ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoIPv6: a kernel without IPv6 says so when a network wants it, before
// anything is changed by the step; a network without never notices.
func TestNoIPv6(t *testing.T) {
	freshHost(t)
	if err := HasIPv6(); err != nil {
		t.Errorf("here it is: %v", err)
	}
	withoutIPv6(t)
	lease := leaseIn(t.TempDir(), 1)
	defaults := func(ipv6 bool) step.Step { return &SetLinkDefaults{Link: "eth0", IPv6: ipv6} }
	bad := map[string]step.Step{
		"set sysctl net/ipv6/conf/minictr0/accept_ra=0: ": bridgeSysctls("minictr0", true, lease)[0],
		"set sysctl net/ipv6/conf/all/forwarding=1: ":     &ForwardIPv6{Lease: lease},
		"set IPv6 of eth0: ":                              defaults(true),
	}
	for before, s := range bad {
		wantCause(t, s.Apply(), before+noIPv6, unix.EAFNOSUPPORT)
		if err := s.Undo(); err != nil {
			t.Error(err)
		}
	}
	wantCause(t, HasIPv6(), noIPv6, unix.EAFNOSUPPORT)
	run(t, append(bridgeSysctls("minictr0", false, lease), defaults(false)))
	for _, s := range bridgeSysctls("minictr0", false, lease) {
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
	// What the kernel says of addresses then (rtnetlink_rcv_msg).
	wantCause(t, explain("add address", "fd00::1/64 to minictr0", unix.EOPNOTSUPP), "add address fd00::1/64 to minictr0: "+noIPv6, unix.EOPNOTSUPP)
}

// TestLinkWithoutIPv6: a link that has none says why.
func TestLinkWithoutIPv6(t *testing.T) {
	requireTools(t, "ip", "sysctl")
	freshHost(t)
	sh(t, "ip link add off type veth peer name small; ip link set small mtu 1000; sysctl -q -w net.ipv6.conf.off.disable_ipv6=1")
	for link, c := range map[string]struct {
		text  string
		errno unix.Errno
	}{
		"off":   {"IPv6 is switched off on the link", unix.EACCES},
		"small": {"the MTU of the link is 1000; IPv6 needs 1280 (RFC 8200)", unix.EINVAL},
	} {
		s := &AddAddress{Link: link, Address: netip.MustParsePrefix("fd00::1/64"), Lease: leaseIn(t.TempDir(), 1)}
		err := s.Apply()
		if link == "small" && errors.Is(err, unix.ENOBUFS) { // before Linux 5.18
			c.errno = unix.ENOBUFS
		}
		wantCause(t, err, "add address fd00::1/64 to "+link+": "+c.text, c.errno)
		if err := s.Undo(); err != nil {
			t.Error(err)
		}
	}
}
