package server

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/minictr/minictr/network/names"
)

// A verdict says what becomes of a question.
type verdict struct {
	// forward: it is not ours. servers are the asker's own (--dns), without any of
	// ours; nil for the host's.
	forward bool
	servers []netip.Addr

	// Otherwise this is the answer: both empty when the name has no such data.
	code      dnsmessage.RCode
	addresses []netip.Addr
	name      string // that an address has
}

// A view is what one asker may see.
type view struct {
	networks []*network // in the order in which they are asked
	outside  bool       // one of them has a way out
	servers  []netip.Addr
}

// look decides about a question of the asker.
func (d *directory) look(from netip.Addr, q dnsmessage.Question) verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update()
	if q.Class != dnsmessage.ClassINET {
		return verdict{code: dnsmessage.RCodeRefused}
	}
	v := d.viewOf(from)
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if a, ok := parseReverse(name); ok && d.contains(a) {
		return v.pointer(a, q.Type)
	}
	if found := v.find(name); len(found) > 0 {
		d.turn++
		return verdict{addresses: addressesOf(found, q.Type, d.turn)}
	}
	return d.pass(v)
}

// viewOf finds the asker. Whoever is not on this network, the host for one, sees what
// this network has; an address of another network's is forged here.
func (d *directory) viewOf(from netip.Addr) view {
	own := d.networks[d.own]
	if own == nil {
		return view{}
	}
	v := view{networks: []*network{own}, outside: !own.internal}
	r := own.byAddress[from]
	if r == nil {
		return v
	}
	v.servers = r.Servers
	for _, n := range d.networks {
		if n != own && n.records[r.Container] != nil {
			v.networks = append(v.networks, n)
			v.outside = v.outside || !n.internal
		}
	}
	slices.SortFunc(v.networks[1:], func(a, b *network) int { return strings.Compare(a.name, b.name) })
	return v
}

// find returns the records of the first network that has the name.
func (v view) find(name string) []*names.Record {
	for _, n := range v.networks {
		if found := n.byName[name]; len(found) > 0 {
			return found
		}
	}
	for _, n := range v.networks {
		if base, ok := strings.CutSuffix(name, "."+strings.ToLower(n.name)); ok && len(n.byName[base]) > 0 {
			return n.byName[base]
		}
	}
	return nil
}

// addressesOf are the addresses of the type, beginning with another one at each turn:
// most clients take the first.
func addressesOf(records []*names.Record, t dnsmessage.Type, turn int) []netip.Addr {
	var list []netip.Addr
	for _, r := range records {
		for _, a := range addresses(r) {
			if t == dnsmessage.TypeALL || t == dnsmessage.TypeA && a.Is4() || t == dnsmessage.TypeAAAA && a.Is6() {
				list = append(list, a)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	begin := turn % len(list)
	return slices.Concat(list[begin:], list[:begin])
}

// pointer answers what name an address of our subnets has.
func (v view) pointer(a netip.Addr, t dnsmessage.Type) verdict {
	for _, n := range v.networks {
		r := n.byAddress[a]
		if r == nil {
			continue
		}
		if t != dnsmessage.TypePTR && t != dnsmessage.TypeALL {
			return verdict{}
		}
		return verdict{name: canonical(r, n.name)}
	}
	return verdict{code: dnsmessage.RCodeNameError}
}

// canonical is NAME.NETWORK, or where that cannot be asked for, what comes nearest.
func canonical(r *names.Record, network string) string {
	short := r.Container[:min(names.ShortID, len(r.Container))]
	for _, name := range []string{r.Name + "." + network, short + "." + network} {
		if isName(name) {
			return name + "."
		}
	}
	return short + "."
}

// isName reports whether the text can be a name: labels of 1 to 63 octets, 253 in all.
func isName(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if len(label) < 1 || len(label) > 63 {
			return false
		}
	}
	return len(text) <= 253
}

// contains reports whether the address is in a subnet of any of our networks.
func (d *directory) contains(a netip.Addr) bool {
	for _, n := range d.networks {
		if slices.ContainsFunc(n.gateways, func(p netip.Prefix) bool { return p.Masked().Contains(a) }) {
			return true
		}
	}
	return false
}

// isGateway reports whether one of our servers may be at the address: to ask it would
// be to ask ourselves, at once or in a circle.
func (d *directory) isGateway(a netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hasGateway(a)
}

func (d *directory) hasGateway(a netip.Addr) bool {
	for _, n := range d.networks {
		if slices.ContainsFunc(n.gateways, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return true
		}
	}
	return false
}

// pass decides about a question that is not ours.
func (d *directory) pass(v view) verdict {
	servers := slices.DeleteFunc(slices.Clone(v.servers), func(a netip.Addr) bool {
		return d.hasGateway(a) || !v.outside && !v.contains(a)
	})
	switch {
	case !v.outside && len(servers) == 0:
		return verdict{code: dnsmessage.RCodeNameError}
	case len(v.servers) > 0 && len(servers) == 0:
		return verdict{code: dnsmessage.RCodeServerFailure}
	}
	return verdict{forward: true, servers: servers}
}

// contains reports whether the address is in a subnet of the view.
func (v view) contains(a netip.Addr) bool {
	return slices.ContainsFunc(v.networks, func(n *network) bool {
		return slices.ContainsFunc(n.gateways, func(p netip.Prefix) bool { return p.Masked().Contains(a) })
	})
}

// parseReverse reads the name under which the name of an address is found, RFC 1035,
// 3.5 and RFC 3596, 2.5: 2.0.17.172.in-addr.arpa.
func parseReverse(name string) (netip.Addr, bool) {
	if digits, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(digits, ".")
		slices.Reverse(labels)
		a, err := netip.ParseAddr(strings.Join(labels, "."))
		return a, err == nil && a.Is4()
	}
	digits, ok := strings.CutSuffix(name, ".ip6.arpa")
	labels := strings.Split(digits, ".")
	if !ok || len(labels) != 32 {
		return netip.Addr{}, false
	}
	slices.Reverse(labels)
	var b [16]byte
	for i, label := range labels {
		nibble, err := strconv.ParseUint(label, 16, 4)
		if err != nil || len(label) != 1 {
			return netip.Addr{}, false
		}
		b[i/2] = b[i/2]<<4 | byte(nibble)
	}
	return netip.AddrFrom16(b), true
}

// isOwn reports whether the address is in a subnet of the server's network.
func (d *directory) isOwn(a netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update()
	own := d.networks[d.own]
	return own != nil && slices.ContainsFunc(own.gateways, func(p netip.Prefix) bool { return p.Masked().Contains(a) })
}

// knows reports whether a container of the server's network has the address.
func (d *directory) knows(a netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.networks[d.own]
	return own != nil && own.byAddress[a] != nil
}
