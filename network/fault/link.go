package fault

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// end is one end of a pair, or another link, as it is made: with the index that it is
// to have.
type end struct {
	Netns network.Netns
	Index int
	Name  string
	MAC   string
	MTU   int
}

// message is the request for the link, or the part of it for a peer.
func (e end) attributes(add func(kind int, data []byte)) error {
	add(unix.IFLA_IFNAME, nl.ZeroTerminated(e.Name))
	if e.MTU != 0 {
		add(unix.IFLA_MTU, nl.Uint32Attr(uint32(e.MTU)))
	}
	if e.MAC == "" {
		return nil
	}
	mac, err := net.ParseMAC(e.MAC)
	add(unix.IFLA_ADDRESS, mac)
	return err
}

// String is the link in the words of ip link add.
func (e end) String() string {
	words := []string{e.Name}
	if e.MAC != "" {
		words = append(words, "address", e.MAC)
	}
	if e.MTU != 0 {
		words = append(words, "mtu", strconv.Itoa(e.MTU))
	}
	return strings.Join(append(words, "index", strconv.Itoa(e.Index)), " ")
}

// isThere tells whether there is a link of the name. One that somebody else has made
// in its place is there, too.
func (e end) isThere() (bool, error) {
	l, err := linkNamed(e.Netns, e.Name)
	return l != nil, err
}

// remove deletes the link of the host, unless it is somebody else's.
func (e end) remove() error {
	if name, err := linkName(e.Index); err != nil || name != e.Name {
		return ignoreMissing(err)
	}
	return netlink.LinkDel(linkOf(e.Index))
}

// linkName is the name of the link with the index.
func linkName(index int) (string, error) {
	b, err := linkMessage(index)
	return unix.ByteSliceToString(attributeOf(b, unix.SizeofIfInfomsg, unix.IFLA_IFNAME)), err
}

// pair is a pair of virtual Ethernet devices.
type pair struct {
	Host, Peer end
	Master     int // the bridge of the host's end
	Bridge     string
	Port       map[string]uint8 // settings of the port that are not those of a new one
	PeerUp     bool
}

func (s *pair) has() (bool, error) {
	if _, err := linkMessage(s.Master); err != nil {
		return false, err
	}
	if s.Peer.Netns != (network.Netns{}) { // a container that has ended needs none
		ns, err := s.Peer.Netns.Open()
		if err != nil {
			return false, err
		}
		defer ns.Close() // nothing was written
	}
	return s.Host.isThere()
}

func (s *pair) put() error {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index, message.Flags, message.Change = int32(s.Host.Index), unix.IFF_UP, unix.IFF_UP
	r.AddData(message)
	if err := s.Host.attributes(func(kind int, data []byte) { r.AddData(nl.NewRtAttr(kind, data)) }); err != nil {
		return err
	}
	r.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(s.Master))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("veth"))
	peer := info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC).Index = int32(s.Peer.Index)
	if err := s.Peer.attributes(func(kind int, data []byte) { peer.AddRtAttr(kind, data) }); err != nil {
		return err
	}
	if s.Peer.Netns != (network.Netns{}) {
		ns, err := s.Peer.Netns.Open()
		if err != nil {
			return err
		}
		defer ns.Close() // nothing was written
		peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns.Fd())))
	}
	r.AddData(info)
	if _, err := r.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return err
	}
	if s.PeerUp {
		if err := in(s.Peer.Netns, func() error { return netlink.LinkSetUp(linkOf(s.Peer.Index)) }); err != nil {
			return err
		}
	}
	return writePort(s.Host.Index, s.Host.Name, s.Port)
}

// writePort sets the settings of a port, once the kernel has noticed that its cable
// is plugged in at both ends: being asked, it looks.
func writePort(index int, name string, settings map[string]uint8) error {
	_, err := linkMessage(index)
	errs := []error{err}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		errs = append(errs, (&portSetting{Index: index, Link: name, Key: key, Value: settings[key]}).put())
	}
	return errors.Join(errs...)
}

// portOf reads the settings of a port that survive no unplugging.
func portOf(index int) (map[string]uint8, error) {
	settings := map[string]uint8{}
	for key := range portKeys() {
		value, err := readPort(index, key)
		if err != nil {
			return nil, err
		}
		if key != "state" && value != newPort(key) {
			settings[key] = value
		}
	}
	return settings, nil
}

