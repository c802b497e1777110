package network

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

	"golang.org/x/sys/unix"
)

// A Guest is what has to be known of a network namespace that minictr did not make,
// to plug it into networks of ours (network adopt) and to give it back as it was:
//
//	ip netns add web ── adopt web ── eth0, address, route, lo up ── release web ── as before
//
// Nothing in it is changed but what is on links of ours, and lo, which goes back to
// what it was with the last of them. In Config, Guest says that a namespace is one.
type Guest struct {
	// Cookie names the namespace as long as the machine is up, where the number of
	// an inode is given to another one at once (SO_NETNS_COOKIE, Linux 5.14; 0
	// before).
	Cookie uint64 `json:"cookie,omitempty"`
	// LoDown is that lo was down, LoBare that it had no IPv4 address.
	LoDown bool `json:"loDown,omitempty"`
	LoBare bool `json:"loBare,omitempty"`
	// Route and Route6 are that it has a default route that is not ours. Then it
	// gets none from us.
	Route  bool `json:"route,omitempty"`
	Route6 bool `json:"route6,omitempty"`
}

// GuestNetns is the namespace that the argument of network adopt means: the name of
// one that ip-netns(8) has made, a path, or pid:PID. Called is how people shall read
// it. It need not be there.
func GuestNetns(target string) (ns Netns, called string) {
	number, byPid := strings.CutPrefix(target, "pid:")
	if byPid {
		target = "/proc/" + number + "/ns/net"
	}
	pid, ok := pidOf(target)
	switch {
	case byPid && !ok:
		return Netns{}, "pid:" + number
	case ok:
		return Netns{Name: fmt.Sprintf("pid%d", pid), Path: target, Foreign: true}, fmt.Sprintf("pid:%d", pid)
	case !strings.Contains(target, "/"):
		return Netns{Name: target, Foreign: true}, target
	case filepath.Dir(target) == netnsDir, filepath.Dir(target) == "/var"+netnsDir:
		return Netns{Name: filepath.Base(target), Foreign: true}, filepath.Base(target)
	}
	return Netns{Name: filepath.Base(target), Path: target, Foreign: true}, target
}

// pidOf is the process of /proc/PID/ns/net.
func pidOf(path string) (pid int, ok bool) {
	text, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return 0, false
	}
	if text, ok = strings.CutSuffix(text, "/ns/net"); !ok {
		return 0, false
	}
	pid, err := strconv.Atoi(text)
	return pid, err == nil && pid > 0
}

// FindGuest looks the namespace up and reads what is to be known of it. It fails
// with a *Cause when there is none, or when it is the caller's own.
func FindGuest(target string) (cfg *Config, called string, err error) {
	ns, called := GuestNetns(target)
	if ns.Name == "" || ns.Name == "." || ns.Name == ".." {
		return nil, called, &Cause{Text: "not the name of a network namespace, a path or pid:PID", Hint: listHint, Err: unix.EINVAL}
	}
	f, err := ns.Open()
	if err != nil {
		return nil, called, whyNoGuest(ns, err)
	}
	defer closeFile(f)
	own, err := ns.isOwn()
	if err != nil {
		return nil, called, err
	}
	if own {
		return nil, called, &Cause{Text: "it is the host's own network namespace", Hint: listHint, Err: unix.EINVAL}
	}
	if ns.Inode, err = Inode(ns.path()); err != nil {
		return nil, called, err
	}
	cfg = &Config{Mode: Bridge, Netns: ns, Guest: &Guest{}}
	return cfg, called, once(ns, func(c *conn) error { return cfg.Guest.read(c) })
}

const listHint = "ip netns list names those that there are; ip netns add NAME makes one"

func whyNoGuest(ns Netns, err error) error {
	switch {
	case errors.Is(err, errNotNetns):
		return &Cause{Text: ns.path() + " is not a network namespace", Hint: listHint, Err: err}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
		text := "there is no " + ns.path()
		if pid, ok := pidOf(ns.path()); ok {
			text = fmt.Sprintf("there is no process %d", pid)
		}
		return &Cause{Text: text, Hint: listHint, Err: fs.ErrNotExist}
	}
	return err
}

func (g *Guest) read(c *conn) error {
	g.Cookie = c.cookie()
	up, err := c.isUp("lo")
	if err != nil {
		return err
	}
	lo, err := c.index("lo")
	if err != nil {
		return err
	}
	addresses, err := c.addresses(unix.AF_INET, lo)
	g.LoDown, g.LoBare = !up, len(addresses) == 0
	return err
}

