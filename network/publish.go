package network

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// PublishPorts makes ports of a container reachable at addresses of the host: an
// element in a map of our tables for each port, or for a range. A port without
// an address of the host is published in the families in which the container has
// an address. The container's network must be in the tables (AddFirewall), and its
// bridge must let packets from 127.0.0.1 through (Publish).
type PublishPorts struct {
	Ports    []Port     // each with a port of the host (ResolvePorts)
	Address  netip.Addr // the container's; the zero Addr without IPv4
	Address6 netip.Addr // the zero Addr without IPv6
	Owner    string     // the container's id
	Name     string     // what people call it
	Lease    Lease      // the directory of its File orders those who publish

	made bool
}

// PortInUseError says who has a port that was to be published.
type PortInUseError struct {
	Port      Port   // the one port, with an address
	Container string // the name of the container that publishes it, or
	Owner     string // its id
	Process   string // the name of the process that has it, if it could be found
	Pid       int    // and its number
}

func (e *PortInUseError) Error() string {
	switch {
	case e.Container != "":
		return "in use by container " + e.Container
	case e.Process != "":
		return fmt.Sprintf("in use by %s (pid %d)", e.Process, e.Pid)
	}
	return "in use by a process of the host"
}

// Unwrap returns EADDRINUSE.
func (e *PortInUseError) Unwrap() error { return unix.EADDRINUSE }

// comment says in an element whose it is. nft(8) reads 128 characters.
func (s *PublishPorts) comment() string {
	name := cmp.Or(s.Name, s.Owner[:min(12, len(s.Owner))])
	return fmt.Sprintf("container %.50s %s", name, s.Owner)
}

// parseContainerComment is the reverse; the owner is empty for other comments.
func parseContainerComment(text string) (name, owner string) {
	words := strings.Fields(text)
	if len(words) != 3 || words[0] != "container" {
		return "", ""
	}
	return words[1], words[2]
}

// sameContainer reports whether both comments are of one container, which may have
// been given another name in between.
func sameContainer(a, b string) bool {
	_, one := parseContainerComment(a)
	_, other := parseContainerComment(b)
	return one != "" && one == other
}

func (s *PublishPorts) address(f family) netip.Addr {
	if f == ipv4 {
		return s.Address
	}
	return s.Address6
}

// publishedOn lists the ports that are published in the family.
func (s *PublishPorts) publishedOn(f family) (ports []Port) {
	for _, p := range s.Ports {
		if p, ok := p.on(f); ok && s.address(f).IsValid() {
			ports = append(ports, p)
		}
	}
	return ports
}

// elements are the ports' elements in one table.
func (s *PublishPorts) elements(f family) (list []element) {
	comment := s.comment()
	for _, p := range s.publishedOn(f) {
		for _, e := range p.elements(s.address(f)) {
			e.comment = comment
			list = append(list, e)
		}
	}
	return list
}

// elements are what leads the port, which has an address, to that of the
// container. A range that keeps its ports is one element.
func (p Port) elements(to netip.Addr) []element {
	if p.Count > 1 && p.HostPort == p.ContainerPort {
		last := p
		last.HostPort += p.Count - 1
		if p.HostIP.IsUnspecified() {
			last.HostIP = lastOf(netip.PrefixFrom(p.HostIP, 0))
		}
		return []element{{
			set: rangesMap, key: p.key(), end: last.key(), value: to.AsSlice(),
		}}
	}
	list := make([]element, 0, p.Count)
	for i := range p.Count {
		one := p
		one.HostPort += i
		e := element{set: publishedMap, key: one.key(), value: append(to.AsSlice(), portKey(p.ContainerPort+i)...)}
		if p.HostIP.IsUnspecified() {
			e.set = everywhereMap
			e.key = append(e.key[:4:4], portKey(one.HostPort)...)
		}
		list = append(list, e)
	}
	return list
}

func (s *PublishPorts) object() string {
	var texts []string
	for _, p := range s.Ports {
		texts = append(texts, p.Where())
	}
	return strings.Join(texts, ", ")
}

// Apply publishes the ports, all or none. It is done when they are published
// already, as after nft flush ruleset, where some of them may be missing.
func (s *PublishPorts) Apply() error {
	err := s.validate()
	if err == nil {
		err = s.locked(s.apply)
	}
	if err == nil {
		err = s.forget()
	}
	if inUse, ok := errors.AsType[*PortInUseError](err); ok {
		return step.Fail("publish port", inUse.Port.Where(), err)
	}
	if e, ok := errors.AsType[*step.Error](err); ok {
		return e
	}
	return explain("publish port", s.object(), err)
}

// locked calls f when nobody else publishes a port or takes a lease.
func (s *PublishPorts) locked(f func() error) error {
	if s.Lease.File == "" {
		return f()
	}
	return withLock(filepath.Dir(s.Lease.File), f)
}

func (s *PublishPorts) apply() error {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer c.close()
	missing, stale := map[family][]element{}, map[family][]element{}
	for _, f := range families() {
		ports := s.publishedOn(f)
		if missing[f], stale[f], err = s.sort(c, f); err != nil {
			return err
		}
		if len(missing[f]) == 0 {
			continue
		}
		if err := hostHas(f, ports); err != nil {
			return err
		}
		if err := s.free(c, f, ports); err != nil {
			return err
		}
	}
	err = s.change(stale, missing)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) { // by somebody with another lock
		return errors.Join(s.free(c, ipv4, s.publishedOn(ipv4)), s.free(c, ipv6, s.publishedOn(ipv6)), err)
	}
	s.made = err == nil
	return err
}

