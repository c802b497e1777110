package fault

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// linkSetting is a setting of a link that has another value than before.
type linkSetting struct {
	Netns network.Netns
	Index int
	Link  string // its name, in commands
	Key   string // a row of linkKeys
	Was   string
	Value string
	// Of the key "master", whose values are indexes: the name of the bridge that is not
	// 0, and the settings of the port that it was.
	Master string
	Port   map[string]uint8
}

// linkKeys are the settings of a link: how to read and to write them, and what
// ip-link(8) calls them.
func linkKeys() map[string]linkKey {
	return map[string]linkKey{
		"up": {
			func(l netlink.Link) string { return word(l.Attrs().RawFlags&unix.IFF_UP != 0, "up", "down") },
			func(l netlink.Link, v string) error {
				if v == "up" {
					return netlink.LinkSetUp(l)
				}
				return netlink.LinkSetDown(l)
			},
			"ip link set LINK VALUE",
		},
		"arp": {
			func(l netlink.Link) string { return word(l.Attrs().RawFlags&unix.IFF_NOARP == 0, "on", "off") },
			func(l netlink.Link, v string) error {
				if v == "on" {
					return netlink.LinkSetARPOn(l)
				}
				return netlink.LinkSetARPOff(l)
			},
			"ip link set LINK arp VALUE",
		},
		"mtu": {
			func(l netlink.Link) string { return strconv.Itoa(l.Attrs().MTU) },
			func(l netlink.Link, v string) error {
				mtu, err := strconv.Atoi(v)
				if err != nil {
					return err
				}
				return netlink.LinkSetMTU(l, mtu)
			},
			"ip link set LINK mtu VALUE",
		},
		"mac": {
			func(l netlink.Link) string { return l.Attrs().HardwareAddr.String() },
			func(l netlink.Link, v string) error {
				mac, err := net.ParseMAC(v)
				if err != nil {
					return err
				}
				return netlink.LinkSetHardwareAddr(l, mac)
			},
			"ip link set LINK address VALUE",
		},
		"name": {
			func(l netlink.Link) string { return l.Attrs().Name },
			netlink.LinkSetName,
			"ip link set LINK name VALUE",
		},
		"master": {
			func(l netlink.Link) string { return strconv.Itoa(l.Attrs().MasterIndex) },
			func(l netlink.Link, v string) error {
				index, err := strconv.Atoi(v)
				if err != nil {
					return err
				}
				return netlink.LinkSetMasterByIndex(l, index)
			},
			"ip link set LINK MASTER",
		},
		"vlan_filtering": {
			func(l netlink.Link) string {
				b, ok := l.(*netlink.Bridge)
				return word(ok && b.VlanFiltering != nil && *b.VlanFiltering, "1", "0")
			},
			setVLANFiltering,
			"ip link set LINK type bridge vlan_filtering VALUE",
		},
	}
}

// setVLANFiltering changes that alone. The library's function sends all else that it
// knows of the bridge too, and some of that cannot be set then: EINVAL.
func setVLANFiltering(l netlink.Link, value string) error {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index = int32(l.Attrs().Index)
	r.AddData(head)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	on := map[string]uint8{"1": 1}[value]
	info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(unix.IFLA_BR_VLAN_FILTERING, nl.Uint8Attr(on))
	r.AddData(info)
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

type linkKey struct {
	read    func(netlink.Link) string
	write   func(netlink.Link, string) error
	command string
}

func word(yes bool, words ...string) string {
	if yes {
		return words[0]
	}
	return words[1]
}

func (s *linkSetting) now() (value string, err error) {
	err = in(s.Netns, func() error {
		l, err := netlink.LinkByIndex(s.Index)
		if err == nil {
			value = linkKeys()[s.Key].read(l)
		}
		return err
	})
	return value, missingLink(err)
}

func (s *linkSetting) write(value string) error {
	return in(s.Netns, func() error {
		l, err := netlink.LinkByIndex(s.Index)
		if err == nil {
			err = linkKeys()[s.Key].write(l, value)
		}
		return missingLink(err)
	})
}

// missingLink is ENODEV for the library's own error.
func missingLink(err error) error {
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return fmt.Errorf("%w: %w", err, unix.ENODEV)
	}
	return err
}