// cookie is the cookie of the socket's network namespace; 0 before Linux 5.14.
func (c *conn) cookie() uint64 {
	n, err := unix.GetsockoptUint64(c.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return n
}

// ErrAdopted says that a namespace is on a network already.
var ErrAdopted = errors.New("it is on it already")

// ResolveGuest makes the endpoint of one more network for the guest, and says
// whether it keeps a default route of its own. Its interface has the first free name
// of eth0, eth1 and so on.
func (r Request) ResolveGuest(u Use, have *Config) (with *Config, err error) {
	if n := have.Endpoint(u.Network); n != nil {
		return nil, ErrAdopted
	}
	n, err := r.Lookup(u.Network)
	if err != nil {
		return nil, err
	}
	if n.Driver != BridgeDriver && n.Driver != "" {
		return nil, fmt.Errorf("network %s has no bridge to plug into: its driver is %s", n.Name, n.Driver)
	}
	e, err := r.ResolveUse(u, have)
	if err != nil {
		return nil, err
	}
	if err = once(have.Netns, func(c *conn) (err error) { with, err = have.withGuest(c, *e); return err }); err != nil {
		if r.DryRun {
			return nil, err
		}
		return nil, errors.Join(err, e.Release())
	}
	return with, nil
}

// withGuest is With, with what the namespace itself has in mind.
func (c *Config) withGuest(inside *conn, e Endpoint) (*Config, error) {
	links, err := inside.links()
	if err != nil {
		return nil, err
	}
	if err := inside.clash(e.Network, links); err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, l := range links {
		taken[l.name] = true
	}
	i := 0
	for taken[fmt.Sprintf("eth%d", i)] {
		i++
	}
	e.Interface.Name, e.Interface.Host = fmt.Sprintf("eth%d", i), hostPrefix+e.Lease.Owner[:8]
	if i > 0 {
		e.Interface.Host = fmt.Sprintf("%s-%d", e.Interface.Host, i)
	}
	with, guest := *c, *c.Guest
	with.Guest = &guest
	ours := func(index int) bool {
		return slices.ContainsFunc(links, func(l *link) bool {
			return l.index == index && slices.ContainsFunc(c.Endpoints, func(e Endpoint) bool { return e.Interface.Name == l.name })
		})
	}
	if guest.Route, err = inside.leavesBy(unix.AF_INET, ours); err != nil {
		return nil, err
	}
	if guest.Route6, err = inside.leavesBy(unix.AF_INET6, ours); err != nil {
		return nil, err
	}
	return with.With(e), nil
}

// leavesBy reports whether there is a default route of the family by a link that is
// not ours.
func (c *conn) leavesBy(family int, ours func(index int) bool) (bool, error) {
	routes, err := c.routes(family, unix.RT_TABLE_MAIN)
	return slices.ContainsFunc(routes, func(r route) bool {
		return r.to.Bits() == 0 && r.index != 0 && !ours(r.index)
	}), err
}

// clash tells what of the namespace stands in the network's way: an address or a
// route of its own into the same subnet, which would take the packets elsewhere.
func (c *conn) clash(n Network, links []*link) error {
	addresses, err := c.addresses(unix.AF_UNSPEC, 0)
	if err != nil {
		return err
	}
	routes, err := c.routes(unix.AF_UNSPEC, unix.RT_TABLE_MAIN)
	if err != nil {
		return err
	}
	name := func(index int) string {
		for _, l := range links {
			if l.index == index {
				return l.name
			}
		}
		return strconv.Itoa(index)
	}
	for _, subnet := range []netip.Prefix{n.Subnet(), n.Subnet6()} {
		if !subnet.IsValid() {
			continue
		}
		for _, a := range addresses {
			if a.prefix.Overlaps(subnet) {
				return inTheWay(n, subnet, fmt.Sprintf("has the address %s on %s", a.prefix, name(a.index)))
			}
		}
		for _, r := range routes {
			if r.to.Bits() >= subnet.Bits() && r.to.Overlaps(subnet) {
				return inTheWay(n, subnet, fmt.Sprintf("has a route to %s by %s", r.to, name(r.index)))
			}
		}
	}
	return nil
}

func inTheWay(n Network, subnet netip.Prefix, what string) error {
	return &Cause{
		Text: fmt.Sprintf("the namespace %s already, which is of the subnet %s of network %s", what, subnet, n.Name),
		Hint: "minictr network create NET makes one with another subnet; then --network NET", Err: unix.EEXIST,
	}
}

// keepRoutes takes the default routes from the endpoints of a guest that has its own.
func (c *Config) keepRoutes() {
	if c.Guest == nil {
		return
	}
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		e.Default, e.Default6 = e.Default && !c.Guest.Route, e.Default6 && !c.Guest.Route6
	}
}

// Alive reports whether the guest is there: a cable of ours leads to it, or by its
// name it is still the same one. When that is not to be known, it is.
func (c *Config) Alive() bool {
	there := false
	err := once(Netns{}, func(host *conn) error {
		for _, e := range c.Endpoints {
			l, err := host.link(e.Interface.Host)
			if missing(err) != nil {
				return err
			}
			there = there || err == nil && l.kind == "veth"
		}
		return nil
	})
	if err != nil || there {
		return true
	}
	err = once(c.Netns, func(inside *conn) error { there = inside.cookie() == c.Guest.Cookie; return nil })
	return err != nil && !isGone(err) || there
}

// Reach finds the guest whose name is gone, as after ip netns delete, by a process
// that is in it. Without one it stays as it is.
func (c *Config) Reach() {
	if f, err := c.Netns.Open(); err == nil {
		closeFile(f)
		return
	}
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net") // the pattern is well-formed
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Ino == c.Netns.Inode {
			c.Netns.Path = path
			return
		}
	}
}

// ReleaseOn gives back all that an owner has leased on a network.
func (s Store) ReleaseOn(name, owner string) error {
	n, err := s.Inspect(name)
	if err != nil {
		return ignoreNotFound(err)
	}
	var theirs []netip.Prefix
	for a, holder := range n.Leases {
		if holder == owner {
			theirs = append(theirs, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return Lease{File: leaseFile(s.Runroot, n.Name), Owner: owner}.release(theirs...)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// NetnsNames are the names of network namespaces that ip-netns(8) lists.
func NetnsNames() []string {
	var names []string
	entries, _ := os.ReadDir(netnsDir) // where there is none, there are none
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
