package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// A Way is what the kernel answers to "ip route get".
type Way struct {
	Asked   bool
	To      netip.Addr
	Link    string     // that it leaves by
	Gateway netip.Addr // none: directly
	Source  netip.Addr
	Type    string // "unicast" or "local"
	Errno   syscall.Errno
}

// Ways are those of one address of the container's.
type Ways struct {
	Out, ToGateway            Way // asked in the container
	HostOut, HostTo, HostBack Way // asked on the host: of its packets, to it, and of the answers
}

// A lookup is a question about a route.
type lookup struct {
	to, from netip.Addr
	in       int // the link that the packet comes by; 0: it is the host's own
}

// ask asks in the namespace of the calling thread, whose links are in s.
func (l lookup) ask(s *Space) Way {
	w := Way{Asked: true, To: l.to}
	message := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Dst_len: uint8(l.to.BitLen())}}
	if l.to.Is6() {
		message.Family = unix.AF_INET6
	}
	r := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_REQUEST)
	if l.from.IsValid() {
		message.Src_len = uint8(l.from.BitLen())
		r.AddData(message)
		r.AddData(nl.NewRtAttr(unix.RTA_SRC, l.from.AsSlice()))
	} else {
		r.AddData(message)
	}
	r.AddData(nl.NewRtAttr(unix.RTA_DST, l.to.AsSlice()))
	if l.in != 0 {
		r.AddData(nl.NewRtAttr(unix.RTA_IIF, nl.Uint32Attr(uint32(l.in))))
	}
	messages, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil || len(messages) == 0 || len(messages[0]) < unix.SizeofRtMsg {
		w.Errno = unix.ENETUNREACH
		errors.As(err, &w.Errno)
		return w
	}
	m := messages[0]
	w.Type = "unicast"
	if nl.DeserializeRtMsg(m).Type == unix.RTN_LOCAL {
		w.Type = "local"
	}
	_ = attributes(m[unix.SizeofRtMsg:], func(kind uint16, b []byte) { // the kernel's own message
		switch kind {
		case unix.RTA_OIF:
			w.Link = s.name(number(b))
		case unix.RTA_GATEWAY:
			w.Gateway, _ = netip.AddrFromSlice(b)
		case unix.RTA_PREFSRC:
			w.Source, _ = netip.AddrFromSlice(b)
		}
	})
	return w
}

func (w Way) String() string {
	switch {
	case w.Errno == unix.ENETUNREACH:
		return "there is no route to " + w.To.String()
	case w.Errno != 0:
		return fmt.Sprintf("the route to %s says no: %v", w.To, w.Errno)
	case w.Type == "local":
		return w.To.String() + " is an address of its own"
	case w.Gateway.IsValid():
		return fmt.Sprintf("%s goes by %s to %s", w.To, w.Link, w.Gateway)
	}
	return fmt.Sprintf("%s goes by %s", w.To, w.Link)
}

// readWays asks in the container.
func (f *Facts) readWays() {
	for _, e := range f.Network.Endpoints {
		for _, a := range e.Interface.Addresses() {
			w := &Ways{}
			f.Ways[a.Addr()] = w
			if g := gatewayOf(e.Network, a.Addr()); g.IsValid() {
				w.ToGateway = lookup{to: g}.ask(&f.Inside)
			}
			if leaves(e, a.Addr()) {
				w.Out = lookup{to: outsideLike(a.Addr())}.ask(&f.Inside)
			}
		}
	}
}

// readHostWays asks on the host.
func (f *Facts) readHostWays() {
	for _, e := range f.Network.Endpoints {
		bridge := f.Host.LinkNamed(e.Network.Bridge)
		if bridge == nil || e.Network.Driver == network.MacvlanDriver {
			continue
		}
		for _, p := range e.Interface.Addresses() {
			a := p.Addr()
			w := f.Ways[a]
			if w == nil {
				w = &Ways{}
				f.Ways[a] = w
			}
			w.HostTo = lookup{to: a}.ask(&f.Host)
			if !leaves(e, a) {
				continue
			}
			w.HostOut = lookup{to: outsideLike(a), from: a, in: bridge.Index}.ask(&f.Host)
			if u := f.Host.uplink(a); u != nil {
				w.HostBack = lookup{to: a, from: outsideLike(a), in: u.Index}.ask(&f.Host)
			}
		}
	}
}
