package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The protocols of a probe, as they are typed.
const (
	tcp  = "tcp"
	udp  = "udp"
	icmp = "icmp"
)

// A probe is the one packet, before and after it is sent.
type probe struct {
	protocol string
	flow     Flow     // as its own namespace sees it
	seen     []uint16 // ports of the destination behind translations, as far as they were foreseen
	cookie   []byte   // the first bytes of what UDP and ICMP carry
	fd       int
	sent     time.Time
	started  bool  // TCP: connect(2) goes on
	err      error // what the kernel said when it was sent, or to connect(2) later
	over     bool  // nothing more will come of it
}

func (p *probe) v6() bool { return p.flow.Destination.Addr().Is6() }

// number is the protocol in the IP header.
func (p *probe) number() uint8 {
	switch {
	case p.protocol == tcp:
		return unix.IPPROTO_TCP
	case p.protocol == udp:
		return unix.IPPROTO_UDP
	case p.v6():
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}

func (p *probe) echo() byte {
	if p.v6() {
		return echoRequest6
	}
	return echoRequest4
}

func (p *probe) echoAnswer() byte {
	if p.v6() {
		return echoReply6
	}
	return echoReply4
}

// destinationPorts are all that the destination may have on the way.
func (p *probe) destinationPorts() []uint16 {
	list := []uint16{p.flow.Destination.Port()}
	for _, port := range p.seen {
		if !slices.Contains(list, port) {
			list = append(list, port)
		}
	}
	return list
}

// open makes the socket in the namespace of the calling thread and gives it a
// port of its own. Nothing is sent. source may be no address: the kernel's choice.
func (p *probe) open(source netip.Addr) error {
	family := unix.AF_INET
	if p.v6() {
		family = unix.AF_INET6
	}
	kind, number := unix.SOCK_STREAM, 0
	switch p.protocol {
	case udp:
		kind = unix.SOCK_DGRAM
	case icmp:
		kind, number = unix.SOCK_RAW, int(p.number())
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, number)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	p.fd = fd
	if err := p.bind(source); err != nil {
		p.close()
		return err
	}
	return nil
}

func (p *probe) close() {
	if p.fd > 0 {
		// An answered connection ends with a reset: nothing is said in it.
		_ = unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(p.fd)
		p.fd = 0
	}
}

// bind settles source address and port. The address is that of the route, which
// a socket learns by connecting one for UDP: that sends nothing.
func (p *probe) bind(source netip.Addr) error {
	if !source.IsValid() {
		source = p.usualSource()
	}
	if source.IsValid() {
		if err := unix.Bind(p.fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
			return fmt.Errorf("bind to %s: %w", source, err)
		}
	}
	if !source.IsValid() {
		source = p.unspecified()
	}
	port, err := p.ownPort(source)
	if err != nil {
		return err
	}
	p.flow.Source = netip.AddrPortFrom(source, port)
	if p.protocol == icmp {
		p.flow.Destination = netip.AddrPortFrom(p.flow.Destination.Addr(), port)
	}
	p.cookie = p.makeCookie()
	return nil
}

// ownPort binds to a free one. An echo has an identifier in its place, for which
// ping(8) takes its process id.
func (p *probe) ownPort(source netip.Addr) (uint16, error) {
	if p.protocol == icmp {
		return uint16(1<<15 | rand.IntN(1<<15)), nil
	}
	if source.IsUnspecified() { // else it is bound already
		if err := unix.Bind(p.fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
			return 0, os.NewSyscallError("bind", err)
		}
	}
	bound, err := unix.Getsockname(p.fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return addrPort(bound).Port(), nil
}

func (p *probe) unspecified() netip.Addr {
	if p.v6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// usualSource is no address where no route leads to the destination.
func (p *probe) usualSource() netip.Addr {
	family := unix.AF_INET
	if p.v6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = unix.Close(fd) }() // it was only asked
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(p.flow.Destination.Addr(), 9))); err != nil {
		return netip.Addr{}
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}
	}
	return addrPort(bound).Addr()
}

// makeCookie is random bytes; to a name server it is a question, for the name
// servers of the root, so that it answers.
func (p *probe) makeCookie() []byte {
	cookie := binary.BigEndian.AppendUint64(nil, rand.Uint64())
	if p.protocol == udp && slices.Contains(p.destinationPorts(), 53) {
		const header, question = "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", "\x00\x00\x02\x00\x01" // RFC 1035
		return []byte(string(cookie[:2]) + header + question)
	}
	return append(cookie, "minictr trace"...)
}

// send puts the packet on its way.
func (p *probe) send() {
	p.sent = time.Now()
	switch p.protocol {
	case tcp:
		p.err = unix.Connect(p.fd, sockaddr(p.flow.Destination))
		p.started = errors.Is(p.err, unix.EINPROGRESS)
		if p.started {
			p.err = nil
		}
	case udp:
		p.err = unix.Sendto(p.fd, p.cookie, 0, sockaddr(p.flow.Destination))
	case icmp:
		p.err = unix.Sendto(p.fd, p.echoPacket(), 0, sockaddr(netip.AddrPortFrom(p.flow.Destination.Addr(), 0)))
	}
	p.over = p.err != nil
}

// poll asks what has become of a connection.
func (p *probe) poll() {
	if !p.started || p.over {
		return
	}
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return
	}
	errno, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		p.err = unix.Errno(errno)
	}
	p.over = true
}

// echoPacket is an echo request. The kernel fills in the checksum of ICMPv6,
// since it covers addresses; that of ICMP is ours to make.
func (p *probe) echoPacket() []byte {
	b := []byte{p.echo(), 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, p.flow.Source.Port())
	b = binary.BigEndian.AppendUint16(b, 1)
	b = append(b, p.cookie...)
	if !p.v6() {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i, v := range b {
		sum += uint32(v) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}
