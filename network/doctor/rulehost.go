package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

// hostSettings is about the host's sysctls.
func (c *cableOf) hostSettings() {
	if c.bridge == nil {
		return
	}
	c.forwarding()
	c.planned()
	for _, link := range []string{"all", c.bridge.Name} {
		key := "net/ipv4/conf/" + link + "/arp_ignore"
		if n := c.Host.sysctl(key); n == "8" || n == "3" {
			c.fault(Finding{
				Check: "sysctl-host", Object: key, What: "it is " + n, Why: "the host does not answer the question who has the gateway's address",
				Show: "sysctl " + key, Remedies: sh("sysctl -q -w " + key + "=0"), Ours: link != "all",
			})
		}
	}
	if !c.said("sysctl-host") {
		c.ok("sysctl-host", "", "")
	}
}

// forwarding wants the host to pass packets on, in each family and on both links.
func (c *cableOf) forwarding() {
	if c.e.Network.Internal {
		c.skip("forwarding", "network %s is internal", c.e.Network.Name)
		return
	}
	if c.e.Network.Gateway.IsValid() {
		keys := []string{"net/ipv4/ip_forward", "net/ipv4/conf/" + c.bridge.Name + "/forwarding"}
		if u := c.Host.uplink(c.e.Network.Gateway.Addr()); u != nil {
			keys = append(keys, "net/ipv4/conf/"+u.Name+"/forwarding")
		}
		c.forwards("IPv4", keys)
	}
	if c.e.Network.Gateway6.IsValid() {
		c.forwards("IPv6", []string{"net/ipv6/conf/all/forwarding"})
	}
}

func (c *cableOf) forwards(what string, keys []string) {
	for _, key := range keys {
		if c.Host.sysctl(key) != "0" {
			continue
		}
		c.fault(Finding{
			Check: "forwarding", Object: key, What: "it is 0: the host passes no " + what + " packets on" + place(key),
			Why:  "containers reach the outside, and are reached from there, only through the host",
			Show: "sysctl " + key, Remedies: sh("sysctl -q -w " + key + "=1"), Ours: true,
		})
		return
	}
	c.ok("forwarding", what, "")
}

// place says which link a key is about.
func place(key string) string {
	words := strings.Split(key, "/")
	if len(words) == 5 && words[3] != "all" {
		return " that come by " + words[3]
	}
	return ""
}

// planned are the sysctls that the plan sets.
func (c *cableOf) planned() {
	for _, x := range c.Checked {
		s, ok := x.Step.(*network.SetSysctl)
		if !ok || !strings.Contains(s.Key, "/"+c.bridge.Name+"/") {
			continue
		}
		id := ID("sysctl-host")
		if strings.HasSuffix(s.Key, "/route_localnet") {
			id = "route-localnet"
		}
		if x.Err == nil {
			if id == "route-localnet" {
				c.ok(id, c.bridge.Name, "")
			}
			continue
		}
		c.fault(Finding{Check: id, Object: s.Key, What: reason(x.Err), Why: upper(s.Words()), Show: "sysctl " + s.Key, Remedies: steps(s), Ours: true})
	}
}

