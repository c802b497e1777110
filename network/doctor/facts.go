package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

// Facts are everything that Diagnose judges by, plain data of one moment. What could
// not be read is missing, and the checks that need it say so.
type Facts struct {
	Name    string          // the container's; empty where the host alone is looked at
	Pid     int             // its first process
	Network *network.Config // what was set up; nil for --network host and the host
	NetnsOf string          // of --network container:X: X

	Host   Space // the namespace that the bridges are in
	Inside Space // the container's; the same as Host with --network host

	Process Process
	// Checked are the steps of the plan, each with what the kernel says of it.
	Checked []Checked
	Ways    map[netip.Addr]*Ways // by the container's addresses
	Walls   []Wall               // what tables of others on the host do with sample packets
	Own     []Wall               // what tables in the container's namespace do
	// LegacyTables names iptables of old, whose rules nobody can read here.
	LegacyTables []string

	Members  []Member // who else is on the container's bridges
	Names    []Server // the name servers of its networks
	Resolv   Resolv
	Upstream Upstream
	Sockets  []Socket // that listen in the container
	Taken    []Socket // of the host, at ports that the container publishes
	Filled   Filled
	Gateway  HostGateway
	Target   *Target // of --to
}

// A Checked is a step of the plan and what its Check said.
type Checked struct {
	Step step.Step
	Err  error
}

// A Space is what one network namespace has.
type Space struct {
	survey.Netns
	NamePath   string // where ip-netns(8) looks for it: /run/netns/NAME
	Named      bool   // that leads to it
	NameTaken  bool   // that leads to another one
	Err        error
	Queues     []Queue
	Parameters map[string]string // sysctls by key with slashes; a missing key is not there
}

// A Queue is a qdisc or a filter that is not what a link is born with.
type Queue struct {
	Index int
	Kind  string // "netem", "tbf", "ingress", "clsact", …
	Text  string // what it does: "loss 30%"
	Loses bool   // it throws packets away
	Slow  bool   // it holds them back
	Drop  string // a filter that drops: how tc shows it
}

// A Process is what the kernel says of the container's first process.
type Process struct {
	State   string // "S", "T" …
	Threads int
	Frozen  string   // the cgroup that is frozen
	Cgroups []string // its directories
	Filters []Filter // BPF programs on them
	// Forbidden names what its seccomp filter refuses beside what minictr gave it.
	Seccomp     int // 0 none, 2 filter
	SeccompHave int // how many filters
	SeccompGave int // how many of them minictr set up
}

// A Filter is a BPF program on a cgroup.
type Filter struct {
	Cgroup string
	Attach string // "ingress", "egress", "connect4", …
	ID     uint32
	Name   string
}

// A Wall is a verdict on one sample packet.
type Wall struct {
	What   string // "packets from minictr0 to eth0"
	Aim    Aim
	Owner  string
	Where  string
	Layer  string // "ip", "bridge", "netdev", "arp"
	Hook   string // "prerouting", …
	Unsure bool
	Kind   string // "drop" or "rewrite"
	Cure   []string
	Show   string
}

// An Aim is what a sample is for.
type Aim string

// The aims.
const (
	Outgoing  Aim = "outgoing"  // out of the container, and the answers
	ToHost    Aim = "host"      // to the gateway: names, ping
	Within    Aim = "within"    // to another container of the network
	ToPort    Aim = "published" // to a published port
	FromGuest Aim = "guest"     // in the container's own namespace
	ToTarget  Aim = "target"    // to that of --to
)

// A Member is somebody on a bridge of the container's.
type Member struct {
	Bridge    string
	Port      string // the link on the bridge
	Name      string // whose it is: a container's name; empty of a stranger
	Known     bool   // minictr put it there
	Alone     bool   // a veth of ours whose container is gone
	Kind      string
	MTU       int // bytes
	Addresses []netip.Prefix
	MAC       string // of the other end, if it was read
	Given     string // the MAC that minictr gave it
	PortMAC   string // of the port
}

// A Server is the name server of a network.
type Server struct {
	Network  string
	Address  netip.Addr
	Answered bool
	Pid      int    // its process, where it did not answer
	Stopped  bool   // by SIGSTOP
	Wrong    string // what it said of the container, if not its address
	Took     time.Duration
	Err      error
}

// A Resolv is a container's resolv.conf(5).
type Resolv struct {
	Servers []netip.Addr
	Want    []netip.Addr // those of its networks, or of --dns
	Missing bool
	Custom  bool // the user has mounted a file of his own
	Err     error
	Hosts   []string // lines of /etc/hosts that give a name of ours another address
}

// An Upstream is a resolver of the host.
type Upstream struct {
	Servers  []netip.Addr
	Own      bool // the container's own, as of --dns
	Left     bool // they were asked by another request
	Recorded bool // the record of the container names others than it was given
	Asked    bool
	Answered bool
	Err      error
}

// A Socket waits for packets.
type Socket struct {
	Protocol string
	Address  netip.Addr
	Port     uint16
	Process  string
}

// A HostGateway is what the host's gateway answered, where its hardware address was set
// by hand.
type HostGateway struct {
	Asked bool
	MAC   string // that it answered from; empty when it did not
}

// Filled says how full the tables of the kernel are.
type Filled struct {
	Conntrack, ConntrackMax         int
	Neighbours, NeighboursMax       int // IPv4
	Neighbours6, NeighboursMax6     int
	ConntrackKnown, NeighboursKnown bool
}

// sysctl is a value; "" when there is no such key.
func (s *Space) sysctl(key string) string { return s.Parameters[key] }

// name is what a link is called; of one that is gone a question mark.
func (s *Space) name(index int) string {
	if l := s.Link(index); l != nil {
		return l.Name
	}
	return "?"
}

func has(l *survey.Link, p netip.Prefix) bool {
	return slices.ContainsFunc(l.Addresses, func(a survey.Address) bool { return a.Prefix == p })
}

// texts are the addresses of the link that are not link-local.
func texts(l *survey.Link) string {
	var list []string
	for _, a := range l.Addresses {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			list = append(list, a.Prefix.String())
		}
	}
	return strings.Join(list, ", ")
}
