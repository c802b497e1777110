package fault

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/minictr/minictr/network"
)

// nobodysMAC is a hardware address that no link has: 02 says that somebody made it up.
const nobodysMAC = "02:66:61:75:6c:74"

// nobody is a name server that nobody runs: an address of documentation, RFC 5737.
func nobody() netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, 53}) }

// linkFaults are those of the links inside.
func linkFaults() []Fault {
	return []Fault{
		{"lo-down", "somebody switched the loopback off in the container: it does not even reach itself", "lo", Inside, 0, func(v *view) ([]Change, error) {
			lo, err := linkNamed(v.ns, "lo")
			if err != nil || lo == nil {
				return nil, err
			}
			return v.setLosing(v.ns, lo, "up", "down")
		}},
		{"link-down", "somebody ran `ip link set eth0 down` in the container; its routes went with it", "interface-up", Inside, needInner, func(v *view) ([]Change, error) {
			return v.setLosing(v.ns, v.inner, "up", "down")
		}},
		{"link-renamed", "somebody thought eth0 a dull name, and called it net0", "interface", Inside, needInner, func(v *view) ([]Change, error) {
			return v.setLosing(v.ns, v.inner, "name", "net0")
		}},
		{"link-deleted", "somebody deleted one end of the cable; the other one went with it", "interface", Network, needCable | needBridge, deletePair},
		{"mac-changed", "somebody gave eth0 another hardware address, which nobody has been told", "mac", Inside, needInner, func(v *view) ([]Change, error) {
			return one(v.set(v.ns, v.inner, "mac", nobodysMAC))
		}},
		{"mac-duplicate", "somebody cloned a machine: another container has the same hardware address", "duplicate-mac", Network, needInner | needOther, func(v *view) ([]Change, error) {
			return one(v.set(v.other.ns, v.other.inner, "mac", v.inner.HardwareAddr.String()))
		}},
		{"mac-of-bridge", "somebody gave the bridge the container's hardware address: it keeps the frames for itself", "duplicate-mac", Network, needInner | needBridge, func(v *view) ([]Change, error) {
			return one(v.set(network.Netns{}, v.bridge, "mac", v.inner.HardwareAddr.String()))
		}},
		{"arp-off", "somebody switched ARP off at eth0: nobody answers when the gateway is asked for", "neighbour", Inside, needInner, func(v *view) ([]Change, error) {
			return one(v.set(v.ns, v.inner, "arp", "off"))
		}},
		{"mtu-container", "somebody set the MTU of eth0 to 1280 for a tunnel: full-sized packets from the bridge are too long for it", "mtu", Inside, needInner, func(v *view) ([]Change, error) {
			return one(v.set(v.ns, v.inner, "mtu", "1280"))
		}},
		{"queue-empty", "somebody tried out queues, and gave eth0 one for no packets at all", "traffic-control", Inside, needInner, func(v *view) ([]Change, error) {
			return v.queue(v.ns, v.inner.Index, v.inner.Name, "pfifo")
		}},
	}
}

// deletePair remembers both ends.
func deletePair(v *view) ([]Change, error) {
	settings, err := portOf(v.peer.Index)
	if err != nil {
		return nil, err
	}
	lost, err := layer3Of(v.ns, v.inner.Index)
	return []Change{{Take: true, Lost: lost, Thing: &pair{
		Host:   end{Index: v.peer.Index, Name: v.peer.Name, MAC: v.peer.HardwareAddr.String(), MTU: v.peer.MTU},
		Peer:   end{Netns: v.ns, Index: v.inner.Index, Name: v.inner.Name, MAC: v.inner.HardwareAddr.String(), MTU: v.inner.MTU},
		Master: v.bridge.Index, Bridge: v.bridge.Name, Port: settings, PeerUp: true,
	}}}, err
}

// queue is the change of a link's queue, unless somebody has set one up already.
func (v *view) queue(ns network.Netns, index int, name, kind string) ([]Change, error) {
	now, err := rootQueue(ns, index)
	if err == nil && now != "" && now != "noqueue" {
		err = fmt.Errorf("%s has a queue %s already", name, now)
	}
	return put(&queue{Netns: ns, Index: index, Link: name, Kind: kind}), err
}

