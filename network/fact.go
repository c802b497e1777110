package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A Fact is one thing that a container's network has at this moment, with where that
// was read, beside what was asked for.
type Fact struct {
	Field  string // "eth0 address"
	Value  string // what the kernel says; empty: it has nothing of the kind
	Source string // the message, file or table that says so: "RTM_GETADDR in net:[4026532471]"
	Asked  string // empty: nobody has asked for it
	Drift  string // what is not as asked, in words; empty: it is as asked, or nobody's business
}

// Words of Drift. Only what is not there or is not as asked has one.
const (
	driftAdded   = "nobody asked for it"
	driftGone    = "it is missing"
	driftChanged = "it differs"
)

// Facts reads what the container of the configuration has inside and on the host.
// What was asked for and is not there is a fact without a value.
func Facts(cfg *Config) ([]Fact, error) {
	f := &facts{cfg: cfg}
	var errs []error
	if cfg.Mode == Bridge || cfg.Mode == None || cfg.Mode == Namespace {
		errs = append(errs, explain("read", "the network"+cfg.Netns.where(), once(cfg.Netns, f.inside)))
	}
	errs = append(errs, explain("read", "the host's network", once(Netns{}, f.host)), f.shared(), f.ports())
	return f.list, errors.Join(errs...)
}

type facts struct {
	cfg   *Config
	list  []Fact
	index map[string]int // of the containers' ends, by the names that were asked for
}

// tell adds a fact that was asked for; drift is set when it is not so.
func (f *facts) tell(field, value, source, asked string) {
	drift := ""
	switch {
	case value == asked:
	case value == "":
		drift = driftGone
	case asked == "":
		drift = driftAdded
	default:
		drift = driftChanged
	}
	f.list = append(f.list, Fact{field, value, source, asked, drift})
}

// aside adds a fact that nobody asked for, and that is the kernel's own.
func (f *facts) aside(field, value, source string) {
	f.list = append(f.list, Fact{Field: field, Value: value, Source: source})
}

