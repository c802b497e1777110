package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A query is what a route is looked up for.
type query struct {
	flow     Flow
	protocol uint8
	in       int // index of the link that it came in by; 0: it is ours
	out      int // index of the link that the socket is bound to
	mark     uint32
}

// lookup asks the kernel for the route, as "ip route get … fibmatch" does. The
// Route of a refusal has its Error.
func (g *ground) lookup(q query) Route {
	if g.link(q.in).name == "lo" { // what comes by lo has been routed when it was sent
		q.in = 0
	}
	body, err := g.getRoute(q, true)
	if err != nil {
		return g.refused(q, err)
	}
	r := g.parseRoute(body)
	// Only the answer without fibmatch has the source address and says where a
	// packet for us goes.
	if full, err := g.getRoute(q, false); err == nil {
		detail := g.parseRoute(full)
		if r.Type = detail.Type; !r.Source.IsValid() {
			r.Source = detail.Source
		}
		if detail.Link != "" {
			r.Link = detail.Link
		}
	} else {
		return g.refused(q, err)
	}
	r.Rule = g.policyRule(q, r)
	return r
}

func (g *ground) getRoute(q query, fibMatch bool) ([]byte, error) {
	from, to := q.flow.Source.Addr(), q.flow.Destination.Addr()
	flags := uint32(unix.RTM_F_LOOKUP_TABLE)
	if fibMatch {
		flags |= unix.RTM_F_FIB_MATCH
	}
	family, bits := byte(unix.AF_INET), byte(32)
	if to.Is6() {
		family, bits = unix.AF_INET6, 128
	}
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = family, bits
	binary.NativeEndian.PutUint32(header[8:], flags)
	var a attributes
	a.add(unix.RTA_DST, to.AsSlice()...)
	if from.IsValid() && !from.IsUnspecified() {
		header[2] = bits
		a.add(unix.RTA_SRC, from.AsSlice()...)
	}
	if q.in != 0 {
		a.addNative(unix.RTA_IIF, uint32(q.in))
	}
	if q.out != 0 {
		a.addNative(unix.RTA_OIF, uint32(q.out))
	}
	if q.mark != 0 {
		a.addNative(unix.RTA_MARK, q.mark)
	}
	if q.protocol == unix.IPPROTO_TCP || q.protocol == unix.IPPROTO_UDP { // policy rules may ask for ports, Linux 4.17
		a.add(unix.RTA_IP_PROTO, q.protocol)
		a.add(unix.RTA_SPORT, networkOrder(q.flow.Source.Port())...)
		a.add(unix.RTA_DPORT, networkOrder(q.flow.Destination.Port())...)
	}
	bodies, err := g.route.ask(unix.RTM_GETROUTE, 0, append(header, a...))
	if err != nil {
		return nil, err
	}
	if len(bodies) == 0 || len(bodies[0]) < unix.SizeofRtMsg {
		return nil, unix.EBADMSG
	}
	return bodies[0], nil
}

func (g *ground) parseRoute(body []byte) Route {
	a := attributes(body[unix.SizeofRtMsg:])
	table := uint32(body[4])
	if t := a.native(unix.RTA_TABLE); t != 0 {
		table = t
	}
	r := Route{Type: routeType(body[7]), Table: tableText(table)}
	if to, ok := netip.AddrFromSlice(a.get(unix.RTA_DST)); ok {
		r.To = netip.PrefixFrom(to, int(body[1])).String()
		if int(body[1]) == to.BitLen() {
			r.To = to.String()
		}
	} else {
		r.To = "default"
	}
	if gateway, ok := netip.AddrFromSlice(a.get(unix.RTA_GATEWAY)); ok {
		r.Gateway = gateway
	}
	const via = 18 // RTA_VIA, a gateway of the other family: its family, then the address
	if value := a.get(via); len(value) > 2 {
		r.Gateway, _ = netip.AddrFromSlice(value[2:])
	}
	if source, ok := netip.AddrFromSlice(a.get(unix.RTA_PREFSRC)); ok {
		r.Source = source
	}
	if out := a.native(unix.RTA_OIF); out != 0 {
		r.Link = g.link(int(out)).name
	}
	return r
}

func routeType(kind byte) string {
	names := map[byte]string{
		unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_MULTICAST: "multicast", unix.RTN_ANYCAST: "anycast",
		unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw",
	}
	if name, ok := names[kind]; ok {
		return name
	}
	return fmt.Sprint(kind)
}

