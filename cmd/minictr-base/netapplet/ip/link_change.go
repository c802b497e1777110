package ip

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// A linkSpec is what a link shall be: the flags that are to change, and the
// attributes that were named.
type linkSpec struct {
	name, newName, kind string
	lower               string
	flags, change       uint32
	attrs               *netlink.AttributeEncoder
	data                *netlink.AttributeEncoder // of its kind
	files               []*os.File                // namespaces, open until the request is sent
}

func newLinkSpec() *linkSpec {
	return &linkSpec{attrs: netlink.NewAttributeEncoder(), data: netlink.NewAttributeEncoder()}
}

func (s *linkSpec) close() {
	for _, f := range s.files {
		f.Close()
	}
}

// keys are those that "link add" and "link set" and a veth's peer have in common.
func (s *linkSpec) keys(c *command) []key {
	keys := []key{
		{names: []string{"up"}, flag: func() { s.flag(unix.IFF_UP, true) }},
		{names: []string{"down"}, flag: func() { s.flag(unix.IFF_UP, false) }},
		{names: []string{"mtu"}, set: s.number(unix.IFLA_MTU, "mtu")},
		{names: []string{"txqueuelen", "qlen", "txqlen"}, set: s.number(unix.IFLA_TXQLEN, "txqueuelen")},
		{names: []string{"group"}, set: s.number(unix.IFLA_GROUP, "group")},
		{names: []string{"numtxqueues"}, set: s.number(unix.IFLA_NUM_TX_QUEUES, "numtxqueues")},
		{names: []string{"numrxqueues"}, set: s.number(unix.IFLA_NUM_RX_QUEUES, "numrxqueues")},
		{names: []string{"address"}, set: s.hardware(unix.IFLA_ADDRESS)},
		{names: []string{"broadcast", "brd"}, set: s.hardware(unix.IFLA_BROADCAST)},
		{names: []string{"alias"}, set: func(v string) error { s.attrs.String(unix.IFLA_IFALIAS, v); return nil }},
		{names: []string{"nomaster"}, flag: func() { s.attrs.Uint32(unix.IFLA_MASTER, 0) }},
		{names: []string{"master"}, set: func(v string) error {
			index, err := c.index(v)
			if err != nil {
				return fail(255, "Error: argument %q is wrong: Device does not exist\n", v)
			}
			s.attrs.Uint32(unix.IFLA_MASTER, uint32(index))
			return nil
		}},
		{names: []string{"netns"}, set: s.netns},
	}
	for _, f := range []struct {
		name  string
		bit   uint32
		clear bool
	}{{"arp", unix.IFF_NOARP, true}, {"multicast", unix.IFF_MULTICAST, false}, {"promisc", unix.IFF_PROMISC, false}, {"allmulticast", unix.IFF_ALLMULTI, false}} {
		keys = append(keys, key{names: []string{f.name}, set: func(v string) error {
			if v != "on" && v != "off" {
				return fail(255, "Error: argument of %q must be \"on\" or \"off\", not %q", f.name, v)
			}
			s.flag(f.bit, (v == "on") != f.clear)
			return nil
		}})
	}
	return keys
}

func (s *linkSpec) flag(bit uint32, on bool) {
	s.change |= bit
	if on {
		s.flags |= bit
	}
}

func (s *linkSpec) number(kind uint16, what string) func(string) error {
	return func(word string) error {
		var n uint32
		err := number(&n, what)(word)
		s.attrs.Uint32(kind, n)
		return err
	}
}

func (s *linkSpec) hardware(kind uint16) func(string) error {
	return func(word string) error {
		var mac []byte
		err := hardware(&mac)(word)
		s.attrs.Bytes(kind, mac)
		return err
	}
}

// netns moves the link into the namespace of a process, or of a name or a path.
func (s *linkSpec) netns(word string) error {
	if pid, err := strconv.ParseUint(word, 10, 32); err == nil {
		s.attrs.Uint32(unix.IFLA_NET_NS_PID, uint32(pid))
		return nil
	}
	path := word
	if !strings.Contains(word, "/") {
		path = filepath.Join("/run/netns", word)
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(255, "Error: argument %q is wrong: Invalid \"netns\" value", word)
	}
	s.files = append(s.files, f)
	s.attrs.Uint32(unix.IFLA_NET_NS_FD, uint32(f.Fd()))
	return nil
}

