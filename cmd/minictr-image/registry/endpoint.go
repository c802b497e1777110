package registry

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/minictr/minictr/rootfs"
)

// An endpoint is one place where an image of that name may be.
type endpoint struct {
	host     string // of the URL: "index.docker.io", "localhost:5000"
	path     string // repository
	shown    string // what people call it: "docker.io", "mirror.local/hub"
	insecure bool   // TLS need not be verified, and need not be there
}

// String is how people call the repository.
func (e endpoint) String() string { return e.shown + "/" + e.path }

// The Hub's API is not at the host that is in its images' names.
const (
	hub    = "docker.io"
	hubAPI = "index.docker.io"
)

// endpointsFor returns where to pull the image from, in order: the mirrors of
// the table with the longest matching prefix, and then its location.
func (c *Config) endpointsFor(ref rootfs.Reference) ([]endpoint, error) {
	r, length := c.match(ref)
	if r == nil {
		return []endpoint{newEndpoint(ref.Repository(), false)}, nil
	}
	if r.Blocked {
		return nil, blocked(r, ref)
	}
	rest := ref.Repository()[min(length, len(ref.Repository())):]
	var list []endpoint
	for _, m := range r.Mirrors {
		if ref.Digest != "" && m.Pull == pullTagOnly || ref.Digest == "" && (m.Pull == pullDigestOnly || r.MirrorByDigestOnly) {
			continue
		}
		list = append(list, newEndpoint(m.Location+rest, m.Insecure))
	}
	location := ref.Repository()
	if r.Location != "" {
		location = r.Location + rest
	}
	list = append(list, newEndpoint(location, r.Insecure))
	for _, e := range list {
		if e.path == "" {
			return nil, &Error{Text: fmt.Sprintf("prefix %q in %s moves %s to %s, which leaves it no name", r.Prefix, r.file, ref.Repository(), e.host)}
		}
	}
	return list, nil
}

// endpointToPush returns where to push the image: where its name says.
// containers-registries.conf(5), "Remapping and mirroring": redirection is for
// reading only.
func (c *Config) endpointToPush(ref rootfs.Reference) (endpoint, error) {
	r, _ := c.match(ref)
	switch {
	case r == nil:
		return newEndpoint(ref.Repository(), false), nil
	case r.Blocked:
		return endpoint{}, blocked(r, ref)
	}
	return newEndpoint(ref.Repository(), r.Insecure), nil
}

func blocked(r *rule, ref rootfs.Reference) error {
	return &Error{Text: fmt.Sprintf("%s is blocked by prefix %q in %s", ref.Repository(), r.Prefix, r.file)}
}

func newEndpoint(repository string, insecure bool) endpoint {
	host, path, _ := strings.Cut(repository, "/")
	e := endpoint{host: host, path: path, shown: host, insecure: insecure}
	if host == hub {
		e.host = hubAPI
	}
	return e
}

// match returns the table whose prefix matches the most of the name, and how
// much that is; nil when none does.
func (c *Config) match(ref rootfs.Reference) (best *rule, length int) {
	for i := range c.rules {
		r := &c.rules[i]
		n := matches(r.Prefix, ref)
		// Of a host and a wildcard that match the same, the host says more.
		if n > length || n == length && n > 0 && strings.HasPrefix(best.Prefix, "*.") {
			best, length = r, n
		}
	}
	return best, length
}

// matches returns how many bytes of the name the prefix matches, 0 for none. It
// ends at the end of a component: example.com/foo is no prefix of
// example.com/foobar, nor example.com one of example.com:5000/foo.
func matches(prefix string, ref rootfs.Reference) int {
	if suffix, wildcard := strings.CutPrefix(prefix, "*"); wildcard {
		if strings.HasSuffix(ref.Domain, suffix) && len(ref.Domain) > len(suffix) {
			return len(ref.Domain)
		}
		return 0
	}
	name := ref.Repository()
	for _, whole := range []string{name, name + ":" + ref.Tag, name + "@" + ref.Digest} {
		if whole == prefix {
			return len(prefix)
		}
	}
	if strings.HasPrefix(name, prefix+"/") {
		return len(prefix)
	}
	return 0
}

// insecureHost reports whether the configuration calls the whole host insecure,
// for what a registry redirects to, and for token servers.
func (c *Config) insecureHost(host string) bool {
	for _, r := range c.rules {
		wildcard := r.Location == "" && strings.HasSuffix(host, r.Prefix[1:])
		if r.Insecure && (r.Location == host || wildcard) && host != "" {
			return true
		}
		for _, m := range r.Mirrors {
			if m.Location == host && m.Insecure {
				return true
			}
		}
	}
	return false
}

// isLoopback reports whether the host, perhaps with a port, is this machine by
// its very name.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
