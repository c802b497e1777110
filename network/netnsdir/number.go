package netnsdir

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Numbers are the numbers that one network namespace has for others: netnsid, by which
// the kernel says in which of them the other end of a cable is. They are good in that
// namespace only. The kernel gives one when a cable is laid, ip-netns(8) when it is
// asked to, and takes it back when either namespace ends.
type Numbers struct {
	socket *nl.NetlinkSocket
	handle *nl.SocketHandle
}

// Unnumbered is in the place of a number that there is not. As a wish it means: any.
const Unnumbered = -1

// A Number is one namespace's in two others; see List.
type Number struct {
	ID      int // in the one that was asked about
	Current int // in the namespace of Numbers, or Unnumbered; ID, when that was asked about
}

// Attributes of a struct rtgenmsg, linux/net_namespace.h.
const (
	attrTarget  = 4 // NETNSA_TARGET_NSID, Linux 5.0
	attrCurrent = 5 // NETNSA_CURRENT_NSID
)

// OpenNumbers opens the numbers of the calling thread's network namespace.
func OpenNumbers() (*Numbers, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	// Without it a dump takes no attributes, Linux 4.20.
	err = unix.SetsockoptInt(socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		socket.Close()
		return nil, os.NewSyscallError("setsockopt NETLINK_GET_STRICT_CHK", err)
	}
	return &Numbers{socket, &nl.SocketHandle{Socket: socket}}, nil
}

// Close closes the socket.
func (n *Numbers) Close() { n.socket.Close() }

// Of returns the number of a namespace, Unnumbered if it has none.
func (n *Numbers) Of(namespace *os.File) (int, error) {
	list, err := n.ask(unix.RTM_GETNSID, 0, attribute(netlink.NETNSA_FD, int(namespace.Fd())))
	if err != nil || len(list) == 0 {
		return Unnumbered, err
	}
	return list[0].ID, nil
}

// ErrNumbered says that a namespace has another number already; it keeps it as long as
// both live.
var ErrNumbered = errors.New("it has a number already, which it keeps as long as both live")

// ErrNumberTaken says that another namespace has the number.
var ErrNumberTaken = errors.New("another network namespace has that number here")

// Set gives a namespace a number. With Unnumbered the kernel chooses one.
func (n *Numbers) Set(namespace *os.File, number int) error {
	_, err := n.ask(unix.RTM_NEWNSID, unix.NLM_F_ACK, attribute(netlink.NETNSA_FD, int(namespace.Fd())), attribute(netlink.NETNSA_NSID, number))
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	// rtnl_net_newid, net/core/net_namespace.c, says it for both.
	if has, e := n.Of(namespace); e == nil && has == Unnumbered {
		return ErrNumberTaken
	}
	return ErrNumbered
}

// ErrNoNumber says that no namespace has the number.
var ErrNoNumber = errors.New("no network namespace has that number here")

// List lists the numbers that the namespace numbered target has for others or, with
// Unnumbered, those of Numbers itself.
func (n *Numbers) List(target int) (list []Number, err error) {
	var about []nl.NetlinkRequestData
	if target != Unnumbered {
		about = append(about, attribute(attrTarget, target))
	}
	const attempts = 10 // where it never stands still, the last has to do
	for range attempts {
		list, err = n.ask(unix.RTM_GETNSID, unix.NLM_F_DUMP, about...)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, unknown(err)
		}
	}
	return list, nil
}

// Find is List, of one namespace: the one that has the number in Numbers.
func (n *Numbers) Find(number, target int) ([]Number, error) {
	about := []nl.NetlinkRequestData{attribute(netlink.NETNSA_NSID, number)}
	if target != Unnumbered {
		about = append(about, attribute(attrTarget, target))
	}
	list, err := n.ask(unix.RTM_GETNSID, 0, about...)
	return list, unknown(err)
}

// unknown translates what rtnl_net_getid and rtnl_net_dumpid say of a number that
// nobody has.
func unknown(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return ErrNoNumber
	}
	return err
}

// Names finds out which names of the directory have numbers in Numbers.
func (n *Numbers) Names(d Dir) (map[int]string, error) {
	names, err := d.Names()
	if err != nil {
		return nil, err
	}
	found := map[int]string{}
	for _, name := range names {
		f, err := d.Open(name)
		if err != nil {
			continue // it is no namespace, or gone
		}
		number, err := n.Of(f)
		_ = f.Close() // it was only looked at
		if err != nil {
			return nil, step.Fail("number of network namespace", name, err)
		}
		if _, known := found[number]; number != Unnumbered && !known {
			found[number] = name
		}
	}
	return found, nil
}

func attribute(kind, value int) nl.NetlinkRequestData {
	return nl.NewRtAttr(kind, nl.Uint32Attr(uint32(int32(value))))
}

// ask sends a request of rtnetlink(7) and reads the numbers of the answer.
func (n *Numbers) ask(kind, flags int, attributes ...nl.NetlinkRequestData) (list []Number, err error) {
	request := nl.NewNetlinkRequest(kind, flags)
	request.AddData(nl.NewRtGenMsg())
	for _, a := range attributes {
		request.AddData(a)
	}
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: n.handle}
	messages, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
	for _, m := range messages {
		one, e := parseNumber(m)
		if e != nil {
			return nil, errors.Join(err, e)
		}
		list = append(list, one)
	}
	return list, err
}

// sizeofRtgenmsg is struct rtgenmsg, padded: one byte for the family.
const sizeofRtgenmsg = 4

func parseNumber(m []byte) (Number, error) {
	if len(m) < sizeofRtgenmsg {
		return Number{}, errors.New("netlink message too short")
	}
	list, err := nl.ParseRouteAttr(m[sizeofRtgenmsg:])
	if err != nil {
		return Number{}, err
	}
	n := Number{Unnumbered, Unnumbered}
	both := false
	for _, a := range list {
		if len(a.Value) < 4 {
			continue
		}
		value := int(int32(nl.NativeEndian().Uint32(a.Value)))
		switch a.Attr.Type {
		case netlink.NETNSA_NSID:
			n.ID = value
		case attrCurrent:
			n.Current, both = value, true
		}
	}
	if !both {
		n.Current = n.ID
	}
	return n, nil
}
