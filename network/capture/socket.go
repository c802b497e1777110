package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/capture/pcapfilter"
)

// Whole is more bytes of a packet than any has: GRO makes 64 KiB
// of many, or 192 KiB where BIG TCP is on.
const Whole = pcapfilter.AcceptBytes

// bufferBytes is what the kernel may hold for us of one place.
const bufferBytes = 16 << 20

// A socket is a packet(7) socket at one place.
type socket struct {
	file  *os.File
	role  Role
	place int
	vm    *bpf.VM // for what the kernel could not judge; nil: everything is wanted
	buf   []byte
	oob   []byte
	until atomic.Int64 // all that was received before this time (of Unix, in ns) has been read
}

// idle stands in until while there is nothing to read.
const idle = math.MaxInt64

// htons: both byte orders of ours are little-endian, amd64 and arm64.
func htons(n uint16) uint16 { return n<<8 | n>>8 }

// open begins to capture at the place what the filter wants.
func open(p Place, number int, filter []bpf.Instruction, most int) (s *socket, err error) {
	s = &socket{role: p.Role, place: number, buf: make([]byte, most), oob: make([]byte, 256)}
	if filter != nil {
		if s.vm, err = bpf.NewVM(filter); err != nil {
			return nil, err
		}
	}
	err = network.Netns{Path: p.Namespace, Inode: p.Inode}.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // deaf until bound
		if err != nil {
			return os.NewSyscallError("socket(AF_PACKET)", err)
		}
		if err := settle(fd, p.Index, filter, most); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		s.file = os.NewFile(uintptr(fd), "packet")
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("capture at %s: %w", p.Name, err)
	}
	return s, nil
}

// settle sets the socket's options, and then binds it: from then on it hears.
func settle(fd, index int, filter []bpf.Instruction, most int) error {
	// More than rmem_max needs CAP_NET_ADMIN; with less it loses packets sooner.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferBytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferBytes) // loss is counted and told
	}
	return errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)),
		attach(fd, filter, most),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index})))
}

// attach gives the filter to the kernel, which copies no more of a packet than most
// bytes. The kernel keeps a VLAN's tag beside the packet, where the filter does not look
// for it; packets with a tag all come to us, and are judged when they have it again.
func attach(fd int, filter []bpf.Instruction, most int) error {
	accept := bpf.RetConstant{Val: uint32(most)}
	program := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1}, accept}
	for _, i := range filter {
		if i == (bpf.RetConstant{Val: pcapfilter.AcceptBytes}) {
			i = accept
		}
		program = append(program, i)
	}
	if filter == nil {
		program = []bpf.Instruction{accept}
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	list := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return os.NewSyscallError("setsockopt(SO_ATTACH_FILTER)",
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]}))
}

// errEnough says that the socket has been closed, or its time is over.
var errEnough = errors.New("no more packets are wanted")

// read waits for the next packet that is wanted. ENETDOWN says, once, that the link has
// gone down.
func (s *socket) read() (Copy, error) {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return Copy{}, errEnough
	}
	for {
		var n, oob int
		var from unix.Sockaddr
		var failed error
		err := conn.Read(func(fd uintptr) bool {
			n, oob, _, from, failed = unix.Recvmsg(int(fd), s.buf, s.oob, unix.MSG_TRUNC)
			if errors.Is(failed, unix.EAGAIN) {
				s.until.Store(idle)
			}
			return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
		})
		switch {
		case err != nil:
			return Copy{}, errEnough
		case failed != nil:
			return Copy{}, os.NewSyscallError("recvmsg", failed)
		}
		sender, ok := from.(*unix.SockaddrLinklayer)
		if !ok || sender.Hatype == unix.ARPHRD_LOOPBACK && sender.Pkttype == unix.PACKET_OUTGOING {
			continue // what lo sends it receives, too
		}
		c := Copy{Place: s.place, At: time.Now(), Length: n, Bytes: append([]byte(nil), s.buf[:min(n, len(s.buf))]...)}
		c.Direction = s.role.direction(sender.Pkttype == unix.PACKET_OUTGOING)
		tagged, err := c.control(s.oob[:oob])
		if err != nil || tagged && !s.wants(c.Bytes) {
			continue
		}
		return c, nil
	}
}

func (s *socket) wants(b []byte) bool {
	if s.vm == nil {
		return true
	}
	n, err := s.vm.Run(b)
	return err == nil && n > 0
}

// control reads what came beside the packet: when the kernel saw it, and its VLAN tag.
func (c *Copy) control(b []byte) (tagged bool, err error) {
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16:
			c.At = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20:
			c.Length = int(binary.NativeEndian.Uint32(m.Data[4:])) // before the filter cut it
			tagged = c.retag(m.Data)
		}
	}
	return tagged, nil
}

// retag puts a tag back, which the kernel keeps in a struct tpacket_auxdata: status at
// 0, length at 4, tci at 16, protocol at 18.
func (c *Copy) retag(aux []byte) bool {
	const addresses = 12
	if binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_VALID == 0 || len(c.Bytes) < addresses {
		return false
	}
	tag := binary.BigEndian.AppendUint16(nil, binary.NativeEndian.Uint16(aux[18:]))
	tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(aux[16:]))
	c.Bytes = append(append(append([]byte{}, c.Bytes[:addresses]...), tag...), c.Bytes[addresses:]...)
	c.Length += len(tag)
	return true
}

// dropped is how many packets the kernel had no room for since it was last asked,
// packet(7), PACKET_STATISTICS.
func (s *socket) dropped() (n uint32, err error) {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := conn.Control(func(fd uintptr) {
		var stats *unix.TpacketStats
		if stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			n = stats.Drops
		}
	})
	return n, errors.Join(err, cerr)
}
