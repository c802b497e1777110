package main

import (
	"encoding/csv"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/rootfs"
	"github.com/spf13/cobra"
)

// networkFlags is what the command line of run says of the network, before it is
// understood.
type networkFlags struct {
	networks, aliases, publish []string
	ip, ip6, mac               string
	publishAll                 bool
}

func (f *networkFlags) declare(c *cobra.Command) {
	s := c.Flags()
	s.StringArrayVar(&f.networks, "network", nil, "a network (repeatable: eth0, eth1, …), none, host, container:NAME or ns:NAME; NET may be name=NET,ip=…,ip6=…,mac-address=…,alias=…,gw-priority=…")
	s.StringArrayVar(&f.networks, "net", nil, "the same as --network")
	s.StringArrayVar(&f.aliases, "network-alias", nil, "another name for it on its first network")
	s.StringVar(&f.ip, "ip", "", "IPv4 address, of the first network's subnet")
	s.StringVar(&f.ip6, "ip6", "", "IPv6 address, of the first network's subnet")
	s.StringVar(&f.mac, "mac-address", "", "MAC address of eth0")
	s.StringArrayVarP(&f.publish, "publish", "p", nil, "publish a port, [[ADDRESS:]HOST:]CONTAINER[/tcp|udp|sctp]; ranges as 8000-8010")
	s.BoolVarP(&f.publishAll, "publish-all", "P", false, "publish every port that the image exposes, at free ports of the host")
}

// parseNetwork understands --network and what belongs to it.
func (f *runFlags) parseNetwork() error {
	if len(f.networks) == 0 {
		f.networks = []string{network.DefaultNetwork}
	}
	for i, text := range f.networks {
		if err := f.addNetwork(i, text); err != nil {
			return err
		}
	}
	if f.Network.Mode != string(network.Bridge) {
		return f.refuseNetworkFlags()
	}
	first := &f.Network.Uses[0]
	for _, flag := range []struct{ value, name, field *string }{
		{&f.ip, ptr("ip"), &first.IP}, {&f.ip6, ptr("ip6"), &first.IP6}, {&f.mac, ptr("mac-address"), &first.MAC},
	} {
		if *flag.value != "" && *flag.field != "" {
			return fmt.Errorf("--%s %s: --network says %s already", *flag.name, *flag.value, *flag.field)
		}
		if *flag.value != "" {
			*flag.field = *flag.value
		}
	}
	first.Aliases = append(first.Aliases, f.aliases...)
	return f.parsePorts()
}

func ptr[T any](v T) *T { return &v }

// addNetwork understands one --network.
func (f *runFlags) addNetwork(i int, text string) error {
	use, err := parseUse(text)
	if err != nil {
		return err
	}
	mode, target, err := network.ParseMode(use.Network)
	if err != nil {
		return err
	}
	if i > 0 && (mode != network.Bridge || f.Network.Mode != string(network.Bridge)) {
		return fmt.Errorf("--network %s: several networks cannot be combined with none, host, container:NAME or ns:NAME", text)
	}
	f.Network.Mode = string(mode)
	if mode != network.Bridge {
		f.Network.Join = target
		return nil
	}
	use.Network = target
	f.Network.Uses = append(f.Network.Uses, use)
	return nil
}

// parseUse reads the argument of --network: a name, or NAME=VALUE pairs of which
// one is the name.
func parseUse(text string) (network.Use, error) {
	u := network.Use{Network: text}
	if key, _, found := strings.Cut(text, "="); !found || strings.Contains(key, ":") {
		return u, nil
	}
	u.Network = ""
	pairs, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return u, fmt.Errorf("--network %q: %w", text, err)
	}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "name":
			u.Network = value
		case "ip":
			u.IP = value
		case "ip6":
			u.IP6 = value
		case "mac-address":
			u.MAC = value
		case "alias":
			u.Aliases = append(u.Aliases, value)
		case "gw-priority":
			if u.Priority, err = strconv.Atoi(value); err != nil {
				return u, fmt.Errorf("--network %q: gw-priority %q is not a number", text, value)
			}
		default:
			return u, fmt.Errorf("--network %q: unknown key %q; there are name, ip, ip6, mac-address, alias, gw-priority", text, key)
		}
	}
	if u.Network == "" {
		return u, fmt.Errorf("--network %q: name=NETWORK is missing", text)
	}
	return u, nil
}

// refuseNetworkFlags refuses what only a network of ours can give.
func (f *runFlags) refuseNetworkFlags() error {
	name := f.networks[0]
	for _, refused := range []struct{ flag, value, why string }{
		{"ip", f.ip, "gives no addresses"},
		{"ip6", f.ip6, "gives no addresses"},
		{"mac-address", f.mac, "has no interface to give it to"},
		{"network-alias", strings.Join(f.aliases, " "), "has no names"},
		{"publish", strings.Join(f.publish, " "), "publishes no ports: they are reached where they are"},
	} {
		if refused.value != "" {
			return fmt.Errorf("--%s %s: network %s %s", refused.flag, refused.value, name, refused.why)
		}
	}
	if f.publishAll {
		return fmt.Errorf("--publish-all: network %s publishes no ports: they are reached where they are", name)
	}
	return nil
}

// parseDNS checks --dns and --add-host.
func (f *runFlags) parseDNS() error {
	for _, s := range f.DNS.Servers {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("--dns %q: not an IP address", s)
		}
	}
	for _, h := range f.DNS.AddHosts {
		name, address, found := strings.Cut(h, ":")
		if !found || name == "" {
			return fmt.Errorf("--add-host %q: not of the form NAME:ADDRESS", h)
		}
		if _, err := netip.ParseAddr(strings.Trim(address, "[]")); err != nil && address != "host-gateway" {
			return fmt.Errorf("--add-host %q: %q is neither an IP address nor host-gateway", h, address)
		}
	}
	return nil
}

// parsePorts reads --publish.
func (f *runFlags) parsePorts() error {
	if len(f.publish) == 0 {
		return nil
	}
	ports, err := parsePorts(f.publish)
	f.Network.Ports = ports
	return err
}

// exposed publishes, for --publish-all, what the image exposes and no --publish
// names.
func (f *runFlags) exposed(image rootfs.Config) error {
	if !f.publishAll {
		return nil
	}
	for _, text := range slices.Sorted(maps.Keys(image.ExposedPorts)) {
		ports, err := network.ParsePorts(text)
		if err != nil {
			return fmt.Errorf("the image exposes %q: %w", text, err)
		}
		for _, p := range ports {
			if !slices.ContainsFunc(f.Network.Ports, func(q network.Port) bool { return p.Protocol == q.Protocol && q.Leads(p.ContainerPort) }) {
				f.Network.Ports = append(f.Network.Ports, p)
			}
		}
	}
	return nil
}
