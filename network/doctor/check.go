package doctor

import (
	"cmp"
	"slices"
)

// An ID names a check.
type ID string

// A Check is a question about a container's networking.
type Check struct {
	ID    ID
	Words string // what is as it should be when it is answered well
	// Because are the checks whose faults bring this one's about, if both are there.
	Because []ID
}

// cable are the faults that cut a container off from its bridge.
func cable() []ID {
	return []ID{"namespace", "interface", "interface-up", "peer", "peer-up", "bridge-port", "bridge", "bridge-up", "carrier"}
}

// Checks lists all checks in the order of the chain that a person would walk, from the
// container's process by its namespace, its cable and the bridge to the host and out.
func Checks() []Check {
	inside := []ID{"namespace", "interface", "interface-up", "address", "prefix"}
	before := func(more ...ID) []ID { return slices.Concat(cable(), more) }
	return []Check{
		{"frozen", "the container's processes run", nil},
		{"container", "it is there, and its first process lives", nil},
		{"namespace", "its network namespace is the one that was made for it", nil},
		{"lo", "its loopback is up", []ID{"namespace"}},
		{"interface", "its end of the cable is there", []ID{"namespace"}},
		{"interface-up", "its end of the cable is switched on", inside[:2]},
		{"carrier", "a signal comes by the cable", []ID{"namespace", "interface", "interface-up", "peer", "peer-up"}},
		{"address", "it has the address that it was given", inside[:3]},
		{"prefix", "and knows how large its network is", inside[:4]},
		{"address-extra", "no other address leads its packets astray", []ID{"address"}},
		{"duplicate-address", "nobody else has its address, or the gateway's", nil},
		{"mac", "it has the hardware address that it was given", inside[:2]},
		{"duplicate-mac", "nobody else has its hardware address", nil},
		{"policy-rule", "no rule sends its packets by another table", nil},
		{"route", "it knows the way out", append(slices.Clone(inside), "address-extra", "policy-rule", "carrier")},
		{"gateway", "by the gateway of its network", append(slices.Clone(inside), "policy-rule")},
		{"neighbour", "it and the gateway know each other's hardware address", before("address", "prefix", "address-extra", "route", "mac", "duplicate-address", "duplicate-mac", "sysctl-container")},
		{"peer", "the cable's other end is on the host", []ID{"namespace", "interface"}},
		{"peer-up", "the cable's other end is switched on", []ID{"interface", "peer"}},
		{"bridge-port", "and plugged into the bridge", []ID{"interface", "peer", "bridge"}},
		{"port-state", "the bridge passes on what comes by it", cable()},
		{"port-isolated", "to every other port", []ID{"interface", "peer", "bridge", "bridge-port"}},
		{"vlan-filter", "in the same VLAN", []ID{"interface", "peer", "bridge", "bridge-port"}},
		{"bridge", "the bridge is there", nil},
		{"bridge-up", "the bridge is switched on", []ID{"bridge"}},
		{"bridge-address", "the bridge has the gateway's address", []ID{"bridge"}},
		{"bridge-static", "the bridge looks for it at its port", []ID{"bridge"}},
		{"hairpin", "it may be reached by itself at its published ports", []ID{"interface", "peer", "bridge", "bridge-port"}},
		{"forwarding", "the host passes packets on", []ID{"bridge"}},
		{"route-localnet", "published ports answer at 127.0.0.1", []ID{"bridge"}},
		{"rp-filter", "the host takes the container's packets for genuine", before("duplicate-address", "bridge-address", "host-route", "host-rule", "forwarding", "uplink")},
		{"sysctl-host", "no other setting of the host is in the way", []ID{"bridge"}},
		{"own-firewall", "the container's own firewall lets packets pass", nil},
		{"traffic-control", "no queue loses packets", nil},
		{"xdp", "no XDP program takes them", nil},
		{"table", "minictr's tables are there", nil},
		{"masquerade", "packets leave with the host's address", []ID{"table"}},
		{"our-rules", "minictr's rules are all there, and no others in its tables", []ID{"table"}},
		{"forward-foreign", "no table of others drops what the host passes on", nil},
		{"input-foreign", "no table of others drops what the container asks the host", nil},
		{"nat-foreign", "no table of others sends its packets elsewhere", nil},
		{"host-route", "the host knows the way to it, and out", before("duplicate-address", "bridge-address", "host-rule", "uplink", "forwarding")},
		{"host-rule", "no rule of the host sends its packets elsewhere", nil},
		{"uplink", "the host's link to the outside works", nil},
		{"mtu", "packets of the same size fit everywhere", []ID{"interface", "peer", "bridge", "foreign-link"}},
		{"conntrack-full", "connection tracking has room", nil},
		{"neighbour-full", "the tables of neighbours have room", nil},
		{"br-netfilter", "no rule drops what goes from port to port of the bridge", nil},
		{"published", "its published ports lead to it", []ID{"table"}},
		{"listener", "somebody listens there", nil},
		{"published-foreign", "nobody else takes what comes to them", nil},
		{"resolv-conf", "it asks the name server of its network", nil},
		{"nsswitch", "its own hosts file tells nothing wrong", nil},
		{"name-server", "the name server answers it", beforeNames()},
		{"names", "the name server knows it", nil},
		{"upstream", "a resolver outside answers the name server", []ID{"uplink", "host-route", "name-server"}},
		{"foreign-link", "only what minictr knows is on the bridge", nil},
		{"leaked-link", "no cable of an ended container is left", nil},
		{"cgroup-filter", "no BPF program of its cgroup takes its packets", nil},
		{"seccomp", "it has no filter on system calls but minictr's", nil},
		{"sysctl-container", "no setting in the container is in the way", []ID{"namespace", "interface"}},
		{"target-route", "the container has a route to the target", []ID{"interface", "interface-up", "address", "prefix", "route", "gateway", "policy-rule"}},
		{"target-neighbour", "the next hop answers", nil},
		{"target-firewall", "no table drops packets to the target", []ID{"own-firewall", "our-rules"}},
		{"target", "the target answers", nil},
		{"target-mtu", "packets of full size get there", []ID{"mtu", "target"}},
	}
}

