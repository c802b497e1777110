package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

// A Request says whom to look at. The zero value but for Runroot is the host.
type Request struct {
	Runroot string
	Patient Patient
	Others  []Patient // who else is on networks of minictr: running containers, adopted namespaces
	Target  *Target   // of --to; its Address, Port and Protocol
	// NoUpstream leaves the host's resolvers alone: they were asked by another request.
	NoUpstream bool
	// Survey is what Survey has read for several requests; nil: Read does so itself.
	Survey *survey.Host
}

// A Patient is a container, or an adopted namespace.
type Patient struct {
	Name      string
	Pid       int
	Started   time.Time
	Network   *network.Config // nil for the host's network
	NetnsOf   string          // of --network container:X
	Hostnames []string        // its own names in /etc/hosts
	Resolv    bool            // its resolv.conf is one that the user has mounted
	Cgroups   []string        // directories
	Filters   []Filter        // BPF programs on them
	Seccomp   int             // how many seccomp filters it was given
}

// netns is how its namespace is opened.
func (p Patient) netns() network.Netns {
	ns := p.Network.Netns
	if ns.Path == "" && p.Pid > 0 {
		ns.Path = fmt.Sprintf("/proc/%d/ns/net", p.Pid)
	}
	return ns
}

// Read looks at everything that Diagnose judges by, in the network namespace of the
// calling thread, which is the host's, and in that of the container. It changes
// nothing; it asks the name servers one question each, and sends the probe of --to.
// What is not to be read is left out, and said in the facts.
func Read(r Request) (*Facts, error) {
	p := r.Patient
	f := &Facts{Name: p.Name, Pid: p.Pid, Network: p.Network, NetnsOf: p.NetnsOf, Target: r.Target, Ways: map[netip.Addr]*Ways{}}
	f.Process = Process{Filters: p.Filters, SeccompGave: p.Seccomp}
	if r.Survey == nil {
		h, err := Survey(append([]Patient{p}, r.Others...))
		if err != nil {
			return nil, err
		}
		r.Survey = h
	}
	f.Host.Netns = *r.Survey.Namespaces[0]
	if err := f.Host.readQueues(); err != nil {
		return nil, err
	}
	f.Host.readSysctls(hostKeys(f))
	upstream := askUpstream(f, r)
	f.readInside(r)
	f.check()
	if err := f.readRest(r); err != nil {
		return nil, err
	}
	f.collect(upstream)
	return f, nil
}

// readQueues lists the queues of the namespace of the calling thread.
func (s *Space) readQueues() (err error) {
	s.Queues, err = readQueues()
	return step.Fail("read", "the queues", err)
}

// readRest is what depends on the links of both namespaces.
func (f *Facts) readRest(r Request) error {
	if err := f.Filled.read(); err != nil {
		return err
	}
	if r.Patient.Pid > 0 {
		f.Process.read(r.Patient)
		f.Resolv.read(r.Patient)
	}
	if f.Network != nil {
		f.readHostWays()
	}
	if err := f.askGateway(); err != nil {
		return step.Fail("ask", "the host's gateway", err)
	}
	f.readMembers(r)
	f.readTaken()
	var more []sample
	if f.Target != nil {
		more = f.Target.samples(f)
	}
	return readWalls(f, more)
}

// readSysctls reads the keys; what is missing stays missing.
func (s *Space) readSysctls(keys []string) {
	s.Parameters = map[string]string{}
	for _, key := range keys {
		// /proc/sys/net shows the namespace of the thread that opens it.
		if text, err := os.ReadFile("/proc/sys/" + key); err == nil {
			s.Parameters[key] = strings.Join(strings.Fields(string(text)), " ")
		}
	}
}

// hostKeys are the sysctls of the host that matter for the container.
func hostKeys(f *Facts) []string {
	list := []string{
		"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables",
		"net/bridge/bridge-nf-call-arptables", "net/ipv4/icmp_echo_ignore_all", "net/ipv4/ip_default_ttl",
	}
	links := []string{"all"}
	if f.Network != nil {
		for _, e := range f.Network.Endpoints {
			links = append(links, e.Network.Bridge)
		}
	}
	for _, like := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if l := f.Host.uplink(like); l != nil && !slices.Contains(links, l.Name) {
			links = append(links, l.Name)
		}
	}
	return append(list, linkKeys(links)...)
}

func linkKeys(links []string) (list []string) {
	for _, l := range links {
		for _, key := range []string{"forwarding", "rp_filter", "arp_ignore", "arp_filter", "route_localnet", "accept_local", "disable_policy"} {
			list = append(list, "net/ipv4/conf/"+l+"/"+key)
		}
		list = append(list, "net/ipv6/conf/"+l+"/disable_ipv6", "net/ipv6/conf/"+l+"/forwarding")
	}
	return list
}

