package icmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// A socket sends packets with a limited reach and hears what ICMP says of them.
type socket struct {
	file *os.File
	conn syscall.RawConn
	v6   bool
	raw  bool   // hears the ICMP messages of everybody
	id   uint16 // by which a raw socket knows its own
}

// A spec says what a socket is for.
type spec struct {
	v6     bool
	ttl    int        // 0: the system's
	device string     // "": by the routes
	source netip.Addr // invalid: by the routes
	raw    bool       // do not try a datagram socket
	id     uint16
	wide   bool // may send to everybody on a network
}

// open opens an ICMP socket: a datagram one where that is allowed, else a raw one.
func open(s spec) (*socket, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if s.v6 {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	if !s.raw {
		sock, err := s.open(family, unix.SOCK_DGRAM, protocol)
		if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EPROTONOSUPPORT) {
			return sock, err
		}
	}
	sock, err := s.open(family, unix.SOCK_RAW, protocol)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open an ICMP socket: %w: it needs CAP_NET_RAW, or a group within net.ipv4.ping_group_range", err)
	}
	return sock, err
}

func (s spec) open(family, kind, protocol int) (*socket, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	sock := &socket{file: os.NewFile(uintptr(fd), "icmp"), v6: s.v6, raw: kind == unix.SOCK_RAW, id: s.id}
	if err := s.configure(fd); err != nil {
		sock.close()
		return nil, err
	}
	sock.conn, err = sock.file.SyscallConn()
	return sock, err
}

func (s spec) configure(fd int) error {
	options := [][3]int{{unix.SOL_IP, unix.IP_RECVERR, 1}, {unix.SOL_IP, unix.IP_RECVTTL, 1}, {unix.SOL_IP, unix.IP_TTL, s.ttl}}
	if s.v6 {
		options = [][3]int{{unix.SOL_IPV6, unix.IPV6_RECVERR, 1}, {unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1}, {unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, s.ttl}}
	}
	if s.ttl == 0 {
		options = options[:2]
	}
	if s.wide {
		options = append(options, [3]int{unix.SOL_SOCKET, unix.SO_BROADCAST, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if s.device != "" {
		if err := unix.BindToDevice(fd, s.device); err != nil {
			return fmt.Errorf("bind to interface %s: %w", s.device, err)
		}
	}
	if s.source.IsValid() {
		if err := unix.Bind(fd, sockaddr(s.source, 0)); err != nil {
			return fmt.Errorf("bind to address %s: %w", s.source, err)
		}
	}
	return nil
}

func (s *socket) close() { s.file.Close() }

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	zone := uint64(0)
	if a.Zone() != "" {
		if i, err := net.InterfaceByName(a.Zone()); err == nil {
			zone = uint64(i.Index)
		} else if n, err := strconv.ParseUint(a.Zone(), 10, 32); err == nil {
			zone = n
		}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: port, ZoneId: uint32(zone)}
}

func addrOf(sa unix.Sockaddr) netip.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr)
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 && a.IsLinkLocalUnicast() {
			a = a.WithZone(zoneName(sa.ZoneId))
		}
		return a
	}
	return netip.Addr{}
}

func zoneName(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return itoa(int(index))
}

// send sends a packet. An error that an earlier packet has caused comes by way of
// receive, so it is passed over here.
func (s *socket) send(b []byte, to unix.Sockaddr) error {
	var err error
	for range 2 {
		err = nil
		if werr := s.conn.Write(func(fd uintptr) bool {
			err = unix.Sendto(int(fd), b, 0, to)
			return !errors.Is(err, unix.EAGAIN)
		}); werr != nil {
			return werr
		}
		if !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPROTO) {
			break
		}
	}
	return err
}

const packetBytes = 1 << 16

// receive waits for an answer until the deadline; then it fails with
// os.ErrDeadlineExceeded.
func (s *socket) receive(deadline time.Time) (answer, error) {
	if err := s.file.SetReadDeadline(deadline); err != nil {
		return answer{}, err
	}
	var a answer
	b, control := make([]byte, packetBytes), make([]byte, 512)
	err := s.conn.Read(func(fd uintptr) bool {
		for {
			n, oob, from, err := receiveOne(int(fd), b, control)
			if errors.Is(err, unix.EAGAIN) {
				return false
			}
			ok := false
			if a, ok = s.read(b[:max(n, 0)], control[:max(oob, 0)], from); ok && err == nil {
				return true
			}
		}
	})
	return a, err
}

// receiveOne looks into the error queue first, then for packets. A pending error
// without anything in the queue is taken away by asking.
func receiveOne(fd int, b, control []byte) (n, oob int, from unix.Sockaddr, err error) {
	n, oob, flags, _, err := unix.Recvmsg(fd, b, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err == nil && flags&unix.MSG_ERRQUEUE != 0 {
		return n, oob, nil, nil
	}
	n, oob, _, from, err = unix.Recvmsg(fd, b, control, unix.MSG_DONTWAIT)
	return n, oob, from, err
}

// read makes an answer of what was received; from is nil for the error queue.
func (s *socket) read(b, control []byte, from unix.Sockaddr) (answer, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return answer{}, false
	}
	if from == nil {
		return s.readError(b, messages)
	}
	ttl := 0
	for _, m := range messages {
		h := m.Header
		if (h.Level == unix.SOL_IP && h.Type == unix.IP_TTL || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_HOPLIMIT) && len(m.Data) >= 4 {
			ttl = int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	if s.raw && !s.v6 { // with its IP header, raw(7)
		if len(b) < ip4HeaderBytes {
			return answer{}, false
		}
		b = b[min(int(b[0]&15)*4, len(b)):]
	}
	a, ok := parse(b, s.v6)
	a.from, a.ttl = addrOf(from), ttl
	return a, ok && (!s.raw || a.id == s.id)
}

// readError reads a struct sock_extended_err, linux/errqueue.h, and behind it the
// address of who complained.
func (s *socket) readError(b []byte, messages []unix.SocketControlMessage) (answer, bool) {
	const size = 16
	for _, m := range messages {
		h := m.Header
		isError := h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR || h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR
		if !isError || len(m.Data) < size {
			continue
		}
		if s.raw && m.Data[4] != unix.SO_EE_ORIGIN_LOCAL {
			return answer{}, false // a raw socket hears the message itself, too
		}
		a := answer{kind: m.Data[5], code: m.Data[6], info: binary.NativeEndian.Uint32(m.Data[8:])}
		if m.Data[4] == unix.SO_EE_ORIGIN_LOCAL {
			a.local = unix.Errno(binary.NativeEndian.Uint32(m.Data))
		}
		a.from = offender(m.Data[size:])
		a.id, a.seq, _ = parseRequest(b, s.v6)
		return a, true
	}
	return answer{}, false
}

// offender reads a struct sockaddr_in or sockaddr_in6.
func offender(b []byte) netip.Addr {
	if len(b) >= 8 && binary.NativeEndian.Uint16(b) == unix.AF_INET {
		a, _ := netip.AddrFromSlice(b[4:8])
		return a
	}
	if len(b) >= 28 && binary.NativeEndian.Uint16(b) == unix.AF_INET6 {
		a, _ := netip.AddrFromSlice(b[8:24])
		if zone := binary.NativeEndian.Uint32(b[24:]); zone != 0 && a.IsLinkLocalUnicast() {
			a = a.WithZone(zoneName(zone))
		}
		return a
	}
	return netip.Addr{}
}
