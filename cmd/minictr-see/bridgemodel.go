package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-see/diagram"
	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/network/survey"
)

// bridgeView is a bridge of the caller's network namespace, with what is plugged in.
// The keys are those of bridge -j and ip -j, where they have them.
type bridgeView struct {
	Name      string       `json:"ifname"`
	Index     int          `json:"ifindex"`
	ID        string       `json:"bridge_id"`
	STP       bool         `json:"stp"`
	Up        bool         `json:"up"`
	MAC       string       `json:"address"`
	MTU       int          `json:"mtu"`
	VLANs     bool         `json:"vlan_filtering"`
	Ageing    float64      `json:"ageing_time"` // seconds
	Network   string       `json:"network,omitempty"`
	Addresses []string     `json:"addresses"`
	Ports     []bridgePort `json:"ports"`
	FDB       []bridgeMAC  `json:"fdb"`
}

// bridgePort is one link of it.
type bridgePort struct {
	Name      string       `json:"ifname"`
	Index     int          `json:"ifindex"`
	Number    uint16       `json:"port"`
	MAC       string       `json:"address"`
	MTU       int          `json:"mtu"`
	Up        bool         `json:"up"`
	Carrier   bool         `json:"carrier"`
	State     string       `json:"state"`
	Priority  uint16       `json:"priority"`
	Cost      uint32       `json:"cost"`
	Hairpin   bool         `json:"hairpin"`
	Guard     bool         `json:"guard"`
	RootBlock bool         `json:"root_block"`
	Learning  bool         `json:"learning"`
	Flood     bool         `json:"flood"`
	Isolated  bool         `json:"isolated"`
	VLANs     []bridgeVLAN `json:"vlans,omitempty"`
	// Foreign is whether somebody else than minictr has plugged it into a bridge of
	// minictr's.
	Foreign bool        `json:"foreign"`
	Kind    string      `json:"kind,omitempty"`
	Holder  string      `json:"holder,omitempty"` // of a tap: the virtual machine
	Peer    *bridgePeer `json:"peer,omitempty"`
}

