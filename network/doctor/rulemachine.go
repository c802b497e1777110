package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/survey"
)

// timedOut tells an answer that has not come from one that says no.
func timedOut(err error) bool {
	var e net.Error
	return errors.Is(err, unix.ETIMEDOUT) || errors.As(err, &e) && e.Timeout()
}

// machine is about the host as a whole, whoever runs on it.
func (d *diagnosis) machine() {
	d.uplinks()
	d.full()
}

// uplinks is about the host's own way out.
func (d *diagnosis) uplinks() {
	if d.Network != nil && !d.goesOut() {
		for _, id := range []ID{"uplink"} {
			d.skip(id, "no network of the container has a way out")
		}
		return
	}
	like := netip.IPv4Unspecified()
	route := d.Host.defaultRoute(like)
	if route == nil && d.Host.defaultRoute(netip.IPv6Unspecified()) != nil {
		like = netip.IPv6Unspecified()
		route = d.Host.defaultRoute(like)
	}
	if route == nil {
		d.noWayOut()
		return
	}
	link := d.Host.Link(route.Link)
	switch {
	case link == nil:
		d.skip("uplink", "it has just gone")
		return
	case !link.Up:
		d.fault(d.downLink(link))
		return
	case !link.Running:
		d.fault(Finding{Check: "uplink", Object: link.Name, What: "it has no carrier", Why: "the host's default route leaves by it", Show: "ip link show " + link.Name})
		return
	}
	if i := indexOf(d.Host.Neighbours, link.Index, route.Gateway); route.Gateway.IsValid() && i >= 0 {
		n := d.Host.Neighbours[i]
		f := Finding{Check: "uplink", Object: link.Name, Why: "the host sends to it all that is for outside", Show: "ip neigh show dev " + link.Name}
		switch {
		case n.State == "failed":
			f.What = fmt.Sprintf("the host's gateway %s does not answer (neighbour failed)", route.Gateway)
			d.fault(f)
			return
		case d.Gateway.Asked && d.Gateway.MAC != "" && n.MAC != d.Gateway.MAC:
			f.What = fmt.Sprintf("the host's gateway %s is at %s by hand; it answers from %s", route.Gateway, n.MAC, d.Gateway.MAC)
			f.Remedies = sh(fmt.Sprintf("ip neigh del %s dev %s", route.Gateway, link.Name))
			d.fault(f)
			return
		case n.State == "permanent" && d.Gateway.Asked && d.Gateway.MAC == "":
			f.What = fmt.Sprintf("the host's gateway %s is at %s by hand, and does not answer", route.Gateway, n.MAC)
			d.warn(f)
			return
		}
	}
	d.ok("uplink", link.Name, "%s", link.Name)
}

func indexOf(list []survey.Neighbour, link int, a netip.Addr) int {
	for i, n := range list {
		if n.Link == link && n.Address == a {
			return i
		}
	}
	return -1
}

// goesOut reports whether any network of the container leads outside.
func (d *diagnosis) goesOut() bool {
	for _, e := range d.Network.Endpoints {
		if !e.Network.Internal && e.Network.Driver != network.MacvlanDriver && (e.Default || e.Default6) {
			return true
		}
	}
	return false
}

func (d *diagnosis) downLink(l *survey.Link) Finding {
	return Finding{
		Check: "uplink", Object: l.Name, What: "it is down", Why: "it is the host's link to the outside, and the routes by it are gone", Show: "ip link show " + l.Name,
		Remedies: sh("ip link set " + l.Name + " up"),
	}
}

// noWayOut tells why the host has no default route: a link that looks like its uplink is
// down, or the route is gone, or the host is on its own, which is no fault.
func (d *diagnosis) noWayOut() {
	var up *survey.Link
	for i := range d.Host.Links {
		l := &d.Host.Links[i]
		if l.Loopback() || l.Master != 0 || l.Kind == "bridge" || strings.HasPrefix(l.Name, "minictr-lo") || texts(l) == "" {
			continue
		}
		if !l.Up {
			d.fault(d.downLink(l))
			return
		}
		up = l
	}
	f := Finding{Check: "host-route", Object: "default", What: "the host has no default route", Why: "containers go out by the host's own way out", Show: "ip route"}
	if up == nil {
		d.warn(f)
		return
	}
	d.ok("uplink", up.Name, "")
	d.fault(f)
}