// sort tells which elements are missing. Stale ones lead to an address that the
// container had before it was killed.
func (s *PublishPorts) sort(c *conn, f family) (missing, stale []element, err error) {
	wanted := s.elements(f)
	have, err := c.find(f, wanted)
	if err != nil {
		return nil, nil, err
	}
	address := s.address(f).AsSlice()
	for i, e := range wanted {
		if have[i] != nil && sameContainer(have[i].comment, e.comment) {
			if bytes.Equal(have[i].value, e.value) {
				continue
			}
			if !bytes.HasPrefix(have[i].value, address) {
				stale = append(stale, e)
			}
		}
		missing = append(missing, e)
	}
	return missing, stale, nil
}

// change deletes and adds elements of both tables in one transaction.
func (s *PublishPorts) change(remove, add map[family][]element) error {
	batch := &nftables.Conn{}
	if len(remove[ipv4])+len(remove[ipv6])+len(add[ipv4])+len(add[ipv6]) > elementsAtATime {
		var err error
		if batch, err = bigBatch(); err != nil {
			return err
		}
	}
	for _, f := range families() {
		t := newTable(f)
		for _, err := range []error{t.deleteElements(batch, remove[f]), t.addElements(batch, add[f])} {
			if err != nil {
				return err
			}
		}
	}
	return batch.Flush()
}

// validate checks what can be checked without looking at the host.
func (s *PublishPorts) validate() error {
	if !s.Address.IsValid() && !s.Address6.IsValid() {
		return errors.New("the container is on no network by which it could answer: there are internal and macvlan networks only")
	}
	for _, p := range s.Ports {
		switch {
		case p.HostPort == 0 || p.Among > 0:
			return step.Fail("publish port", p.String(), errors.New("no port of the host was chosen for it"))
		case p.HostIP.IsValid() && !s.address(familyOf(p.HostIP)).IsValid():
			return step.Fail("publish port", p.Where(), fmt.Errorf("the container has no %s address", familyOf(p.HostIP).words()))
		}
	}
	return CheckTwice(s.Ports)
}

func (f family) words() string {
	if f == ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

// Undo takes the ports back: those elements that are this container's.
func (s *PublishPorts) Undo() error {
	err := s.undo()
	if err == nil {
		err = s.forget()
	}
	return explain("delete port", s.object(), err)
}

func (s *PublishPorts) undo() error {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer c.close()
	ours := map[family][]element{}
	for _, f := range families() {
		wanted := s.elements(f)
		have, err := c.find(f, wanted)
		if err != nil {
			return err
		}
		for i, e := range wanted {
			if have[i] != nil && sameContainer(have[i].comment, e.comment) {
				ours[f] = append(ours[f], e)
			}
		}
	}
	if err := s.change(ours, nil); !errors.Is(err, unix.ENOENT) { // somebody flushed them
		return err
	}
	return nil
}

// Check wants every port to be published.
func (s *PublishPorts) Check() error {
	var errs []error
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return step.Fail("check port", s.object(), err)
	}
	defer c.close()
	for _, f := range families() {
		missing, _, err := s.sort(c, f)
		for _, e := range missing {
			errs = append(errs, fmt.Errorf("%s is not in the map %s of table %s %s", newTable(f).keyText(e), e.set, f, tableName))
		}
		errs = append(errs, err)
	}
	return step.Fail("check port", s.object(), errors.Join(errs...))
}

// Words says the step in plain words.
func (s *PublishPorts) Words() string {
	return fmt.Sprintf("send what comes to the host at %s to %s", s.object(), cmp.Or(s.Name, "the container"))
}

func (s *PublishPorts) String() string { return s.script("add") }

// script is the commands that add or delete the elements.
func (s *PublishPorts) script(verb string) string {
	var b strings.Builder
	b.WriteString("nft -f - <<'END'\n")
	for _, f := range families() {
		for _, e := range s.elements(f) {
			b.WriteString(newTable(f).change(verb, e) + "\n")
		}
	}
	return b.String() + "END"
}

// Published lists, as commands of nft(8), what the kernel has of a container's ports.
func Published(owner string) (texts []string, err error) {
	err = eachPublished(owner, func(f family, list []element) error {
		for _, e := range list {
			texts = append(texts, newTable(f).command(e))
		}
		return nil
	})
	return texts, err
}

// Unpublish takes back all ports of a container of which nothing but its id is
// known, as after a crash.
func Unpublish(owner string) error {
	ours := map[family][]element{}
	err := eachPublished(owner, func(f family, list []element) error {
		ours[f] = append(ours[f], list...)
		return nil
	})
	if err == nil {
		err = (&PublishPorts{}).change(ours, nil)
	}
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return explain("delete the ports of container", owner, err)
}

func eachPublished(owner string, f func(family, []element) error) error {
	mine := func(comment string) bool {
		_, of := parseContainerComment(comment)
		return of == owner
	}
	for _, fam := range families() {
		for _, set := range []string{publishedMap, everywhereMap, rangesMap} {
			list, err := newTable(fam).list(set, mine)
			if err == nil && len(list) > 0 {
				err = f(fam, list)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
