package network

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// A Resolver is what resolv.conf(5) says.
type Resolver struct {
	Servers []netip.Addr
	Search  []string
	Options []string
}

// ParseResolvConf reads a resolv.conf(5). It never fails: the C library passes
// over what it does not understand, and so does this.
func ParseResolvConf(text []byte) Resolver {
	var r Resolver
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		// A comment begins with # or ; in the first column; glibc also cuts at
		// white space before one.
		words := strings.Fields(lines.Text())
		if i := slices.IndexFunc(words, isComment); i >= 0 {
			words = words[:i]
		}
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil {
				r.Servers = append(r.Servers, a)
			}
		case "search": // the last one counts
			r.Search = words[1:]
		case "domain": // the old word for a search list of one
			r.Search = words[1:2]
		case "options":
			r.Options = append(r.Options, words[1:]...)
		}
	}
	return r
}

func isComment(word string) bool { return word[0] == '#' || word[0] == ';' }

// String is the resolv.conf(5).
func (r Resolver) String() string {
	var b strings.Builder
	for _, s := range r.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(r.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.Search, " "))
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.Options, " "))
	}
	return b.String()
}

// A ResolvRequest is what goes into a container's /etc/resolv.conf.
type ResolvRequest struct {
	Host     []byte // the host's /etc/resolv.conf
	Upstream []byte // systemd-resolved's list of real servers; see ReadResolvConf

	Servers []string // --dns; any of them replaces all of the host's
	Search  []string // --dns-search; "." alone means none
	Options []string // --dns-option

	// NameServers are those of the container's networks. With any, they are the
	// only ones: they pass on to Servers, or to the host's, what is not theirs.
	NameServers []netip.Addr

	// HostNetwork says that the container shares the network that Host was written
	// for, and with it its loopback: the host's, or that of a namespace that has a
	// file of its own.
	HostNetwork bool
}

// ResolvConf returns the content of a container's /etc/resolv.conf, and a
// warning, or "".
//
// A server on the host's loopback (systemd-resolved's 127.0.0.53, a local
// dnsmasq) cannot be reached from another network namespace, where loopback is
// the container's own. Such servers are left out; when none remains, the
// servers that systemd-resolved itself asks take their place. When there are
// none either, the container gets no server, and the warning says so: to send
// its questions to a public resolver that nobody named would tell a stranger
// what it does, and would not even work where only the local one may get out.
// IPv6 servers are left out too, since few containers have IPv6. All that is only for
// containers without a name server of their network, which reaches whatever the host
// reaches.
func ResolvConf(r ResolvRequest) (content, warning string, err error) {
	host := ParseResolvConf(r.Host)
	switch {
	case len(r.NameServers) > 0:
		host.Servers, r.Servers = r.NameServers[:min(len(r.NameServers), maxServers)], nil
		host.Options = []string{"ndots:0"} // names of containers have no dot
	case !r.HostNetwork:
		host, warning = reachable(host, ParseResolvConf(r.Upstream))
	}
	if len(r.Servers) > 0 {
		host.Servers, warning = nil, ""
		for _, text := range r.Servers {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return "", "", fmt.Errorf("dns %q: not an IP address", text)
			}
			host.Servers = append(host.Servers, a)
		}
	}
	if len(r.Search) > 0 {
		host.Search = slices.DeleteFunc(slices.Clone(r.Search), func(s string) bool { return s == "." })
	}
	if len(r.Options) > 0 {
		host.Options = r.Options
	}
	for _, words := range [][]string{host.Search, host.Options} {
		if i := slices.IndexFunc(words, func(w string) bool { return w == "" || strings.ContainsAny(w, " \t\r\n#;") }); i >= 0 {
			return "", "", fmt.Errorf("dns-search or dns-option %q: not one word", words[i])
		}
	}
	return host.String(), warning, nil
}

// maxServers is MAXNS of resolv.conf(5): more are not asked.
const maxServers = 3

// reachable replaces the servers that a container cannot reach.
func reachable(host, upstream Resolver) (r Resolver, warning string) {
	unreachable := func(a netip.Addr) bool { return a.IsLoopback() || a.IsUnspecified() || !a.Is4() }
	usable := slices.DeleteFunc(slices.Clone(host.Servers), unreachable)
	if len(usable) > 0 {
		host.Servers = usable
		return host, ""
	}
	lost := host.Servers
	host.Servers = slices.DeleteFunc(slices.Clone(upstream.Servers), unreachable)
	if len(host.Search) == 0 {
		host.Search = upstream.Search
	}
	// trust-ad was said of the host's own resolver, which had validated the
	// answers; the new servers are anybody (resolv.conf(5), trust-ad).
	host.Options = slices.DeleteFunc(slices.Clone(host.Options), func(o string) bool { return o == "trust-ad" })
	if len(host.Servers) > 0 {
		return host, ""
	}
	if len(lost) == 0 {
		return host, "the host has no name server, so the container has none; give one with --dns"
	}
	return host, fmt.Sprintf("the container cannot reach the host's name server %s, and has none; give one with --dns", lost[0])
}

// ReadResolvConf fills Host and Upstream from below root, "/" but in tests. A
// file that is missing is empty.
func (r *ResolvRequest) ReadResolvConf(root string) error {
	for path, text := range map[string]*[]byte{
		"/etc/resolv.conf": &r.Host,
		// resolv.conf(5) with the servers that systemd-resolved asks;
		// systemd-resolved.service(8), /ETC/RESOLV.CONF.
		"/run/systemd/resolve/resolv.conf": &r.Upstream,
	} {
		content, err := os.ReadFile(root + path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return step.Fail("read", root+path, err)
		}
		*text = content
	}
	return nil
}
