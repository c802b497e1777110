// Package ss is the applets ss and netstat: they list sockets, as the kernel tells
// them by sock_diag(7), and whose they are, as /proc tells.
package ss

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A socket is one of the list.
type socket struct {
	netid        string // tcp, udp, icmp, u_str
	v6           bool
	state        int
	recvQ, sendQ uint32
	local, peer  endpoint
	inode        uint64
	uid          uint32
	onlyV6       bool
}

// An endpoint is one end of a socket: an address and a port, or a path.
type endpoint struct {
	addr netip.Addr
	port uint16
	path string
}

// stateNames are those of TCP, from 1 on, net/tcp_states.h. A UDP socket is
// connected (1) or not (7).
var stateNames = []string{"", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"}

const (
	established, timeWait, synReceived, closed, listening = 1, 6, 3, 7, 10

	allStates    = 1<<12 - 2
	serverStates = 1<<listening | 1<<closed
	clientStates = allStates &^ (serverStates | 1<<timeWait | 1<<synReceived)
)

// Sizes and numbers of linux/inet_diag.h and linux/sock_diag.h.
const (
	diagByFamily   = 20
	requestBytes   = 56
	messageBytes   = 72
	onlyV6Attr     = 11 // INET_DIAG_SKV6ONLY
	wildcardUDPRaw = unix.IPPROTO_RAW
)

// protocols of internet sockets, with their number in a request and their file
// below /proc/net.
var protocols = []struct {
	netid  string
	number uint8
	file   string
}{
	{"tcp", unix.IPPROTO_TCP, "tcp"}, {"udp", unix.IPPROTO_UDP, "udp"}, {"raw", wildcardUDPRaw, "raw"},
}

// internet lists the sockets of a protocol and a family. A kernel without the
// module for it (inet_diag, udp_diag) is asked by way of /proc/net.
func internet(netid string, v6 bool, states uint32) ([]socket, error) {
	for _, p := range protocols {
		if p.netid != netid {
			continue
		}
		list, err := diag(p.netid, p.number, v6, states)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
			list, err = fromProc(p.netid, p.file, v6, states)
		}
		if err != nil {
			return nil, fmt.Errorf("list %s sockets: %w", netid, err)
		}
		return list, nil
	}
	return nil, fmt.Errorf("list %s sockets: unknown protocol", netid)
}

func diag(netid string, protocol uint8, v6 bool, states uint32) ([]socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_INET_DIAG, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing was buffered
	request := make([]byte, requestBytes)
	request[0], request[1] = unix.AF_INET, protocol
	if v6 {
		request[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(request[4:], states)
	messages, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: diagByFamily, Flags: netlink.Request | netlink.Dump}, Data: request})
	if err != nil {
		return nil, err
	}
	var list []socket
	for _, m := range messages {
		if s, ok := parseDiag(m.Data, netid); ok && states&(1<<s.state) != 0 {
			list = append(list, s)
		}
	}
	return list, nil
}

// parseDiag reads a struct inet_diag_msg and its attributes.
func parseDiag(b []byte, netid string) (socket, bool) {
	if len(b) < messageBytes {
		return socket{}, false
	}
	order := binary.NativeEndian
	s := socket{
		netid: netid, v6: b[0] == unix.AF_INET6, state: int(b[1]), recvQ: order.Uint32(b[56:]), sendQ: order.Uint32(b[60:]),
		uid: order.Uint32(b[64:]), inode: uint64(order.Uint32(b[68:])),
	}
	if s.state >= len(stateNames) {
		s.state = synReceived // TCP_NEW_SYN_RECV
	}
	// struct inet_diag_sockid begins at 4: ports, addresses, interface.
	device := order.Uint32(b[40:])
	s.local = endpoint{addr: address(b[8:24], s.v6, device), port: binary.BigEndian.Uint16(b[4:])}
	s.peer = endpoint{addr: address(b[24:40], s.v6, 0), port: binary.BigEndian.Uint16(b[6:])}
	if s.peer.addr.IsLinkLocalUnicast() && s.v6 {
		s.peer.addr = address(b[24:40], true, device)
	}
	if attrs, err := netlink.NewAttributeDecoder(b[messageBytes:]); err == nil {
		for attrs.Next() {
			if attrs.Type() == onlyV6Attr {
				s.onlyV6 = attrs.Uint8() != 0
			}
		}
	}
	return s, true
}

func address(b []byte, v6 bool, device uint32) netip.Addr {
	if !v6 {
		a, _ := netip.AddrFromSlice(b[:4])
		return a
	}
	a, _ := netip.AddrFromSlice(b)
	if device != 0 {
		a = a.WithZone(deviceName(device))
	}
	return a
}

func deviceName(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return fmt.Sprintf("if%d", index)
}
