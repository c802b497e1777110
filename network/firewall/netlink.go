package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The rules are read from the socket, without a library: the ones that there
// are leave out the expressions that they do not know, and an evaluator that
// does not see an expression is wrong instead of in doubt.

// nlaTypeMask takes NLA_F_NESTED and NLA_F_NET_BYTEORDER off, linux/netlink.h.
const nlaTypeMask = 0x3fff

const sizeofNfgenmsg = 4 // linux/netfilter/nfnetlink.h

// attributes are netlink attributes in a row, as the kernel wrote them.
type attributes []byte

// next splits off the first attribute. It returns a nil rest at the end and
// where the bytes make no sense.
func (a attributes) next() (kind uint16, value, rest attributes) {
	if len(a) < unix.SizeofNlAttr {
		return 0, nil, nil
	}
	size := int(binary.NativeEndian.Uint16(a))
	if size < unix.SizeofNlAttr || size > len(a) {
		return 0, nil, nil
	}
	kind = binary.NativeEndian.Uint16(a[2:]) & nlaTypeMask
	return kind, a[unix.SizeofNlAttr:size], a[min(len(a), (size+3)&^3):]
}

// get returns the value of the first attribute of the kind, or nil.
func (a attributes) get(kind uint16) attributes {
	for len(a) > 0 {
		k, value, rest := a.next()
		if rest == nil {
			return nil
		}
		if k == kind {
			return value[:len(value):len(value)]
		}
		a = rest
	}
	return nil
}

func (a attributes) has(kind uint16) bool { return a.get(kind) != nil }

// nested calls f for each attribute.
func (a attributes) nested(f func(value attributes)) {
	for len(a) > 0 {
		_, value, rest := a.next()
		if rest == nil {
			return
		}
		f(value)
		a = rest
	}
}

// u32 is a number, which nf_tables sends in network order; 0 if it is missing.
func (a attributes) u32(kind uint16) uint32 {
	if value := a.get(kind); len(value) >= 4 {
		return binary.BigEndian.Uint32(value)
	}
	return 0
}

func (a attributes) u64(kind uint16) uint64 {
	if value := a.get(kind); len(value) >= 8 {
		return binary.BigEndian.Uint64(value)
	}
	return 0
}

func (a attributes) text(kind uint16) string { return unix.ByteSliceToString(a.get(kind)) }

// data is the bytes in a nested NFTA_DATA_VALUE.
func (a attributes) data(kind uint16) []byte { return a.get(kind).get(unix.NFTA_DATA_VALUE) }

// appendText adds an attribute that is a name.
func appendText(a attributes, kind uint16, text string) attributes {
	size := unix.SizeofNlAttr + len(text) + 1
	a = binary.NativeEndian.AppendUint16(a, uint16(size))
	a = binary.NativeEndian.AppendUint16(a, kind)
	a = append(a, text...)
	for range (size+3)&^3 - size + 1 {
		a = append(a, 0)
	}
	return a
}

// conn is a socket that speaks with nf_tables in the network namespace of the
// thread that opened it.
type conn struct {
	fd     int
	seq    uint32
	buffer []byte
}

// bufferBytes holds any answer: the kernel fills at most 32 KiB of a dump at a time.
const bufferBytes = 32 << 10

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_NETLINK)", err)
	}
	return &conn{fd: fd, buffer: make([]byte, bufferBytes)}, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// errChanged says that the rules changed while they were read.
var errChanged = errors.New("the rules changed while they were read")

// dump asks for all objects of a kind (unix.NFT_MSG_GETCHAIN, …), of all
// families with unix.NFPROTO_UNSPEC, and gives each to f, with its family. What
// f gets is its own to keep.
func (c *conn) dump(message uint16, family uint8, filter attributes, f func(family uint8, a attributes)) error {
	c.seq++
	size := unix.SizeofNlMsghdr + sizeofNfgenmsg + len(filter)
	request := make([]byte, 0, size)
	request = binary.NativeEndian.AppendUint32(request, uint32(size))
	request = binary.NativeEndian.AppendUint16(request, unix.NFNL_SUBSYS_NFTABLES<<8|message)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = binary.NativeEndian.AppendUint32(request, c.seq)
	request = append(request, 0, 0, 0, 0, family, unix.NFNETLINK_V0, 0, 0)
	request = append(request, filter...)
	if err := unix.Sendto(c.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for changed := false; ; {
		n, err := c.receive()
		if err != nil {
			return err
		}
		done, interrupted, err := c.parse(append([]byte(nil), c.buffer[:n]...), f)
		changed = changed || interrupted
		if err == nil && done && changed {
			err = errChanged
		}
		if done || err != nil {
			return err
		}
	}
}

func (c *conn) receive() (int, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buffer, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("recvfrom", err)
		case n > len(c.buffer):
			return 0, fmt.Errorf("netlink answer of %d bytes: %w", n, unix.EMSGSIZE)
		}
		return n, nil
	}
}

// parse walks over the messages of one answer.
func (c *conn) parse(answer []byte, f func(family uint8, a attributes)) (done, interrupted bool, err error) {
	for len(answer) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(answer))
		kind, flags := binary.NativeEndian.Uint16(answer[4:]), binary.NativeEndian.Uint16(answer[6:])
		seq := binary.NativeEndian.Uint32(answer[8:])
		if size < unix.SizeofNlMsghdr || size > len(answer) {
			return true, interrupted, fmt.Errorf("netlink message of %d bytes in %d: %w", size, len(answer), unix.EBADMSG)
		}
		body := answer[unix.SizeofNlMsghdr:size]
		answer = answer[min(len(answer), (size+3)&^3):]
		if seq != c.seq {
			continue // the rest of an answer that nobody waited for
		}
		interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		if kind == unix.NLMSG_ERROR || kind == unix.NLMSG_DONE {
			if len(body) >= 4 {
				if errno := -int32(binary.NativeEndian.Uint32(body)); errno > 0 {
					return true, interrupted, unix.Errno(errno)
				}
			}
			return true, interrupted, nil
		}
		if len(body) >= sizeofNfgenmsg {
			f(body[0], body[sizeofNfgenmsg:])
		}
	}
	return false, interrupted, nil
}