// hostRoutes is about the host's routes to the container, and out.
func (c *cableOf) hostRoutes() {
	clean := true
	for _, p := range c.e.Interface.Addresses() {
		w := c.Ways[p.Addr()]
		if w == nil || !w.HostTo.Asked {
			continue
		}
		switch {
		case w.HostTo.Errno != 0 || w.HostTo.Link != c.e.Network.Bridge || w.HostTo.Gateway.IsValid():
			clean = c.detour(w.HostTo, p.Addr(), netip.Addr{}, "the host does not look for the container on "+c.e.Network.Bridge) && clean
		case w.HostOut.Asked && w.HostOut.Errno == unix.EXDEV:
			clean = false
			c.reversed(c.e.Network.Bridge, "packets from "+p.Addr().String()+" by "+c.e.Network.Bridge)
		case w.HostOut.Asked && (w.HostOut.Errno != 0 || w.HostOut.Link == c.e.Network.Bridge || w.HostOut.Type == "local"):
			clean = c.detour(w.HostOut, p.Addr(), outsideLike(p.Addr()), "the host does not know the way out for the container's packets") && clean
		case w.HostBack.Asked && w.HostBack.Errno == unix.EXDEV:
			clean = false
			c.reversed(c.uplinkName(p.Addr()), "answers from outside")
		}
	}
	if clean {
		c.ok("host-route", c.e.Network.Bridge, "")
	}
	for _, id := range []ID{"host-rule", "rp-filter"} {
		if !c.has(id) {
			c.ok(id, "", "")
		}
	}
}

func (d *diagnosis) uplinkName(a netip.Addr) string {
	if u := d.Host.uplink(a); u != nil {
		return u.Name
	}
	return "all"
}

// reversed is what rp_filter refuses.
func (c *cableOf) reversed(link, what string) {
	key := "net/ipv4/conf/" + link + "/rp_filter"
	if c.Host.sysctl(key) == "0" {
		key = "net/ipv4/conf/all/rp_filter"
	}
	c.fault(Finding{
		Check: "rp-filter", Object: key, What: what + " are refused: the way back to their source does not lead there (rp_filter is " + c.Host.sysctl(key) + ")",
		Why:  "with rp_filter 1 the kernel drops what comes by another link than the answer would leave by",
		Show: "ip route get …; nstat -az TcpExtIPReversePathFilter", Remedies: sh("sysctl -q -w " + key + "=2"),
	})
}

// detour tells a rule from a route that leads elsewhere, or that there is no way out at
// all, which is the uplink's business.
func (c *cableOf) detour(w Way, a, out netip.Addr, what string) (clean bool) {
	if rules := c.suspects(a, out); len(rules) > 0 {
		for _, r := range rules {
			c.fault(Finding{
				Check: "host-rule", Object: ruleText(r), What: what + ": " + w.String() + " (rule " + ruleText(r) + ")",
				Why:  "rules are asked before any route: the first that applies says which table, or no",
				Show: "ip " + family(a) + "rule", Remedies: sh("ip " + ruleDelete(r)),
			})
		}
		return false
	}
	if out.IsValid() && w.Errno == unix.ENETUNREACH && c.Host.defaultRoute(a) == nil {
		return true // machine tells
	}
	to := a
	if out.IsValid() && w.Errno == 0 {
		to = out
	}
	f := Finding{
		Check: "host-route", Object: to.String(), What: what + ": " + w.String(), Why: "the most exact route decides: answers to the container go by it", Show: "ip route get " + to.String(),
	}
	for _, r := range c.culprits(&c.Host, to, c.e.Network.Bridge) {
		if out.IsValid() && r.To.Bits() == 0 && r.Type == "unicast" || !out.IsValid() && r.To.Bits() <= c.e.Network.Subnet().Bits() && r.To.Addr().Is4() {
			continue // the usual one
		}
		f.What += fmt.Sprintf(" (route %s)", routeText(&c.Host, r))
		f.Remedies = append(f.Remedies, sh("ip "+family(to)+"route del "+routeText(&c.Host, r))...)
	}
	for i := range c.Host.Routes { // both halves of the subnet, if it was halved
		r := c.Host.Routes[i]
		if len(f.Remedies) == 1 && !out.IsValid() && r.Table == unix.RT_TABLE_MAIN && c.e.Network.Subnet().Contains(r.To.Addr()) && r.To.Bits() > c.e.Network.Subnet().Bits() && !r.To.Contains(to) && c.Host.name(r.Link) != c.e.Network.Bridge {
			f.Remedies = append(f.Remedies, sh("ip route del "+routeText(&c.Host, r))...)
			break
		}
	}
	if missing := c.connected(a); !out.IsValid() && missing != nil {
		f.Ours = len(f.Remedies) == 0
		f.Remedies = append(f.Remedies, missing...)
	}
	c.fault(f)
	return false
}

