package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// ipv6Conf is where the sysctls of IPv6 are that each link has its own of. A link
// is born with those of "default".
const ipv6Conf = "net/ipv6/conf/"

// HasIPv6 returns nil when the kernel has IPv6, or else says that it has none.
func HasIPv6() error {
	_, err := os.Stat("/proc/sys/" + ipv6Conf + "default")
	if errors.Is(err, fs.ErrNotExist) {
		return &Cause{Text: noIPv6, Hint: noIPv6Hint, Err: unix.EAFNOSUPPORT}
	}
	return err
}

const (
	noIPv6     = "this kernel has no IPv6 (it was started with ipv6.disable=1, or built without CONFIG_IPV6)"
	noIPv6Hint = "cat /proc/cmdline; a network without IPv6 needs none"
)

// bridgeSysctls is what a bridge must be told about IPv6 between its making and
// its first address. The bridge of a network without IPv6 has none at all, so that
// no container finds a way to the host, or to another container, past the rules
// for IPv4 (CVE-2024-32473).
func bridgeSysctls(bridge string, ipv6 bool, lease Lease) []step.Step {
	key := func(name, value, why string) step.Step {
		return &SetSysctl{
			Key: ipv6Conf + bridge + "/" + name, Value: value, Why: why, Optional: !ipv6, Own: true, Lease: lease,
		}
	}
	list := []step.Step{
		key("accept_ra", "0", "do not let a container pose as an IPv6 router of the host (CVE-2020-13401)"),
	}
	if !ipv6 {
		return append(list, key("disable_ipv6", "1", "no IPv6 on a network without IPv6: "+bridge+" neither has an address nor answers"))
	}
	return append(list,
		key("disable_ipv6", "0", "IPv6 on "+bridge+", whatever new links of the host have"),
		key("accept_dad", "0", "use the addresses of "+bridge+" at once, without asking first whether somebody else has them"),
	)
}

// SetLinkDefaults says what IPv6 the next link that is born in the namespace has.
// Set on the link itself it would cost ten times as much, and come too late: a
// link that is up sends and hears.
//
// On a network with IPv6 the link takes addresses and routes from the steps
// only: what neighbours advertise as routers is ignored. On one without, it has
// no IPv6 at all, not even a link-local address.
type SetLinkDefaults struct {
	Link  string // the link that will be born: Check looks at what it has
	IPv6  bool
	Netns Netns
	// Born says that the link is there, if not up, and is set itself: the links to
	// come are not all ours.
	Born bool

	at  *place
	was []setting // what Apply has changed
}

// A setting is a name below /proc/sys/net/ipv6/conf/LINK and its value.
type setting struct{ name, value string }

func (s *SetLinkDefaults) settings() []setting {
	if !s.IPv6 {
		return []setting{{"disable_ipv6", "1"}}
	}
	return []setting{
		{"disable_ipv6", "0"},
		{"accept_ra", "0"},
		{"autoconf", "0"},
		// addrconf_dad_begin: "all" must be 0 as well, which it is in a new namespace.
		{"accept_dad", "0"},
	}
}

// conf is whose sysctls are set.
func (s *SetLinkDefaults) conf() string {
	if s.Born {
		return s.Link
	}
	return "default"
}

func (s *SetLinkDefaults) object() string {
	if s.IPv6 {
		return "IPv6 of " + s.Link + s.Netns.where()
	}
	return "no IPv6 on " + s.Link + s.Netns.where()
}

// Apply sets what new links get.
func (s *SetLinkDefaults) Apply() error {
	err := s.at.visit(s.Netns, func() error {
		for _, x := range s.settings() {
			path := "/proc/sys/" + ipv6Conf + s.conf() + "/" + x.name
			value, err := readSysctl(path)
			if errors.Is(err, fs.ErrNotExist) {
				return s.without()
			}
			if err == nil && value != x.value {
				err = writeSysctl(path, x.value)
				s.was = append(s.was, setting{path, value})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return explain("set", s.object(), err)
}

// without tells what a kernel without IPv6 means for the step.
func (s *SetLinkDefaults) without() error {
	if s.IPv6 {
		return HasIPv6()
	}
	return nil
}

// Undo sets back what the same process has set.
func (s *SetLinkDefaults) Undo() error {
	s.at.close()
	if len(s.was) == 0 {
		return nil
	}
	err := s.Netns.Do(func() error {
		var errs []error
		for _, x := range s.was {
			errs = append(errs, writeSysctl(x.name, x.value))
		}
		return errors.Join(errs...)
	})
	s.was = nil
	if isGone(err) {
		return nil
	}
	return explain("restore", s.object(), err)
}

// Check wants the link to have what it was to be born with. A link that is not
// there is the business of the step that makes it.
func (s *SetLinkDefaults) Check() error {
	err := s.Netns.Do(func() error {
		if _, err := os.Stat("/proc/sys/" + ipv6Conf + "default"); errors.Is(err, fs.ErrNotExist) {
			return s.without()
		}
		for _, x := range s.settings() {
			value, err := readSysctl("/proc/sys/" + ipv6Conf + s.Link + "/" + x.name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if value != x.value {
				return fmt.Errorf("%s is %s, not %s", x.name, value, x.value)
			}
		}
		return nil
	})
	return step.Fail("check", s.object(), err)
}

// Words says the step in plain words.
func (s *SetLinkDefaults) Words() string {
	if s.IPv6 && s.Born {
		return s.Link + " has IPv6, but takes no address or route from what others advertise"
	}
	if s.IPv6 {
		return s.Link + " will have IPv6, but take no address or route from what others advertise"
	}
	return "no IPv6 on a network without IPv6: no address by itself, no router that a neighbour poses as"
}

func (s *SetLinkDefaults) String() string {
	command := "ip netns exec " + step.Quote(s.Netns.Name) + " sysctl -q -w"
	if !s.IPv6 {
		command = "ip netns exec " + step.Quote(s.Netns.Name) + " sysctl -q -e -w" // no error when there is no such key
	}
	var b strings.Builder
	b.WriteString(command)
	for _, x := range s.settings() {
		b.WriteString(" " + ipv6Conf + s.conf() + "/" + x.name + "=" + x.value)
	}
	return b.String()
}
