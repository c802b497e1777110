package network

import (
	"errors"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// SetHairpin lets a bridge send a frame back by the port that it came from
// (hairpin mode, bridge(8)). A container that asks for its own published port
// needs that where br_netfilter is on, as Docker has it: the bridge then calls
// the firewall for every frame, and one whose destination has become an address
// on the same bridge never gets to the host's IP layer, which would send it back
// (br_nf_pre_routing_finish, "bridged DNAT").
type SetHairpin struct {
	Link string // the host's end of the container's pair

	made bool
}

// Apply sets the mode. A link that is not there is about to be made, or gone with
// its container.
func (s *SetHairpin) Apply() error {
	err := s.set(1)
	s.made = err == nil
	return explain("set hairpin of", s.Link, missing(err))
}

func (s *SetHairpin) set(mode uint8) error {
	return once(Netns{}, func(c *conn) error {
		index, err := c.index(s.Link)
		if err != nil {
			return err
		}
		message := nl.NewIfInfomsg(unix.AF_BRIDGE)
		message.Index = int32(index)
		port := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
		port.AddRtAttr(unix.IFLA_BRPORT_MODE, nl.Uint8Attr(mode))
		return c.do(request(unix.RTM_SETLINK, unix.NLM_F_ACK, message, port), nil)
	})
}

// Undo takes the mode back. A link that is gone has none.
func (s *SetHairpin) Undo() error {
	if !s.made {
		return nil
	}
	s.made = false
	return explain("reset hairpin of", s.Link, missing(s.set(0)))
}

// Check wants the mode.
func (s *SetHairpin) Check() error {
	on := false
	err := once(Netns{}, func(c *conn) error {
		r := request(unix.RTM_GETLINK, unix.NLM_F_ACK, nl.NewIfInfomsg(unix.AF_UNSPEC),
			nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(s.Link)))
		return c.do(r, func(m syscall.NetlinkMessage) error {
			if len(m.Data) < unix.SizeofIfInfomsg {
				return errShort
			}
			return attributes(m.Data[unix.SizeofIfInfomsg:], map[uint16]func([]byte) error{
				unix.IFLA_LINKINFO: func(b []byte) error {
					return attributes(b, map[uint16]func([]byte) error{
						unix.IFLA_INFO_SLAVE_DATA: func(b []byte) error {
							return attributes(b, map[uint16]func([]byte) error{
								unix.IFLA_BRPORT_MODE: func(b []byte) error { on = len(b) == 1 && b[0] == 1; return nil },
							})
						},
					})
				},
			})
		})
	})
	if err == nil && !on {
		err = errors.New("it is off")
	}
	return step.Fail("check hairpin of", s.Link, err)
}

// Words says the step in plain words.
func (s *SetHairpin) Words() string {
	return "let the bridge send back by " + s.Link + " what came from there, for a container that asks for its own published port"
}

func (s *SetHairpin) String() string { return "bridge link set dev " + s.Link + " hairpin on" }