// connected puts back the route that the kernel had made for the bridge's address, where
// somebody has deleted it.
func (c *cableOf) connected(a netip.Addr) []Remedy {
	n := c.e.Network
	subnet, how := n.Subnet(), "scope link src "+n.Gateway.Addr().String()
	if a.Is6() {
		subnet, how = n.Subnet6(), "metric 256"
	}
	if slices.ContainsFunc(c.Host.Routes, func(r survey.Route) bool {
		return r.Table == unix.RT_TABLE_MAIN && r.To == subnet && c.Host.name(r.Link) == n.Bridge
	}) {
		return nil
	}
	return sh(fmt.Sprintf("ip %sroute add %s dev %s proto kernel %s", family(a), subnet, step.Quote(n.Bridge), how))
}

// suspects are the rules of the host that may apply to packets to or from the container,
// or out of its bridge.
func (c *cableOf) suspects(a, out netip.Addr) (list []survey.Rule) {
	for _, r := range c.Host.Rules {
		v6 := r.Family == unix.AF_INET6
		if r.Usual || v6 != a.Is6() || r.Mark != 0 || r.Action == "goto" || r.Action == "nop" || r.Out != "" {
			continue
		}
		from := !r.From.IsValid() || r.From.Contains(a) && out.IsValid()
		to := !r.To.IsValid() || r.To.Contains(a) && !out.IsValid() || out.IsValid() && r.To.Contains(out)
		in := r.In == "" || r.In == c.e.Network.Bridge && out.IsValid()
		if from && to && in && (r.Action != "lookup" || r.Table > 0 && r.Table < unix.RT_TABLE_DEFAULT || r.Table > unix.RT_TABLE_LOCAL) {
			list = append(list, r)
		}
	}
	return list
}

// ruleText is a rule as ip-rule(8) shows it.
func ruleText(r survey.Rule) string { return fmt.Sprintf("%d: %s", r.Priority, ruleWords(r)) }

// ruleDelete is the command that takes it away, without "ip".
func ruleDelete(r survey.Rule) string {
	option := ""
	if r.Family == unix.AF_INET6 {
		option = "-6 "
	}
	return fmt.Sprintf("%srule del priority %d %s", option, r.Priority, ruleWords(r))
}

func ruleWords(r survey.Rule) string {
	words := []string{"from all"}
	if r.From.IsValid() {
		words[0] = "from " + r.From.String()
	}
	if r.Invert {
		words = append([]string{"not"}, words...)
	}
	if r.To.IsValid() {
		words = append(words, "to "+r.To.String())
	}
	if r.In != "" {
		words = append(words, "iif "+step.Quote(r.In))
	}
	if r.Out != "" {
		words = append(words, "oif "+step.Quote(r.Out))
	}
	if r.Mark != 0 {
		words = append(words, fmt.Sprintf("fwmark %#x/%#x", r.Mark, r.Mask))
	}
	if r.Action != "lookup" {
		return strings.Join(append(words, r.Action), " ")
	}
	return strings.Join(append(words, "lookup "+tableName(r.Table)), " ")
}

func tableName(n int) string {
	switch n {
	case unix.RT_TABLE_LOCAL:
		return "local"
	case unix.RT_TABLE_MAIN:
		return "main"
	case unix.RT_TABLE_DEFAULT:
		return "default"
	}
	return strconv.Itoa(n)
}

