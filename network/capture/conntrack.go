package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/packet"
)

// A Translation is what the host makes of a packet's addresses.
type Translation struct {
	Before Tuple // as it reached the host
	After  Tuple // as it left
}

// Changed reports whether it makes anything of them.
func (t Translation) Changed() bool { return t.Before != t.After }

// A Tracker asks conntrack of the namespace in which it was opened, and listens to what
// it says of new connections: one that is refused is forgotten at once, before anybody
// could ask.
type Tracker struct {
	fd     int
	events int
	serial uint32
	known  map[Tuple]entry // by both tuples
	older  map[Tuple]entry // those of before; a full map becomes this one
	buf    []byte
}

// entry is what conntrack said.
type entry struct {
	original, reply Tuple
	found           bool
	until           time.Time // when it is asked anew; zero: never, for another connection would be told of
}

const (
	entryLife  = time.Second
	maxEntries = 1 << 15
	eventBytes = 4 << 20 // that the kernel may hold for us
)

// NewTracker opens sockets for ctnetlink in the caller's network namespace.
func NewTracker() (t *Tracker, err error) {
	t = &Tracker{fd: -1, events: -1, known: map[Tuple]entry{}, buf: make([]byte, 1<<16)}
	if t.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
		return nil, os.NewSyscallError("socket(NETLINK_NETFILTER)", err)
	}
	t.events, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err == nil {
		_ = unix.SetsockoptInt(t.events, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBytes) // less is heard of more often
		err = unix.Bind(t.events, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_CONNTRACK_NEW - 1)})
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("listen to conntrack", err), t.Close())
	}
	return t, nil
}

// Close closes the sockets.
func (t *Tracker) Close() error {
	if t.events >= 0 {
		return errors.Join(unix.Close(t.events), unix.Close(t.fd))
	}
	return unix.Close(t.fd)
}

// listen reads what was said of new connections. When something of it was lost, what is
// known may be of others by now.
func (t *Tracker) listen() error {
	for {
		n, _, err := unix.Recvfrom(t.events, t.buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS):
			clear(t.known)
			clear(t.older)
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		case n >= headBytes && binary.NativeEndian.Uint16(t.buf[4:]) == ctNew:
			t.keep(decodeEntry(t.buf[:n]))
		}
	}
}

func (t *Tracker) keep(e entry) {
	if len(t.known) >= maxEntries {
		t.known, t.older = map[Tuple]entry{}, t.known
	}
	t.known[e.original], t.known[e.reply] = e, e
}

// Find returns what the host makes of the packet that has the tuple, wherever it was
// seen: before the translation or after it. One that conntrack does not know, or that
// it does not translate, is not found to be changed.
//
//	original ──► changed by the host ──► Reply of what conntrack calls the reply
//	Reply of the original ◄── changed back ◄── reply
func (t *Tracker) Find(tuple Tuple) (Translation, error) {
	unchanged := Translation{tuple, tuple}
	if err := t.listen(); err != nil {
		return unchanged, err
	}
	for _, ask := range []Tuple{tuple, tuple.Reply()} {
		e, err := t.lookup(ask)
		if err != nil {
			return unchanged, err
		}
		if !e.found {
			continue
		}
		if ask == e.original && ask == tuple || ask == e.reply && ask != tuple {
			return Translation{e.original, e.reply.Reply()}, nil
		}
		return Translation{e.reply, e.original.Reply()}, nil
	}
	return unchanged, nil
}

func (t *Tracker) lookup(tuple Tuple) (entry, error) {
	now := time.Now()
	for _, known := range []map[Tuple]entry{t.known, t.older} {
		if e, ok := known[tuple]; ok && (e.until.IsZero() || now.Before(e.until)) {
			return e, nil
		}
	}
	e, err := t.get(tuple)
	if err == nil && e.found {
		e.until = now.Add(entryLife)
		t.keep(e)
	}
	return e, err
}

// ctnetlink, linux/netfilter/nfnetlink_conntrack.h.
const (
	ctNew     = unix.NFNL_SUBSYS_CTNETLINK << 8
	ctGet     = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	ctaOrig   = 1
	ctaReply  = 2
	ctaIP     = 1
	ctaProto  = 2
	headBytes = unix.NLMSG_HDRLEN + 4 // with struct nfgenmsg
)

// Attributes of CTA_TUPLE_IP and CTA_TUPLE_PROTO.
const (
	ctaIPv4Src = iota + 1
	ctaIPv4Dst
	ctaIPv6Src
	ctaIPv6Dst
)

const (
	ctaNum = iota + 1
	ctaSrcPort
	ctaDstPort
	ctaICMPID
	ctaICMPType
	ctaICMPCode
	ctaICMP6ID
	ctaICMP6Type
	ctaICMP6Code
)

