package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/network/trace"
	"github.com/minictr/minictr/runtime"
)

// A traceTarget is TO as it was typed.
type traceTarget struct {
	host     string // a name or an address
	port     uint16
	protocol string
}

// parseTraceTarget reads TO[:PORT][/tcp|/udp|/icmp]. Without a port it is an echo.
func parseTraceTarget(text string) (t traceTarget, err error) {
	rest, protocol, given := strings.Cut(text, "/")
	if given && !slices.Contains([]string{"tcp", "udp", "icmp"}, protocol) {
		return t, fmt.Errorf("%s: protocol %q: tcp, udp or icmp", text, protocol)
	}
	t.host, t.protocol = rest, protocol
	bare := rest
	if inside, ok := strings.CutSuffix(rest, "]"); ok {
		bare = strings.TrimPrefix(inside, "[")
	}
	if address, err := netip.ParseAddr(bare); err == nil {
		t.host = address.Unmap().String()
	} else if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			return t, fmt.Errorf("%s: %w", text, err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return t, fmt.Errorf("%s: port %q: a number from 1 to 65535", text, port)
		}
		t.host, t.port = host, uint16(n)
	}
	switch {
	case t.host == "":
		return t, fmt.Errorf("%q: no name and no address", text)
	case protocol == "" && t.port == 0:
		t.protocol = "icmp"
	case protocol == "":
		t.protocol = "tcp"
	case protocol == "icmp" && t.port != 0:
		return t, fmt.Errorf("%s: ICMP has no ports", text)
	case protocol != "icmp" && t.port == 0:
		return t, fmt.Errorf("%s: %s needs a port, as in %s:80/%s", text, protocol, t.host, protocol)
	}
	return t, nil
}

// known are the places of the machine.
type known struct {
	host       trace.Place
	containers []*runtime.Container
	places     []trace.Place // all network namespaces but the host's
}

// hostName is the network that the trace is called in, where the bridges are.
const hostName = "host"

func (a *app) known() (*known, error) {
	list, err := a.runtime().List()
	if err != nil {
		return nil, err
	}
	inode, err := network.Inode("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	k := &known{host: trace.Place{Name: hostName, Path: "/proc/thread-self/ns/net", Inode: inode}, containers: list}
	all, err := namespaces.Read(namespaces.Network)
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		if p, ok := k.placeOf(n); ok && n.Inode != inode {
			k.places = append(k.places, p)
		}
	}
	return k, nil
}

// placeOf is how a namespace is opened and called.
func (k *known) placeOf(n namespaces.Namespace) (trace.Place, bool) {
	p := trace.Place{Name: n.Owner().Name, Inode: n.Inode}
	switch {
	case n.Leader().Pid != 0:
		p.Path = fmt.Sprintf("/proc/%d/ns/net", n.Leader().Pid)
	case len(n.Paths) > 0:
		p.Path = n.Paths[0]
	default:
		return p, false
	}
	for _, c := range slices.Backward(k.containers) { // the oldest, in whose network others may be guests
		if c.Pid() != 0 && slices.ContainsFunc(n.Processes, func(x namespaces.Process) bool { return x.Pid == c.Pid() }) {
			p.Name = c.Config.Name
			break
		}
	}
	if p.Name == "" {
		p.Name = fmt.Sprintf("netns %d", n.Inode)
	}
	return p, true
}

// traceRequest finds out which places and addresses are meant.
func (a *app) traceRequest(from string, t traceTarget, static bool) (r trace.Request, err error) {
	k, err := a.known()
	if err != nil {
		return r, err
	}
	r = trace.Request{Host: k.host, Protocol: t.protocol, Port: t.port}
	r.Others = k.places
	r.From, r.Source, err = a.sender(k, from)
	if static && is[*outsideError](err) {
		r.From, err = trace.Place{Name: r.Source.String()}, nil
	}
	if err != nil {
		return r, err
	}
	return r, a.receiver(k, &r, t)
}

