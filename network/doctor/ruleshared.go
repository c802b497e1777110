package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/runtime/step"
)

// shared is about what all networks of the container have in common: the firewalls, its
// published ports and its names.
func (d *diagnosis) shared() {
	if len(d.Network.Endpoints) == 0 {
		return
	}
	d.tables()
	d.walls()
	d.published()
	d.resolver()
	d.upstream()
}

// tables compares minictr's own tables with what they should have.
func (d *diagnosis) tables() {
	for _, x := range d.Checked {
		s, ok := x.Step.(*network.AddFirewall)
		if !ok || x.Err == nil {
			continue
		}
		for _, drift := range drifts(x.Err) {
			d.drift(s, drift)
		}
		if len(drifts(x.Err)) == 0 {
			d.fault(Finding{Check: "table", Object: s.Network, What: "it cannot be read: " + reason(x.Err), Show: "nft list tables"})
		}
	}
	for _, id := range []ID{"table", "masquerade", "our-rules"} {
		if !d.has(id) && !d.has("table") {
			d.ok(id, "", "")
		}
	}
}

// drifts takes an error apart.
func drifts(err error) (list []*network.FirewallDrift) {
	var e *step.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			list = append(list, drifts(one)...)
		}
		return list
	}
	if d, ok := errors.AsType[*network.FirewallDrift](err); ok {
		list = append(list, d)
	}
	return list
}

func (d *diagnosis) drift(s *network.AddFirewall, drift *network.FirewallDrift) {
	table := "table " + drift.Family + " minictr"
	show := "nft list table " + drift.Family + " minictr"
	renew := append([]Remedy{{Renew: s, Command: "minictr network reload"}}, steps(network.Publish(d.Network)...)...)
	if drift.NoTable {
		d.fault(Finding{
			Check: "table", Object: table, What: "it is not there", Why: upper(s.Words()), Show: "nft list tables", Ours: true,
			Remedies: []Remedy{{Reload: true}},
		})
		return
	}
	var hidden, lost []string
	masquerade := false
	for _, p := range drift.Missing {
		where := p.Chain
		if p.Set != "" {
			where = "set " + p.Set
		}
		text := fmt.Sprintf("%s: %s", where, p.Text)
		if p.Masquerade {
			masquerade = true
			hidden = append(hidden, text)
		} else {
			lost = append(lost, text)
		}
	}
	if masquerade && len(lost) == 0 {
		d.fault(Finding{
			Check: "masquerade", Object: table, What: "it lacks in " + strings.Join(hidden, "; "), Ours: true, Show: show, Remedies: renew,
			Why: "packets leave with the container's own address, to which nobody outside has a route: no answer comes back",
		})
	}
	if len(lost) > 0 {
		more := ""
		if n := len(lost) + len(hidden) - 1; n > 0 {
			more = fmt.Sprintf(", and %d more", n)
		}
		d.fault(Finding{Check: "our-rules", Object: table, What: "it lacks in " + lost[0] + more, Ours: true, Show: show, Remedies: renew, Why: upper(s.Words())})
	}
	for _, p := range drift.Foreign {
		where := "chain " + p.Chain
		if p.Set != "" {
			where = "set " + p.Set
		}
		d.fault(Finding{
			Check: "our-rules", Object: table, What: fmt.Sprintf("%s has what minictr did not put there: %s", where, p.Text), Ours: true,
			Why: "rules that others put into minictr's table are asked with its own", Show: "nft -a list table " + drift.Family + " minictr", Remedies: sh(p.Delete),
		})
	}
}

// checkOf says which check a verdict of a foreign table belongs to.
func checkOf(w Wall) ID {
	switch {
	case w.Aim == ToTarget:
		return "target-firewall"
	case w.Aim == Within:
		return "br-netfilter"
	case w.Aim == ToPort && (w.Kind == "rewrite" || w.Hook == "prerouting"):
		return "published-foreign"
	case w.Kind == "rewrite":
		return "nat-foreign"
	case w.Aim == ToHost && w.Layer == "ip" && w.Hook != "prerouting":
		return "input-foreign"
	}
	return "forward-foreign"
}

