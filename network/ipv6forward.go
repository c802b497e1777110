package network

import (
	"errors"
	"slices"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// ForwardIPv6 lets the host pass IPv6 packets on from one link to another, unless
// it does.
//
// For IPv6 that has a side effect which takes hosts off the net: a machine that
// forwards is a router, and a router does not listen to router advertisements.
// At the moment of the switch the kernel throws away the default routes that it
// has learnt from them (addrconf_fixup_forwarding, rt6_purge_dflt_routers), and
// learns none again. Therefore every link that listens now (accept_ra=1) is told
// before to listen although it forwards (accept_ra=2): what the host learns is
// afterwards what it was before, on a link that is down or has not heard of a
// router yet, too. Ports of bridges are left alone, for what comes in there is the
// bridge's to hear, and so are links whose advertisements a daemon reads
// (accept_ra=0).
//
// Links that appear later are born with accept_ra=1 and do not listen. The default
// stays so on purpose: else every bridge and tunnel that anybody makes on this host
// would believe its guests that they are routers (CVE-2020-13401).
type ForwardIPv6 struct {
	Lease Lease

	done []*SetSysctl // what Apply has set
}

const forwardIPv6 = ipv6Conf + "all/forwarding"

// Changed reports whether Apply switched forwarding on, and on which links it kept
// router advertisements.
func (s *ForwardIPv6) Changed() (links []string, changed bool) {
	for _, x := range s.done {
		if x.Key == forwardIPv6 {
			changed = changed || x.made
		} else if x.made {
			links = append(links, strings.TrimSuffix(strings.TrimPrefix(x.Key, ipv6Conf), "/accept_ra"))
		}
	}
	return links, changed
}

func (s *ForwardIPv6) set(key, value string) error {
	x := &SetSysctl{Key: key, Value: value, Lease: s.Lease}
	s.done = append(s.done, x)
	return x.Apply()
}

// Apply switches forwarding on. When it fails, what it had set before is set back.
func (s *ForwardIPv6) Apply() error {
	value, err := readSysctl("/proc/sys/" + forwardIPv6)
	if err == nil && value == "1" {
		return nil
	}
	if missing := HasIPv6(); missing != nil {
		return explain("set sysctl", forwardIPv6+"=1", missing)
	}
	var listening []string
	if err == nil {
		listening, err = listeningLinks()
	}
	if err != nil {
		return explain("list", "links that listen to router advertisements", err)
	}
	for _, link := range listening {
		err = errors.Join(err, s.keepListening(link))
	}
	if err == nil {
		err = s.set(forwardIPv6, "1")
	}
	if err != nil {
		return errors.Join(err, s.Undo())
	}
	return nil
}

func (s *ForwardIPv6) keepListening(link string) error {
	err := s.set(ipv6Conf+link+"/accept_ra", "2")
	if isGone(err) { // the link
		return nil
	}
	return err
}

// listeningLinks are the links of the host that listen to router advertisements.
func listeningLinks() ([]string, error) {
	var all []*link
	err := once(Netns{}, func(c *conn) (err error) { all, err = c.links(); return err })
	if err != nil {
		return nil, err
	}
	var listening []string
	for _, l := range all {
		if l.name == "lo" || l.port != "" {
			continue
		}
		accept, err := readSysctl("/proc/sys/" + ipv6Conf + l.name + "/accept_ra")
		if err == nil && accept == "1" {
			var forwards string
			forwards, err = readSysctl("/proc/sys/" + ipv6Conf + l.name + "/forwarding")
			if err == nil && forwards == "0" {
				listening = append(listening, l.name)
			}
		}
		if err != nil && !isGone(err) { // the link, or it never had IPv6: its MTU is below 1280
			return nil, err
		}
	}
	return listening, nil
}

// Undo sets everything back that the same process has set, forwarding first.
func (s *ForwardIPv6) Undo() error {
	var errs []error
	for _, x := range slices.Backward(s.done) {
		errs = append(errs, x.Undo())
	}
	s.done = nil
	return errors.Join(errs...)
}

// Check wants forwarding to be on.
func (s *ForwardIPv6) Check() error {
	if err := HasIPv6(); err != nil {
		return step.Fail("check sysctl", forwardIPv6+"=1", err)
	}
	return (&SetSysctl{Key: forwardIPv6, Value: "1"}).Check()
}

// Words says the step in plain words.
func (s *ForwardIPv6) Words() string {
	return "let the host pass IPv6 packets on, and go on learning its own routes from router advertisements"
}

func (s *ForwardIPv6) String() string {
	return `if [ "$(sysctl -n net/ipv6/conf/all/forwarding)" = 0 ]; then
	for link in $(ls /proc/sys/net/ipv6/conf | grep -vx -e all -e default -e lo); do
		if ip -d link show dev "$link" | grep -q bridge_slave; then continue; fi
		if [ "$(sysctl -n "net/ipv6/conf/$link/accept_ra" "net/ipv6/conf/$link/forwarding" | tr -d '\n')" = 10 ]; then
			sysctl -q -w "net/ipv6/conf/$link/accept_ra=2"
		fi
	done
	sysctl -q -w net/ipv6/conf/all/forwarding=1
fi`
}
