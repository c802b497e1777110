package network

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A conn is a netlink(7) socket in one network namespace. Requests are built
// with the library's package nl and sent from here, for three reasons, all of
// them time on the launch path: netlink.LinkAdd needs three requests for a veth
// on a bridge, where the kernel takes one; its receive clears 64 KiB for each
// answer; and its sockets are registered with Go's poller, though the kernel
// answers a request before sendto(2) returns.
type conn struct {
	fd     int
	answer []byte
}

// answerBytes holds any answer: the kernel fills at most 32 KiB of a dump at a time.
const answerBytes = 32 << 10

// dial opens a socket for the protocol, NETLINK_ROUTE or NETLINK_NETFILTER, in
// the network namespace of the calling thread.
func dial(protocol int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_NETLINK)", err)
	}
	// Both are refinements. An error text of the kernel instead of a bare
	// errno (Linux 4.12), and dumps that the kernel filters (Linux 4.20);
	// whoever reads a dump filters it again.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &conn{fd: fd}, nil
}

// dialIn opens a NETLINK_ROUTE socket in the namespace.
func dialIn(ns Netns) (c *conn, err error) {
	if ns.here() {
		return dial(unix.NETLINK_ROUTE)
	}
	err = ns.Do(func() error {
		c, err = dial(unix.NETLINK_ROUTE)
		return err
	})
	return c, err
}

func (c *conn) close() { _ = unix.Close(c.fd) } // nothing was buffered, nothing can be lost

// request makes a rtnetlink request of the message and its attributes.
func request(kind, flags int, parts ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags)
	for _, p := range parts {
		r.AddData(p)
	}
	return r
}

// do sends a request that asks for an acknowledgement and gives every message of
// the answer to each, which may be nil. Messages are valid only during the call.
func (c *conn) do(r *nl.NetlinkRequest, each func(syscall.NetlinkMessage) error) error {
	if err := unix.Sendto(c.fd, r.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	interrupted := false
	for {
		messages, err := c.receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Seq != r.Seq {
				continue // the rest of an answer that nobody waited for
			}
			interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Header.Type {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				if err := refusal(m); err != nil || !interrupted {
					return err
				}
				return errInterrupted
			}
			if each == nil {
				continue
			}
			if err := each(m); err != nil {
				return err
			}
		}
	}
}

// errInterrupted says that what was listed changed while it was listed.
var errInterrupted = errors.New("the list changed while it was read")

// dump asks for a list and gives every message of it to each. When the list
// changed meanwhile (NLM_F_DUMP_INTR) it starts again, after calling restart.
func (c *conn) dump(r func() *nl.NetlinkRequest, restart func(), each func(syscall.NetlinkMessage) error) error {
	for {
		restart()
		if err := c.do(r(), each); !errors.Is(err, errInterrupted) {
			return err
		}
	}
}

func (c *conn) receive() ([]syscall.NetlinkMessage, error) {
	if c.answer == nil {
		c.answer = make([]byte, answerBytes)
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.answer, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		case n > len(c.answer):
			return nil, fmt.Errorf("netlink answer of %d bytes: %w", n, unix.EMSGSIZE)
		}
		return syscall.ParseNetlinkMessage(c.answer[:n])
	}
}

// A kernelError is the kernel's no: an errno and, often, a sentence.
type kernelError struct {
	Errno unix.Errno
	Text  string // "Unknown device type"; may be empty
}

func (e *kernelError) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Errno.Error() + " (" + e.Text + ")"
}

func (e *kernelError) Unwrap() error { return e.Errno }

// refusal decodes struct nlmsgerr, the payload of NLMSG_ERROR and of a failed
// NLMSG_DONE: an errno, the request again, then attributes.
func refusal(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return nil // NLMSG_DONE may be empty
	}
	errno := -int32(nl.NativeEndian().Uint32(m.Data))
	if errno <= 0 {
		return nil
	}
	e := &kernelError{Errno: unix.Errno(errno)}
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return e
	}
	rest := m.Data[4:]
	if m.Header.Type == unix.NLMSG_ERROR {
		echoed := unix.NLMSG_HDRLEN // NLM_F_CAPPED: only the header of the request
		if m.Header.Flags&unix.NLM_F_CAPPED == 0 && len(rest) >= unix.NLMSG_HDRLEN {
			echoed = (int(nl.NativeEndian().Uint32(rest)) + 3) &^ 3
		}
		rest = rest[min(echoed, len(rest)):]
	}
	attributes, err := nl.ParseRouteAttr(rest)
	if err != nil {
		return e
	}
	for _, a := range attributes {
		if a.Attr.Type == nl.NLMSGERR_ATTR_MSG {
			e.Text = unix.ByteSliceToString(a.Value)
		}
	}
	return e
}
