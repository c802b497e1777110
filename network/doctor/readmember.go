package doctor

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/network/survey"
)

// Survey reads the namespaces of the host and of all the patients, and where strangers
// are on their bridges, those of the strangers.
func Survey(patients []Patient) (*survey.Host, error) {
	var sources []survey.Source
	ours := map[string]bool{}
	for _, p := range patients {
		if p.Network == nil {
			continue
		}
		ns := p.netns()
		if ns.Path == "" {
			ns.Path = filepath.Join("/run/netns", ns.Name)
		}
		sources = append(sources, survey.Source{Path: ns.Path, Inode: ns.Inode})
		for _, e := range p.Network.Endpoints {
			ours[e.Network.Bridge] = true
			if e.Network.Driver != network.MacvlanDriver {
				// Without a question the kernel may notice a cable a second later. Where
				// there is none, that is a finding.
				_ = (&network.SyncCarrier{Host: e.Interface.Host, Bridge: e.Network.Bridge}).Apply()
			}
		}
	}
	h, err := survey.Read(sources)
	if err != nil || !strangers(h, ours) {
		return h, err
	}
	all, err := namespaces.Read(namespaces.Network)
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		switch {
		case len(n.Paths) > 0:
			sources = append(sources, survey.Source{Path: n.Paths[0], Inode: n.Inode})
		case len(n.Processes) > 0:
			sources = append(sources, survey.Source{Path: fmt.Sprintf("/proc/%d/ns/net", n.Processes[0].Pid), Inode: n.Inode})
		}
	}
	return survey.Read(sources)
}

// strangers reports whether somebody is on one of the bridges whose other end nobody
// knows.
func strangers(h *survey.Host, bridges map[string]bool) bool {
	here := h.Namespaces[0]
	for i := range here.Links {
		l := &here.Links[i]
		master := here.Link(l.Master)
		if master == nil || !bridges[master.Name] || l.Kind != "veth" {
			continue
		}
		if ns, _ := h.Peer(here, l); ns == nil {
			return true
		}
	}
	return false
}

// strayName is what minictr calls the host's end of a cable.
func strayName(name string) bool {
	digits, _, _ := strings.Cut(strings.TrimPrefix(name, "veth"), "-")
	return strings.HasPrefix(name, "veth") && len(digits) == 8 && strings.Trim(digits, "0123456789abcdef") == ""
}

// readMembers looks who is on the bridges, and what addresses they have.
func (f *Facts) readMembers(r Request) {
	if f.Network == nil {
		return
	}
	for _, e := range f.Network.Endpoints {
		bridge := f.Host.LinkNamed(e.Network.Bridge)
		if bridge == nil || e.Network.Driver == network.MacvlanDriver {
			continue
		}
		for i := range f.Host.Links {
			if port := &f.Host.Links[i]; port.Master == bridge.Index && port.Name != e.Interface.Host {
				f.Members = append(f.Members, f.member(r, e, port))
			}
		}
	}
}

func (f *Facts) member(r Request, e network.Endpoint, port *survey.Link) Member {
	m := Member{Bridge: e.Network.Bridge, Port: port.Name, Kind: port.Kind, PortMAC: port.MAC, MTU: port.MTU, Alone: strayName(port.Name)}
	for _, o := range r.Others {
		if o.Network == nil {
			continue
		}
		for _, x := range o.Network.Endpoints {
			if x.Interface.Host == port.Name {
				m.Name, m.Known, m.Alone, m.Given = o.Name, true, false, x.Interface.MAC
			}
		}
	}
	if _, other := r.Survey.Peer(r.Survey.Namespaces[0], port); other != nil {
		m.MAC = other.MAC
		for _, a := range other.Addresses {
			m.Addresses = append(m.Addresses, a.Prefix)
		}
	}
	return m
}
