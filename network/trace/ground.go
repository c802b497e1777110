package trace

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/firewall"
)

// A Place is a network namespace on the way, and what people call it.
type Place struct {
	Name string // "web", "host"
	Path string // opens it: /proc/PID/ns/net
	// Inode, when set, is the namespace that Path must lead to: a process id may
	// be another's by now.
	Inode uint64
}

// A ground is a place that is looked at: what is in it, and the sockets that
// listen there.
type ground struct {
	Place
	file      *os.File
	inode     uint64
	links     map[int]link
	addresses map[netip.Addr]address
	rules     *firewall.Ruleset

	route  *socket // asks for routes
	marker *marker // nil where there are no rules
	events *socket // of NFNLGRP_NFTRACE
	passes passes
	tap    *tap
	seen   []sighting
}

// A link is what of a network device matters to a packet's way.
type link struct {
	index  int
	name   string
	kind   string // "veth", "bridge", "" for hardware and lo
	master int    // index of its bridge
	peer   int    // index of the other end of a veth pair, where it is
	nsid   int    // the kernel's number of the peer's namespace here; -1: this one
	mtu    int
	up     bool
	wired  bool // the other end is up, too
	mac    string
}

const lowerUp = 1 << 16 // IFF_LOWER_UP, linux/if.h

// An address is one of the place's own.
type address struct {
	link   int
	prefix netip.Prefix
}

// explore opens the place and reads what is in it. close gives it back.
func explore(p Place) (g *ground, err error) {
	g = &ground{Place: p, links: map[int]link{}, addresses: map[netip.Addr]address{}}
	if g.file, err = os.Open(p.Path); err != nil {
		return nil, fmt.Errorf("open network namespace of %s: %w", p.Name, err)
	}
	if err = g.do(g.read); err != nil {
		g.close()
		return nil, fmt.Errorf("read network of %s: %w", p.Name, err)
	}
	return g, nil
}

// do runs f in the namespace, on a thread of its own.
func (g *ground) do(f func() error) error {
	return network.Netns{Path: fmt.Sprintf("/proc/self/fd/%d", g.file.Fd())}.Do(f)
}

