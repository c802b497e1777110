package trace

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A sighting is a packet of ours on a link.
type sighting struct {
	at       time.Time
	link     int // index
	outgoing bool
	others   bool // its hardware address is not the link's
	packet   *packet
	arp      *arp // or this
}

// An arp is a question for a neighbour, or the answer: ARP or, of IPv6,
// neighbour discovery.
type arp struct {
	question bool
	about    netip.Addr
}

// A tap sees the packets of all links of one namespace, packet(7).
type tap struct {
	fd     int
	buffer []byte
}

// snapBytes of each packet are enough for its headers, and for those that an
// ICMP error quotes.
const snapBytes = 256

// newTap opens a tap in the namespace of the calling thread, for packets that
// may be the probe's.
func newTap(ports []uint16) (*tap, error) {
	// Until the filter is there the protocol is 0: nothing is seen.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_PACKET)", err)
	}
	t := &tap{fd: fd, buffer: make([]byte, snapBytes)}
	if err := t.begin(ports); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tap) close() { _ = unix.Close(t.fd) } // it was only read

func (t *tap) begin(ports []uint16) error {
	filter, err := tapFilter(ports)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptSockFprog(t.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, filter); err != nil {
		return os.NewSyscallError("setsockopt(SO_ATTACH_FILTER)", err)
	}
	if err := unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("setsockopt(SO_TIMESTAMPNS)", err)
	}
	_ = unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBytes) // else the buffer is as large as it is
	all := binary.NativeEndian.Uint16(networkOrder(unix.ETH_P_ALL))
	return os.NewSyscallError("bind(AF_PACKET)", unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: all}))
}

// tapFilter lets ARP, ICMP and what has one of the ports pass. Offsets count from
// the IP header (SKF_NET_OFF), whatever the link puts before it, and the protocol
// is the kernel's word for the same reason.
func tapFilter(ports []uint16) (*unix.SockFprog, error) {
	const network = 0xfff00000 // SKF_NET_OFF, linux/filter.h: -0x100000
	passIf := func(value uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipFalse: 1}, bpf.RetConstant{Val: snapBytes}}
	}
	portsOf := []bpf.Instruction{}
	for _, at := range []uint32{0, 2} {
		portsOf = append(portsOf, bpf.LoadIndirect{Off: network + at, Size: 2})
		for _, port := range ports {
			portsOf = append(portsOf, passIf(uint32(port))...)
		}
	}
	v4 := slices.Concat([]bpf.Instruction{bpf.LoadAbsolute{Off: network + 9, Size: 1}}, passIf(unix.IPPROTO_ICMP), []bpf.Instruction{
		bpf.LoadAbsolute{Off: network, Size: 1}, // the header's length, in words
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.TAX{},
	})
	v6 := slices.Concat([]bpf.Instruction{bpf.LoadAbsolute{Off: network + 6, Size: 1}}, passIf(unix.IPPROTO_ICMPV6), []bpf.Instruction{
		bpf.LoadConstant{Dst: bpf.RegX, Val: 40},
		bpf.Jump{Skip: uint32(1 + len(v4))},
	})
	program := slices.Concat([]bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtProto}}, passIf(unix.ETH_P_ARP),
		[]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipFalse: uint8(len(v6))}}, v6,
		[]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: uint8(len(v4) + len(portsOf))}}, v4,
		portsOf, []bpf.Instruction{bpf.RetConstant{Val: 0}})
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}, nil
}

// stampPackets makes the kernel begin to note when packets pass, which takes it a
// moment after the first socket has asked. close ends it.
func stampPackets() (closeIt func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_INET)", err)
	}
	closeIt = func() { _ = unix.Close(fd) } // nothing was sent by it
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		closeIt()
		return nil, os.NewSyscallError("setsockopt(SO_TIMESTAMPNS)", err)
	}
	return closeIt, nil
}

// pending gives what was seen to f and does not wait for more.
func (t *tap) pending(f func(sighting)) error {
	control := make([]byte, unix.CmsgSpace(16))
	for {
		n, oobn, _, from, err := unix.Recvmsg(t.fd, t.buffer, control, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil
		case err != nil && err != unix.ENETDOWN: // a link went down; others go on
			return os.NewSyscallError("recvmsg(AF_PACKET)", err)
		case err != nil:
			continue
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		s := sighting{at: stamp(control[:oobn]), link: link.Ifindex, outgoing: link.Pkttype == unix.PACKET_OUTGOING, others: link.Pkttype == unix.PACKET_OTHERHOST}
		if s.read(link, t.buffer[:n]) {
			f(s)
		}
	}
}

// stamp is the kernel's time of the packet, SCM_TIMESTAMPNS.
func stamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Time{}
}

// read takes the frame apart, which begins with the link's own header.
func (s *sighting) read(link *unix.SockaddrLinklayer, frame []byte) bool {
	header := 0
	if link.Hatype == unix.ARPHRD_ETHER || link.Hatype == unix.ARPHRD_LOOPBACK {
		header = 14
	}
	if len(frame) < header {
		return false
	}
	body := append([]byte(nil), frame[header:]...)
	if link.Protocol == binary.NativeEndian.Uint16(networkOrder(unix.ETH_P_ARP)) {
		s.arp = parseARP(body)
		return s.arp != nil
	}
	if s.packet = parseIP(body); s.packet == nil {
		return false
	}
	const header6, solicitation, advertisement = 40, 135, 136 // RFC 4861
	if p := s.packet; p.protocol == unix.IPPROTO_ICMPV6 && (p.kind == solicitation || p.kind == advertisement) && len(body) >= header6+24 {
		s.packet, s.arp = nil, &arp{question: p.kind == solicitation, about: netip.AddrFrom16([16]byte(body[header6+8 : header6+24]))}
	}
	return true
}

// parseARP reads ARP about IPv4, RFC 826.
func parseARP(b []byte) *arp {
	if len(b) < 28 || b[4] != 6 || b[5] != 4 {
		return nil
	}
	if b[7] == 1 {
		return &arp{true, netip.AddrFrom4([4]byte(b[24:28]))}
	}
	return &arp{false, netip.AddrFrom4([4]byte(b[14:18]))}
}
