package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/firewall"
	"github.com/minictr/minictr/network/survey"
)

// A Target is where --to wants the way to be looked at.
type Target struct {
	Address  netip.Addr
	Port     uint16 // 0: a ping
	Protocol string // "tcp" or "icmp"

	Way       Way // asked in the container
	HostWay   Way // asked on the host
	NextHop   string
	Probed    bool
	Answered  bool
	Took      time.Duration
	Err       error
	Pinged    bool // it answers small pings
	FullBytes int  // the size of the large probe; 0: none was sent
	FullOK    bool
}

// ParseTarget reads ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT.
func ParseTarget(text string) (*Target, error) {
	bare := text
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		bare = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(bare); err == nil {
		return &Target{Address: a.Unmap().WithZone(""), Protocol: "icmp"}, check(a, text)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return nil, fmt.Errorf("target %q: neither an IP address nor ADDRESS:PORT", text)
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return nil, fmt.Errorf("target %q: %q is no IP address", text, host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("target %q: %q is no port (1 to 65535)", text, port)
	}
	return &Target{Address: a.Unmap().WithZone(""), Port: uint16(n), Protocol: "tcp"}, check(a, text)
}

func check(a netip.Addr, text string) error {
	if a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("target %q: not the address of one machine", text)
	}
	return nil
}

func (t *Target) String() string {
	if t.Port == 0 {
		return t.Address.String()
	}
	return netip.AddrPortFrom(t.Address, t.Port).String()
}

// probePatience is how long an answer is waited for.
const probePatience = time.Second

// probe sends the real thing from the container's namespace, in which it must run.
func (t *Target) probe(f *Facts) error {
	if t == nil {
		return nil
	}
	t.Way = lookup{to: t.Address}.ask(&f.Inside)
	if t.Way.Errno != 0 {
		t.Err = t.Way.Errno
		return nil
	}
	t.Probed = true
	begin := time.Now()
	if t.Protocol == "tcp" {
		c, err := net.DialTimeout("tcp", t.String(), probePatience)
		t.Err, t.Answered = err, err == nil
		if err == nil {
			_ = c.Close() // nothing was sent by it
		}
		t.Took = time.Since(begin)
		if errors.Is(err, unix.ECONNREFUSED) || err == nil {
			t.full(f, 300*time.Millisecond)
		}
	} else {
		t.Err = echo(t.Address, 8, probePatience)
		t.Took, t.Answered = time.Since(begin), t.Err == nil
		if t.Answered {
			t.full(f, 300*time.Millisecond)
		}
	}
	after, err := survey.ReadOne(survey.Here())
	if err != nil {
		return err
	}
	t.NextHop = t.hop(after.Neighbours, f)
	return nil
}

// hop is the state of the neighbour that the packets go to.
func (t *Target) hop(list []survey.Neighbour, f *Facts) string {
	next := t.Way.Gateway
	if !next.IsValid() {
		next = t.Address
	}
	for _, n := range list {
		if n.Address == next && f.Inside.name(n.Link) == t.Way.Link {
			return n.State
		}
	}
	return ""
}

// full sends a ping as large as the link allows, which nobody may cut, where small ones
// are answered.
func (t *Target) full(f *Facts, wait time.Duration) {
	if t.Pinged = echo(t.Address, 8, wait) == nil; !t.Pinged {
		return
	}
	link := f.Inside.LinkNamed(t.Way.Link)
	if link == nil || t.Way.Type == "local" {
		return
	}
	headers := 28
	if t.Address.Is6() {
		headers = 48
	}
	t.FullBytes = min(link.MTU, 9000)
	t.FullOK = echo(t.Address, t.FullBytes-headers, wait) == nil
}

