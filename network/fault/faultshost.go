package fault

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/network"
)

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

// hostFaults are those of the host's routes, its way out, and what it has for all.
func hostFaults() []Fault {
	here := network.Netns{}
	return []Fault{
		{"host-blackhole", "somebody answered an attack with a black hole for the container's address", "host-route", Network, needInner, func(v *view) ([]Change, error) {
			return put(&route{Type: "blackhole", Destination: single(v.address)}), nil
		}},
		{"host-route", "a VPN has the same subnet, in two halves: what is for the container goes to lo", "host-route", Network, needInner, func(v *view) ([]Change, error) {
			lo, err := linkNamed(here, "lo")
			if err != nil || lo == nil {
				return nil, err
			}
			low, high := halves(v.endpoint.Network.Subnet())
			return put(&route{Destination: low, Index: lo.Index, Link: "lo"}, &route{Destination: high, Index: lo.Index, Link: "lo"}), nil
		}},
		{"host-rule", "somebody forbade the container's address all routing", "host-rule", Network, needInner, func(v *view) ([]Change, error) {
			return put(&rule{Priority: 100, From: single(v.address), Type: "prohibit"}), nil
		}},
		{"host-rule-to", "somebody sends what is for the container by a routing table that leads nowhere", "host-rule", Network, needInner, func(v *view) ([]Change, error) {
			return put(
				&route{Type: "unreachable", Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Table: 99},
				&rule{Priority: 100, To: single(v.address), Table: 99},
			), nil
		}},
		{"forwarding-off", "a hardening script ran `sysctl net.ipv4.ip_forward=0`: the host passes nothing on", "forwarding", Host, needBridge, forwardingOff},
		{"forwarding-uplink", "somebody switched forwarding off for the way out alone: no answer comes back in", "forwarding", Host, needBridge | needUplink, func(v *view) ([]Change, error) {
			return one(sysctlTo(here, "net/ipv4/conf/"+v.uplink.Name+"/forwarding", "0"))
		}},
		{"default-missing", "somebody deleted the host's default route", "host-route", Host, needUplink | needBridge, func(v *view) ([]Change, error) {
			if !v.router.IsValid() {
				return nil, errors.New("the host's default route has no gateway")
			}
			metric, err := v.uplinkMetric()
			lost, err2 := layer3Of(here, v.uplink.Index)
			return []Change{{Take: true, Lost: lost, Thing: &route{
				Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: v.router, Index: v.uplink.Index, Link: v.uplink.Name, Metric: metric,
			}}}, errors.Join(err, err2)
		}},
		{"uplink-down", "somebody switched the host's own link off", "uplink", Host, needUplink | needBridge, func(v *view) ([]Change, error) {
			return v.setLosing(here, v.uplink, "up", "down")
		}},
		{"uplink-gateway", "somebody wrote the router's hardware address down on the host, and the router was replaced", "uplink", Host, needUplink | needBridge, func(v *view) ([]Change, error) {
			if !v.router.IsValid() {
				return nil, errors.New("the host's default route has no gateway")
			}
			return put(&neighbour{Index: v.uplink.Index, Link: v.uplink.Name, Address: v.router, MAC: nobodysMAC}), nil
		}},
		{"mtu-uplink", "the host's link goes by a tunnel now, with an MTU of 1280: the containers do not know", "mtu", Host, needUplink | needBridge, func(v *view) ([]Change, error) {
			return v.setLosing(here, v.uplink, "mtu", "1280")
		}},
		{"conntrack-full", "somebody saved memory: the kernel may remember one connection", "conntrack-full", Host, needBridge, func(*view) ([]Change, error) {
			return first("net/netfilter/nf_conntrack_max", "1")
		}},
		{"neighbour-full", "somebody saved memory: the kernel may know one neighbour", "neighbour-full", Host, needBridge, func(*view) ([]Change, error) {
			return first("net/ipv4/neigh/default/gc_thresh3", "1")
		}},
	}
}

// halves are the two halves of a prefix.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	low = netip.PrefixFrom(p.Masked().Addr(), p.Bits()+1)
	return low, netip.PrefixFrom(lastOf(low).Next(), p.Bits()+1)
}

// first is the change of a sysctl that only the machine's first network namespace may
// write, for all of them.
func first(key, value string) ([]Change, error) {
	changes, err := one(sysctlTo(network.Netns{}, key, value))
	if err == nil {
		err = writable(sysctlPath(key))
	}
	if err != nil {
		return nil, fmt.Errorf("only the machine's first network namespace can change it: %w", err)
	}
	return changes, nil
}

// forwardingOff remembers what the kernel sets anew with ip_forward (devinet.c,
// inet_forward_change): forwarding of every link, and accept_redirects of all.
func forwardingOff(*view) ([]Change, error) {
	changes, err := one(sysctlTo(network.Netns{}, "net/ipv4/ip_forward", "0"))
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(sysctlPath("net/ipv4/conf/*/forwarding"))
	if err != nil {
		return nil, err
	}
	also := map[string]string{}
	for _, path := range slices.Concat(files, []string{sysctlPath("net/ipv4/conf/all/accept_redirects")}) {
		key := strings.TrimPrefix(path, sysctlPath(""))
		if also[key], err = readSysctl(network.Netns{}, key); err != nil {
			return nil, err
		}
	}
	changes[0].Thing.(*sysctl).Also = also
	return changes, nil
}