// place finds a place by a word for it, as the other commands do.
func (a *app) place(k *known, word string) (trace.Place, error) {
	if word == hostName {
		return k.host, nil
	}
	t, err := a.target(word)
	if err != nil {
		return trace.Place{}, err
	}
	defer t.close()
	n, err := t.netns()
	if err != nil {
		return trace.Place{}, err
	}
	if n.Inode == k.host.Inode {
		return k.host, nil
	}
	if t.kind == "path" {
		n.Name = t.path
	}
	return trace.Place{Name: n.Name, Path: n.Path, Inode: n.Inode}, nil
}

// An outsideError is a sender that is none of the machine's.
type outsideError struct{ address netip.Addr }

func (e *outsideError) Error() string {
	return fmt.Sprintf("trace from %s: it is no address of the host or of a container, and nothing can be sent from it", e.address)
}

// Hint says what can be done instead.
func (e *outsideError) Hint() string {
	return "with --static the same is told without sending anything; minictr sniff shows what really comes"
}

// sender is the place and, if an address was given, it.
func (a *app) sender(k *known, name string) (trace.Place, netip.Addr, error) {
	address, err := netip.ParseAddr(name)
	if err != nil {
		p, err := a.place(k, name)
		return p, netip.Addr{}, err
	}
	address = address.Unmap()
	for _, p := range append([]trace.Place{k.host}, k.places...) {
		list, err := trace.Addresses(p)
		if err != nil && p == k.host {
			return p, address, err
		}
		if slices.ContainsFunc(list, func(x netip.Prefix) bool { return x.Addr() == address }) {
			return p, address, nil
		}
	}
	return trace.Place{}, address, &outsideError{address}
}

// receiver finds the address, and the place that has it.
func (a *app) receiver(k *known, r *trace.Request, t traceTarget) (err error) {
	if r.To, err = netip.ParseAddr(t.host); err == nil {
		return nil
	}
	r.ToName = t.host
	if t.host == hostName && r.From == k.host {
		r.To = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		return nil
	}
	if r.Target, err = a.place(k, t.host); err == nil {
		r.ToName = r.Target.Name
		r.To, err = meeting(r.From, r.Target)
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) && !is[*runtime.NotFoundError](err) {
		return err
	}
	if address, name, ok := k.alias(r.From.Name, t.host); ok {
		r.To, r.ToName = address, name
		return nil
	}
	address, resolveErr := resolve(r.From, k.pid(r.From.Name), t.host)
	if resolveErr == nil {
		r.To = address
		return nil
	}
	if strings.Contains(t.host, ".") { // it can only be a name of the DNS
		return resolveErr
	}
	return err
}

// meeting is the address of the one place on a network that both are on, or its
// first one. A sender without a path is outside.
func meeting(from, to trace.Place) (netip.Addr, error) {
	list, err := trace.Addresses(to)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(list) == 0 {
		return netip.Addr{}, fmt.Errorf("trace to %s: it has no address", to.Name)
	}
	if from.Path == "" {
		return list[0].Addr(), nil
	}
	own, err := trace.Addresses(from)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, there := range list {
		if slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.Bits() < o.Addr().BitLen() && o.Contains(there.Addr()) }) {
			return there.Addr(), nil
		}
	}
	return list[0].Addr(), nil
}

func (k *known) pid(name string) int {
	for _, c := range k.containers {
		if c.Config.Name == name {
			return c.Pid()
		}
	}
	return 0
}

// alias finds the container that the sender knows by another name: on a network
// that both are on.
func (k *known) alias(from, name string) (netip.Addr, string, bool) {
	networks := map[string]bool{}
	for _, e := range k.endpoints(from) {
		networks[e.Network.Name] = true
	}
	for _, c := range k.containers {
		for _, e := range k.endpoints(c.Config.Name) {
			if networks[e.Network.Name] && slices.Contains(e.Aliases, name) {
				return e.Interface.Address.Addr(), c.Config.Name, true
			}
		}
	}
	return netip.Addr{}, "", false
}

func (k *known) endpoints(name string) []network.Endpoint {
	for _, c := range k.containers {
		if c.Config.Name == name && c.Pid() != 0 && c.State.Network != nil {
			return c.State.Network.Endpoints
		}
	}
	return nil
}