// full is about tables of the kernel that may have no room.
func (d *diagnosis) full() {
	f := d.Filled
	const spare = 16
	switch {
	case !f.ConntrackKnown || f.ConntrackMax == 0:
		d.skip("conntrack-full", "the kernel does not say")
	case f.Conntrack > f.ConntrackMax-max(spare, f.ConntrackMax/50):
		d.fault(Finding{
			Check: "conntrack-full", Object: "nf_conntrack", What: fmt.Sprintf("%d of %d connections", f.Conntrack, f.ConntrackMax),
			Why:  "every connection of a container is remembered, for its translation; when there is no room, new ones are dropped",
			Show: "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max", Remedies: sh("sysctl -q -w net/netfilter/nf_conntrack_max=262144"),
		})
	default:
		d.ok("conntrack-full", "", "%d of %d", f.Conntrack, f.ConntrackMax)
	}
	if !f.NeighboursKnown {
		d.skip("neighbour-full", "the kernel does not say")
		return
	}
	for _, x := range []struct {
		family    string
		have, max int
	}{{"ipv4", f.Neighbours, f.NeighboursMax}, {"ipv6", f.Neighbours6, f.NeighboursMax6}} {
		if x.max == 0 || x.have <= x.max-max(spare/2, x.max/50) {
			continue
		}
		key := "net/" + x.family + "/neigh/default/gc_thresh3"
		d.fault(Finding{
			Check: "neighbour-full", Object: x.family, What: fmt.Sprintf("%d of %d entries, in all network namespaces together", x.have, x.max),
			Why:  "who is not in the table of neighbours cannot be sent anything",
			Show: "sysctl " + key + "; ip -s ntable show dev lo", Remedies: sh("sysctl -q -w " + key + "=16384"),
		})
	}
	if !d.said("neighbour-full") {
		d.ok("neighbour-full", "", "%d of %d", f.Neighbours, f.NeighboursMax)
	}
}

// target is about the way to the address of --to.
func (d *diagnosis) target() {
	t := d.Target
	to := t.String()
	if d.Inside.Err != nil {
		return
	}
	if t.Way.Errno != 0 {
		d.fault(Finding{Check: "target-route", Object: to, What: t.Way.String(), Why: "what has no route is not sent", Show: d.in("ip", "route get "+t.Address.String())})
		return
	}
	d.ok("target-route", to, "%s", t.Way)
	switch t.NextHop {
	case "failed", "incomplete":
		d.fault(Finding{Check: "target-neighbour", Object: to, What: "the next hop does not answer ARP", Why: "its hardware address is not known", Show: d.in("ip", "neigh")})
	case "":
		d.skip("target-neighbour", "no neighbour is asked")
	default:
		d.ok("target-neighbour", to, "%s", t.NextHop)
	}
	if !d.said("target-firewall") {
		d.ok("target-firewall", to, "")
	}
	if t.HostWay.Asked && t.HostWay.Errno != 0 {
		d.fault(Finding{Check: "target-route", Object: to, What: "on the host: " + t.HostWay.String(), Why: "the host passes on what it has a route for", Show: "ip route get " + t.Address.String()})
	}
	d.probed()
}

// probed is about the real thing.
func (d *diagnosis) probed() {
	t, to := d.Target, d.Target.String()
	f := Finding{Check: "target", Object: to, Why: "a real packet was sent from the container's namespace", Show: d.in("ping", "-c 1 "+t.Address.String())}
	if t.Port != 0 {
		f.Show = d.in("nc", fmt.Sprintf("-vz %s %d", t.Address, t.Port))
	}
	switch {
	case t.Answered:
		d.ok("target", to, "answers within %.1f ms", float64(t.Took.Microseconds())/1000)
	case errors.Is(t.Err, unix.ECONNREFUSED):
		f.What, f.Why = "the connection is refused: the machine is there, and nobody listens at the port (or a firewall says so)", "the way there and back is all right"
		d.fault(f)
	case timedOut(t.Err):
		f.What = fmt.Sprintf("no answer within %v", probePatience)
		d.fault(f)
	default:
		f.What = fmt.Sprint(t.Err)
		d.fault(f)
	}
	switch {
	case t.FullBytes == 0:
		d.skip("target-mtu", "it does not answer pings")
	case t.FullOK:
		d.ok("target-mtu", to, "%d bytes pass uncut", t.FullBytes)
	default:
		d.fault(Finding{Check: "target-mtu", Object: to, What: fmt.Sprintf("a packet of %d bytes that nobody may cut gets no answer, small ones do", t.FullBytes), Why: "somewhere the way is narrower, and the message about it does not come back", Show: d.in("ping", fmt.Sprintf("-M do -s %d %s", t.FullBytes-28, t.Address))})
	}
}