// newPort is the setting of a port that has just been made.
func newPort(key string) uint8 {
	if key == "flood" || key == "bcast_flood" {
		return 1
	}
	return 0
}

func (s *pair) take() error { return s.Host.remove() }

func (s *pair) what() string { return "cable " + s.Host.Name + " to " + s.Peer.Name }

func (s *pair) command(put bool) string {
	if !put {
		return "ip link delete " + s.Host.Name
	}
	netns := ""
	if s.Peer.Netns.Name != "" {
		netns = " netns " + s.Peer.Netns.Name
	}
	return fmt.Sprintf("ip link add %s master %s up type veth peer name %s%s", s.Host, s.Bridge, s.Peer, netns)
}

// bridge is a bridge of the host.
type bridge struct {
	Link    end
	Up      bool
	Ports   []bridgePort      // what is plugged in, in the order of the ports' numbers
	Sysctls map[string]string // those of the link
}

type bridgePort struct {
	Index    int
	Name     string
	Settings map[string]uint8
}

func (s *bridge) has() (bool, error) { return s.Link.isThere() }

func (s *bridge) put() error {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(s.Link.Index)
	r.AddData(message)
	if err := s.Link.attributes(func(kind int, data []byte) { r.AddData(nl.NewRtAttr(kind, data)) }); err != nil {
		return err
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("bridge"))
	r.AddData(info)
	if _, err := r.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return err
	}
	errs := []error{(&sysctl{}).write(s.Sysctls)}
	for _, p := range s.Ports {
		err := netlink.LinkSetMasterByIndex(linkOf(p.Index), s.Link.Index)
		if err == nil {
			err = writePort(p.Index, p.Name, p.Settings)
		}
		errs = append(errs, ignoreMissing(err)) // a container that has ended took it along
	}
	if s.Up {
		errs = append(errs, netlink.LinkSetUp(linkOf(s.Link.Index)))
	}
	return errors.Join(errs...)
}

func (s *bridge) take() error  { return s.Link.remove() }
func (s *bridge) what() string { return "bridge " + s.Link.Name }

func (s *bridge) command(put bool) string {
	if !put {
		return "ip link delete " + s.Link.Name
	}
	return fmt.Sprintf("ip link add %s %s type bridge", s.Link, word(s.Up, "up", "down"))
}

// linkPlace is the place of the host's end of a container's pair: on its bridge in the
// host's namespace. Taken away, it is moved to the container's.
type linkPlace struct {
	Link   end
	To     network.Netns
	Master int
	Bridge string
	Port   map[string]uint8
}

func (s *linkPlace) has() (bool, error) {
	ns, err := s.To.Open()
	if err != nil {
		return false, err
	}
	defer ns.Close() // nothing was written
	return s.Link.isThere()
}

func (s *linkPlace) take() error {
	ns, err := s.To.Open()
	if err != nil {
		return err
	}
	defer ns.Close() // nothing was written
	return netlink.LinkSetNsFd(linkOf(s.Link.Index), int(ns.Fd()))
}

// put fetches it by its name: it may have got another index there.
func (s *linkPlace) put() error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close() // nothing was written
	err = in(s.To, func() error {
		l, err := linkByName(s.Link.Name)
		if err != nil {
			return missingLink(err)
		}
		r := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		message := nl.NewIfInfomsg(unix.AF_UNSPEC)
		message.Index = int32(l.Attrs().Index)
		r.AddData(message)
		r.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(home.Fd()))))
		r.AddData(nl.NewRtAttr(unix.IFLA_NEW_IFINDEX, nl.Uint32Attr(uint32(s.Link.Index))))
		_, err = r.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
	if err != nil {
		return err
	}
	link := linkOf(s.Link.Index)
	return errors.Join(netlink.LinkSetMasterByIndex(link, s.Master), netlink.LinkSetUp(link),
		writePort(s.Link.Index, s.Link.Name, s.Port))
}

func (s *linkPlace) what() string { return "place of " + s.Link.Name + " on the host" }

func (s *linkPlace) command(put bool) string {
	if put {
		return fmt.Sprintf("ip -n %s link set %s netns 1\nip link set %s master %s up", s.To.Name, s.Link.Name, s.Link.Name, s.Bridge)
	}
	return fmt.Sprintf("ip link set %s netns %s", s.Link.Name, s.To.Name)
}