// walls tells what tables of others do.
func (d *diagnosis) walls() {
	whys := map[ID]string{
		"forward-foreign":   "in Linux every table has its say: an accept in minictr's does not undo a drop in another",
		"input-foreign":     "the name server and the gateway are the host itself; what is dropped on the way to it gets no answer",
		"nat-foreign":       "the first rule that translates wins, and the packets go elsewhere",
		"published-foreign": "what comes to the published port never gets to minictr's rule",
		"br-netfilter":      "with br_netfilter the rules for forwarding see what only goes from port to port",
		"target-firewall":   "the packets to the target meet this rule",
	}
	told := map[string]ID{} // by the rule: the check that it was told of first
	places := order()
	list := slices.Clone(d.Walls)
	slices.SortStableFunc(list, func(a, b Wall) int { return cmp.Compare(places[checkOf(a)], places[checkOf(b)]) })
	for _, w := range list {
		id := checkOf(w)
		if told[string(id)+w.Where] != "" {
			continue
		}
		told[string(id)+w.Where] = id
		f := Finding{
			Check: id, Object: w.Owner, What: verb(w) + w.What + ": " + w.Where + " (" + w.Owner + ")", Why: whys[id], Show: w.Show, Remedies: sh(w.Cure...),
		}
		if first := told[w.Where]; first != "" {
			f.Because = first
		} else {
			told[w.Where] = id
		}
		if w.Unsure {
			d.warn(f)
		} else {
			d.fault(f)
		}
	}
	for _, owner := range d.LegacyTables {
		d.warn(Finding{Check: "forward-foreign", Object: owner, What: owner + " has a table filter, whose rules cannot be read here", Why: "it may drop what minictr lets through", Show: owner + " -S FORWARD"})
	}
	for _, id := range []ID{"forward-foreign", "input-foreign", "nat-foreign"} {
		if !d.said(id) {
			d.ok(id, "", "")
		}
	}
	if d.said("br-netfilter") {
		return
	}
	if d.Host.sysctl("net/bridge/bridge-nf-call-iptables") == "1" {
		d.ok("br-netfilter", "", "")
	} else {
		d.skip("br-netfilter", "it is off")
	}
}

// published is about the container's published ports.
func (d *diagnosis) published() {
	ports := d.Network.Ports
	if len(ports) == 0 {
		for _, id := range []ID{"published", "listener", "published-foreign"} {
			d.skip(id, "it publishes no port")
		}
		return
	}
	found, err := d.failed(func(s step.Step) bool { _, ok := s.(*network.PublishPorts); return ok })
	if err != nil {
		d.fault(Finding{
			Check: "published", Object: ports[0].Where(), What: reason(err), Why: "a published port is an element of a map in minictr's table, and nothing else",
			Show: "nft list table ip minictr", Remedies: republish(found), Ours: true,
		})
	} else {
		d.ok("published", "", "%d of %d", len(ports), len(ports))
	}
	if s, err := d.failed(func(s step.Step) bool { _, ok := s.(*network.AddBounce); return ok }); err != nil {
		d.fault(Finding{Check: "published", Object: "::1", What: reason(err), Why: upper(s.Words()), Show: "ip link show type veth", Remedies: steps(s), Ours: true})
	}
	d.listeners()
	for _, s := range d.Taken {
		d.warn(Finding{
			Check: "published-foreign", Object: fmt.Sprintf("%d/%s", s.Port, s.Protocol), What: fmt.Sprintf("a process of the host listens at %s too", netip.AddrPortFrom(s.Address, s.Port)),
			Why: "it gets nothing: the packets go to the container", Show: "ss -ltnup",
		})
	}
	if !d.said("published-foreign") {
		d.ok("published-foreign", "", "")
	}
}

// republish takes away what stands at the ports, whoever put it there, and publishes them.
func republish(s step.Step) (list []Remedy) {
	p, ok := s.(*network.PublishPorts)
	if !ok {
		return steps(s)
	}
	for line := range strings.Lines((&network.UnpublishPorts{Ports: *p}).String()) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "delete element ") {
			continue
		}
		if i := strings.Index(line, " comment "); i >= 0 {
			line = line[:i] + " }"
		}
		list = append(list, Remedy{Command: "nft '" + line + "' 2>/dev/null || true"})
	}
	return append(list, steps(s)...)
}

// resolver is about names: whom the container asks, and who answers.
func (d *diagnosis) resolver() {
	r := d.Resolv
	want := addressesText(r.Want)
	fix := func() []Remedy {
		text := network.Resolver{Servers: r.Want, Options: []string{"ndots:0"}}.String()
		return []Remedy{{
			Command: d.exec("printf " + step.Quote(strings.ReplaceAll(text, "\n", `\n`)) + " > /etc/resolv.conf"),
			rewrite: &rewriting{d.Pid, "etc/resolv.conf", func(string) string { return text }},
		}}
	}
	f := Finding{
		Check: "resolv-conf", Object: "/etc/resolv.conf", Why: "programs ask for names whom this file says; only the name server of its network, " + want + ", knows the containers",
		Show: "minictr exec " + d.Name + " cat /etc/resolv.conf", Ours: true,
	}
	switch {
	case d.Pid == 0 || len(r.Want) == 0:
		d.skip("resolv-conf", "no name server of minictr's is meant for it")
	case r.Missing || r.Err == nil && len(r.Servers) == 0:
		f.What, f.Remedies = "it names no server", fix()
		d.fault(f)
	case r.Err != nil:
		f.What = r.Err.Error()
		d.fault(f)
	case r.Custom && !slices.Contains(r.Want, r.Servers[0]):
		f.What, f.Ours = "it is a file of the user's and names "+addressesText(r.Servers), false
		d.warn(f)
	case !slices.Contains(r.Want, r.Servers[0]):
		f.What, f.Remedies = "it names "+addressesText(r.Servers), fix()
		d.fault(f)
	default:
		d.ok("resolv-conf", "", "%s", addressesText(r.Servers))
	}
	for _, line := range r.Hosts {
		d.fault(Finding{
			Check: "nsswitch", Object: "/etc/hosts", What: "it gives the container's own name another address: " + strings.Join(strings.Fields(line), " "), Ours: true,
			Why: "the file is asked before any name server", Show: "minictr exec " + d.Name + " cat /etc/hosts",
			Remedies: []Remedy{{
				Command: d.exec("t=$(grep -vxF " + step.Quote(line) + ` /etc/hosts); echo "$t" > /etc/hosts`),
				rewrite: &rewriting{d.Pid, "etc/hosts", func(old string) string { return strings.Replace(old, line+"\n", "", 1) }},
			}},
		})
	}
	if len(r.Hosts) == 0 {
		d.ok("nsswitch", "", "")
	}
	for _, s := range d.Names {
		d.server(s)
	}
}

