package main

import "github.com/minictr/minictr/network"

// addNetwork adds what the kernel has of the network. What docker has once, for
// the default network, is that of the first interface.
func (v *networkSettingsView) addNetwork(live *network.Live) {
	v.Drift, v.Rules = listOf(live.Drift), []string{}
	for i, a := range live.Attachments {
		e := newEndpointView(a)
		v.Networks[a.Network] = e
		for _, rule := range a.Rules {
			v.addRule(rule)
		}
		if i == 0 {
			v.IPAddress, v.IPPrefixLen, v.Gateway, v.MacAddress, v.Veth = e.IPAddress, e.IPPrefixLen, e.Gateway, e.MacAddress, e.Veth
			v.GlobalIPv6Address, v.GlobalIPv6PrefixLen, v.IPv6Gateway = e.GlobalIPv6Address, e.GlobalIPv6PrefixLen, e.IPv6Gateway
		}
	}
}

// addRule adds a rule, unless another network of the container has it too.
func (v *networkSettingsView) addRule(rule string) {
	for _, have := range v.Rules {
		if have == rule {
			return
		}
	}
	v.Rules = append(v.Rules, rule)
}

func newEndpointView(a *network.Attachment) endpointView {
	veth := &vethView{
		Interface: a.Interface, Index: a.Index, HostInterface: a.HostInterface, HostIndex: a.HostIndex, MTU: a.MTU,
		Addresses: []string{}, Bridge: a.Bridge, BridgeIndex: a.BridgeIndex, PortState: a.PortState,
	}
	v := endpointView{NetworkID: a.Network, EndpointID: a.HostInterface, MacAddress: a.MAC, Aliases: listOf(a.Aliases), Veth: veth}
	for _, p := range a.Addresses {
		veth.Addresses = append(veth.Addresses, p.String())
		switch {
		case p.Addr().Is4() && v.IPAddress == "":
			v.IPAddress, v.IPPrefixLen = p.Addr().String(), p.Bits()
		case p.Addr().Is6() && !p.Addr().IsLinkLocalUnicast() && v.GlobalIPv6Address == "":
			v.GlobalIPv6Address, v.GlobalIPv6PrefixLen = p.Addr().String(), p.Bits()
		}
	}
	if a.Gateway.IsValid() {
		v.Gateway = a.Gateway.String()
	}
	if a.Gateway6.IsValid() {
		v.IPv6Gateway = a.Gateway6.String()
	}
	return v
}
