package fault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/google/nftables"

	"github.com/minictr/minictr/network"
)

// firewallFaults are those of tables that are not minictr's.
func firewallFaults() []Fault {
	return []Fault{
		{"forward-policy", "another firewall was started: it forwards nothing that it has not been told of", "forward-foreign", Host, needBridge, foreign("inet", "guard", func(*view) []chain {
			return []chain{{Name: "forward", Type: "filter", Hook: "forward", Drop: true}}
		})},
		{"forward-rule", "somebody blocked the container's address, which had been another machine's", "forward-foreign", Network, needInner, foreign("ip", "blocklist", func(v *view) []chain {
			return []chain{{Name: "forward", Type: "filter", Hook: "forward", Rules: []match{{Source: v.address, Verdict: "drop"}}}}
		})},
		{"raw-drop", "a flood filter drops what the container sends, before anybody has looked at it", "forward-foreign", Network, needInner, foreign("ip", "antiflood", func(v *view) []chain {
			return []chain{{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: -300, Rules: []match{{Source: v.address, Verdict: "drop"}}}}
		})},
		{"bridge-drop", "a firewall for bridges drops the frames of the container's hardware address", "forward-foreign", Network, needInner, foreign("bridge", "macfilter", func(v *view) []chain {
			return []chain{{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: -300, Rules: []match{{EtherSource: v.inner.HardwareAddr.String(), Verdict: "drop"}}}}
		})},
		{"netdev-drop", "a filter at the host's end of the cable drops everything as it comes in", "forward-foreign", Network, needPeer, foreign("netdev", "ingressfilter", func(v *view) []chain {
			return []chain{{Name: "ingress", Type: "filter", Hook: "ingress", Device: v.peer.Name, Rules: []match{{Verdict: "drop"}}}}
		})},
		{"bridged-drop", "a firewall keeps the neighbours on the bridge apart: br_netfilter shows it their frames", "br-netfilter", Network, needBridge | needOther, func(v *view) ([]Change, error) {
			on, err := readSysctl(network.Netns{}, "net/bridge/bridge-nf-call-iptables")
			if errors.Is(err, fs.ErrNotExist) || err == nil && on != "1" {
				err = errors.New("the rules of IP do not see frames of bridges: that needs the kernel module br_netfilter, and net.bridge.bridge-nf-call-iptables=1")
			}
			return put(&table{Family: "ip", Name: "segregate", Chains: []chain{{
				Name: "forward", Type: "filter", Hook: "forward", Rules: []match{{In: v.bridge.Name, Out: v.bridge.Name, Verdict: "drop"}},
			}}}), err
		}},
		{"input-dns", "the host's firewall was hardened: containers may not ask its name server", "input-foreign", Network, needBridge, foreign("ip", "hardening", func(v *view) []chain {
			return []chain{{Name: "input", Type: "filter", Hook: "input", Rules: []match{
				{In: v.bridge.Name, Protocol: "udp", Port: 53, Verdict: "drop"}, {In: v.bridge.Name, Protocol: "tcp", Port: 53, Verdict: "drop"},
			}}}
		})},
		{"input-drop", "the host's firewall takes nothing from the container", "input-foreign", Network, needInner, foreign("ip", "hardening", func(v *view) []chain {
			return []chain{{Name: "input", Type: "filter", Hook: "input", Rules: []match{{Source: v.address, Verdict: "drop"}}}}
		})},
		{"nat-foreign", "a captive portal was left on: it sends what containers want of the web to the host", "nat-foreign", Network, needBridge, foreign("ip", "portal", func(v *view) []chain {
			return []chain{{Name: "prerouting", Type: "nat", Hook: "prerouting", Priority: -110, Rules: []match{
				{In: v.bridge.Name, Protocol: "tcp", Port: 80, To: netip.AddrPortFrom(v.gateway, 8)},
			}}}
		})},
		{"published-stolen", "somebody's port forwarding stands before minictr's, and has the same port", "published-foreign", Network, needInner | needPorts, foreign("ip", "portforward", func(v *view) []chain {
			to := []match{{Protocol: "tcp", Port: v.ports()[0].HostPort, To: netip.AddrPortFrom(v.gateway, 8), NotIn: v.endpoint.Network.Bridge}}
			return []chain{
				{Name: "prerouting", Type: "nat", Hook: "prerouting", Priority: -110, Rules: to},
				{Name: "output", Type: "nat", Hook: "output", Priority: -110, Rules: []match{{Protocol: "tcp", Port: v.ports()[0].HostPort, To: netip.AddrPortFrom(v.gateway, 8)}}},
			}
		})},
		{"published-dropped", "somebody closed the published port before anybody could translate it", "published-foreign", Network, needPorts, foreign("ip", "closed", func(v *view) []chain {
			rules := []match{{Protocol: "tcp", Port: v.ports()[0].HostPort, Verdict: "drop"}}
			return []chain{
				{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: -150, Rules: rules},
				{Name: "output", Type: "filter", Hook: "output", Priority: -150, Rules: rules},
			}
		})},
	}
}

