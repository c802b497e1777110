package network

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const stub = "# Do not edit.\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"

func TestResolvConf(t *testing.T) {
	for _, c := range []struct {
		name    string
		request ResolvRequest
		want    string
		warning string
	}{
		{"as it is", ResolvRequest{Host: []byte("nameserver 10.1.1.1\nsearch a b\noptions ndots:2\n")}, "nameserver 10.1.1.1\nsearch a b\noptions ndots:2\n", ""},
		{"the stub's upstreams", ResolvRequest{Host: []byte(stub), Upstream: []byte("nameserver 10.1.1.1\nnameserver 10.1.1.2\nsearch other\n")}, "nameserver 10.1.1.1\nnameserver 10.1.1.2\nsearch lan\noptions edns0\n", ""},
		{"the stub alone", ResolvRequest{Host: []byte(stub)}, "search lan\noptions edns0\n", "the container cannot reach the host's name server 127.0.0.53, and has none; give one with --dns"},
		{"the upstream is local too", ResolvRequest{Host: []byte(stub), Upstream: []byte("nameserver ::1\n")}, "search lan\noptions edns0\n", "the container cannot reach the host's name server 127.0.0.53, and has none; give one with --dns"},
		{"local beside real", ResolvRequest{Host: []byte("nameserver ::1\nnameserver 127.0.0.1\nnameserver 10.1.1.1\noptions trust-ad\n"), Upstream: []byte("nameserver 10.9.9.9\n")}, "nameserver 10.1.1.1\noptions trust-ad\n", ""},
		{"IPv6 only", ResolvRequest{Host: []byte("nameserver fe80::1%eth0\n")}, "", "the container cannot reach the host's name server fe80::1%eth0, and has none; give one with --dns"},
		{"nothing", ResolvRequest{}, "", "the host has no name server, so the container has none; give one with --dns"},
		{"host network", ResolvRequest{Host: []byte(stub), Upstream: []byte("nameserver 10.1.1.1\n"), HostNetwork: true}, "nameserver 127.0.0.53\nsearch lan\noptions edns0 trust-ad\n", ""},
		{"overridden", ResolvRequest{Host: []byte(stub), Servers: []string{"9.9.9.9", "fd00::1"}, Search: []string{"x", "y"}, Options: []string{"rotate"}}, "nameserver 9.9.9.9\nnameserver fd00::1\nsearch x y\noptions rotate\n", ""},
		{"no search", ResolvRequest{Host: []byte("nameserver 10.1.1.1\nsearch lan\n"), Search: []string{"."}}, "nameserver 10.1.1.1\n", ""},
		{"the last of domain and search", ResolvRequest{Host: []byte("nameserver 10.1.1.1\nsearch a b\ndomain c d\n")}, "nameserver 10.1.1.1\nsearch c\n", ""},
		{"comments and rubbish", ResolvRequest{Host: []byte("; x\n  # y\nnameserver\nnameserver x\nnameserver 10.1.1.1 # z\nfoo bar\noptions a\noptions b\r\n")}, "nameserver 10.1.1.1\noptions a b\n", ""},
	} {
		got, warning, err := ResolvConf(c.request)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		if warning != c.warning {
			t.Errorf("%s: warning %q, want %q", c.name, warning, c.warning)
		}
	}
}

func TestResolvConfErrors(t *testing.T) {
	for _, c := range []struct {
		request ResolvRequest
		want    string
	}{
		{ResolvRequest{Servers: []string{"dns.example"}}, `dns "dns.example": not an IP address`},
		{ResolvRequest{Search: []string{"a\nnameserver 6.6.6.6"}}, "not one word"},
		{ResolvRequest{Options: []string{""}}, "not one word"},
	} {
		content, _, err := ResolvConf(c.request)
		if err == nil || !strings.Contains(err.Error(), c.want) || content != "" {
			t.Errorf("got %q, %v, want %s", content, err, c.want)
		}
	}
}

func TestReadResolvConf(t *testing.T) {
	root := t.TempDir()
	var r ResolvRequest
	if err := r.ReadResolvConf(root); err != nil || r.Host != nil || r.Upstream != nil {
		t.Errorf("no files: %v, %v", r, err)
	}
	for path, text := range map[string]string{"/etc/resolv.conf": "a", "/run/systemd/resolve/resolv.conf": "b"} {
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.ReadResolvConf(root); err != nil || string(r.Host) != "a" || string(r.Upstream) != "b" {
		t.Errorf("%s, %s, %v", r.Host, r.Upstream, err)
	}
}

// FuzzParseResolvConf: what was parsed and printed parses to the same, and a
// container never gets a server that it cannot reach.
func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte(stub))
	f.Add([]byte("nameserver fe80::1%eth0\nnameserver 0.0.0.0\n\ndomain x\n"))
	f.Add([]byte("options a\xff\x85b\nsearch \u00a0 c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		once := ParseResolvConf(text)
		twice := ParseResolvConf([]byte(once.String()))
		if once.String() != twice.String() || !slices.Equal(once.Servers, twice.Servers) {
			t.Errorf("%q\nprints as %q\nand then as %q", text, once, twice)
		}
		content, warning, err := ResolvConf(ResolvRequest{Host: text})
		if err != nil {
			return
		}
		servers := ParseResolvConf([]byte(content)).Servers
		for _, a := range servers {
			if a.IsLoopback() || !a.Is4() {
				t.Errorf("%q gives a container %s", text, a)
			}
		}
		if (len(servers) == 0) != (warning != "") {
			t.Errorf("%q: %d servers and the warning %q", text, len(servers), warning)
		}
	})
}
