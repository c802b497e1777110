package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A socket is a netlink(7) socket in the network namespace of the thread that
// opened it.
type socket struct {
	fd     int
	seq    uint32
	buffer []byte
}

// bufferBytes holds any answer, and eventBytes what may come while nobody looks.
const (
	bufferBytes = 64 << 10
	eventBytes  = 4 << 20
)

// dial opens a socket of the protocol that listens to the groups, which are
// numbered from 1.
func dial(protocol int, groups ...int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_NETLINK)", err)
	}
	s := &socket{fd: fd, buffer: make([]byte, bufferBytes)}
	if err := s.listen(groups); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) listen(groups []int) error {
	if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind(AF_NETLINK)", err)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return os.NewSyscallError("setsockopt(NETLINK_ADD_MEMBERSHIP)", err)
		}
	}
	if len(groups) > 0 {
		// Without the capability in the first user namespace the buffer stays as
		// it is: large enough but for thousands of rules.
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBytes)
	}
	return nil
}

func (s *socket) close() { _ = unix.Close(s.fd) } // nothing was buffered, nothing can be lost

// message frames a request, header and attributes, for the kernel.
func (s *socket) message(kind, flags uint16, body []byte) []byte {
	s.seq++
	b := make([]byte, 0, unix.SizeofNlMsghdr+len(body))
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = binary.NativeEndian.AppendUint32(b, s.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, body...)
}

func (s *socket) send(messages []byte) error {
	return os.NewSyscallError("sendto(AF_NETLINK)", unix.Sendto(s.fd, messages, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// ask sends a request that has one answer or a list of them, and returns their
// bodies; an errno that is the answer is the error.
func (s *socket) ask(kind, flags uint16, body []byte) ([][]byte, error) {
	if err := s.send(s.message(kind, flags|unix.NLM_F_ACK, body)); err != nil {
		return nil, err
	}
	return s.answers(s.seq)
}

// answers collects until the request of the number is acknowledged.
func (s *socket) answers(seq uint32) (bodies [][]byte, err error) {
	for {
		messages, err := s.receive(0)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == unix.NLMSG_ERROR || m.Header.Type == unix.NLMSG_DONE:
				if err := errnoOf(m.Data); err != nil {
					return nil, err
				}
				if m.Header.Seq == seq {
					return bodies, nil
				}
			case m.Header.Seq == seq:
				bodies = append(bodies, append([]byte(nil), m.Data...))
			}
		}
	}
}

func errnoOf(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if errno := -int32(binary.NativeEndian.Uint32(body)); errno > 0 {
		return unix.Errno(errno)
	}
	return nil
}

// receive waits for the next datagram, or does not with MSG_DONTWAIT.
func (s *socket) receive(flags int) ([]syscall.NetlinkMessage, error) {
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, unix.MSG_TRUNC|flags)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvfrom(AF_NETLINK)", err)
		case n > len(s.buffer):
			return nil, fmt.Errorf("netlink answer of %d bytes: %w", n, unix.EMSGSIZE)
		}
		return syscall.ParseNetlinkMessage(s.buffer[:n])
	}
}

// pending gives what has come to f and does not wait for more. ENOBUFS says
// that something was lost.
func (s *socket) pending(f func(syscall.NetlinkMessage)) error {
	for {
		messages, err := s.receive(unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, m := range messages {
			f(m)
		}
	}
}