func tableText(table uint32) string {
	names := map[uint32]string{unix.RT_TABLE_MAIN: "main", unix.RT_TABLE_LOCAL: "local", unix.RT_TABLE_DEFAULT: "default"}
	if name, ok := names[table]; ok {
		return name
	}
	return fmt.Sprint(table)
}

// refused is the route that the kernel would not give, and why. The errnos are
// those of the types of routes, and of the check of the way back.
func (g *ground) refused(q query, err error) Route {
	r := Route{Error: err.Error()}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return r
	}
	kinds := map[unix.Errno]string{unix.EINVAL: "blackhole", unix.EHOSTUNREACH: "unreachable", unix.EACCES: "prohibit", unix.ENETUNREACH: "none", unix.EXDEV: "martian"}
	r.Type = kinds[errno]
	switch errno {
	case unix.ENETUNREACH:
		r.Error = "no route leads to " + q.flow.Destination.Addr().String()
	case unix.EXDEV:
		r.Error = g.wayBack(q)
	case unix.EINVAL:
		r.Error = "a blackhole route: what is for there is thrown away"
		if q.in != 0 {
			r.Type, r.Error = g.martian(q)
		}
	case unix.EHOSTUNREACH:
		r.Error = "an unreachable route"
		if q.in != 0 && g.forwards(q) == "0" {
			r.Type, r.Error = "no forwarding", fmt.Sprintf("%s is no address of %s, and it passes nothing on that comes by %s (forwarding is off)", q.flow.Destination.Addr(), g.Name, g.link(q.in).name)
		}
	case unix.EACCES:
		r.Error = "a prohibit route"
	}
	r.Rule = g.policyRule(q, r)
	return r
}

// martian tells the reasons apart for which a packet that came by a link gets no
// route, which the kernel gives one errno.
func (g *ground) martian(q query) (kind, words string) {
	source, destination := q.flow.Source.Addr(), q.flow.Destination.Addr()
	if _, err := g.getRoute(query{flow: Flow{Destination: q.flow.Destination}, protocol: q.protocol, mark: q.mark}, false); errors.Is(err, unix.EINVAL) {
		return "blackhole", "a blackhole route: what is for there is thrown away"
	}
	switch {
	case g.isLocal(source):
		return "martian", fmt.Sprintf("its source %s is an address of %s itself, and that cannot come by a wire", source, g.Name)
	case destination.IsLoopback() || source.IsLoopback():
		return "martian", "127.0.0.0/8 may not come by a wire (route_localnet)"
	}
	return "rp_filter", g.wayBack(q)
}

// wayBack says where an answer would go, which rp_filter compares with where the
// packet came in.
func (g *ground) wayBack(q query) string {
	other := "no route at all"
	if body, err := g.getRoute(query{flow: Flow{Destination: q.flow.Source}, protocol: q.protocol}, false); err == nil {
		other = g.parseRoute(body).Link
	}
	return fmt.Sprintf("the way back to %s is %s, and not %s where it came in (rp_filter)", q.flow.Source.Addr(), other, g.link(q.in).name)
}

// forwards is the sysctl of the link, "1" where packets are passed on.
func (g *ground) forwards(q query) string {
	family := "ipv4"
	if q.flow.Destination.Addr().Is6() {
		family = "ipv6"
	}
	return g.sysctl("net/" + family + "/conf/" + g.link(q.in).name + "/forwarding")
}

// words are the route as ip(8) writes it.
func (r Route) words() string {
	if r.Error != "" {
		return r.Error
	}
	text := r.To
	if r.Type != "unicast" {
		text = r.Type + " " + text
	}
	if r.Gateway.IsValid() {
		text += " via " + r.Gateway.String()
	}
	if r.Link != "" {
		text += " dev " + r.Link
	}
	return text
}

// policyRule names the policy rule that led to the route's table, unless every
// machine has it.
func (g *ground) policyRule(q query, r Route) string {
	family := byte(unix.AF_INET)
	if q.flow.Destination.Addr().Is6() {
		family = unix.AF_INET6
	}
	bodies, err := g.route.ask(unix.RTM_GETRULE, unix.NLM_F_DUMP, append([]byte{family}, make([]byte, unix.SizeofRtMsg-1)...))
	if err != nil {
		return ""
	}
	for _, b := range bodies {
		if len(b) < unix.SizeofRtMsg {
			continue
		}
		p := parsePolicy(b)
		if p.matches(g, q) && (p.table == r.Table && p.action == 1 || p.action > 1) {
			if p.usual() {
				return ""
			}
			return p.String()
		}
	}
	return ""
}