// sizes is about the MTU along the way.
func (c *cableOf) sizes() {
	want := c.e.Interface.MTU
	links := []struct {
		l    *survey.Link
		show string
	}{{c.inside, c.in("ip", "link show "+c.e.Interface.Name)}, {c.host, "ip link show " + c.e.Interface.Host}, {c.bridge, "ip link show " + c.e.Network.Bridge}}
	clean := true
	for _, x := range links {
		if x.l == nil || x.l.MTU == want || x.l == c.bridge && x.l.MTU > want || x.l == c.bridge && !clean {
			continue
		}
		clean = false
		c.fault(Finding{
			Check: "mtu", Object: x.l.Name, What: fmt.Sprintf("its MTU is %d, that of the network %d", x.l.MTU, want),
			Why:  "what is larger is dropped at a cable whose ends differ: small packets pass, large ones vanish",
			Show: x.show, Remedies: sh(strings.Replace(x.show, "link show "+x.l.Name, fmt.Sprintf("link set %s mtu %d", x.l.Name, want), 1)), Ours: true,
		})
	}
	like := c.e.Interface.Address.Addr()
	if !like.IsValid() {
		like = c.e.Interface.Address6.Addr()
	}
	if u := c.Host.uplink(like); u != nil && leaves(*c.e, like) && u.MTU < want {
		clean = false
		c.fault(Finding{
			Check: "mtu", Object: u.Name, What: fmt.Sprintf("its MTU is %d, that of the container's network %d", u.MTU, want),
			Why:  "packets of full size do not fit out of the host; who does not hear the ICMP message about it waits for ever",
			Show: "ip link show " + u.Name, Remedies: sh(fmt.Sprintf("ip link set %s mtu %d", u.Name, want)),
		})
	}
	if clean {
		c.ok("mtu", "", "%d", want)
	}
}

// queues is about qdiscs, filters and XDP programs on the cable and the bridge.
func (c *cableOf) queues() {
	clean, xdp := true, true
	here := func(program, rest string) string { return program + " " + rest }
	for _, x := range []struct {
		l    *survey.Link
		s    *Space
		tool func(program, rest string) string
	}{
		{c.inside, &c.Inside, c.in},
		{c.host, &c.Host, here},
		{c.bridge, &c.Host, here},
	} {
		if x.l == nil {
			continue
		}
		for _, q := range x.s.Queues {
			if q.Index == x.l.Index {
				clean = c.queue(q, x.l.Name, x.tool) && clean
			}
		}
		if x.l.XDP {
			xdp = false
			c.fault(Finding{
				Check: "xdp", Object: x.l.Name, What: "an XDP program is attached", Why: "it sees every frame that comes in, before everything else, and may drop it; minictr attaches none",
				Show: x.tool("ip", "-d link show "+x.l.Name), Remedies: sh(x.tool("ip", "link set "+x.l.Name+" xdp off"), x.tool("ip", "link set "+x.l.Name+" xdpgeneric off")),
			})
		}
	}
	if clean {
		c.ok("traffic-control", "", "")
	}
	if xdp {
		c.ok("xdp", "", "")
	}
}

// queue judges one queue.
func (c *cableOf) queue(q Queue, link string, tool func(program, rest string) string) (clean bool) {
	f := Finding{
		Check: "traffic-control", Object: link, What: strings.TrimSpace("the queue " + q.Kind + " " + q.Text), Show: tool("tc", "-s qdisc show dev "+link),
		Why: "it throws packets away or holds them back, as if the cable were bad", Remedies: sh(tool("tc", "qdisc del dev "+link+" root")),
	}
	if slices.Contains([]string{"ingress", "clsact"}, q.Kind) {
		f.What, f.Why = "a filter drops packets: "+q.Drop, "it sees every packet before the rules of nftables do"
		f.Show, f.Remedies = tool("tc", "filter show dev "+link+" ingress"), sh(tool("tc", "qdisc del dev "+link+" "+q.Kind))
	}
	switch {
	case q.Drop != "" || q.Loses || q.Slow:
		c.fault(f)
		return false
	case q.Text != "":
		f.Why = "it holds packets back, as if the cable were long"
		c.warn(f)
		return false
	}
	return true
}
