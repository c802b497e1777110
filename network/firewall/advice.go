package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Question is a network of ours, and what is published from it.
type Question struct {
	Bridge   string         // minictr0
	Networks []netip.Prefix // its gateways with the length of their subnets: 172.17.0.1/16, fd00::1/64
	Uplink   string         // the link of the host's default route; empty: only what does not leave the host is asked
	Internal bool           // the network has no way out
	Ports    []Published
}

// A Published is a port of a container that is published.
type Published struct {
	Host      netip.AddrPort // where it is published; the address may be unspecified
	Container netip.AddrPort // where it goes
	Protocol  string         // "tcp", "udp" or "sctp"
}

// A Finding is something that does not pass, or of which nobody can say.
type Finding struct {
	What    []string // "packets from minictr0 to eth0"
	Owner   string   // "ufw", see Owner
	Unknown bool     // it may pass or not
	Where   string   // the chain and the rule, or the policy; several with "; " in between
	Cure    []string // commands that let it pass; none if it is not known
}

// String is the finding in one line.
func (f Finding) String() string {
	verb := "drops"
	if f.Unknown {
		verb = "may drop"
	}
	text := fmt.Sprintf("%s %s %s (%s)", f.Owner, verb, strings.Join(f.What, ", "), f.Where)
	if len(f.Cure) > 0 {
		text += ": " + strings.Join(f.Cure, "; ")
	}
	return text
}

// Advise says what the firewalls of others do to the network's packets, in the
// network namespace of the calling thread: out of a container and back, from
// outside to the published ports and back, and from a container to the name
// server on its gateway. What passes is no finding; on a host without other
// firewalls there is none, and the question costs some microseconds.
func Advise(q Question) ([]Finding, error) {
	r, err := ReadForeign()
	if err != nil {
		return nil, err
	}
	var findings []Finding
	if len(r.bases) > 0 {
		findings = r.Advise(q)
	}
	legacy, err := legacyTables()
	if err != nil {
		return findings, err
	}
	return append(findings, q.legacy(legacy)...), nil
}

// Advise is the same of rules that were read before.
func (r *Ruleset) Advise(q Question) (findings []Finding) {
	var last Verdict
	for _, s := range q.samples() {
		v := r.Walk(s.hook, s.packet)
		asked := last
		last = v
		if v.Kind == Accept {
			continue
		}
		f := Finding{What: []string{s.what}, Owner: v.owner(), Unknown: v.Kind == Unknown, Where: v.String(), Cure: cure(v, s, q.Bridge)}
		if s.packet.Reply && asked.Kind == v.Kind && asked.String() == v.String() {
			f.What = nil // there will be no answer, and nobody to miss it
		}
		findings = merge(findings, f)
	}
	return findings
}

// merge joins findings of the same place, and those that the same cure is for,
// as of the two families.
func merge(findings []Finding, f Finding) []Finding {
	for i := range findings {
		g := &findings[i]
		if g.Owner != f.Owner || g.Unknown != f.Unknown || !strings.Contains(g.Where, f.Where) && !covers(g.Cure, f.Cure) {
			continue
		}
		if !strings.Contains(g.Where, f.Where) {
			g.Where += "; " + f.Where
		}
		g.What, g.Cure = union(g.What, f.What), union(g.Cure, f.Cure)
		return findings
	}
	return append(findings, f)
}

// covers is true if all of b, which is not nothing, is in a.
func covers(a, b []string) bool { return len(b) > 0 && len(union(slices.Clone(a), b)) == len(a) }

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// An aim is what a sample is for, and what a cure has to let through.
type aim uint8

const (
	outgoing  aim = iota // out of a container, and the answers
	published            // to a published port
	names                // to the name server on the gateway
	bridged              // from one container to another over the bridge
)

type sample struct {
	aim    aim
	what   string
	hook   Hook
	packet Packet
}