// A policy is a rule of ip-rule(8), as far as we read it.
type policy struct {
	priority  uint32
	from, to  netip.Prefix
	in, out   string
	mark      uint32
	mask      uint32
	table     string
	action    byte // FR_ACT_TO_TBL is 1; 6 to 8: blackhole, unreachable, prohibit
	inverted  bool
	protocol  byte
	ports     [2][2]uint16 // of the source and of the destination, from and to
	portGiven [2]bool
}

// Attributes of a rule, linux/fib_rules.h.
const (
	fraDst, fraSrc, fraIIF, fraPriority    = 1, 2, 3, 6
	fraMark, fraTable, fraMask, fraOIF     = 10, 15, 16, 17
	fraProtocol, fraSportRange, fraDportRg = 22, 23, 24
	fibRuleInvert                          = 2
)

func parsePolicy(b []byte) policy {
	a := attributes(b[unix.SizeofRtMsg:])
	p := policy{
		priority: a.native(fraPriority), in: a.text(fraIIF), out: a.text(fraOIF), mark: a.native(fraMark), mask: a.native(fraMask), table: tableText(a.native(fraTable)),
		action: b[7], inverted: binary.NativeEndian.Uint32(b[8:])&fibRuleInvert != 0,
	}
	if to, ok := netip.AddrFromSlice(a.get(fraDst)); ok {
		p.to = netip.PrefixFrom(to, int(b[1]))
	}
	if from, ok := netip.AddrFromSlice(a.get(fraSrc)); ok {
		p.from = netip.PrefixFrom(from, int(b[2]))
	}
	if protocol := a.get(fraProtocol); len(protocol) == 1 {
		p.protocol = protocol[0]
	}
	for i, kind := range []uint16{fraSportRange, fraDportRg} {
		if value := a.get(kind); len(value) >= 4 {
			p.ports[i], p.portGiven[i] = [2]uint16{binary.NativeEndian.Uint16(value), binary.NativeEndian.Uint16(value[2:])}, true
		}
	}
	return p
}

func (p policy) matches(g *ground, q query) bool {
	in, out := "lo", "" // what is ours counts as coming from lo
	if q.in != 0 {
		in = g.link(q.in).name
	}
	if q.out != 0 {
		out = g.link(q.out).name
	}
	source, destination := q.flow.Source, q.flow.Destination
	port := func(i int, n uint16) bool { return !p.portGiven[i] || n >= p.ports[i][0] && n <= p.ports[i][1] }
	hit := (!p.from.IsValid() || p.from.Contains(source.Addr())) && (!p.to.IsValid() || p.to.Contains(destination.Addr())) &&
		(p.in == "" || p.in == in) && (p.out == "" || p.out == out) && q.mark&p.mask == p.mark&p.mask &&
		(p.protocol == 0 || p.protocol == q.protocol) && port(0, source.Port()) && port(1, destination.Port())
	return hit != p.inverted
}

// usual is true for the rules that the kernel makes.
func (p policy) usual() bool {
	return p.action == 1 && !p.from.IsValid() && !p.to.IsValid() && p.in == "" && p.out == "" && p.mask == 0 && p.protocol == 0 && !p.portGiven[0] && !p.portGiven[1] &&
		(p.table == "main" || p.table == "local" || p.table == "default")
}

// String is the rule as "ip rule" prints it.
func (p policy) String() string {
	text := fmt.Sprintf("%d:", p.priority)
	if p.inverted {
		text += " not"
	}
	from := "all"
	if p.from.IsValid() {
		from = p.from.String()
	}
	text += " from " + from
	if p.to.IsValid() {
		text += " to " + p.to.String()
	}
	if p.mask != 0 {
		text += fmt.Sprintf(" fwmark %#x", p.mark)
		if p.mask != 1<<32-1 {
			text += fmt.Sprintf("/%#x", p.mask)
		}
	}
	if p.in != "" {
		text += " iif " + p.in
	}
	if p.out != "" {
		text += " oif " + p.out
	}
	for i, word := range []string{"sport", "dport"} {
		if p.portGiven[i] {
			text += fmt.Sprintf(" %s %d", word, p.ports[i][0])
			if p.ports[i][1] != p.ports[i][0] {
				text += fmt.Sprintf("-%d", p.ports[i][1])
			}
		}
	}
	if word := map[byte]string{6: "blackhole", 7: "unreachable", 8: "prohibit"}[p.action]; word != "" {
		return text + " " + word
	}
	return text + " lookup " + p.table
}
