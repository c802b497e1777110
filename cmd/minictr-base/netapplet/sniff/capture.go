package sniff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A frame is what came from a link, or from a file.
type frame struct {
	at        time.Time
	link      uint32 // of the bytes: linkEthernet, …
	bytes     []byte
	device    string
	direction byte // PACKET_HOST, PACKET_OUTGOING, …
	known     bool // the direction is
}

// directions are the words for sll_pkttype of packet(7).
var directions = []string{"In ", "B  ", "M  ", "P  ", "Out"}

// A capture is a packet(7) socket on one link or on all.
type capture struct {
	file  *os.File
	conn  syscall.RawConn
	any   bool
	link  uint32
	names map[int]string
}

func htons(n uint16) uint16 { return n<<8 | n>>8 } // both byte orders of ours are little-endian: amd64, arm64

// openCapture begins to capture. On all links the kernel takes the link headers
// away, for they differ.
func openCapture(device string, promiscuous bool) (*capture, error) {
	c := &capture{any: device == "any", link: linkCooked, names: map[int]string{}}
	index, kind := 0, unix.SOCK_DGRAM
	if !c.any {
		i, err := net.InterfaceByName(device)
		if err != nil {
			return nil, fmt.Errorf("%s: no such interface (\"any\" is all of them)", device)
		}
		index, kind, c.link = i.Index, unix.SOCK_RAW, linkEthernet
		if len(i.HardwareAddr) != 6 && i.Flags&net.FlagLoopback == 0 {
			c.link = linkRaw // a tunnel
		}
	}
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // deaf until bound
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open a packet socket: %w: it needs CAP_NET_RAW", err)
	}
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c.file = os.NewFile(uintptr(fd), "packet")
	err = errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)))
	if err == nil && promiscuous && index != 0 {
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC})
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}))
	}
	if err == nil {
		c.conn, err = c.file.SyscallConn()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *capture) close() { c.file.Close() }

// next waits for a frame. What lo sends comes back to it; it is shown once.
func (c *capture) next() (frame, error) {
	b, control := make([]byte, snapBytes), make([]byte, 256)
	for {
		var n, oob int
		var from unix.Sockaddr
		var err error
		if werr := c.conn.Read(func(fd uintptr) bool {
			n, oob, _, from, err = unix.Recvmsg(int(fd), b, control, 0)
			return !errors.Is(err, unix.EAGAIN)
		}); werr != nil {
			return frame{}, werr
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // the link went down; it may come back
		}
		if err != nil {
			return frame{}, os.NewSyscallError("recvmsg", err)
		}
		sender, ok := from.(*unix.SockaddrLinklayer)
		if !ok || sender.Hatype == unix.ARPHRD_LOOPBACK && sender.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		return c.frame(b[:n], control[:oob], sender)
	}
}

func (c *capture) frame(b, control []byte, sender *unix.SockaddrLinklayer) (frame, error) {
	f := frame{at: time.Now(), link: c.link, bytes: b, device: c.name(sender.Ifindex), direction: sender.Pkttype, known: true}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return frame{}, err
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16:
			f.at = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20 && c.link == linkEthernet:
			f.bytes = retag(f.bytes, m.Data)
		}
	}
	if c.any {
		f.bytes = append(cookedLink(sender), f.bytes...)
	}
	return f, nil
}

// retag puts the VLAN tag back, which the kernel keeps beside the frame in a struct
// tpacket_auxdata.
func retag(b, aux []byte) []byte {
	if binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_VALID == 0 || len(b) < 12 {
		return b
	}
	tag := binary.BigEndian.AppendUint16(nil, binary.NativeEndian.Uint16(aux[18:]))
	tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(aux[16:]))
	return append(append(append([]byte{}, b[:12]...), tag...), b[12:]...)
}

// cookedLink is the header of LINUX_SLL: direction, kind of link, address, protocol.
func cookedLink(s *unix.SockaddrLinklayer) []byte {
	h := binary.BigEndian.AppendUint16(nil, uint16(s.Pkttype))
	h = binary.BigEndian.AppendUint16(h, s.Hatype)
	h = binary.BigEndian.AppendUint16(h, uint16(s.Halen))
	h = append(h, s.Addr[:]...)
	return binary.BigEndian.AppendUint16(h, htons(s.Protocol))
}

func (c *capture) name(index int) string {
	if c.names[index] == "" {
		i, err := net.InterfaceByIndex(index)
		if err != nil {
			return fmt.Sprintf("if%d", index) // gone by now
		}
		c.names[index] = i.Name
	}
	return c.names[index]
}

// dropped is how many frames the kernel had no room for.
func (c *capture) dropped() (uint32, error) {
	var stats *unix.TpacketStats
	var err error
	werr := c.conn.Control(func(fd uintptr) {
		stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err = errors.Join(werr, err); err != nil {
		return 0, err
	}
	return stats.Drops, nil
}