// foreign is a fault that is a table of the host.
func foreign(family, name string, chains func(*view) []chain) func(*view) ([]Change, error) {
	return func(v *view) ([]Change, error) {
		return put(&table{Family: family, Name: name, Chains: chains(v)}), nil
	}
}

// ownTableFaults are those of minictr's own table.
func ownTableFaults() []Fault {
	const masquerade = "minictr: containers leave with the address of the host"
	return []Fault{
		{"masquerade-missing", "somebody took the network's subnet out of those that leave with the host's address", "masquerade", Network, needBridge, func(v *view) ([]Change, error) {
			subnet := v.endpoint.Network.Subnet()
			return ownElement("subnets", subnet.String(), func(e nftables.SetElement) bool { return bytes.Equal(e.Key, subnet.Addr().AsSlice()) })
		}},
		{"masquerade-rule", "somebody deleted the rule that gives containers the host's address", "masquerade", Network, needBridge, func(*view) ([]Change, error) {
			return own(&ownRules{Chain: "postrouting", Comment: masquerade}), nil
		}},
		{"table-deleted", "somebody deleted the table ip minictr", "table", Network, needBridge, func(*view) ([]Change, error) {
			t, err := readOwnTable()
			return own(t), err
		}},
		{"table-flushed", "somebody ran `nft flush table`: the table is there, and has no rule", "our-rules", Network, needBridge, func(*view) ([]Change, error) {
			return own(&ownRules{}), nil
		}},
		{"rule-inserted", "somebody put a rule of his own before minictr's", "our-rules", Network, needBridge, func(v *view) ([]Change, error) {
			return own(&ownRules{Chain: "forward", Insert: &match{In: v.bridge.Name, Verdict: "drop"}}), nil
		}},
		{"element-missing", "somebody took the bridge out of those that lead back into their own network", "our-rules", Network, needBridge, func(v *view) ([]Change, error) {
			name := v.bridge.Name
			return ownElement("same", name+" . "+name, func(e nftables.SetElement) bool { return bytes.HasPrefix(e.Key, ifname(name)) })
		}},
		{"published-missing", "somebody took the published port out of the map", "published", Network, needInner | needPorts, func(v *view) ([]Change, error) {
			_, changes, err := v.publishedElement()
			return changes, err
		}},
		{"published-wrong", "somebody had the published port lead to an address that nobody has", "published", Network, needInner | needPorts, func(v *view) ([]Change, error) {
			right, changes, err := v.publishedElement()
			if err != nil {
				return nil, err
			}
			wrong := *right
			wrong.Elements = nil
			for _, e := range right.Elements {
				e.Val = bytes.Replace(e.Val, v.address.AsSlice(), v.unused().AsSlice(), 1)
				wrong.Elements = append(wrong.Elements, e)
			}
			wrong.Instead = right.Elements
			wrong.Value = fmt.Sprintf("comment %q : %s . %d", right.Elements[0].Comment, v.unused(), v.ports()[0].ContainerPort)
			changes[0] = Change{Thing: &wrong}
			return changes, nil
		}},
	}
}

func own(t thing) []Change { return []Change{{Take: true, Thing: t}} }

// ownElement is the change that an element of our table is gone.
func ownElement(set, text string, wanted func(nftables.SetElement) bool) ([]Change, error) {
	list, err := elementsOf(set, wanted)
	if err == nil && len(list) == 0 {
		err = errors.New("element " + text + " of set " + set + " in table ip minictr is not there")
	}
	return own(&element{Set: set, Elements: list, Text: text}), err
}

// publishedElement is the element of the first published port, and the change that
// it is gone.
func (v *view) publishedElement() (*element, []Change, error) {
	p := v.ports()[0]
	set, text := "everywhere", p.Protocol+" . "+itoa(p.HostPort)
	key := bytes.Join([][]byte{{6, 0, 0, 0}, {byte(p.HostPort >> 8), byte(p.HostPort), 0, 0}}, nil)
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		set, text = "published", p.Protocol+" . "+p.HostIP.String()+" . "+itoa(p.HostPort)
		key = bytes.Join([][]byte{{6, 0, 0, 0}, p.HostIP.AsSlice(), {byte(p.HostPort >> 8), byte(p.HostPort), 0, 0}}, nil)
	}
	changes, err := ownElement(set, text, func(e nftables.SetElement) bool { return bytes.Equal(e.Key, key) })
	if err != nil {
		return nil, nil, err
	}
	return changes[0].Thing.(*element), changes, nil
}