func upText(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// contents is what a namespace has.
type contents struct {
	links     []*link
	addresses []address
	routes    []route
}

func (c *conn) contents() (s contents, err error) {
	var errs [3]error
	s.links, errs[0] = c.links()
	s.addresses, errs[1] = c.addresses(unix.AF_UNSPEC, 0)
	s.routes, errs[2] = c.routes(unix.AF_UNSPEC, unix.RT_TABLE_MAIN)
	return s, errors.Join(errs[:]...)
}

// find finds a link by its name, or else by its MAC: then it was renamed.
func (s contents) find(name, mac string) *link {
	for _, is := range []func(*link) bool{
		func(l *link) bool { return l.name == name },
		func(l *link) bool { return mac != "" && l.mac == mac && l.name != "lo" },
	} {
		if i := slices.IndexFunc(s.links, is); i >= 0 {
			return s.links[i]
		}
	}
	return nil
}

// inside reads the container's namespace.
func (f *facts) inside(c *conn) error {
	s, err := c.contents()
	if err != nil {
		return err
	}
	f.index = map[string]int{}
	known := map[int]bool{}
	for _, e := range f.cfg.Endpoints {
		i := e.Interface
		l := s.find(i.Name, i.MAC)
		if l == nil {
			f.tell(i.Name, "", "RTM_GETLINK", i.Name)
			continue
		}
		f.index[i.Name], known[l.index] = l.index, true
		f.link(l, i)
		f.addresses(s, l, i)
	}
	f.routes(s)
	f.others(s, known)
	return nil
}

// link tells of the container's end.
func (f *facts) link(l *link, i Interface) {
	f.tell(i.Name, l.name, fmt.Sprintf("RTM_GETLINK, index %d", l.index), i.Name)
	f.tell(i.Name+" state", upText(l.up), "RTM_GETLINK, IFF_UP", "up")
	f.tell(i.Name+" MAC", l.mac, "RTM_GETLINK, IFLA_ADDRESS", i.MAC)
	f.tell(i.Name+" MTU", fmt.Sprint(l.mtu), "RTM_GETLINK, IFLA_MTU", fmt.Sprint(i.MTU))
}

// addresses tells of those that were asked for, and of those that are there beside.
func (f *facts) addresses(s contents, l *link, i Interface) {
	const source = "RTM_GETADDR"
	field := i.Name + " address"
	asked := i.Addresses()
	for _, a := range asked {
		value := ""
		if slices.Contains(s.addresses, address{l.index, a}) {
			value = a.String()
		}
		f.tell(field, value, source, a.String())
	}
	for _, a := range s.addresses {
		switch {
		case a.index != l.index || slices.Contains(asked, a.prefix):
		case a.prefix.Addr().Is6() && a.prefix.Addr().IsLinkLocalUnicast():
			f.aside(field, a.prefix.String(), source+", made by the kernel")
		default:
			f.tell(field, a.prefix.String(), source, "")
		}
	}
}

// text is a route as ip-route(8) prints it.
func (r route) text(link string) string {
	to := r.to.String()
	if r.to.Bits() == 0 {
		to = "default"
		if r.to.Addr().Is6() {
			to = "default (IPv6)"
		}
	}
	if r.gateway.IsValid() {
		to += " via " + r.gateway.String()
	}
	if link != "" {
		to += " dev " + link
	}
	return to
}

// nameOf is the name of a link; empty for none.
func (s contents) nameOf(index int) string {
	for _, l := range s.links {
		if l.index == index {
			return l.name
		}
	}
	return ""
}

// routes tells of the routes of the main table. The kernel makes one for each
// address, which goes with it.
func (f *facts) routes(s contents) {
	const source = "RTM_GETROUTE, table main"
	type wanted struct {
		gateway netip.Addr
		name    string
	}
	var asked []wanted
	for _, e := range f.cfg.Endpoints {
		if e.Default {
			asked = append(asked, wanted{e.Network.Gateway.Addr(), e.Interface.Name})
		}
		if e.Default6 {
			asked = append(asked, wanted{e.Network.Gateway6.Addr(), e.Interface.Name})
		}
	}
	for _, w := range asked {
		to := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if w.gateway.Is6() {
			to = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		r := route{to: to, gateway: w.gateway, index: f.index[w.name]}
		fact := Fact{Field: "route", Source: source, Asked: r.text(w.name), Drift: driftGone}
		is := func(have route) bool { return have.to == to && have.gateway == w.gateway && have.index == r.index }
		if i := slices.IndexFunc(s.routes, is); i >= 0 && r.index != 0 {
			fact.Value, fact.Drift = r.text(s.nameOf(r.index)), ""
			s.routes = slices.Delete(slices.Clone(s.routes), i, i+1)
		}
		f.list = append(f.list, fact)
	}
	for _, r := range s.routes {
		ofAddress := func(a address) bool { return a.index == r.index && a.prefix.Masked() == r.to }
		switch {
		case !r.gateway.IsValid() && slices.ContainsFunc(s.addresses, ofAddress):
			f.aside("route", r.text(s.nameOf(r.index)), source+", made by the kernel for an address")
		case f.cfg.Netns.Foreign:
			f.aside("route", r.text(s.nameOf(r.index)), source)
		default:
			f.tell("route", r.text(s.nameOf(r.index)), source, "")
		}
	}
}

// others tells of lo, and of links that nobody asked for. In somebody else's namespace
// they are that one's; and some kernels put links that are down into each namespace.
func (f *facts) others(s contents, known map[int]bool) {
	for _, l := range s.links {
		switch hasAddress := slices.ContainsFunc(s.addresses, func(a address) bool { return a.index == l.index }); {
		case known[l.index]:
		case l.name == "lo" && !f.cfg.Netns.Foreign:
			f.tell("lo state", upText(l.up), "RTM_GETLINK, IFF_UP", "up")
		case f.cfg.Netns.Foreign:
			f.aside("link", l.name+" "+upText(l.up), fmt.Sprintf("RTM_GETLINK, index %d", l.index))
			for _, a := range s.addresses {
				if a.index == l.index {
					f.aside(l.name+" address", a.prefix.String(), "RTM_GETADDR")
				}
			}
		case l.up || hasAddress:
			f.tell("link", l.name, fmt.Sprintf("RTM_GETLINK, index %d", l.index), "")
		}
	}
}
