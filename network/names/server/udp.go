package server

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// serveUDP answers datagrams until the socket is closed.
func (s *Server) serveUDP(conn *net.UDPConn) {
	packet, control := make([]byte, maxQuestion+1), make([]byte, 128)
	for {
		n, m, _, from, err := conn.ReadMsgUDPAddrPort(packet, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // want of memory, for one
			continue
		}
		if n <= maxQuestion && s.bridge.isWayOf(control[:m]) {
			s.datagram(conn, packet[:n], from)
		}
	}
}

func (s *Server) datagram(conn *net.UDPConn, packet []byte, from netip.AddrPort) {
	asker := from.Addr().Unmap()
	answer, pass := s.respond(packet, asker, minUDP)
	if pass == nil {
		send(conn, answer, from)
		return
	}
	if asker = s.payer(asker); !s.questions.take(asker) {
		send(conn, pass.query.fail(dnsmessage.RCodeServerFailure), from)
		return
	}
	pass.query.packet = slices.Clone(packet)
	go func() {
		defer s.questions.free(asker)
		send(conn, pass.run(), from)
	}()
}

func send(conn *net.UDPConn, answer []byte, to netip.AddrPort) {
	if answer != nil {
		_, _ = conn.WriteToUDPAddrPort(answer, to) // who does not hear it asks again
	}
}

// A link is a network interface, known by its name. Its number is another one when
// it was made anew.
type link struct {
	name   string
	socket int // for ioctl(2)
	index  atomic.Uint32
}

func newLink(name string) (*link, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &link{name: name, socket: fd}, nil
}

// loopback is the number of lo in every network namespace (LOOPBACK_IFINDEX).
const loopback = 1

// isWayOf reports whether a datagram with these control messages came in by the link,
// or from this host itself.
func (l *link) isWayOf(control []byte) bool {
	index := arrival(control)
	if index == loopback || index != 0 && index == l.index.Load() {
		return true
	}
	request, err := unix.NewIfreq(l.name)
	if err != nil || unix.IoctlIfreq(l.socket, unix.SIOCGIFINDEX, request) != nil {
		return false
	}
	l.index.Store(request.Uint32())
	return index == request.Uint32()
}

// arrival reads the number of the interface from IP_PKTINFO (ip(7)) or IPV6_PKTINFO
// (ipv6(7)).
func arrival(control []byte) (index uint32) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return binary.NativeEndian.Uint32(m.Data)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return binary.NativeEndian.Uint32(m.Data[16:])
		}
	}
	return 0
}