// get asks for one entry. The kernel finds it by either of its tuples.
func (t *Tracker) get(tuple Tuple) (e entry, err error) {
	t.serial++
	body := attribute(ctaOrig|unix.NLA_F_NESTED, tuple.encode())
	m := binary.NativeEndian.AppendUint32(nil, uint32(headBytes+len(body)))
	m = binary.NativeEndian.AppendUint16(m, ctGet)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST)
	m = binary.NativeEndian.AppendUint32(m, t.serial)
	m = append(m, 0, 0, 0, 0, tuple.family(), 0, 0, 0)
	if err := unix.Sendto(t.fd, append(m, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return e, os.NewSyscallError("sendto", err)
	}
	for {
		n, _, err := unix.Recvfrom(t.fd, t.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return e, os.NewSyscallError("recvfrom", err)
		}
		if e, done, err := t.answer(t.buf[:n]); done || err != nil {
			return e, err
		}
	}
}

// answer reads a datagram of the kernel.
func (t *Tracker) answer(b []byte) (e entry, done bool, err error) {
	if len(b) < headBytes || binary.NativeEndian.Uint32(b[8:]) != t.serial {
		return e, false, nil // the rest of an answer that nobody waited for
	}
	if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])))
		switch errno {
		case unix.ENOENT, unix.EINVAL, unix.EPROTONOSUPPORT, unix.EOPNOTSUPP: // not known, or the kernel has no conntrack of that
			return e, true, nil
		}
		return e, true, fmt.Errorf("ask conntrack: %w", errno)
	}
	return decodeEntry(b), true, nil
}

// decodeEntry reads a message about an entry.
func decodeEntry(b []byte) (e entry) {
	size := int(binary.NativeEndian.Uint32(b))
	e.found = true
	eachAttribute(b[headBytes:min(max(size, headBytes), len(b))], func(kind uint16, b []byte) {
		switch kind {
		case ctaOrig:
			e.original = decodeTuple(b)
		case ctaReply:
			e.reply = decodeTuple(b)
		}
	})
	return e
}

func (t Tuple) family() byte {
	if t.From.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (t Tuple) encode() []byte {
	src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if t.family() == unix.AF_INET6 {
		src, dst = ctaIPv6Src, ctaIPv6Dst
	}
	addresses := append(attribute(src, t.From.Addr().AsSlice()), attribute(dst, t.To.Addr().AsSlice())...)
	proto := attribute(ctaNum, []byte{t.Protocol})
	port := func(kind uint16, n uint16) {
		proto = append(proto, attribute(kind, binary.BigEndian.AppendUint16(nil, n))...)
	}
	switch t.Protocol {
	case packet.ICMP:
		port(ctaICMPID, t.From.Port())
		proto = append(proto, append(attribute(ctaICMPType, []byte{t.kind}), attribute(ctaICMPCode, []byte{0})...)...)
	case packet.ICMP6:
		port(ctaICMP6ID, t.From.Port())
		proto = append(proto, append(attribute(ctaICMP6Type, []byte{t.kind}), attribute(ctaICMP6Code, []byte{0})...)...)
	default:
		port(ctaSrcPort, t.From.Port())
		port(ctaDstPort, t.To.Port())
	}
	return append(attribute(ctaIP|unix.NLA_F_NESTED, addresses), attribute(ctaProto|unix.NLA_F_NESTED, proto)...)
}

func decodeTuple(b []byte) (t Tuple) {
	var from, to netip.Addr
	var fromPort, toPort uint16
	eachAttribute(b, func(group uint16, b []byte) {
		eachAttribute(b, func(kind uint16, b []byte) {
			switch {
			case group == ctaIP && (kind == ctaIPv4Src || kind == ctaIPv6Src):
				from, _ = netip.AddrFromSlice(b)
			case group == ctaIP && (kind == ctaIPv4Dst || kind == ctaIPv6Dst):
				to, _ = netip.AddrFromSlice(b)
			case group == ctaProto && kind == ctaNum && len(b) == 1:
				t.Protocol = b[0]
			case group == ctaProto && (kind == ctaSrcPort || kind == ctaICMPID || kind == ctaICMP6ID) && len(b) == 2:
				fromPort = binary.BigEndian.Uint16(b)
			case group == ctaProto && kind == ctaDstPort && len(b) == 2:
				toPort = binary.BigEndian.Uint16(b)
			case group == ctaProto && (kind == ctaICMPType || kind == ctaICMP6Type) && len(b) == 1:
				t.kind = b[0]
			}
		})
	})
	t.From, t.To = netip.AddrPortFrom(from, fromPort), netip.AddrPortFrom(to, toPort)
	return t
}

// attribute is a struct nlattr with its padding.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, (unix.NLA_ALIGNTO-len(b)%unix.NLA_ALIGNTO)%unix.NLA_ALIGNTO)...)
}

// eachAttribute gives what is whole.
func eachAttribute(b []byte, each func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return
		}
		each(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofNlAttr:size])
		b = b[min(len(b), (size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
}
