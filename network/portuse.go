package network

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A port is in use when a container publishes it or a socket of the host has it.
// Nothing stops a process from opening a socket later on a port that is published;
// it will get no packets from outside.

// free fails with PortInUseError when one of the ports, which all have an address
// of the family, is in use by anybody but this container.
func (s *PublishPorts) free(c *conn, f family, ports []Port) error {
	if len(ports) == 0 {
		return nil
	}
	if err := s.noContainer(c, f, ports); err != nil {
		return err
	}
	if free, err := canBindAll(f, ports); free || err != nil {
		return err
	}
	sockets, err := listSockets(f, ports)
	if err != nil {
		return err
	}
	for _, p := range ports {
		for _, socket := range sockets {
			if !p.overlaps(socket.Port) {
				continue
			}
			ours, err := c.isService(f, socket.Port)
			if err != nil {
				return err
			}
			if ours && p.HostIP.IsUnspecified() { // the rules let it have what is its own
				continue
			}
			e := &PortInUseError{Port: Port{HostIP: p.HostIP, HostPort: socket.HostPort, Count: 1, Protocol: p.Protocol}}
			e.Process, e.Pid = processOf(socket.inode)
			return e
		}
	}
	return nil
}

// isService tells whether the port is one of ours on a gateway.
func (c *conn) isService(f family, p Port) (bool, error) {
	if p.HostIP.Is4() != f.is4() {
		return false, nil
	}
	have, err := c.find(f, []element{{set: servicesSet, key: p.key()}})
	return err == nil && have[0] != nil, err
}

// Few single ports are asked for one by one, so that the price does not depend on
// how many others there are. For many, the maps are read.
const (
	fewPorts     = 64
	fewAddresses = 32
)

// noContainer fails when another container publishes one of the ports, in
// whichever of the maps.
func (s *PublishPorts) noContainer(c *conn, f family, ports []Port) error {
	local, err := localAddresses(f)
	if err != nil {
		return err
	}
	count := 0
	for _, p := range ports {
		count += int(p.Count)
	}
	if count > fewPorts || len(local) > fewAddresses {
		return s.noneOfAll(f, ports)
	}
	for _, p := range ports {
		for one := range p.singles() {
			asked := one.rivals(local)
			have, err := c.find(f, asked)
			if err != nil {
				return err
			}
			for i, e := range have {
				if e == nil {
					continue
				}
				if err := s.rival(one, e.comment, e.value, asked[i].set); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// singles yields the ports of a range.
func (p Port) singles() func(func(Port) bool) {
	return func(yield func(Port) bool) {
		for i := range p.Count {
			one := p
			one.HostPort, one.ContainerPort, one.Count = p.HostPort+i, p.ContainerPort+i, 1
			if !yield(one) {
				return
			}
		}
	}
}

// rivals are the keys under which somebody may have published the single port.
func (p Port) rivals(local []netip.Addr) []element {
	everywhere := p
	everywhere.HostIP = familyOf(p.HostIP).unspecified()
	list := everywhere.elements(everywhere.HostIP)
	addresses := []netip.Addr{p.HostIP}
	if p.HostIP.IsUnspecified() {
		addresses = append(addresses, local...)
	}
	for _, a := range addresses {
		p.HostIP = a
		list = append(list, element{set: rangesMap, key: p.key()}, element{set: publishedMap, key: p.key()})
	}
	return list
}

// rival fails unless the element is this container's own.
func (s *PublishPorts) rival(p Port, comment string, value []byte, set string) error {
	name, owner := parseContainerComment(comment)
	if owner == s.Owner && s.Owner != "" {
		a, rest := newTable(familyOf(p.HostIP)).addrAt(value)
		same := a != s.address(familyOf(p.HostIP)) || set == rangesMap || string(rest) == string(portKey(p.ContainerPort))
		if same {
			return nil
		}
	}
	if owner == "" {
		name = fmt.Sprintf("unknown (%q in table %s)", comment, tableName)
	}
	return &PortInUseError{Port: p, Container: name, Owner: owner}
}

// noneOfAll is noContainer by reading the maps.
func (s *PublishPorts) noneOfAll(f family, ports []Port) error {
	byProtocol := map[string][]Port{}
	for _, p := range ports {
		byProtocol[p.Protocol] = append(byProtocol[p.Protocol], p)
	}
	others := func(comment string) bool {
		_, owner := parseContainerComment(comment)
		return owner != s.Owner
	}
	t := newTable(f)
	for _, set := range []string{everywhereMap, publishedMap, rangesMap} {
		list, err := t.list(set, others)
		if err != nil {
			return err
		}
		for _, e := range list {
			q := t.portOf(e)
			for _, p := range byProtocol[q.Protocol] {
				if p.overlaps(q) {
					both := Port{HostIP: p.HostIP, HostPort: max(p.HostPort, q.HostPort), Count: 1, Protocol: p.Protocol}
					return s.rival(both, e.comment, e.value, set)
				}
			}
		}
	}
	return nil
}

// portOf is the port of the host that an element of a map is for.
func (t table) portOf(e element) Port {
	p := Port{HostIP: t.family.unspecified(), Count: 1, Protocol: protocolName(e.key[0])}
	key := e.key[4:]
	if e.set != everywhereMap {
		p.HostIP, key = t.addrAt(key)
	}
	p.HostPort = uint16(key[0])<<8 | uint16(key[1])
	if len(e.end) >= 4 {
		last := e.end[len(e.end)-4:]
		p.Count = uint16(last[0])<<8 | uint16(last[1]) - p.HostPort + 1
	}
	return p
}

// localAddresses lists the addresses of the host's links.
func localAddresses(f family) (list []netip.Addr, err error) {
	kind := map[family]int{ipv4: unix.AF_INET, ipv6: unix.AF_INET6}[f]
	err = once(Netns{}, func(c *conn) error {
		addresses, err := c.addresses(kind, 0)
		for _, a := range addresses {
			list = append(list, a.prefix.Addr())
		}
		return err
	})
	return list, err
}

// hostHas wants every address that a port is published on to be the host's: one
// that the rules' fib daddr type local matches.
func hostHas(f family, ports []Port) error {
	asked := map[netip.Addr]bool{f.unspecified(): true}
	return once(Netns{}, func(c *conn) error {
		for _, p := range ports {
			if asked[p.HostIP] {
				continue
			}
			asked[p.HostIP] = true
			local, err := c.isLocal(p.HostIP)
			if err == nil && !local {
				err = fmt.Errorf("%s is not an address of this host", p.HostIP)
			}
			if err != nil {
				return step.Fail("publish port", p.Where(), err)
			}
		}
		return nil
	})
}

// processOf finds a process that has the socket with the inode.
func processOf(inode uint32) (name string, pid int) {
	want := fmt.Sprintf("socket:[%d]", inode)
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is well-formed
	at := slices.IndexFunc(files, func(f string) bool {
		to, err := os.Readlink(f)
		return err == nil && to == want
	})
	if at < 0 {
		return "", 0
	}
	text := strings.Split(files[at], "/")[2]
	comm, err := os.ReadFile("/proc/" + text + "/comm")
	if err != nil { // it has just ended
		return "", 0
	}
	pid, _ = strconv.Atoi(text) // the pattern has only digits first
	return strings.TrimSpace(string(comm)), pid
}