// addressFaults are those of addresses.
func addressFaults() []Fault {
	return []Fault{
		{"address-missing", "somebody took the address away, to give eth0 a better one, and was called to lunch", "address", Inside, needInner, func(v *view) ([]Change, error) {
			return v.without(v.endpoint.Interface.Address)
		}},
		{"address-wrong", "somebody gave eth0 the address that it had in another network", "address", Inside, needInner, func(v *view) ([]Change, error) {
			return v.without(v.endpoint.Interface.Address, netip.MustParsePrefix("10.213.7.2/16"))
		}},
		{"prefix-wrong", "somebody lost a digit of the prefix: half the internet seems to be on this very cable", "prefix", Inside, needInner, func(v *view) ([]Change, error) {
			return v.without(v.endpoint.Interface.Address, netip.PrefixFrom(v.address, 1))
		}},
		{"address-extra", "somebody gave eth0 an address of the host's network as well: all of that seems to be on this cable", "address-extra", Inside, needInner | needUplink, func(v *view) ([]Change, error) {
			subnet, err := v.uplinkSubnet()
			if err != nil {
				return nil, err
			}
			return put(&address{Netns: v.ns, Index: v.inner.Index, Link: v.inner.Name, Prefix: subnet}), nil
		}},
		{"gateway-own", "somebody gave the container the gateway's address, too: it talks to itself", "address-extra", Inside, needInner, func(v *view) ([]Change, error) {
			return v.onLo(v.ns, v.gateway)
		}},
		{"address-stolen", "somebody gave another container the address of this one", "duplicate-address", Network, needInner | needOther, func(v *view) ([]Change, error) {
			return put(&address{Netns: v.other.ns, Index: v.other.inner.Index, Link: v.other.inner.Name, Prefix: single(v.address)}), nil
		}},
		{"address-on-host", "somebody gave the host itself the container's address: the host answers for it, and keeps what is for it", "duplicate-address", Network, needInner, func(v *view) ([]Change, error) {
			return v.onLo(network.Netns{}, v.address)
		}},
		{"gateway-stolen", "somebody gave another container the gateway's address: who asks for it gets two answers", "duplicate-address", Network, needInner | needOther, func(v *view) ([]Change, error) {
			return put(&address{Netns: v.other.ns, Index: v.other.inner.Index, Link: v.other.inner.Name, Prefix: single(v.gateway)}), nil
		}},
		{"neighbour-wrong", "somebody wrote the gateway's hardware address down, and the gateway has changed since", "neighbour", Inside, needInner, func(v *view) ([]Change, error) {
			return put(&neighbour{Netns: v.ns, Index: v.inner.Index, Link: v.inner.Name, Address: v.gateway, MAC: nobodysMAC}), nil
		}},
		{"neighbour-host", "somebody wrote the container's hardware address down on the host, with a slip", "neighbour", Network, needBridge | needInner, func(v *view) ([]Change, error) {
			return put(&neighbour{Index: v.bridge.Index, Link: v.bridge.Name, Address: v.address, MAC: nobodysMAC}), nil
		}},
	}
}

// without takes an address of eth0 away, after others have come in its place.
func (v *view) without(p netip.Prefix, instead ...netip.Prefix) (list []Change, err error) {
	lost, err := layer3Of(v.ns, v.inner.Index)
	list = []Change{{Take: true, Lost: lost, Thing: &address{Netns: v.ns, Index: v.inner.Index, Link: v.inner.Name, Prefix: p}}}
	for _, q := range instead {
		list = append(list, Change{Thing: &address{Netns: v.ns, Index: v.inner.Index, Link: v.inner.Name, Prefix: q}})
	}
	return list, err
}

