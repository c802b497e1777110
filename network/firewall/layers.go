package firewall

import (
	"slices"

	"golang.org/x/sys/unix"
)

// ReadLayers reads the tables of others that see frames before or beside IP: family
// bridge, arp and netdev, and the chains of inet at the ingress of a link. It is about the
// network namespace of the calling thread.
func ReadLayers() (*Ruleset, error) {
	families := []uint8{unix.NFPROTO_BRIDGE, unix.NFPROTO_NETDEV, unix.NFPROTO_ARP, unix.NFPROTO_INET}
	return read(func(k tableKey) bool { return k.name != ours && slices.Contains(families, k.family) })
}

// WalkDevice takes the packet through the chains that hang at the ingress or the egress
// of the link; the answer is that of Walk.
func (r *Ruleset) WalkDevice(device string, egress bool, p Packet) Verdict {
	hook := "ingress"
	if egress {
		hook = "egress"
	}
	return r.walk(p, func(c *chain) bool { return c.hookName() == hook && slices.Contains(c.devices, device) })
}

// WalkBridge takes the packet, as a frame, through the chains of family bridge.
func (r *Ruleset) WalkBridge(hook Hook, p Packet) Verdict {
	return r.walk(p, func(c *chain) bool { return c.hook == hook && c.table.family == unix.NFPROTO_BRIDGE })
}

// WalkARP takes a question or an answer of ARP through the chains of family arp, those
// for what comes in or those for what goes out.
func (r *Ruleset) WalkARP(out bool, p Packet) Verdict {
	hook := Hook(0) // NF_ARP_IN
	if out {
		hook = 1 // NF_ARP_OUT
	}
	return r.walk(p, func(c *chain) bool { return c.hook == hook && c.table.family == unix.NFPROTO_ARP })
}

// walk takes the packet through those of the base chains.
func (r *Ruleset) walk(p Packet, those func(*chain) bool) Verdict {
	w, doubt := newWalk(p), Verdict{Kind: Accept}
	for _, base := range r.inOrder() {
		if !those(base) {
			continue
		}
		v := w.base(base)
		if v.Kind == Drop {
			return v
		}
		if v.Kind == Unknown && doubt.Kind == Accept {
			doubt = v
		}
	}
	return doubt
}

// Translator is the rule that translates the first packet of a connection at the hook:
// what Translate tells of, by whom. Found is false when none does for certain.
func (r *Ruleset) Translator(hook Hook, p Packet) (v Verdict, found bool) {
	w := newWalk(p)
	for _, base := range r.inOrder() {
		if base.hook != hook || base.kind != "nat" || !base.table.isIP() || !base.sees(p) {
			continue
		}
		if v = w.base(base); w.rewrite != nil {
			return v, v.Kind == Accept && w.rewrite.Certain
		}
	}
	return Verdict{}, false
}

// Priority is that of the base chain of the verdict.
func (v Verdict) Priority() int32 {
	if v.base == nil {
		return 0
	}
	return v.base.priority
}

// Owner says whose the rule or the policy of the verdict is; see Owner, the function.
func (v Verdict) Owner() string { return v.owner() }
