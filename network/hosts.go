package network

import (
	"fmt"
	"net/netip"
	"strings"
)

// A HostsRequest is what goes into a container's /etc/hosts.
type HostsRequest struct {
	Hostname  string     // may be of the form host.domain
	Endpoints []Endpoint // the container's; the hostname stands for all its addresses

	// Add are the arguments of --add-host: NAME:ADDRESS or NAME=ADDRESS, where
	// the address may be host-gateway, and an IPv6 address may be in brackets.
	Add []string

	// Base, when not nil, stands in the place of what all containers have: the file
	// of a network namespace that the container joins.
	Base []byte
}

// hostsHead is the part that all containers share, as Docker writes it.
const hostsHead = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

// Hosts returns the content of a container's /etc/hosts, see hosts(5).
func Hosts(r HostsRequest) (string, error) {
	var b strings.Builder
	if r.Base == nil {
		r.Base = []byte(hostsHead)
	}
	b.Write(r.Base)
	if len(r.Base) > 0 && r.Base[len(r.Base)-1] != '\n' {
		b.WriteByte('\n')
	}
	for _, text := range r.Add {
		name, address, err := parseAddHost(text, hostAddress(r.Endpoints))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s\t%s\n", address, name)
	}
	if r.Hostname == "" {
		return b.String(), nil
	}
	names := r.Hostname
	if short, _, dotted := strings.Cut(r.Hostname, "."); dotted && short != "" {
		names += " " + short
	}
	for _, e := range r.Endpoints {
		for _, a := range e.Interface.Addresses() {
			fmt.Fprintf(&b, "%s\t%s\n", a.Addr(), names)
		}
	}
	return b.String(), nil
}

// hostAddress is what host-gateway stands for: the host's address on the first of
// the networks that has a way out; the zero Addr without one.
func hostAddress(list []Endpoint) netip.Addr {
	for _, e := range list {
		if gateways := e.Network.gateways(); !e.Network.Internal && len(gateways) > 0 {
			return gateways[0].Addr()
		}
	}
	return netip.Addr{}
}

// hostGateway is the address of --add-host that stands for the host's on the
// container's network.
const hostGateway = "host-gateway"

func parseAddHost(text string, gateway netip.Addr) (name string, a netip.Addr, err error) {
	i := strings.IndexAny(text, ":=")
	if i <= 0 || strings.ContainsAny(text[:i], " \t\r\n#") {
		return "", a, fmt.Errorf("add-host %q: not of the form NAME:ADDRESS", text)
	}
	name, address := text[:i], text[i+1:]
	if address == hostGateway {
		if !gateway.IsValid() {
			return "", a, fmt.Errorf("add-host %q: this network has no gateway to the host", text)
		}
		return name, gateway, nil
	}
	if inner, found := strings.CutPrefix(address, "["); found {
		address = strings.TrimSuffix(inner, "]")
	}
	a, err = netip.ParseAddr(address)
	if err != nil || a.Zone() != "" {
		return "", a, fmt.Errorf("add-host %q: %q is not an IP address", text, address)
	}
	return name, a, nil
}

// Hostname returns the content of a container's /etc/hostname, see hostname(5).
func Hostname(name string) string { return name + "\n" }