// send makes the request; index is 0 for a link to make.
func (s *linkSpec) send(c *command, index int, flags netlink.HeaderFlags) error {
	attrs, err := s.attrs.Encode()
	if err != nil {
		return err
	}
	_, err = c.conn.Do(rtnl.Request{Kind: unix.RTM_NEWLINK, Flags: flags, Header: rtnl.LinkHeader(index, s.flags, s.change), Attrs: attrs})
	return answered(err)
}

func setLink(c *command) error {
	c.words.next() // set
	s := newLinkSpec()
	defer s.close()
	keys := append(s.keys(c),
		key{names: []string{"dev"}, set: once(&s.name, "dev")},
		key{names: []string{"name"}, set: text(&s.newName)},
		key{names: []string{"type"}, set: func(kind string) error { s.kind = kind; return s.parseKind(c) }})
	if err := c.words.parse(keys, once(&s.name, "dev")); err != nil {
		return err
	}
	if s.name == "" {
		return fail(255, "Not enough information: \"dev\" argument is required.")
	}
	index, err := c.index(s.name)
	if err != nil {
		return err
	}
	if s.newName != "" {
		s.attrs.String(unix.IFLA_IFNAME, s.newName)
	}
	if err := s.addKind(); err != nil {
		return err
	}
	return s.send(c, index, 0)
}

func addLink(c *command) error {
	verb, _ := c.words.next()
	s := newLinkSpec()
	defer s.close()
	keys := append(s.keys(c),
		key{names: []string{"name", "dev"}, set: once(&s.name, "name")},
		key{names: []string{"link"}, set: text(&s.lower)},
		key{names: []string{"index"}, set: func(string) error { return fail(255, "Error: \"index\" is not supported") }},
		key{names: []string{"type"}, set: func(kind string) error { s.kind = kind; return s.parseKind(c) }})
	if err := c.words.parse(keys, once(&s.name, "name")); err != nil {
		return err
	}
	if s.kind == "" {
		return fail(255, "Not enough information: \"type\" argument is required")
	}
	if s.lower != "" {
		index, err := c.index(s.lower)
		if err != nil {
			return err
		}
		s.attrs.Uint32(unix.IFLA_LINK, uint32(index))
	}
	if s.name != "" {
		s.attrs.String(unix.IFLA_IFNAME, s.name)
	}
	if err := s.addKind(); err != nil {
		return err
	}
	flags := netlink.Create | netlink.Excl
	if verb == "replace" {
		flags = netlink.Create | netlink.Replace
	}
	return s.send(c, 0, flags)
}

func (s *linkSpec) addKind() error {
	if s.kind == "" {
		return nil
	}
	data, err := s.data.Encode()
	if err != nil {
		return err
	}
	s.attrs.Nested(unix.IFLA_LINKINFO, func(n *netlink.AttributeEncoder) error {
		n.String(unix.IFLA_INFO_KIND, s.kind)
		if len(data) > 0 {
			n.Bytes(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, data)
		}
		return nil
	})
	return nil
}

func deleteLink(c *command) error {
	c.words.next() // delete
	name, kind := "", ""
	keys := []key{{names: []string{"dev"}, set: once(&name, "dev")}, {names: []string{"type"}, set: text(&kind)}}
	if err := c.words.parse(keys, once(&name, "dev")); err != nil {
		return err
	}
	if name == "" {
		return fail(255, "Not enough information: \"dev\" argument is required.")
	}
	index, err := c.index(name)
	if err != nil {
		return err
	}
	_, err = c.conn.Do(rtnl.Request{Kind: unix.RTM_DELLINK, Header: rtnl.LinkHeader(index, 0, 0)})
	return answered(err)
}

// parseKind reads what is behind "type KIND".
func (s *linkSpec) parseKind(c *command) error {
	keys := map[string]func(*linkSpec) []key{"bridge": bridgeKeys, "vlan": vlanKeys, "macvlan": macvlanKeys, "ipvlan": ipvlanKeys}[s.kind]
	if s.kind == "veth" {
		return s.parseVeth(c)
	}
	var known []key
	if keys != nil {
		known = keys(s)
	}
	return c.words.parse(known, func(word string) error {
		return fail(255, "%s: unknown command %q?", s.kind, word)
	})
}

