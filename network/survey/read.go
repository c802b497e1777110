package survey

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// A Source is a network namespace to read.
type Source struct {
	Path  string // /proc/PID/ns/net, /run/netns/NAME
	Inode uint64 // if not 0, what Path must lead to: a process id may be used again
}

// Here is the namespace of the calling thread, which has to stay as long as the path
// is used.
func Here() Source {
	return Source{Path: fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())}
}

// Read surveys the caller's network namespace and those of the sources. A source that
// is no more, or is another namespace by now, is left out; one that comes twice is
// read once.
func Read(sources []Source) (*Host, error) {
	r := &reader{host: &Host{}}
	defer r.close()
	if err := r.add(Here()); err != nil {
		return nil, err
	}
	for _, s := range sources {
		if err := r.add(s); err != nil && !Gone(err) {
			return nil, err
		}
	}
	return r.host, r.number()
}

// ReadOne surveys a single namespace. One that is not there is an error.
func ReadOne(s Source) (*Netns, error) {
	r := &reader{host: &Host{}}
	defer r.close()
	if err := r.add(s); err != nil {
		return nil, err
	}
	return r.host.Namespaces[0], r.number()
}

// A reader is a survey in the making: each namespace is open, with a socket in it.
type reader struct {
	host  *Host
	files []*os.File // of the namespaces, in their order
	conns []*conn
}

func (r *reader) close() {
	for i := range r.files {
		r.conns[i].close()
		_ = r.files[i].Close() // it was only looked at
	}
}

// Gone says that a namespace has ended since it was found.
func Gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || network.IsOtherNetns(err)
}

func (r *reader) add(s Source) error {
	file, err := network.Netns{Path: s.Path, Inode: s.Inode}.Open()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return errors.Join(&os.PathError{Op: "stat", Path: s.Path, Err: err}, file.Close())
	}
	if r.host.Namespace(st.Ino) != nil {
		return file.Close()
	}
	c, err := dial(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	n := &Netns{Inode: st.Ino, Path: s.Path, NSIDs: map[int]uint64{}}
	r.host.Namespaces, r.files, r.conns = append(r.host.Namespaces, n), append(r.files, file), append(r.conns, c)
	if err := c.survey(n); err != nil {
		return fmt.Errorf("read network namespace %s: %w", s.Path, err)
	}
	return nil
}

// number finds out what the numbers of namespaces mean that links name. Most peers
// are in the caller's namespace, so it is asked for first.
func (r *reader) number() error {
	for i, n := range r.host.Namespaces {
		wanted := map[int]bool{}
		for j := range n.Links {
			if id := n.Links[j].PeerNSID; id >= 0 {
				wanted[id] = true
			}
		}
		for j, other := range r.host.Namespaces {
			if len(wanted) == 0 {
				break
			}
			if i == j {
				continue
			}
			id, err := r.conns[i].nsid(r.files[j])
			if err != nil {
				return fmt.Errorf("number of network namespace %s: %w", other.Path, err)
			}
			if id >= 0 {
				n.NSIDs[id] = other.Inode
				delete(wanted, id)
			}
		}
	}
	return nil
}

// A conn is a NETLINK_ROUTE socket in a namespace.
type conn struct {
	socket *nl.NetlinkSocket
	handle *nl.SocketHandle
}

func dial(namespace *os.File) (*conn, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.NsHandle(namespace.Fd()), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket in %s: %w", namespace.Name(), err)
	}
	return &conn{socket, &nl.SocketHandle{Socket: socket}}, nil
}

func (c *conn) close() { c.socket.Close() }

// ask sends a request and gives each message of the answer to parse.
func (c *conn) ask(kind, flags int, parse func([]byte) error, parts ...nl.NetlinkRequestData) error {
	r := nl.NewNetlinkRequest(kind, flags)
	for _, p := range parts {
		r.AddData(p)
	}
	r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: c.handle}
	var failed error
	err := r.ExecuteIter(unix.NETLINK_ROUTE, 0, func(m []byte) bool {
		failed = parse(m)
		return failed == nil
	})
	return errors.Join(failed, err)
}

// attempts is how often a list is read again because it changed meanwhile. Where it
// never stands still, what was read last has to do.
const attempts = 10

// dump asks for a list. Before it is read again, restart empties it.
func (c *conn) dump(kind int, restart func(), parse func([]byte) error, parts ...nl.NetlinkRequestData) (err error) {
	for range attempts {
		restart()
		err = c.ask(kind, unix.NLM_F_DUMP, parse, parts...)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return nil
}

func (c *conn) survey(n *Netns) error {
	for _, read := range []func(*Netns) error{c.links, c.addresses, c.routes, c.rules, c.neighbours, c.fdb, c.portVLANs} {
		if err := read(n); err != nil {
			return err
		}
	}
	return nil
}

// nsid is the number that the namespace of the socket has for another one; -1 for
// none. rtnetlink(7), RTM_GETNSID, Linux 4.0.
func (c *conn) nsid(namespace *os.File) (id int, err error) {
	id = -1
	err = c.ask(unix.RTM_GETNSID, 0, func(m []byte) error {
		return attributes(m, sizeofRtgenmsg, func(kind uint16, b []byte) {
			if kind == netlink.NETNSA_NSID {
				id = int(int32(number32(b)))
			}
		})
	}, family(unix.AF_UNSPEC), nl.NewRtAttr(netlink.NETNSA_FD, nl.Uint32Attr(uint32(namespace.Fd()))))
	return id, err
}

// sizeofRtgenmsg is struct rtgenmsg, padded: one byte for the family.
const sizeofRtgenmsg = 4

// family is a struct rtgenmsg.
func family(f uint8) *nl.RtGenMsg { return &nl.RtGenMsg{RtGenmsg: unix.RtGenmsg{Family: f}} }

// errShort says that a message of the kernel ends too early.
var errShort = errors.New("netlink message too short")

// attributes calls each for all attributes behind the head of a message.
func attributes(m []byte, head int, each func(kind uint16, b []byte)) error {
	if len(m) < head {
		return errShort
	}
	list, err := nl.ParseRouteAttr(m[head:])
	if err != nil {
		return err
	}
	for _, a := range list {
		each(a.Attr.Type&nl.NLA_TYPE_MASK, a.Value)
	}
	return nil
}

// nested is attributes of an attribute; one that is not whole has none.
func nested(b []byte, each func(kind uint16, b []byte)) { _ = attributes(b, 0, each) }

func number32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return nl.NativeEndian().Uint32(b)
}

func number16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return nl.NativeEndian().Uint16(b)
}

func number8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func text(b []byte) string { return unix.ByteSliceToString(b) }