// echo sends a ping with so many bytes, and waits for its answer. Cutting it is
// forbidden (DF).
func echo(to netip.Addr, size int, wait time.Duration) error {
	family, protocol, kind, reply, level, option := unix.AF_INET, unix.IPPROTO_ICMP, byte(8), byte(0), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	var address unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte(to.AsSlice()[:4])}
	if to.Is6() {
		family, protocol, kind, reply, level, option = unix.AF_INET6, unix.IPPROTO_ICMPV6, 128, 129, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
		address = &unix.SockaddrInet6{Addr: to.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(wait)
	timeout := unix.NsecToTimeval(wait.Nanoseconds())
	if err := errors.Join(unix.SetsockoptInt(fd, level, option, unix.IP_PMTUDISC_PROBE),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout), unix.Connect(fd, address)); err != nil {
		return err
	}
	message := make([]byte, 8+max(size, 8))
	message[0] = kind
	binary.BigEndian.PutUint16(message[4:], uint16(fd)^0x6d63)
	binary.BigEndian.PutUint64(message[8:], uint64(deadline.UnixNano()))
	if to.Is4() {
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	if _, err := unix.Write(fd, message); err != nil {
		return err
	}
	return await(fd, message, reply, to.Is4(), deadline)
}

// await reads until the answer to the ping comes, or the time is over.
func await(fd int, message []byte, reply byte, v4 bool, deadline time.Time) error {
	b := make([]byte, 10000)
	for time.Now().Before(deadline) {
		n, err := unix.Read(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return unix.ETIMEDOUT
		case err != nil:
			return err
		}
		got := b[:n]
		if v4 && len(got) > 0 {
			got = got[min(len(got), int(got[0]&0xf)*4):]
		}
		if len(got) >= 16 && got[0] == reply && string(got[4:16]) == string(message[4:16]) {
			return nil
		}
	}
	return unix.ETIMEDOUT
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// samples are packets to the target, for the tables of the host; it asks the host's
// routes for the rest of the way.
func (t *Target) samples(f *Facts) []sample {
	if f.Network == nil || t.Way.Errno != 0 {
		return nil
	}
	for _, e := range f.Network.Endpoints {
		bridge := f.Host.LinkNamed(e.Network.Bridge)
		if e.Interface.Name != t.Way.Link || bridge == nil {
			continue
		}
		from := e.Interface.Address.Addr()
		if t.Address.Is6() {
			from = e.Interface.Address6.Addr()
		}
		if !from.IsValid() || e.Network.Subnet().Contains(t.Address) && t.Address != e.Network.Gateway.Addr() {
			return nil // it stays on the bridge
		}
		t.HostWay = lookup{to: t.Address, from: from, in: bridge.Index}.ask(&f.Host)
		return t.packets(f, from, f.Host.linkOf(bridge.Name))
	}
	return nil
}

func (t *Target) packets(f *Facts, from netip.Addr, bridge firewall.Link) []sample {
	p := firewall.Packet{In: bridge, Source: from, Destination: t.Address, Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: t.Port}
	if t.Port == 0 {
		p.Protocol, p.SourcePort = unix.IPPROTO_ICMP, 0
		if from.Is6() {
			p.Protocol = unix.IPPROTO_ICMPV6
		}
	}
	what := "packets to " + t.String()
	if t.HostWay.Type == "local" {
		p.DestinationLocal = true
		return []sample{
			{what, ToTarget, []firewall.Hook{firewall.Prerouting, firewall.Input}, p},
			{"the answers of " + t.String(), ToTarget, []firewall.Hook{firewall.Output}, answer(p)},
		}
	}
	if t.HostWay.Errno != syscall.Errno(0) {
		return nil
	}
	in := p
	p.Out = f.Host.linkOf(t.HostWay.Link)
	return []sample{
		{what, ToTarget, []firewall.Hook{firewall.Prerouting}, in},
		{what, ToTarget, []firewall.Hook{firewall.Forward, firewall.Postrouting}, p},
		{"the answers of " + t.String(), ToTarget, []firewall.Hook{firewall.Forward}, answer(p)},
	}
}