// samples are the packets that the network lives on.
func (q Question) samples() (list []sample) {
	bridge, uplink := linkOf(q.Bridge), linkOf(q.Uplink)
	for _, gateway := range q.Networks {
		list = append(list, q.own(bridge, gateway)...)
		if q.Uplink == "" || q.Internal {
			continue
		}
		out := Packet{
			In: bridge, Out: uplink, Source: container(gateway), Destination: outside(gateway.Addr()),
			Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: 443,
		}
		list = append(list,
			sample{outgoing, fmt.Sprintf("packets from %s to %s", q.Bridge, q.Uplink), Forward, out},
			sample{outgoing, "the answers to " + q.Bridge, Forward, out.answer()})
	}
	for _, p := range q.Ports {
		if q.Uplink == "" {
			break
		}
		in := Packet{
			In: uplink, Out: bridge, Source: outside(p.Container.Addr()), Destination: p.Container.Addr(),
			Protocol: protocolNumber(p.Protocol), SourcePort: 40000, DestinationPort: p.Container.Port(), DNAT: true,
		}
		what := fmt.Sprintf("the published port %d/%s", p.Host.Port(), p.Protocol)
		list = append(list, sample{published, what, Forward, in}, sample{outgoing, "the answers of " + what, Forward, in.answer()})
	}
	return list
}

// own are the packets that do not leave the host.
func (q Question) own(bridge Link, gateway netip.Prefix) (list []sample) {
	for _, protocol := range []uint8{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		query := Packet{
			In: bridge, Source: container(gateway), Destination: gateway.Addr(), DestinationLocal: true,
			Protocol: protocol, SourcePort: 40000, DestinationPort: 53,
		}
		reply := query.answer()
		reply.SourceLocal, reply.DestinationLocal = true, false
		list = append(list,
			sample{names, "name queries from " + q.Bridge, Input, query},
			sample{names, "the answers to name queries from " + q.Bridge, Output, reply})
	}
	if bridgeCallsIPTables() {
		neighbour := container(gateway).Next()
		list = append(list, sample{bridged, "packets between containers on " + q.Bridge, Forward, Packet{
			In: bridge, Out: bridge, Source: container(gateway), Destination: neighbour,
			Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: 80,
		}})
	}
	return list
}

// answer is the packet back.
func (p Packet) answer() Packet {
	p.In, p.Out = p.Out, p.In
	p.Source, p.Destination = p.Destination, p.Source
	p.SourcePort, p.DestinationPort = p.DestinationPort, p.SourcePort
	p.SourceLocal, p.DestinationLocal = p.DestinationLocal, p.SourceLocal
	p.State, p.Reply = Established, true
	return p
}

// container is an address of the network that a container may have.
func container(gateway netip.Prefix) netip.Addr {
	if next := gateway.Addr().Next(); gateway.Contains(next) && gateway.Contains(next.Next()) {
		return next
	}
	return gateway.Addr().Prev()
}

// outside is an address of the internet, of the prefixes for documentation.
func outside(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.MustParseAddr("2001:db8::1")
	}
	return netip.MustParseAddr("203.0.113.1")
}

func protocolNumber(name string) uint8 {
	return map[string]uint8{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}[name]
}

// linkOf finds the index, which is 0 if the link is not there (yet).
func linkOf(name string) Link {
	l := Link{Name: name}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return l
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return l
	}
	defer unix.Close(fd)
	if unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request) == nil {
		l.Index = int(request.Uint32())
	}
	return l
}

// bridgeCallsIPTables says whether what goes over a bridge passes the hooks of
// IP too: br_netfilter, which Docker and Kubernetes load.
func bridgeCallsIPTables() bool {
	value, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && strings.TrimSpace(string(value)) == "1" // without the module the file is missing
}

// legacyTables lists the tables of the iptables of old, which nf_tables does
// not show.
func legacyTables() (tables []string, err error) {
	for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
		content, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read firewall: %w", err)
		}
		if slices.Contains(strings.Fields(string(bytes.TrimSpace(content))), "filter") {
			tables = append(tables, strings.TrimSuffix(name, "_tables_names"))
		}
	}
	return tables, nil
}

// legacy is what can be said of tables that cannot be read.
func (q Question) legacy(tables []string) (findings []Finding) {
	for _, family := range tables {
		if !slices.ContainsFunc(q.Networks, func(n netip.Prefix) bool { return n.Addr().Is6() == (family == "ip6") }) {
			continue
		}
		program := map[string]string{"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}[family]
		findings = append(findings, Finding{
			What: []string{"packets from and to " + q.Bridge}, Owner: program, Unknown: true,
			Where: fmt.Sprintf("its table filter cannot be read; see: %s -S FORWARD", program),
		})
	}
	return findings
}
