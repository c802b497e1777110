package network

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Reload is the steps that put back what somebody has taken away underneath a
// running container: a table that nft flush ruleset or a firewall's reload
// removed, a bridge that was deleted, re-addressed or switched off. Where all is as
// it was, they change nothing. What is inside the container nobody else touches.
func Reload(cfg *Config) []step.Step {
	list := Shared(cfg)
	for _, e := range cfg.Endpoints {
		if e.Network.Driver != MacvlanDriver {
			list = append(list, &JoinBridge{Host: e.Interface.Host, Bridge: e.Network.Bridge})
		}
	}
	return slices.Concat(list, Names(cfg), Publish(cfg))
}

// ReloadNetwork is the same for a network, whoever is on it.
func (s Store) ReloadNetwork(n *Network) []step.Step { return SharedOf(s.unleased(n)) }

// unleased is an endpoint that stands for the network itself.
func (s Store) unleased(n *Network) Endpoint {
	return Endpoint{Network: *n, Lease: Lease{File: leaseFile(s.Runroot, n.Name), Owner: n.ID}}
}

// JoinBridge puts the host's end of a pair back on its bridge.
type JoinBridge struct {
	Host   string // the host's end
	Bridge string

	made bool
}

// Apply makes the link a port of the bridge, and switches it on, unless it is. A pair
// that is not there is about to be made, or gone: there is nothing to put back.
func (s *JoinBridge) Apply() error {
	err := once(Netns{}, func(c *conn) error {
		bridge, err := c.index(s.Bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", s.Bridge, err)
		}
		l, err := c.link(s.Host)
		if err != nil || l.master == bridge && l.up {
			return missing(err)
		}
		if err := c.setMaster(l.index, bridge); err != nil {
			return err
		}
		s.made = l.master != bridge
		return nil
	})
	return explain("put on the bridge", s.Host, err)
}

// setMaster makes the link with the index a port of the bridge, or, for 0, of none,
// and switches it on.
func (c *conn) setMaster(index, bridge int) error {
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	message.Flags, message.Change = unix.IFF_UP, unix.IFF_UP
	return c.do(request(unix.RTM_NEWLINK, unix.NLM_F_ACK, message,
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge)))), nil)
}

// Undo takes it off again.
func (s *JoinBridge) Undo() error {
	if !s.made {
		return nil
	}
	s.made = false
	err := once(Netns{}, func(c *conn) error {
		l, err := c.link(s.Host)
		if err == nil {
			err = c.setMaster(l.index, 0)
		}
		return missing(err)
	})
	return explain("take off the bridge", s.Host, err)
}

// Check wants it to be a port of the bridge, and up.
func (s *JoinBridge) Check() error {
	err := once(Netns{}, func(c *conn) error {
		l, err := c.link(s.Host)
		if err != nil {
			return err
		}
		bridge, err := c.index(s.Bridge)
		switch {
		case err != nil || l.master != bridge:
			return errors.Join(err, fmt.Errorf("not a port of %s", s.Bridge))
		case !l.up:
			return errors.New("it is down")
		}
		return nil
	})
	return step.Fail("check port", s.Host, err)
}

// Words says the step in plain words.
func (s *JoinBridge) Words() string {
	return "plug the container's cable " + s.Host + " into the bridge " + s.Bridge + ", if it is not"
}

func (s *JoinBridge) String() string {
	return fmt.Sprintf("ip link set %s master %s up", s.Host, s.Bridge)
}

// Protected reports whether the network is in our nftables tables. A network whose
// bridge has not been made is as it should be.
func (n Network) Protected() (bool, error) {
	if n.Driver == MacvlanDriver {
		return true, nil
	}
	s := AddFirewall{Network: n.Name, Bridge: n.Bridge}
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return false, err
	}
	defer c.close()
	family := ipv4
	if !n.Gateway.IsValid() && n.Gateway6.IsValid() {
		family = ipv6
	}
	missing, err := c.missing(newTable(family), s.membership())
	return len(missing) == 0, explain("look for the firewall of network", n.Name, err)
}

// membership is the element that each network has in each table.
func (s *AddFirewall) membership() []element {
	return []element{{set: bridgesSet, key: ifname(s.Bridge)}}
}