// parseVeth reads the other end: it is described by the words that describe a link.
func (s *linkSpec) parseVeth(c *command) error {
	word, ok := c.words.next()
	if !ok {
		return nil
	}
	if word != "peer" {
		return fail(255, "veth: unknown command %q?", word)
	}
	peer := newLinkSpec()
	keys := append(peer.keys(c), key{names: []string{"name"}, set: once(&peer.name, "name")})
	if err := c.words.parse(keys, once(&peer.name, "name")); err != nil {
		return err
	}
	s.files = append(s.files, peer.files...)
	if peer.name != "" {
		peer.attrs.String(unix.IFLA_IFNAME, peer.name)
	}
	attrs, err := peer.attrs.Encode()
	s.data.Bytes(vethInfoPeer, append(rtnl.LinkHeader(0, peer.flags, peer.change), attrs...))
	return err
}

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

func bridgeKeys(s *linkSpec) []key {
	number8 := func(kind uint16) func(string) error {
		return func(w string) error {
			n, err := strconv.ParseUint(w, 0, 8)
			s.data.Uint8(kind, uint8(n))
			return wrong(w, err)
		}
	}
	number32 := func(kind uint16) func(string) error {
		return func(w string) error {
			n, err := strconv.ParseUint(w, 0, 32)
			s.data.Uint32(kind, uint32(n))
			return wrong(w, err)
		}
	}
	return []key{
		{names: []string{"stp_state"}, set: func(w string) error {
			s.data.Uint32(unix.IFLA_BR_STP_STATE, map[string]uint32{"1": 1, "on": 1}[w])
			return nil
		}},
		{names: []string{"forward_delay"}, set: number32(unix.IFLA_BR_FORWARD_DELAY)},
		{names: []string{"hello_time"}, set: number32(unix.IFLA_BR_HELLO_TIME)},
		{names: []string{"max_age"}, set: number32(unix.IFLA_BR_MAX_AGE)},
		{names: []string{"ageing_time"}, set: number32(unix.IFLA_BR_AGEING_TIME)},
		{names: []string{"vlan_filtering"}, set: number8(unix.IFLA_BR_VLAN_FILTERING)},
		{names: []string{"mcast_snooping"}, set: number8(unix.IFLA_BR_MCAST_SNOOPING)},
		{names: []string{"priority"}, set: func(w string) error {
			n, err := strconv.ParseUint(w, 0, 16)
			s.data.Uint16(unix.IFLA_BR_PRIORITY, uint16(n))
			return wrong(w, err)
		}},
	}
}

func vlanKeys(s *linkSpec) []key {
	return []key{
		{names: []string{"id"}, set: func(w string) error {
			n, err := strconv.ParseUint(w, 0, 12)
			s.data.Uint16(unix.IFLA_VLAN_ID, uint16(n))
			return wrong(w, err)
		}},
		{names: []string{"protocol", "proto"}, set: func(w string) error {
			n, ok := map[string]uint16{"802.1q": 0x8100, "802.1ad": 0x88a8}[strings.ToLower(w)]
			if !ok {
				return invalid("protocol", w)
			}
			s.data.Bytes(unix.IFLA_VLAN_PROTOCOL, binary.BigEndian.AppendUint16(nil, n))
			return nil
		}},
	}
}

func macvlanKeys(s *linkSpec) []key {
	return []key{{names: []string{"mode"}, set: func(w string) error {
		n, ok := table(macvlanModes).number(w)
		if !ok {
			return fail(255, "Error: argument of \"mode\" must be \"private\", \"vepa\", \"bridge\", \"passthru\" or \"source\", not %q", w)
		}
		s.data.Uint32(unix.IFLA_MACVLAN_MODE, n)
		return nil
	}}}
}

func ipvlanKeys(s *linkSpec) []key {
	return []key{{names: []string{"mode"}, set: func(w string) error {
		n, ok := map[string]uint16{"l2": 0, "l3": 1, "l3s": 2}[w]
		if !ok {
			return fail(255, "Error: argument of \"mode\" must be either \"l2\", \"l3\" or \"l3s\", not %q", w)
		}
		s.data.Uint16(unix.IFLA_IPVLAN_MODE, n)
		return nil
	}}}
}

func wrong(word string, err error) error {
	if err != nil {
		return fail(255, "Error: %q is not a number that fits", word)
	}
	return nil
}