// bridgePeer is the other end of a port's cable.
type bridgePeer struct {
	Name      string   `json:"ifname,omitempty"`
	Index     int      `json:"ifindex"`
	NSID      *int     `json:"netnsid,omitempty"` // that the port has for it; none: it is in the same namespace
	Inode     uint64   `json:"netns,omitempty"`   // 0: nobody shows that namespace
	Place     string   `json:"place"`             // "container web", "netns blue", "here"
	MAC       string   `json:"address,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

type bridgeVLAN struct {
	ID       uint16 `json:"vlan"`
	PVID     bool   `json:"pvid"`
	Untagged bool   `json:"untagged"`
}

// bridgeMAC is an entry of its forwarding table.
type bridgeMAC struct {
	MAC     string  `json:"mac"`
	Port    string  `json:"ifname"`
	VLAN    uint16  `json:"vlan,omitempty"`
	State   string  `json:"state"`
	Local   bool    `json:"local"`
	Updated float64 `json:"updated"` // seconds since it was seen
	Used    float64 `json:"used"`
	Owner   string  `json:"owner,omitempty"` // whose it is: "eth0 of container web"
}

// A bridgeReader makes views of what was surveyed.
type bridgeReader struct {
	host     *survey.Host
	places   map[uint64]string // of namespaces, by their inodes
	networks map[string]string // of minictr, by the names of their bridges
	ours     map[string]bool   // ports that minictr has plugged in
	taps     map[string]diagram.Owner
}

// here is the namespace that the bridges are in.
func (r *bridgeReader) here() *survey.Netns { return r.host.Namespaces[0] }

// views are all bridges, or the one of the name.
func (r *bridgeReader) views(name string) []bridgeView {
	views := []bridgeView{}
	for i := range r.here().Links {
		l := &r.here().Links[i]
		if l.Bridge != nil && (name == "" || l.Name == name || slices.Contains(l.AltNames, name)) {
			views = append(views, r.bridge(l))
		}
	}
	return views
}

func (r *bridgeReader) bridge(l *survey.Link) bridgeView {
	v := bridgeView{
		Name: l.Name, Index: l.Index, ID: l.Bridge.ID, STP: l.Bridge.STP, Up: l.Up, MAC: l.MAC, MTU: l.MTU, VLANs: l.Bridge.VLANFiltering,
		Ageing: l.Bridge.Ageing.Seconds(), Network: r.networks[l.Name], Addresses: prefixes(l), Ports: []bridgePort{}, FDB: []bridgeMAC{},
	}
	ports := r.here().Ports(l.Index)
	slices.SortStableFunc(ports, func(a, b *survey.Link) int { return portNumber(a) - portNumber(b) })
	for _, p := range ports {
		v.Ports = append(v.Ports, r.port(p, v.Network != ""))
	}
	for i := range r.here().FDB {
		e := &r.here().FDB[i]
		if e.Master != l.Index && (e.Link != l.Index || e.Master != 0 || e.State == "permanent" && isGroup(e.MAC)) {
			continue
		}
		m := bridgeMAC{MAC: e.MAC, VLAN: e.VLAN, State: e.State, Local: e.Local, Updated: e.Updated.Seconds(), Used: e.Used.Seconds(), Owner: r.macOwner(e)}
		if p := r.here().Link(e.Link); p != nil {
			m.Port = p.Name
		}
		v.FDB = append(v.FDB, m)
	}
	return v
}

func portNumber(l *survey.Link) int {
	if l.Port == nil {
		return 0
	}
	return int(l.Port.Number)
}

// isGroup tells whether it is an address of many.
func isGroup(mac string) bool {
	return len(mac) > 1 && strings.ContainsRune("13579bdf", rune(mac[1]))
}

func (r *bridgeReader) port(l *survey.Link, network bool) bridgePort {
	p := bridgePort{Name: l.Name, Index: l.Index, MAC: l.MAC, MTU: l.MTU, Up: l.Up, Carrier: l.Running, Kind: l.Kind, Foreign: network && !r.ours[l.Name], Peer: r.peer(l)}
	if vm, ok := r.taps[l.Name]; ok {
		p.Holder = terminal.Visible(vm.Name)
	}
	if b := l.Port; b != nil {
		p.Number, p.State, p.Priority, p.Cost = b.Number, b.State, b.Priority, b.Cost
		p.Hairpin, p.Guard, p.RootBlock, p.Learning, p.Flood, p.Isolated = b.Hairpin, b.Guard, b.RootBlock, b.Learning, b.Flood, b.Isolated
		for _, v := range b.VLANs {
			p.VLANs = append(p.VLANs, bridgeVLAN(v))
		}
	}
	return p
}

// peer finds the other end of a cable; nil for what is no cable.
func (r *bridgeReader) peer(l *survey.Link) *bridgePeer {
	if l.Kind != "veth" || l.Peer == 0 {
		return nil
	}
	p := &bridgePeer{Index: l.Peer, Place: "here"}
	if l.PeerNSID >= 0 {
		p.NSID, p.Place = &l.PeerNSID, "a network namespace that no process shows"
	}
	n, end := r.host.Peer(r.here(), l)
	if n != nil {
		p.Inode = n.Inode
		if n != r.here() {
			p.Place = r.places[n.Inode]
		}
	}
	if end != nil {
		p.Name, p.MAC, p.Addresses = end.Name, end.MAC, prefixes(end)
	}
	return p
}

// prefixes are the addresses of a link that others may know: not those of IPv6 that are
// good on the cable only.
func prefixes(l *survey.Link) []string {
	list := []string{}
	for _, a := range l.Addresses {
		if a.Scope != "link" {
			list = append(list, a.Prefix.String())
		}
	}
	return list
}

// macOwner says whose address it is: the bridge's, the port's, or that of a link in the
// namespace behind the port.
func (r *bridgeReader) macOwner(e *survey.FDBEntry) string {
	port := r.here().Link(e.Link)
	if port == nil {
		return ""
	}
	if e.Local {
		if port.Bridge != nil {
			return "the bridge"
		}
		if bridge := r.here().Link(e.Master); port.MAC != e.MAC && bridge != nil && bridge.MAC == e.MAC {
			return "the bridge"
		}
		return "the port"
	}
	n, _ := r.host.Peer(r.here(), port)
	if n == nil {
		return ""
	}
	for i := range n.Links {
		if l := &n.Links[i]; l.MAC == e.MAC && !l.Loopback() {
			return r.linkWords(n, l.Name)
		}
	}
	return ""
}

func (r *bridgeReader) linkWords(n *survey.Netns, link string) string {
	if n == r.here() {
		return terminal.Visible(link) + " here"
	}
	return terminal.Visible(link) + " of " + r.places[n.Inode]
}

// place says whose a namespace is, for people.
func place(n namespaces.Namespace, containers map[uint64]string, names map[string]string) string {
	if name, ok := containers[n.Inode]; ok {
		return "container " + name
	}
	switch owner := n.Owner(); owner.Kind {
	case "", "unit", "kernel":
		if leader := n.Leader(); leader.Pid != 0 {
			return processWords(leader)
		}
		return fmt.Sprintf("net:[%d]", n.Inode)
	case "host":
		return "the host"
	default:
		return ownerNamed(owner, names).String()
	}
}
