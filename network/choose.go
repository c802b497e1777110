package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// portsFile, below the directory for what dies with the machine, holds for each
// range of the host's ports the one that was chosen last. The next is looked for
// behind it: so two that choose at the same time choose differently, before either
// has published its port, and a port rests before it is used again.
const portsFile = "ports"

// ResolvePorts chooses a port of the host for each that has none, or one of a
// range: one that no container publishes and no socket of the host has, in either
// family. The others it returns as they are; PublishPorts finds out whether they
// are free. RunRoot is the directory for what dies with the machine. With dry it
// writes nothing.
func ResolvePorts(runroot string, ports []Port, dry bool) ([]Port, error) {
	chosen := make([]Port, 0, len(ports))
	blank := false
	for _, p := range ports {
		blank = blank || p.isBlank()
	}
	if !blank {
		return append(chosen, ports...), nil
	}
	ch := chooser{last: map[string]uint16{}, taken: ports}
	choose := func() error {
		err := ch.prepare(filepath.Join(runroot, portsFile))
		for _, p := range ports {
			if err == nil && p.isBlank() {
				p, err = ch.choose(p)
				ch.taken = append(ch.taken, p)
			}
			chosen = append(chosen, p)
		}
		if err == nil && !dry {
			err = ch.remember(filepath.Join(runroot, portsFile))
		}
		return err
	}
	if dry {
		return chosen, choose()
	}
	return chosen, withLock(filepath.Join(runroot, leasesDir), choose)
}

// ForgetPorts forgets which ports were chosen last.
func ForgetPorts(runroot string) error {
	return ignoreMissing(os.Remove(filepath.Join(runroot, portsFile)))
}

// isBlank tells that the port of the host is still to be chosen.
func (p Port) isBlank() bool { return p.HostPort == 0 || p.Among > 0 }

// A chooser knows what is in use.
type chooser struct {
	first, count uint16            // net.ipv4.ip_local_port_range
	last         map[string]uint16 // by range: the port chosen last
	taken        []Port            // of this request
}

func (ch *chooser) prepare(file string) error {
	text, err := readSysctl("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return err
	}
	var end uint16
	if _, err := fmt.Sscan(text, &ch.first, &end); err != nil || end < ch.first {
		return fmt.Errorf("net.ipv4.ip_local_port_range %q: %w", text, errors.Join(err, unix.EINVAL))
	}
	ch.count = end - ch.first + 1
	b, err := os.ReadFile(file)
	if err == nil {
		_ = json.Unmarshal(b, &ch.last) // what a crash has garbled is as good as none
	}
	if ch.last == nil {
		ch.last = map[string]uint16{}
	}
	return ignoreMissing(err)
}

func (ch *chooser) remember(file string) error {
	b, err := json.Marshal(ch.last)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// choose finds the next free port.
func (ch *chooser) choose(p Port) (Port, error) {
	first, count := ch.first, ch.count
	if p.Among > 0 {
		first, count = p.HostPort, p.Among
	}
	begin := uint32(0)
	name := span(first, count)
	if last := ch.last[name]; last >= first && last-first < count {
		begin = uint32(last-first) + 1
	}
	p.Among, p.HostPort = 0, first
	all := p
	all.Count = count
	sockets, err := socketsOf(all)
	if err != nil {
		return p, err
	}
	for i := range uint32(count) {
		p.HostPort = first + uint16((begin+i)%uint32(count))
		free, err := ch.isFree(p, sockets)
		if err != nil {
			return p, err
		}
		if free {
			ch.last[name] = p.HostPort
			return p, nil
		}
	}
	return p, step.Fail("publish port", all.Where(), errors.New("all of them are in use"))
}

// inFamilies are the port with an address of each family in which it may be.
func (p Port) inFamilies() map[family]Port {
	list := map[family]Port{}
	for _, f := range families() {
		if p, ok := p.on(f); ok {
			list[f] = p
		}
	}
	return list
}

func socketsOf(p Port) (list []socket, err error) {
	for f, p := range p.inFamilies() {
		some, err := listSockets(f, []Port{p})
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

func (ch *chooser) isFree(p Port, sockets []socket) (bool, error) {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return false, err
	}
	defer c.close()
	for f, p := range p.inFamilies() {
		for _, s := range sockets {
			if p.overlaps(s.Port) {
				return false, nil
			}
		}
		for _, q := range ch.taken {
			if q, ok := q.on(f); ok && !q.isBlank() && p.overlaps(q) {
				return false, nil
			}
		}
		err := (&PublishPorts{}).noContainer(c, f, []Port{p})
		if errors.Is(err, unix.EADDRINUSE) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