func (g *ground) read() (err error) {
	var st unix.Stat_t
	if err = unix.Fstat(int(g.file.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if g.inode = st.Ino; g.Inode != 0 && g.inode != g.Inode {
		return errors.New("it has become another network namespace; its process is gone")
	}
	if g.route, err = dial(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if err := errors.Join(g.readLinks(), g.readAddresses()); err != nil {
		return err
	}
	g.rules, err = firewall.ReadEvery()
	return err
}

// close gives everything back. The table goes first: it has no use any more.
func (g *ground) close() {
	if g == nil {
		return
	}
	for _, s := range []*socket{g.events, g.route} {
		if s != nil {
			s.close()
		}
	}
	if g.tap != nil {
		g.tap.close()
	}
	if g.file != nil {
		_ = g.file.Close() // it was only entered
	}
}

func (g *ground) readLinks() error {
	bodies, err := g.route.ask(unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfInfomsg))
	for _, b := range bodies {
		if len(b) < unix.SizeofIfInfomsg {
			continue
		}
		a := attributes(b[unix.SizeofIfInfomsg:])
		l := link{
			index: int(int32(binary.NativeEndian.Uint32(b[4:]))), name: a.text(unix.IFLA_IFNAME), kind: a.get(unix.IFLA_LINKINFO).text(unix.IFLA_INFO_KIND),
			master: int(a.native(unix.IFLA_MASTER)), peer: int(a.native(unix.IFLA_LINK)), nsid: -1, mtu: int(a.native(unix.IFLA_MTU)),
			up: binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0, wired: binary.NativeEndian.Uint32(b[8:])&lowerUp != 0, mac: macText(a.get(unix.IFLA_ADDRESS)),
		}
		if a.get(unix.IFLA_LINK_NETNSID) != nil {
			l.nsid = int(int32(a.native(unix.IFLA_LINK_NETNSID)))
		}
		g.links[l.index] = l
	}
	return err
}

func macText(b []byte) (text string) {
	for i, v := range b {
		if i > 0 {
			text += ":"
		}
		text += fmt.Sprintf("%02x", v)
	}
	return text
}

func (g *ground) readAddresses() error {
	bodies, err := g.route.ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	for _, b := range bodies {
		if len(b) < unix.SizeofIfAddrmsg {
			continue
		}
		a := attributes(b[unix.SizeofIfAddrmsg:])
		value := a.get(unix.IFA_LOCAL)
		if value == nil { // IPv6, unless it is point-to-point
			value = a.get(unix.IFA_ADDRESS)
		}
		if ip, ok := netip.AddrFromSlice(value); ok {
			g.addresses[ip] = address{int(binary.NativeEndian.Uint32(b[4:])), netip.PrefixFrom(ip, int(b[1]))}
		}
	}
	return err
}

// link is the one of the index; of one that came later it has the number.
func (g *ground) link(index int) link {
	if l, ok := g.links[index]; ok {
		return l
	}
	return link{index: index, name: fmt.Sprintf("link %d", index), nsid: -1}
}

// linkNamed is the one of the name.
func (g *ground) linkNamed(name string) (link, bool) {
	for _, l := range g.links {
		if l.name == name {
			return l, true
		}
	}
	return link{}, false
}

// isLocal tells whether the address is the place's own.
func (g *ground) isLocal(a netip.Addr) bool {
	_, ok := g.addresses[a]
	return ok || a.IsLoopback()
}

// isBridge tells whether the link is a bridge.
func (l link) isBridge() bool { return l.kind == "bridge" }

// nsidOf is the number by which the namespace of g knows the other, or -1.
func (g *ground) nsidOf(other *ground) int { return g.nsidOfFile(other.file) }

func (g *ground) nsidOfFile(other *os.File) int {
	const fd, nsid = 3, 1 // NETNSA_FD, NETNSA_NSID, linux/net_namespace.h
	var a attributes
	a.addNative(fd, uint32(other.Fd()))
	bodies, err := g.route.ask(unix.RTM_GETNSID, 0, append(make([]byte, 4), a...))
	if err != nil || len(bodies) == 0 || len(bodies[0]) < 4 {
		return -1
	}
	if value := attributes(bodies[0][4:]).get(nsid); len(value) >= 4 {
		return int(int32(binary.NativeEndian.Uint32(value)))
	}
	return -1
}

// A neighbour is an entry of the neighbour table.
type neighbour struct {
	link  int
	state uint16
	mac   string
}

// resolved tells whether packets can be sent to it.
func (n neighbour) resolved() bool {
	return n.state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE|unix.NUD_PERMANENT|unix.NUD_NOARP) != 0
}

// neighbour looks the address up on the link, now.
func (g *ground) neighbour(ip netip.Addr, on int) (found neighbour, ok bool) {
	const sizeofNdmsg = 12
	bodies, err := g.route.ask(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, make([]byte, sizeofNdmsg))
	if err != nil {
		return neighbour{}, false
	}
	for _, b := range bodies {
		if len(b) < sizeofNdmsg || int(binary.NativeEndian.Uint32(b[4:])) != on {
			continue
		}
		a := attributes(b[sizeofNdmsg:])
		if dst, valid := netip.AddrFromSlice(a.get(unix.NDA_DST)); valid && dst == ip {
			return neighbour{on, binary.NativeEndian.Uint16(b[8:]), macText(a.get(unix.NDA_LLADDR))}, true
		}
	}
	return neighbour{}, false
}

// Addresses are the place's own now, without those of lo: IPv4 before IPv6, in the
// order of its links; what only the link itself knows (fe80::/64) comes last.
func Addresses(p Place) ([]netip.Prefix, error) {
	g, err := explore(p)
	if err != nil {
		return nil, err
	}
	defer g.close()
	var list []netip.Prefix
	for a, where := range g.addresses {
		if !a.IsLoopback() {
			list = append(list, where.prefix)
		}
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		class := func(p netip.Prefix) int {
			if p.Addr().IsLinkLocalUnicast() {
				return 2
			}
			return map[bool]int{true: 0, false: 1}[p.Addr().Is4()]
		}
		return cmp.Or(cmp.Compare(class(a), class(b)), cmp.Compare(g.addresses[a.Addr()].link, g.addresses[b.Addr()].link), a.Addr().Compare(b.Addr()))
	})
	return list, nil
}