func (v *view) onLo(ns network.Netns, a netip.Addr) ([]Change, error) {
	lo, err := linkNamed(ns, "lo")
	if err != nil || lo == nil {
		return nil, err
	}
	return put(&address{Netns: ns, Index: lo.Index, Link: lo.Name, Prefix: single(a)}), nil
}

// routeFaults are those of the container's routes and rules.
func routeFaults() []Fault {
	everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	return []Fault{
		{"route-missing", "somebody deleted the default route: the container knows its neighbours, and nobody else", "route", Inside, needInner, func(v *view) ([]Change, error) {
			return []Change{v.withoutDefault()}, nil
		}},
		{"gateway-wrong", "somebody set the default route by an address that nobody has, as a tutorial did with 192.168.15.5", "gateway", Inside, needInner, func(v *view) ([]Change, error) {
			return append([]Change{v.withoutDefault()}, put(&route{Netns: v.ns, Destination: everything, Gateway: v.unused(), Index: v.inner.Index, Link: v.inner.Name})...), nil
		}},
		{"route-blackhole", "somebody replaced the default route by a black hole", "route", Inside, needInner, func(v *view) ([]Change, error) {
			return append([]Change{v.withoutDefault()}, put(&route{Netns: v.ns, Type: "blackhole", Destination: everything})...), nil
		}},
		{"route-thief", "a VPN client died, and left its two halves of the internet to lo", "route", Inside, needInner, func(v *view) ([]Change, error) {
			lo, err := linkNamed(v.ns, "lo")
			if err != nil || lo == nil {
				return nil, err
			}
			return put(
				&route{Netns: v.ns, Destination: netip.MustParsePrefix("0.0.0.0/1"), Index: lo.Index, Link: "lo"},
				&route{Netns: v.ns, Destination: netip.MustParsePrefix("128.0.0.0/1"), Index: lo.Index, Link: "lo"},
			), nil
		}},
		{"gateway-unreachable", "somebody shut the gateway out with a route of one address", "route", Inside, needInner, func(v *view) ([]Change, error) {
			return put(&route{Netns: v.ns, Type: "unreachable", Destination: single(v.gateway)}), nil
		}},
		{"rule-prohibit", "somebody forbade all traffic by a rule that stands before every table", "policy-rule", Inside, needInner, func(v *view) ([]Change, error) {
			return put(&rule{Netns: v.ns, Priority: 100, Type: "prohibit"}), nil
		}},
		{"rule-detour", "somebody sends everything by a routing table of its own, in which there is a black hole", "policy-rule", Inside, needInner, func(v *view) ([]Change, error) {
			return put(
				&route{Netns: v.ns, Type: "blackhole", Destination: everything, Table: 99},
				&rule{Netns: v.ns, Priority: 100, Table: 99},
			), nil
		}},
	}
}

func (v *view) withoutDefault() Change {
	return Change{Take: true, Thing: &route{
		Netns: v.ns, Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: v.gateway, Index: v.inner.Index, Link: v.inner.Name,
	}}
}

