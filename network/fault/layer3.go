package fault

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// Layer3 are the addresses and the routes of a link, as the kernel has listed them:
// the bodies of RTM_NEWADDR and RTM_NEWROUTE. They can be sent back as they are.
type Layer3 struct {
	Netns     network.Netns `json:"netns,omitzero"`
	Index     int           `json:"index"`
	Link      string        `json:"link"` // its name
	Addresses [][]byte      `json:"addresses,omitempty"`
	Routes    [][]byte      `json:"routes,omitempty"`
}

// layer3Of reads what the link with the index has.
func layer3Of(ns network.Netns, index int) (*Layer3, error) {
	l := &Layer3{Netns: ns, Index: index}
	return l, in(ns, func() (err error) {
		if l.Link, err = linkName(index); err != nil {
			return err
		}
		if l.Addresses, err = dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC)); err != nil {
			return err
		}
		l.Addresses = slices.DeleteFunc(l.Addresses, func(b []byte) bool {
			return len(b) < unix.SizeofIfAddrmsg || int(nl.DeserializeIfAddrmsg(b).Index) != index
		})
		l.Routes, err = routesOf(index)
		return err
	})
}

// routesOf lists the routes that lead out by the link. Those of the table local the
// kernel makes of addresses, and would have them twice.
func routesOf(index int) (list [][]byte, err error) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		message := nl.NewRtMsg()
		*message = nl.RtMsg{}
		message.Family = uint8(family)
		all, err := dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, message)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, err
		}
		for _, b := range all {
			attribute := attributeOf(b, unix.SizeofRtMsg, unix.RTA_OIF)
			if len(attribute) == 4 && int(nl.NativeEndian().Uint32(attribute)) == index && b[7] == unix.RTN_UNICAST { // rtm_type
				list = append(list, b)
			}
		}
	}
	// A route by a gateway needs the one that leads to the gateway.
	slices.SortStableFunc(list, func(a, b []byte) int { return hops(a) - hops(b) })
	return list, nil
}

func hops(route []byte) int { return len(attributeOf(route, unix.SizeofRtMsg, unix.RTA_GATEWAY)) }

// restore gives back what is missing. A link that is another one by now, which somebody
// has made in its place, has what it needs.
func (l *Layer3) restore() error {
	return in(l.Netns, func() error {
		if name, err := linkName(l.Index); err != nil || name != l.Link {
			return ignoreMissing(err)
		}
		var errs []error
		for _, b := range l.Addresses {
			errs = append(errs, send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b))
		}
		for _, b := range l.Routes {
			errs = append(errs, send(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, sendable(b)))
		}
		return errors.Join(errs...)
	})
}

// sendable is a route without the flags that only the kernel may set (fib_create_info:
// "Invalid rtm_flags"), which say how its link is.
func sendable(b []byte) []byte {
	b = slices.Clone(b)
	flags := b[8:12] // struct rtmsg, rtm_flags
	nl.NativeEndian().PutUint32(flags, nl.NativeEndian().Uint32(flags)&unix.RTNH_F_ONLINK)
	return b
}

// send makes a request of a body that is as the kernel wants it. What is there
// already is as it should be.
func send(kind, flags int, body []byte) error {
	r := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	r.AddRawData(body)
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// dump lists the bodies of all messages of a kind. A list that changed while it was
// read is read again.
func dump(ask, answer int, message nl.NetlinkRequestData) ([][]byte, error) {
	for attempt := 1; ; attempt++ {
		r := nl.NewNetlinkRequest(ask, unix.NLM_F_DUMP)
		r.AddData(message)
		list, err := r.Execute(unix.NETLINK_ROUTE, uint16(answer))
		if !errors.Is(err, nl.ErrDumpInterrupted) || attempt == dumpAttempts {
			return list, err
		}
	}
}

// dumpAttempts is how often a list is read that changes all the time.
const dumpAttempts = 10

// attributeOf is the value of an attribute of a message whose head is so long; nil
// without one.
func attributeOf(b []byte, head int, kind uint16) []byte {
	if len(b) < head {
		return nil
	}
	list, err := nl.ParseRouteAttr(b[head:])
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(list, func(a syscall.NetlinkRouteAttr) bool { return a.Attr.Type&^unix.NLA_F_NESTED == kind })
	if i < 0 {
		return nil
	}
	return list[i].Value
}

// nested is the value of an attribute that lies in others.
func nested(b []byte, head int, path ...uint16) []byte {
	for _, kind := range path {
		b, head = attributeOf(b, head, kind), 0
	}
	return b
}

// linkMessage is what the kernel says of the link with the index, RTM_NEWLINK.
func linkMessage(index int) ([]byte, error) {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	r.AddData(message)
	list, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%d answers: %w", len(list), unix.ENODEV)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}
