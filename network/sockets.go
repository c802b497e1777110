package network

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A socket of the host waits for packets at a port.
type socket struct {
	Port
	inode uint32 // as in /proc/PID/fd; 0 when it is not known
}

// States of sock_diag(7), linux/tcp_states.h.
const (
	tcpClose  = 7  // an UDP socket that is connected to nobody
	tcpListen = 10 //
)

// Of struct inet_diag_req_v2 and struct inet_diag_msg, linux/inet_diag.h.
const (
	diagRequestBytes = 56
	diagAnswerBytes  = 72
	diagV6Only       = 11 // INET_DIAG_SKV6ONLY
)

// listSockets lists the sockets of the network namespace that would get packets
// of the family and the protocols of the ports: those that listen, and for UDP,
// those that are connected to nobody. Connections do not matter: their packets
// are known to conntrack, and go on as before. Where the kernel has no sock_diag,
// it tries to bind the ports instead.
func listSockets(f family, ports []Port) (list []socket, err error) {
	asked := map[string]bool{}
	for _, p := range ports {
		if asked[p.Protocol] {
			continue
		}
		asked[p.Protocol] = true
		some, err := diagnose(f, p.Protocol)
		if isUnsupported(err) {
			some, err = bindAll(f, p.Protocol, ports)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

// isUnsupported tells an answer of a kernel without sock_diag, or without that of
// the protocol.
func isUnsupported(err error) bool {
	for _, e := range []error{unix.EPROTONOSUPPORT, unix.ENOENT, unix.EOPNOTSUPP, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// diagnose lists the sockets of a protocol by sock_diag. One of IPv6 may wait for
// IPv4, too.
func diagnose(f family, protocol string) (list []socket, err error) {
	c, err := dial(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for _, kind := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if kind == unix.AF_INET && f == ipv6 {
			continue
		}
		var some []socket
		ask := func() *nl.NetlinkRequest {
			r := request(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
			body := make([]byte, diagRequestBytes)
			body[0], body[1] = kind, protocols()[protocol]
			nl.NativeEndian().PutUint32(body[4:], 1<<tcpClose|1<<tcpListen)
			if protocol != "udp" {
				nl.NativeEndian().PutUint32(body[4:], 1<<tcpListen)
			}
			r.AddRawData(body)
			return r
		}
		err := c.dump(ask, func() { some = nil }, func(m syscall.NetlinkMessage) error {
			s, ok, err := parseSocket(m, f, protocol)
			if ok {
				some = append(some, s)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

// parseSocket reads an answer. It is not ok when the socket does not wait for
// packets of the family.
func parseSocket(m syscall.NetlinkMessage, f family, protocol string) (s socket, ok bool, err error) {
	if len(m.Data) < diagAnswerBytes {
		return s, false, errShort
	}
	kind, b := m.Data[0], m.Data[4:]
	s.Port = Port{HostPort: binary.BigEndian.Uint16(b), Count: 1, Protocol: protocol}
	s.inode = nl.NativeEndian().Uint32(m.Data[68:])
	if kind == unix.AF_INET {
		s.HostIP = netip.AddrFrom4([4]byte(b[4:8]))
		return s, f == ipv4, nil
	}
	s.HostIP = netip.AddrFrom16([16]byte(b[4:20])).Unmap()
	only := false
	err = eachAttribute(m.Data[diagAnswerBytes:], func(kind uint16, b []byte) {
		only = only || kind == diagV6Only && len(b) == 1 && b[0] != 0
	})
	switch {
	case f == ipv6:
		return s, s.HostIP.Is6(), err
	case s.HostIP.Is4():
		return s, true, err
	}
	both := s.HostIP.IsUnspecified() && !only
	s.HostIP = netip.IPv4Unspecified()
	return s, both, err
}

// canBindAll tries few ports by binding them, which is a hundred times faster than
// to list sockets. Where it fails, it may be for a connection only.
func canBindAll(f family, ports []Port) (bool, error) {
	count := 0
	for _, p := range ports {
		count += int(p.Count)
	}
	if count > fewPorts {
		return false, nil
	}
	for _, p := range ports {
		taken, err := bindAll(f, p.Protocol, []Port{p})
		if len(taken) > 0 || err != nil {
			return false, err
		}
	}
	return true, nil
}

// bindAll finds the ports in use by trying, one by one.
func bindAll(f family, protocol string, ports []Port) (list []socket, err error) {
	for _, p := range ports {
		if p.Protocol != protocol {
			continue
		}
		for one := range p.singles() {
			err := tryBind(f, one)
			switch {
			case errors.Is(err, unix.EADDRINUSE):
				list = append(list, socket{Port: one})
			case errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT): // then nobody has a port of it
				return nil, nil
			case err != nil:
				return nil, err
			}
		}
	}
	return list, nil
}

// tryBind binds a socket to the port, as a server would, and closes it again.
func tryBind(f family, p Port) error {
	kind := map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM, "sctp": unix.SOCK_STREAM}[p.Protocol]
	domain := map[family]int{ipv4: unix.AF_INET, ipv6: unix.AF_INET6}[f]
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, int(protocols()[p.Protocol]))
	if err != nil {
		return err
	}
	defer closeFD(fd)
	if p.Protocol == "tcp" { // connections that have ended do not matter; what listens does
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if f == ipv4 {
		return unix.Bind(fd, &unix.SockaddrInet4{Port: int(p.HostPort), Addr: p.HostIP.As4()})
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Port: int(p.HostPort), Addr: p.HostIP.As16()})
}