// exec is a command for the container's own shell.
func (d *diagnosis) exec(command string) string {
	return "minictr exec " + d.Name + " sh -c " + step.Quote(command)
}

func addressesText(list []netip.Addr) string {
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// server judges the name server of one network.
func (d *diagnosis) server(s Server) {
	start := planned(d, func(x *network.StartNames) bool { return x.Network.Name == s.Network })
	_, dead := d.failed(func(x step.Step) bool { y, ok := x.(*network.StartNames); return ok && y.Network.Name == s.Network })
	f := Finding{
		Check: "name-server", Object: s.Address.String(), Show: d.in("nslookup", d.Network.Netns.Name+" "+s.Address.String()),
		Why: "the container asks it for every name", Ours: true,
	}
	switch {
	case dead != nil:
		f.What, f.Remedies = "the name server of network "+s.Network+" does not run", []Remedy{{Command: "minictr network reload", Step: start}}
		f.Alone = !d.has("bridge") && !d.has("bridge-address")
		d.fault(f)
		return
	case !s.Answered:
		f.What = "it does not answer the container"
		switch {
		case s.Stopped:
			f.What += fmt.Sprintf(": its process %d is stopped", s.Pid)
			f.Remedies = sh(fmt.Sprintf("kill -CONT %d", s.Pid))
		case s.Err != nil && !timedOut(s.Err):
			f.What += ": " + s.Err.Error()
		}
		d.fault(f)
	default:
		d.ok("name-server", "", "%s", s.Address)
	}
	d.record(s)
}

// record is about what the name server knows of the container.
func (d *diagnosis) record(s Server) {
	found, err := d.failed(func(x step.Step) bool { y, ok := x.(names.AddName); return ok && y.Network == s.Network })
	switch {
	case err != nil && !d.Upstream.Recorded:
		d.fault(Finding{
			Check: "names", Object: s.Network, What: "the container's record is not as it was written: " + reason(err), Why: upper(found.Words()),
			Show: d.in("nslookup", d.Network.Netns.Name+" "+s.Address.String()), Remedies: []Remedy{{Command: "minictr network reload", Step: found}}, Ours: true,
		})
	case s.Wrong != "" && err == nil && s.Answered:
		d.fault(Finding{Check: "names", Object: s.Network, What: fmt.Sprintf("asked for %s it says %s", d.Network.Netns.Name, s.Wrong), Why: "others do not find the container by its name", Show: d.in("nslookup", d.Network.Netns.Name+" "+s.Address.String())})
	case s.Answered:
		d.ok("names", s.Network, "")
	}
}

// upstream is about who answers the name server.
func (d *diagnosis) upstream() {
	u := d.Upstream
	f := Finding{
		Check: "upstream", Object: addressesText(u.Servers), What: "none of the resolvers answers: " + addressesText(u.Servers), Show: "cat /etc/resolv.conf",
		Why: "names that are not of containers are asked there",
	}
	switch {
	case d.Network != nil && !slices.ContainsFunc(d.Network.Endpoints, func(e network.Endpoint) bool { return !e.Network.Internal }):
		d.skip("upstream", "an internal network has no names of outside")
	case d.Network != nil && len(d.Network.NameServers()) == 0:
		d.skip("upstream", "no name server of minictr's asks for it")
	case u.Left:
		d.skip("upstream", "the host's resolvers were asked once for all")
	case len(u.Servers) == 0:
		f.What, f.Why = "the host has no resolver", "only the names of containers are known"
		d.warn(f)
	case u.Answered:
		d.ok("upstream", "", "%s", addressesText(u.Servers))
	case u.Recorded:
		f.What = "the container's record names other resolvers than it was given, and none answers: " + addressesText(u.Servers)
		f.Ours, f.Show = true, "grep -r . /run/minictr/names"
		for _, x := range d.Checked {
			if s, ok := x.Step.(names.AddName); ok {
				f.Remedies = append(f.Remedies, Remedy{Command: "minictr network reload", Step: s})
			}
		}
		d.fault(f)
	case u.Own:
		f.What = "none of the resolvers of --dns answers: " + addressesText(u.Servers)
		d.fault(f)
	default:
		d.warn(f)
	}
}