// insideFaults are what else can be wrong inside: firewall, sysctls, files, processes.
func insideFaults() []Fault {
	return []Fault{
		{"firewall-out", "the image brought a firewall of its own: it lets nothing out", "own-firewall", Inside, needInner, func(v *view) ([]Change, error) {
			return put(&table{Netns: v.ns, Family: "ip", Name: "appliance", Chains: []chain{{
				Name: "output", Type: "filter", Hook: "output", Rules: []match{{Out: v.inner.Name, Verdict: "drop"}},
			}}}), nil
		}},
		{"firewall-in", "somebody hardened the container: it takes nothing in, not even answers", "own-firewall", Inside, needInner, func(v *view) ([]Change, error) {
			return put(&table{Netns: v.ns, Family: "ip", Name: "appliance", Chains: []chain{{
				Name: "input", Type: "filter", Hook: "input", Drop: true, Rules: []match{{In: "lo", Verdict: "accept"}},
			}}}), nil
		}},
		{"ping-ignored", "somebody was told that ping is dangerous: the container answers none", "sysctl-container", Inside, 0, func(v *view) ([]Change, error) {
			return one(sysctlTo(v.ns, "net/ipv4/icmp_echo_ignore_all", "1"))
		}},
		{"arp-ignored", "somebody copied a load balancer's settings: eth0 answers no ARP", "sysctl-container", Inside, needInner, func(v *view) ([]Change, error) {
			return one(sysctlTo(v.ns, "net/ipv4/conf/"+v.inner.Name+"/arp_ignore", "8"))
		}},
		{"ports-exhausted", "somebody left the container one single port to call from", "sysctl-container", Inside, 0, func(v *view) ([]Change, error) {
			return one(sysctlTo(v.ns, "net/ipv4/ip_local_port_range", "61000 61000"))
		}},
		{"ipv6-off", "somebody switched IPv6 off in the container, since nobody needs it", "sysctl-container", Inside, needInner | needIPv6, func(v *view) ([]Change, error) {
			c, err := sysctlTo(v.ns, "net/ipv6/conf/"+v.inner.Name+"/disable_ipv6", "1")
			if err == nil {
				c.Lost, err = layer3Of(v.ns, v.inner.Index)
			}
			return []Change{c}, err
		}},
		{"resolv-empty", "somebody emptied /etc/resolv.conf: names are looked up at 127.0.0.1, where nobody is", "resolv-conf", Inside, needInner, func(v *view) ([]Change, error) {
			return v.write("/etc/resolv.conf", func(string) string { return "" })
		}},
		{"resolv-wrong", "somebody wrote a name server into /etc/resolv.conf that nobody runs", "resolv-conf", Inside, needInner, func(v *view) ([]Change, error) {
			return v.write("/etc/resolv.conf", func(string) string { return "nameserver " + nobody().String() + "\n" })
		}},
		{"hosts-wrong", "somebody wrote an old address of the container into its /etc/hosts", "nsswitch", Inside, needInner, func(v *view) ([]Change, error) {
			return v.write("/etc/hosts", func(was string) string {
				for _, e := range v.Config.Endpoints {
					if e.Interface.Address.IsValid() {
						was = strings.ReplaceAll(was, e.Interface.Address.Addr().String()+"\t", "203.0.113.80\t")
					}
				}
				return was
			})
		}},
		{"frozen", "somebody froze the container's cgroup for a backup, and forgot it", "frozen", Inside, needCgroup, func(v *view) ([]Change, error) {
			return put(&file{Path: v.Cgroup + "/cgroup.freeze", Was: "0", Value: "1"}), nil
		}},
		{"init-stopped", "somebody sent the first process SIGSTOP, for a look with a debugger", "frozen", Inside, 0, func(v *view) ([]Change, error) {
			_, start, err := stat(v.Pid)
			return put(&stopped{Process: process{v.Pid, start}, Name: "the first of " + v.Name}), err
		}},
		{"cgroup-egress", "a security agent attached a BPF program to the container's cgroup: it lets nothing out", "cgroup-filter", Inside, needCgroup, func(v *view) ([]Change, error) {
			return put(&cgroupFilter{Dir: v.Cgroup}), nil
		}},
	}
}

// write is the change of a file of the container.
func (v *view) write(path string, text func(was string) string) ([]Change, error) {
	f := &file{Netns: v.ns, Pid: v.Pid, Path: path}
	was, err := f.read()
	f.Was, f.Value = was, text(was)
	return put(f), err
}

// uplinkSubnet is an address of the subnet of the host's uplink that the host has not,
// with the subnet's length.
func (v *view) uplinkSubnet() (netip.Prefix, error) {
	list, err := addressesOf(v.uplink.Index)
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, p := range list {
		if p.Bits() <= 29 && !p.Overlaps(v.endpoint.Network.Subnet()) {
			for a := lastOf(p).Prev(); p.Contains(a); a = a.Prev() {
				if a != p.Addr() && a != v.router {
					return netip.PrefixFrom(a, p.Bits()), nil
				}
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("the host's %s has no IPv4 subnet of its own", v.uplink.Name)
}