func (s *linkSetting) has() (bool, error) {
	now, err := s.now()
	return now == s.Value, err
}

func (s *linkSetting) put() error { return s.write(s.Value) }

func (s *linkSetting) take() error {
	err := s.write(s.Was)
	if err == nil && s.Key == "master" {
		err = writePort(s.Index, s.Link, s.Port)
	}
	return err
}

func (s *linkSetting) what() string {
	return s.Key + " of " + s.Link + where(s.Netns)
}

func (s *linkSetting) command(put bool) string {
	value, link := s.Value, s.Link
	if !put {
		value = s.Was
	}
	master := "nomaster"
	if value != "0" {
		master = "master " + s.Master
	}
	text := strings.NewReplacer("LINK", link, "VALUE", value, "MASTER", master).Replace(linkKeys()[s.Key].command)
	return ip(s.Netns) + strings.TrimPrefix(text, "ip")
}

// portSetting is a setting of a bridge's port, one byte (linux/if_link.h,
// IFLA_BRPORT_*).
type portSetting struct {
	Index      int
	Link       string
	Key        string // a row of portKeys
	Was, Value uint8
}

// portKeys are the attributes by the names that bridge-link(8) has for them.
func portKeys() map[string]uint16 {
	return map[string]uint16{
		"state":       unix.IFLA_BRPORT_STATE,
		"hairpin":     unix.IFLA_BRPORT_MODE,
		"flood":       unix.IFLA_BRPORT_UNICAST_FLOOD,
		"bcast_flood": unix.IFLA_BRPORT_BCAST_FLOOD,
		"isolated":    unix.IFLA_BRPORT_ISOLATED,
		"locked":      unix.IFLA_BRPORT_LOCKED,
	}
}

// errNoPort says that a link is not a port of a bridge, or that the kernel does not
// know the setting.
var errNoPort = fmt.Errorf("it is no port of a bridge that has the setting: %w", unix.ENODEV)

func readPort(index int, key string) (uint8, error) {
	b, err := linkMessage(index)
	if err != nil {
		return 0, err
	}
	value := nested(b, unix.SizeofIfInfomsg, unix.IFLA_LINKINFO, unix.IFLA_INFO_SLAVE_DATA, portKeys()[key])
	if len(value) != 1 {
		return 0, errNoPort
	}
	return value[0], nil
}

func (s *portSetting) has() (bool, error) {
	now, err := readPort(s.Index, s.Key)
	return now == s.Value, err
}

func (s *portSetting) write(value uint8) error {
	r := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_BRIDGE)
	message.Index = int32(s.Index)
	r.AddData(message)
	port := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	port.AddRtAttr(int(portKeys()[s.Key]), nl.Uint8Attr(value))
	if s.forgets(value) {
		port.AddRtAttr(unix.IFLA_BRPORT_FLUSH, nil)
	}
	r.AddData(port)
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// forgets tells whether the bridge has to forget whom it has learnt behind the port: a
// locked port lets those in.
func (s *portSetting) forgets(value uint8) bool { return s.Key == "locked" && value == 1 }

func (s *portSetting) put() error   { return s.write(s.Value) }
func (s *portSetting) take() error  { return s.write(s.Was) }
func (s *portSetting) what() string { return s.Key + " of the port " + s.Link }

func (s *portSetting) command(put bool) string {
	value := s.Value
	if !put {
		value = s.Was
	}
	text := word(value != 0, "on", "off")
	if s.Key == "state" {
		text = strconv.Itoa(int(value))
	}
	text = fmt.Sprintf("bridge link set dev %s %s %s", s.Link, s.Key, text)
	if s.forgets(value) {
		text += "\nip link set " + s.Link + " type bridge_slave fdb_flush"
	}
	return text
}
