package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A Rewrite is what the rules of address translation make of a packet.
type Rewrite struct {
	Kind    string     // "snat", "masquerade", "dnat" or "redirect"
	Address netip.Addr // none: it stays, or is one of the host's (masquerade, redirect)
	Port    uint16     // 0: it stays, as far as it is free
	Certain bool       // neither the rule nor its address was in doubt
}

// Translate takes the first packet of a connection through the base chains of
// type nat at the hook. It is false where none of them translates it.
func (r *Ruleset) Translate(hook Hook, p Packet) (Rewrite, bool) {
	w := newWalk(p)
	for _, base := range r.bases {
		if base.hook != hook || base.kind != "nat" || !base.sees(p) {
			continue
		}
		if v := w.base(base); w.rewrite != nil {
			w.rewrite.Certain = w.rewrite.Certain && v.Kind == Accept
			return *w.rewrite, true
		}
	}
	return Rewrite{}, false
}

// rewrites notes what the expression makes of the packet.
func (w *walk) rewrites(e *expression) {
	a, r := e.data, Rewrite{Certain: w.doubts == 0 && !w.unsure}
	var address, port uint32
	switch e.name {
	case "masq":
		r.Kind, port = "masquerade", a.u32(unix.NFTA_MASQ_REG_PROTO_MIN)
	case "redir":
		r.Kind, port = "redirect", a.u32(unix.NFTA_REDIR_REG_PROTO_MIN)
	case "nat":
		r.Kind, address, port = "snat", a.u32(unix.NFTA_NAT_REG_ADDR_MIN), a.u32(unix.NFTA_NAT_REG_PROTO_MIN)
		if a.u32(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_DNAT {
			r.Kind = "dnat"
		}
	default:
		return
	}
	if address != 0 {
		b := w.registers.load(address, len(w.packet.Source.AsSlice()))
		r.Address, _ = netip.AddrFromSlice(b.value)
		r.Certain = r.Certain && b.certain()
	}
	if port != 0 {
		b := w.registers.load(port, 2)
		r.Port = binary.BigEndian.Uint16(b.value)
		r.Certain = r.Certain && b.certain()
	}
	w.note(r)
}

// xtRewrites is rewrites for the targets of iptables.
func (w *walk) xtRewrites(name string, i info) {
	t := xtTranslation(name, i, w.chain.table.family)
	if t == nil {
		return
	}
	r := Rewrite{Kind: t.Kind, Certain: w.doubts == 0 && !w.unsure}
	if to, err := netip.ParseAddrPort(t.To); err == nil {
		r.Address, r.Port = to.Addr(), to.Port()
	} else if r.Address, err = netip.ParseAddr(t.To); err != nil && t.To != "" {
		r.Address, r.Certain = netip.Addr{}, false
		if to, err := netip.ParseAddrPort("0.0.0.0" + t.To); err == nil {
			r.Port, r.Certain = to.Port(), w.doubts == 0 && !w.unsure
		}
	}
	w.note(r)
}

// note keeps the first: what comes after it is another branch of a doubt.
func (w *walk) note(r Rewrite) {
	if w.rewrite == nil {
		w.rewrite = &r
		return
	}
	w.rewrite.Certain = false
}

// A Place is where chains hang: a hook of IP, of a bridge, or of a device.
type Place struct {
	Hook   string // "prerouting", …, "ingress", "egress", as in a Base
	Bridge bool
	Device string // of ingress and egress
	Part   Part
}

// A Part of a hook lies before or behind the place where the kernel rewrites
// addresses, which is the same whatever the priorities of the chains are that
// decide it (NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC).
type Part uint8

// The parts.
const (
	Whole Part = iota
	BeforeNAT
	BehindNAT
)

// has tells whether the chain lies in the part.
func (p Part) has(c *chain) bool {
	at := map[string]int32{"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}[c.hookName()]
	early := c.kind == "nat" || c.priority <= at
	return p == Whole || early == (p == BeforeNAT)
}

// Chains takes the packet through every base chain of the place, those of type
// nat too, and says of each what it does; an Accept names the rule that said it,
// if one did. Behind a drop that is certain there are none.
func (r *Ruleset) Chains(at Place, p Packet) (list []Verdict) {
	w := newWalk(p)
	for _, base := range r.inOrder() {
		if base.hookName() != at.Hook || !base.hangsAt(at) || !base.sees(p) || base.kind == "nat" && p.State != New {
			continue
		}
		v := w.base(base)
		v.Untracked, v.Mark, v.MarkKnown = w.untracked, binary.NativeEndian.Uint32(w.mark.value), w.mark.certain()
		list = append(list, v)
		if v.Kind == Drop {
			break
		}
	}
	return list
}

func (c *chain) hangsAt(at Place) bool {
	if (c.table.family == unix.NFPROTO_BRIDGE) != at.Bridge {
		return false
	}
	return at.Part.has(c) && (at.Device == "" && len(c.devices) == 0 || slices.Contains(c.devices, at.Device))
}
