package firewall

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ours is the name of the tables of minictr.
const ours = "minictr"

// owners are the names by which a table or chain tells whose it is.
func owners() []struct{ prefix, owner string } {
	return []struct{ prefix, owner string }{
		{"ufw-", "ufw"},
		{"ufw6-", "ufw"},
		{"firewalld", "firewalld"},
		{"DOCKER", "Docker"},
		{"docker-", "Docker"},
		{"LIBVIRT_", "libvirt"},
		{"libvirt_", "libvirt"},
		{"NETAVARK", "Podman"},
		{"netavark", "Podman"},
		{"KUBE-", "Kubernetes"},
		{"kube-proxy", "Kubernetes"},
		{"CNI-", "Kubernetes"},
		{"cali-", "Calico"},
		{"CILIUM_", "Cilium"},
	}
}

// Owner says whose a chain is, by the names of its table and itself: minictr,
// Docker, ufw, firewalld, libvirt, Podman, Kubernetes, iptables for the tables
// that iptables-nft makes, or else "table inet NAME".
func Owner(family, table, chain string) string {
	if table == ours {
		return ours
	}
	for _, o := range owners() {
		if strings.HasPrefix(chain, o.prefix) || strings.HasPrefix(table, o.prefix) {
			return o.owner
		}
	}
	if isIPTables(family, table, chain) {
		return "iptables"
	}
	return "table " + family + " " + table
}

// isIPTables knows a base chain of iptables-nft by its fixed names. Chains of
// the user's own in such a table have any name.
func isIPTables(family, table, chain string) bool {
	return (family == "ip" || family == "ip6") && slices.Contains([]string{"filter", "mangle", "nat", "raw", "security"}, table) &&
		(chain == "" || chain == strings.ToUpper(chain))
}

// owner says whose a verdict is. In a table of iptables, which all share, the
// policy of a chain belongs to whoever hangs his chains into it: ufw and Docker
// set it.
func (v Verdict) owner() string {
	owner := Owner(v.Family, v.Table, v.Chain)
	if owner != "iptables" || v.base == nil {
		return owner
	}
	jumps := v.base.targets()
	for _, o := range owners() {
		if o.owner != "ufw" && o.owner != "Docker" {
			continue // libvirt, Podman and Kubernetes hang theirs in as well, and leave the policy alone
		}
		if slices.ContainsFunc(jumps, func(chain string) bool { return strings.HasPrefix(chain, o.prefix) }) {
			return o.owner
		}
	}
	return owner
}

// targets are the chains that the rules of the chain jump to.
func (c *chain) targets() (names []string) {
	for _, r := range c.rules {
		for _, e := range r.expressions {
			if v := e.data.get(unix.NFTA_IMMEDIATE_DATA).get(unix.NFTA_DATA_VERDICT); v != nil && e.name == "immediate" {
				names = append(names, parseVerdict(v).chain)
			}
		}
	}
	return names
}
