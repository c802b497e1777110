package doctor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// settings is about sysctls in the container that are in the way.
func (d *diagnosis) settings() {
	set := func(key, value string) []Remedy { return sh(d.in("sysctl", "-q -w "+key+"="+quoted(value))) }
	tell := func(key, what, why string, cure []Remedy) {
		d.fault(Finding{Check: "sysctl-container", Object: key, What: what, Why: why, Show: d.in("sysctl", key), Remedies: cure, Ours: true})
	}
	if key := "net/ipv4/icmp_echo_ignore_all"; d.Inside.sysctl(key) == "1" {
		tell(key, "it is 1", "the container answers no ping", set(key, "0"))
	}
	links := []string{"all"}
	for _, e := range d.Network.Endpoints {
		links = append(links, e.Interface.Name)
	}
	for _, link := range links {
		key := "net/ipv4/conf/" + link + "/arp_ignore"
		if n := d.Inside.sysctl(key); n == "8" || n == "3" {
			tell(key, "it is "+n, "the container does not answer the question who has its address", set(key, "0"))
		}
	}
	d.portRange(set, tell)
	if key := "net/ipv4/ip_default_ttl"; d.Inside.sysctl(key) != "" {
		const few = 8
		if n, err := strconv.Atoi(d.Inside.sysctl(key)); err == nil && n < few {
			tell(key, "it is "+strconv.Itoa(n), "its packets die after so many routers, of which the host is the first", set(key, "64"))
		}
	}
	d.bornWith(tell)
	if !d.has("sysctl-container") {
		d.ok("sysctl-container", "", "")
	}
}

// quoted is a value of sysctl(8) for sh.
func quoted(value string) string {
	if strings.Contains(value, " ") {
		return "'" + value + "'"
	}
	return value
}

// portRange is about the ports that connections leave by.
func (d *diagnosis) portRange(set func(key, value string) []Remedy, tell func(key, what, why string, cure []Remedy)) {
	key := "net/ipv4/ip_local_port_range"
	words := strings.Fields(d.Inside.sysctl(key))
	if len(words) != 2 {
		return
	}
	from, err := strconv.Atoi(words[0])
	to, err2 := strconv.Atoi(words[1])
	const few = 64
	if errors.Join(err, err2) == nil && to-from < few {
		tell(key, fmt.Sprintf("it is %d to %d", from, to), "every connection that the container opens needs a port of this range; so few are soon in use", set(key, "32768 60999"))
	}
}

// bornWith is what the links were born with.
func (d *diagnosis) bornWith(tell func(key, what, why string, cure []Remedy)) {
	for _, x := range d.Checked {
		s, ok := x.Step.(*network.SetLinkDefaults)
		if !ok || x.Err == nil {
			continue
		}
		key := "net/ipv6/conf/" + s.Link
		command := strings.ReplaceAll(s.String(), "net/ipv6/conf/default/", key+"/")
		tell(key, reason(x.Err), upper(s.Words()), sh(command))
	}
}

// guestRules is about policy routing in the container.
func (d *diagnosis) guestRules() {
	clean, usual := true, map[int]int{}
	for _, r := range d.Inside.Rules {
		if r.Usual {
			usual[r.Family]++
			continue
		}
		clean = false
		f := Finding{
			Check: "policy-rule", Object: ruleText(r), What: "there is a rule of policy routing: " + ruleText(r), Show: d.in("ip", "rule"),
			Why: "rules are asked before any route: the first that applies says which table, or no", Remedies: sh(d.in("ip", ruleDelete(r))), Ours: true,
		}
		if r.Action != "lookup" && r.Action != "goto" && r.Action != "nop" || d.astray() {
			d.fault(f)
		} else {
			d.warn(f)
		}
	}
	if usual[unix.AF_INET] > 0 && usual[unix.AF_INET] < 3 || usual[unix.AF_INET] == 0 && len(d.Network.Endpoints) > 0 && len(d.Inside.Rules) > 0 {
		clean = false
		d.fault(Finding{
			Check: "policy-rule", Object: "main", What: "one of the three usual rules is missing (local, main, default)", Why: "a table that no rule names is never asked",
			Show: d.in("ip", "rule"), Remedies: sh(d.in("ip", "rule add priority 32766 lookup main")), Ours: true,
		})
	}
	if clean {
		d.ok("policy-rule", "", "")
	}
}

// astray reports whether the container's packets do not leave as they should.
func (d *diagnosis) astray() bool {
	for _, e := range d.Network.Endpoints {
		for _, p := range e.Interface.Addresses() {
			w := d.Ways[p.Addr()]
			if w == nil {
				continue
			}
			if w.ToGateway.Asked && (w.ToGateway.Errno != 0 || w.ToGateway.Link != e.Interface.Name) ||
				w.Out.Asked && (w.Out.Errno != 0 || w.Out.Link != e.Interface.Name || w.Out.Gateway != gatewayOf(e.Network, p.Addr())) {
				return true
			}
		}
	}
	return false
}

// ownFirewall is about nftables in the container's namespace.
func (d *diagnosis) ownFirewall() {
	clean, told := true, map[string]bool{}
	for _, w := range d.Own {
		if told[w.Where] {
			continue
		}
		told[w.Where] = true
		var cure []string
		for _, c := range w.Cure {
			cure = append(cure, d.in(strings.SplitN(c, " ", 2)[0], strings.SplitN(c, " ", 2)[1]))
		}
		f := Finding{
			Check: "own-firewall", Object: w.Where, What: verb(w) + w.What + ": " + w.Where,
			Why:  "the container's namespace has tables of its own; a packet meets them before it leaves, and when it comes in",
			Show: d.in("nft", "-a list ruleset"), Remedies: sh(cure...), Ours: true,
		}
		if w.Unsure {
			d.warn(f)
		} else {
			clean = false
			d.fault(f)
		}
	}
	if clean {
		d.ok("own-firewall", "", "")
	}
}

func verb(w Wall) string {
	switch {
	case w.Kind == "rewrite":
		return "another destination is given to "
	case w.Unsure:
		return "it may drop "
	}
	return "it drops "
}

// listeners is about who waits at the published ports.
func (d *diagnosis) listeners() {
	if d.Pid == 0 {
		d.skip("listener", "nobody's processes are known")
		return
	}
	a, a6 := d.Network.PortTargets()
	for _, p := range d.Network.Ports {
		if p.Protocol == "sctp" {
			continue
		}
		open, loopback := false, false
		for _, s := range d.Sockets {
			if s.Protocol == p.Protocol && p.Leads(s.Port) {
				open = open || s.Address.IsUnspecified() || s.Address == a || s.Address == a6
				loopback = loopback || s.Address.IsLoopback()
			}
		}
		f := Finding{
			Check: "listener", Object: fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol), What: fmt.Sprintf("nobody in the container listens at %d/%s, to which %s leads", p.ContainerPort, p.Protocol, p.Where()),
			Why: "who connects is refused until a program listens there", Show: d.in("ss", "-ltnu"),
		}
		switch {
		case open:
			d.ok("listener", "", "%s", f.Object)
		case loopback:
			f.What = fmt.Sprintf("at %s somebody listens on 127.0.0.1 only", f.Object)
			f.Why = "what comes from outside is for the container's address; the program must listen on 0.0.0.0"
			d.warn(f)
		default:
			d.warn(f)
		}
	}
}
