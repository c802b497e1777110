package network

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// host reads the other ends, and the bridges.
func (f *facts) host(c *conn) error {
	links, err := c.links()
	if err != nil {
		return err
	}
	s := contents{links: links}
	for _, e := range f.cfg.Endpoints {
		if e.Network.Driver == MacvlanDriver {
			name := ""
			if s.find(e.Network.Bridge, "") != nil {
				name = e.Network.Bridge
			}
			f.tell("parent", name, "RTM_GETLINK on the host", e.Network.Bridge)
			continue
		}
		f.cable(s, e)
		f.bridge(s, e.Network)
		drift, err := e.Network.drift(c, 1)
		if err != nil {
			return err
		}
		f.gateways(e.Network, drift)
	}
	return nil
}

// cable tells of the host's end of a container's cable. One that was renamed is found
// by the container's end.
func (f *facts) cable(s contents, e Endpoint) {
	name, field := e.Interface.Host, e.Interface.Host
	l := s.find(name, "")
	if l == nil {
		inside := f.index[e.Interface.Name]
		bridge := s.find(e.Network.Bridge, "")
		renamed := func(l *link) bool {
			return l.kind == "veth" && inside != 0 && l.peer == inside && bridge != nil && l.master == bridge.index
		}
		if i := slices.IndexFunc(s.links, renamed); i >= 0 {
			l = s.links[i]
		}
	}
	if l == nil {
		f.tell(field, "", "RTM_GETLINK on the host", name)
		return
	}
	f.tell(field, l.name, fmt.Sprintf("RTM_GETLINK on the host, index %d", l.index), name)
	f.tell(field+" state", upText(l.up), "RTM_GETLINK on the host, IFF_UP", "up")
	f.tell(field+" MTU", fmt.Sprint(l.mtu), "RTM_GETLINK on the host, IFLA_MTU", fmt.Sprint(e.Interface.MTU))
	master := ""
	if i := slices.IndexFunc(s.links, func(m *link) bool { return l.master != 0 && m.index == l.master }); i >= 0 {
		master = s.links[i].name
	}
	f.tell(field+" bridge", master, "RTM_GETLINK on the host, IFLA_MASTER", e.Network.Bridge)
	if l.port != "" {
		f.tell(field+" port", l.port, "RTM_GETLINK on the host, IFLA_BRPORT_STATE", "forwarding")
	}
}

func (f *facts) bridge(s contents, n Network) {
	l := s.find(n.Bridge, "")
	if l == nil || l.kind != "bridge" {
		f.tell(n.Bridge, "", "RTM_GETLINK on the host", n.Bridge)
		return
	}
	f.tell(n.Bridge, l.name, fmt.Sprintf("RTM_GETLINK on the host, index %d", l.index), n.Bridge)
	f.tell(n.Bridge+" state", upText(l.up), "RTM_GETLINK on the host, IFF_UP", "up")
}

// gateways tells of the bridge's addresses; more than the network's are nobody's
// business.
func (f *facts) gateways(n Network, drift []*Drift) {
	for _, want := range n.gateways() {
		value := want.String()
		for _, d := range drift {
			switch {
			case d.Kind == BridgeReaddressed && d.Want == want:
				value = texts(d.Have)
			case d.Kind == BridgeMissing || d.Kind == NameTaken:
				value = ""
			}
		}
		f.tell(n.Bridge+" address", value, "RTM_GETADDR on the host", want.String())
	}
}

// shared reads sysctls and nf_tables, by what the steps check.
func (f *facts) shared() error {
	var errs []error
	for _, s := range Shared(f.cfg) {
		switch s := s.(type) {
		case *SetSysctl:
			errs = append(errs, f.sysctl(s.Key, s.Value))
		case *ForwardIPv6:
			errs = append(errs, f.sysctl(forwardIPv6, "1"))
		case *AddFirewall:
			errs = append(errs, f.rules(s))
		}
	}
	return errors.Join(errs...)
}

func (f *facts) sysctl(key, want string) error {
	value, err := readSysctl("/proc/sys/" + key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without it, or a link that is gone, needs no such setting
	}
	field, source := "sysctl "+key[strings.LastIndexByte(key, '/')+1:], "/proc/sys/"+key
	if slices.ContainsFunc(f.list, func(old Fact) bool { return old.Source == source }) {
		return nil // of another network, too
	}
	f.tell(field, value, source, want)
	return step.Fail("read", "/proc/sys/"+key, err)
}

// rules tells of the network's rules and elements as a whole; inspect lists them.
func (f *facts) rules(s *AddFirewall) error {
	list, err := rulesOf(s.Network)
	f.checked(Fact{Field: "rules of network " + s.Network, Value: fmt.Sprintf("%d rules and elements", len(list)), Source: "nf_tables, tables minictr"}, s)
	return step.Fail("read", "nf_tables", err)
}

// ports tells of each published port, and of what they need beside it.
func (f *facts) ports() error {
	var errs []error
	for _, s := range publish(f.cfg, f.cfg.Ports) {
		switch s := s.(type) {
		case *PublishPorts: // each by itself, below
		case *SetSysctl:
			errs = append(errs, f.sysctl(s.Key, s.Value))
		case *SetHairpin:
			f.checked(Fact{s.Link + " hairpin", "on", "RTM_GETLINK on the host, IFLA_BRPORT_MODE", "on", ""}, s)
		default: // AddBounce
			f.checked(Fact{"answers to [::1]", "led", "RTM_GETLINK, RTM_GETROUTE on the host", "led", ""}, s)
		}
	}
	for _, p := range f.cfg.Ports {
		for _, s := range publish(f.cfg, []Port{p}) {
			if one, ok := s.(*PublishPorts); ok {
				f.checked(Fact{"port " + p.String(), "published", "nf_tables, maps of the tables minictr", "published", ""}, one)
			}
		}
	}
	return errors.Join(errs...)
}

// checked tells of what a step checks. Where it is not so, what was asked is not there.
func (f *facts) checked(fact Fact, s step.Step) {
	if err := s.Check(); err != nil {
		fact.Drift = err.Error()
		if fact.Value == fact.Asked {
			fact.Value = ""
		}
	}
	f.list = append(f.list, fact)
}