// beforeNames are the faults that keep a container from the gateway.
func beforeNames() []ID {
	return slices.Concat(cable(), []ID{
		"address", "prefix", "address-extra", "duplicate-address", "mac", "duplicate-mac", "policy-rule", "route", "neighbour", "port-state", "vlan-filter",
		"bridge-address", "bridge-static", "rp-filter", "sysctl-host", "sysctl-container", "own-firewall", "traffic-control", "xdp", "our-rules",
		"forward-foreign", "input-foreign", "nat-foreign", "host-route", "host-rule", "conntrack-full", "neighbour-full", "names",
	})
}

// order is where each check stands in the chain.
func order() map[ID]int {
	places := map[ID]int{}
	for i, c := range Checks() {
		places[c.ID] = i
	}
	return places
}

// sorted puts the findings into the order of the chain.
func sorted(list []Finding) []Finding {
	places := order()
	slices.SortStableFunc(list, func(a, b Finding) int { return cmp.Compare(places[a.Check], places[b.Check]) })
	return list
}

// choose makes of the faults one cause and its consequences: the first in the chain that
// no other one explains. What is explained by what is a fault itself is a consequence.
func choose(list []Finding) *Finding {
	because := map[ID][]ID{}
	for _, c := range Checks() {
		because[c.ID] = c.Because
	}
	faulty := map[ID]bool{}
	for _, f := range list {
		faulty[f.Check] = faulty[f.Check] || f.Status == Fault
	}
	for i := range list {
		f := &list[i]
		if f.Status != Fault {
			continue
		}
		if first := faultBefore(list[:i]); isTarget(f.Check) && first != "" {
			f.Status, f.Because = Consequence, first
			continue
		}
		if f.Because != "" && faulty[f.Because] {
			f.Status = Consequence
			continue
		}
		f.Because = ""
		if f.Alone {
			continue
		}
		for _, id := range because[f.Check] {
			if faulty[id] && id != f.Check {
				f.Status, f.Because = Consequence, id
				break
			}
		}
	}
	for i := range list {
		if list[i].Status == Fault {
			return &list[i]
		}
	}
	return nil
}

// isTarget tells the checks of --to that any fault on the way explains.
func isTarget(id ID) bool { return id == "target-neighbour" || id == "target" || id == "target-mtu" }

// faultBefore is the first fault of the list.
func faultBefore(list []Finding) ID {
	for _, f := range list {
		if f.Status == Fault {
			return f.Check
		}
	}
	return ""
}
