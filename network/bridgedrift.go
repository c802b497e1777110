package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Drift is what somebody has done to the bridge of a network by hand.
type Drift struct {
	Kind    DriftKind
	Network string
	Link    string // the bridge's name; of a macvlan its parent's

	Members int            // BridgeMissing: containers that were on it
	Want    netip.Prefix   // BridgeReaddressed: the network's
	Have    []netip.Prefix // BridgeReaddressed: what is there of that family
}

// A DriftKind says what it is.
type DriftKind int

// The kinds. All but NameTaken are put right by the steps of Reload.
const (
	BridgeMissing     DriftKind = iota // it was deleted while containers lived on it
	BridgeDown                         // it was switched off
	BridgeReaddressed                  // it has not the network's address
	NameTaken                          // a link that is no bridge has its name
)

func (d *Drift) Error() string {
	switch d.Kind {
	case BridgeMissing:
		return fmt.Sprintf("network %s: somebody has deleted its bridge %s, with %d containers on it", d.Network, d.Link, d.Members)
	case BridgeDown:
		return fmt.Sprintf("network %s: somebody has switched its bridge %s off", d.Network, d.Link)
	case BridgeReaddressed:
		if len(d.Have) == 0 {
			return fmt.Sprintf("network %s: its bridge %s no longer has the address %s", d.Network, d.Link, d.Want)
		}
		return fmt.Sprintf("network %s: its bridge %s has the address %s, not %s", d.Network, d.Link, texts(d.Have), d.Want)
	case NameTaken:
		return fmt.Sprintf("network %s: the name of its bridge, %s, is taken by a link that is no bridge", d.Network, d.Link)
	}
	return fmt.Sprintf("network %s: drift %d", d.Network, d.Kind)
}

func texts(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		words = append(words, p.String())
	}
	return strings.Join(words, " and ")
}

// Unwrap returns the errno that fits: ENODEV, ENETDOWN, EADDRNOTAVAIL, EEXIST.
func (d *Drift) Unwrap() error {
	return [...]error{unix.ENODEV, unix.ENETDOWN, unix.EADDRNOTAVAIL, unix.EEXIST}[d.Kind]
}

// DriftOf compares the host with what the network's bridge should be, while members
// live containers are on it; without any a bridge that is not there is none to miss.
// A network whose bridge is as it should be has no drift. More addresses on the
// bridge than the network's are nobody's business.
func DriftOf(n Network, members int) (list []*Drift, err error) {
	if n.Driver == MacvlanDriver {
		return nil, nil
	}
	err = once(Netns{}, func(c *conn) (err error) { list, err = n.drift(c, members); return err })
	return list, explain("look at bridge", n.Bridge, err)
}

func (n Network) drift(c *conn, members int) (list []*Drift, err error) {
	tell := func(d Drift) {
		d.Network, d.Link = n.Name, n.Bridge
		list = append(list, &d)
	}
	bridge, err := c.link(n.Bridge)
	switch {
	case errors.Is(err, unix.ENODEV):
		if members > 0 {
			tell(Drift{Kind: BridgeMissing, Members: members})
		}
		return list, nil
	case err != nil:
		return nil, err
	case bridge.kind != "bridge":
		tell(Drift{Kind: NameTaken})
		return list, nil
	}
	if !bridge.up && members > 0 {
		tell(Drift{Kind: BridgeDown})
	}
	for _, want := range n.gateways() {
		have, err := c.addresses(addressFamily(want.Addr()), bridge.index)
		if err != nil {
			return nil, err
		}
		if slices.Contains(have, address{bridge.index, want}) {
			continue
		}
		d := Drift{Kind: BridgeReaddressed, Want: want}
		for _, a := range have {
			if !a.prefix.Addr().IsLinkLocalUnicast() {
				d.Have = append(d.Have, a.prefix)
			}
		}
		if members > 0 || len(d.Have) > 0 {
			tell(d)
		}
	}
	return list, nil
}

// checkIntact refuses a network whose bridge somebody has changed while containers
// live on it: one more would hide what has happened to them. What is not as it should
// be because a launch is at work is no reason.
func (r Request) checkIntact(c *conn, n *Network) error {
	if n.Driver == MacvlanDriver {
		return nil
	}
	list, err := n.drift(c, 1)
	if err != nil {
		return explain("look at bridge", n.Bridge, err)
	}
	if len(list) == 0 || r.Settled == nil {
		return nil
	}
	members := 0
	err = readTable(leaseFile(r.Runroot, n.Name), func(t *leaseTable) error {
		seen := map[string]bool{}
		for _, owner := range t.all() {
			if !seen[owner] && owner != r.Owner && r.Settled(owner) {
				members++
			}
			seen[owner] = true
		}
		return nil
	})
	for _, d := range list {
		if d.Kind == NameTaken || members > 0 {
			d.Members = members
			return errors.Join(err, d)
		}
	}
	return err
}