// insideKeys are those of the container.
func insideKeys(f *Facts) []string {
	links := []string{"all", "lo"}
	if f.Network != nil {
		for _, e := range f.Network.Endpoints {
			links = append(links, e.Interface.Name)
		}
	}
	return append(linkKeys(links), "net/ipv4/icmp_echo_ignore_all", "net/ipv4/ip_default_ttl", "net/ipv4/ip_local_port_range",
		"net/ipv4/ip_local_reserved_ports", "net/netfilter/nf_conntrack_count", "net/ipv4/tcp_max_orphans")
}

// readInside reads the container's namespace. That it is not to be entered is a
// finding, not an error.
func (f *Facts) readInside(r Request) {
	p, inside := r.Patient, &f.Inside
	if p.Network == nil { // the host's own, or nobody's
		f.Inside = f.Host
		return
	}
	inside.Err = p.netns().Do(func() error {
		if err := inside.find(r.Survey); err != nil {
			return err
		}
		if err := inside.readQueues(); err != nil {
			return err
		}
		inside.readSysctls(insideKeys(f))
		if err := ignoreMissing(readOwn(f)); err != nil {
			return err
		}
		f.readWays()
		f.askNames()
		return f.Target.probe(f)
	})
	inside.named(p, network.NetnsDir(r.Runroot))
	if p.Pid > 0 {
		f.Sockets = readSockets(fmt.Sprintf("/proc/%d/net/", p.Pid))
	}
}

// find takes what was surveyed of the namespace of the calling thread, or surveys it.
func (s *Space) find(h *survey.Host) error {
	inode, err := network.Inode("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	n := h.Namespace(inode)
	if n == nil {
		if n, err = survey.ReadOne(survey.Here()); err != nil {
			return err
		}
	}
	s.Netns = *n
	return nil
}

// named looks where the name of ip-netns(8) leads to.
func (s *Space) named(p Patient, dir string) {
	if p.Network.Netns.Name == "" {
		return
	}
	s.NamePath = filepath.Join(dir, p.Network.Netns.Name)
	inode, err := network.Inode(s.NamePath)
	s.Named = err == nil && inode == s.Inode
	s.NameTaken = err == nil && inode != s.Inode
}

// check asks each step of the plan.
func (f *Facts) check() {
	if f.Network == nil || f.Inside.Err != nil {
		return
	}
	for _, s := range planOf(f.Network) {
		f.Checked = append(f.Checked, Checked{s, s.Check()})
	}
}

// planOf is all steps that a container's network was made by.
func planOf(cfg *network.Config) []step.Step {
	return slices.Concat(network.Shared(cfg), network.Inside(cfg), network.Names(cfg), network.Publish(cfg))
}

// read fills in how full the kernel's tables are.
func (f *Filled) read() error {
	f.Conntrack, f.ConntrackKnown = numberIn("/proc/sys/net/netfilter/nf_conntrack_count")
	f.ConntrackMax, _ = numberIn("/proc/sys/net/netfilter/nf_conntrack_max") // 0: no limit that is to be seen
	return step.Fail("read", "the neighbour tables", f.readNeighbourTables())
}

func numberIn(file string) (n int, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// read asks proc(5) and the cgroup file systems of the first process.
func (p *Process) read(patient Patient) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", patient.Pid))
	if err != nil { // it has just ended
		return
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "State":
			p.State, _, _ = strings.Cut(value, " ")
		case "Threads":
			p.Threads, _ = strconv.Atoi(value)
		case "Seccomp":
			p.Seccomp, _ = strconv.Atoi(value)
		case "Seccomp_filters":
			p.SeccompHave, _ = strconv.Atoi(value)
		}
	}
	p.Cgroups = patient.Cgroups
	for _, dir := range patient.Cgroups {
		if frozen := frozenAt(dir); frozen != "" {
			p.Frozen = frozen
		}
	}
}

// frozenAt is the directory, or the one above it, that is frozen: cgroup v2 has
// cgroup.freeze, the controller freezer of v1 freezer.state.
func frozenAt(dir string) string {
	for ; len(dir) > len("/sys/fs/cgroup"); dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.freeze"))
		if errors.Is(err, fs.ErrNotExist) {
			text, err = os.ReadFile(filepath.Join(dir, "freezer.state"))
		}
		if err != nil {
			return ""
		}
		if word := strings.TrimSpace(string(text)); word == "1" || word == "FROZEN" || word == "FREEZING" {
			return dir
		}
	}
	return ""
}

// readTaken finds sockets of the host at ports that the container publishes.
func (f *Facts) readTaken() {
	if f.Network == nil || len(f.Network.Ports) == 0 {
		return
	}
	for _, s := range readSockets("/proc/thread-self/net/") {
		for _, p := range f.Network.Ports {
			last := int(p.HostPort) + int(max(p.Count, 1)) - 1
			if s.Protocol == p.Protocol && int(s.Port) >= int(p.HostPort) && int(s.Port) <= last &&
				(s.Address.IsUnspecified() || !p.HostIP.IsValid() || p.HostIP.IsUnspecified() || p.HostIP == s.Address) {
				f.Taken = append(f.Taken, s)
			}
		}
	}
}
