package doctor

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/firewall"
)

// readOwn takes sample packets through the tables of the container's own namespace, in
// which it must run.
func readOwn(f *Facts) error {
	if f.Network == nil {
		return nil
	}
	all, err := firewall.Read()
	if err != nil {
		return err
	}
	w := &walls{facts: f, foreign: all}
	if w.layers, err = firewall.ReadLayers(); err != nil {
		return err
	}
	for _, e := range f.Network.Endpoints {
		for _, a := range e.Interface.Addresses() {
			w.own(e, a.Addr())
		}
	}
	f.Own = w.list
	return nil
}

// own asks for what leaves the container, the answers, and what comes to its ports.
func (w *walls) own(e network.Endpoint, a netip.Addr) {
	link := w.facts.Inside.linkOf(e.Interface.Name)
	out := firewall.Packet{
		Out: link, Source: a, SourceLocal: true, Destination: gatewayOf(e.Network, a), Protocol: unix.IPPROTO_UDP,
		SourcePort: 40000, DestinationPort: 53,
	}
	whats, packets := []string{"questions for names"}, []firewall.Packet{out}
	if leaves(e, a) {
		web := out
		web.Destination, web.Protocol, web.DestinationPort = outsideLike(a), unix.IPPROTO_TCP, 443
		whats, packets = append(whats, "what it sends outside"), append(packets, web)
	}
	for i, p := range packets {
		what := whats[i]
		w.ask(sample{what, FromGuest, []firewall.Hook{firewall.Output, firewall.Postrouting}, p})
		w.ask(sample{"the answers to " + what, FromGuest, []firewall.Hook{firewall.Prerouting, firewall.Input}, answer(p)})
		back := answer(p)
		for _, egress := range []bool{true, false} {
			packet := back
			if egress {
				packet = p
			}
			if v := w.layers.WalkDevice(e.Interface.Name, egress, packet); v.Kind != firewall.Accept {
				w.add(sample{what: what, aim: FromGuest}, v, "drop", "netdev", "")
			}
		}
		arp := p
		arp.ARP, arp.Protocol = true, 0
		for _, out := range []bool{false, true} {
			if v := w.layers.WalkARP(out, arp); v.Kind != firewall.Accept {
				w.add(sample{what: "ARP", aim: FromGuest}, v, "drop", "arp", "")
			}
		}
	}
	if !leaves(e, a) {
		return
	}
	for _, p := range w.facts.Network.Ports {
		in := firewall.Packet{
			In: link, Source: outsideLike(a), Destination: a, DestinationLocal: true, Protocol: protocolNumber(p.Protocol),
			SourcePort: 40000, DestinationPort: p.ContainerPort,
		}
		w.ask(sample{fmt.Sprintf("what comes to port %d/%s", p.ContainerPort, p.Protocol), FromGuest, []firewall.Hook{firewall.Prerouting, firewall.Input}, in})
	}
}

// ignoreMissing is err, unless the kernel has no such thing at all.
func ignoreMissing(err error) error {
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	return err
}
